//! Every field of the API that takes a secret, and bodies that fill it.
//!
//! The fields come from the operations and the recipes themselves. A field that no body below fills fails the tests.

use std::collections::BTreeSet;

use holdfast_shared::domain::recipe::RECIPES;
use holdfast_tests::{Answer, Client};
use http::Method;
use serde_json::{Value, json};

use super::canary::Canaries;

/// Stands in the bodies below where a canary goes.
const HERE: &str = "<canary>";

/// Begins every script: what comes after it is never run, so that no shell complains of it in a log.
const QUIET: &str = "exit 0 # ";

/// A field that takes a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretField {
    pub method: String,
    pub path: &'static str,
    /// `databases.*.password`; of a job `config.RECIPE.KEY`.
    pub field: String,
}

/// All of them.
pub fn fields() -> BTreeSet<SecretField> {
    let mut fields = BTreeSet::new();
    for call in holdfast_functions::api::operations().into_iter().map(|operation| operation.call) {
        for member in call.body.iter().flatten() {
            let mut names = Vec::new();
            write_only(member.name, &member.schema.0, &mut names);
            if call.path.starts_with("/v1/jobs") && member.name == "config" {
                let secret = RECIPES.iter().flat_map(|recipe| recipe.fields.iter().map(move |field| (recipe, field)));
                let secret = secret.filter(|(_, field)| field.secret);
                names.extend(secret.map(|(recipe, field)| format!("config.{}.{}", recipe.slug, field.key)));
            }
            let field = |field| SecretField { method: call.method.to_string(), path: call.path, field };
            fields.extend(names.into_iter().map(field));
        }
    }
    fields
}

fn write_only(name: &str, schema: &Value, names: &mut Vec<String>) {
    if schema["writeOnly"] == true {
        names.push(name.to_owned());
    }
    for (member, schema) in schema["properties"].as_object().into_iter().flatten() {
        write_only(&format!("{name}.{member}"), schema, names);
    }
    if let Some(items) = schema.get("items") {
        write_only(&format!("{name}.*"), items, names);
    }
    for schema in ["anyOf", "oneOf", "allOf"].into_iter().flat_map(|word| schema[word].as_array()).flatten() {
        write_only(name, schema, names);
    }
}

/// What makes a record with secrets, and what changes them. A server 1 has to be there.
fn bodies(resource: &str) -> Vec<(Value, Value)> {
    let stream = |kind: &str, settings: Value| {
        let mut new = json!({"name": kind, "type": kind, "events": ["failed"]});
        new.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        (new, settings)
    };
    let job = |recipe: &str, config: Value| {
        let new = json!({
            "name": recipe, "recipe": recipe, "config": config, "compute": {"type": "server", "server_id": 1},
            "storage": [{"storage_id": 1}], "schedules": [],
        });
        (new, json!({"config": config}))
    };
    let with_secrets = |(mut new, mut edit): (Value, Value)| {
        for body in [&mut new, &mut edit] {
            body["pre_script"] = json!(format!("{QUIET}{HERE}"));
            body["post_script"] = body["pre_script"].clone();
            body["encryption_password"] = json!(HERE);
        }
        (new, edit)
    };
    let database = |id: Option<u64>| {
        let mut database = json!({"type": "mysql", "server_id": 1, "username": "u", "password": HERE});
        if let Some(id) = id {
            database["id"] = json!(id);
        }
        json!({"databases": [database]})
    };
    match resource {
        "storages" | "storage" => {
            let secrets = json!({"key": HERE, "secret": HERE});
            let new = json!({
                "name": "s", "provider": "aws", "bucket": "bucket", "region": "eu-west-1", "key": HERE, "secret": HERE,
            });
            vec![(new, secrets)]
        }
        "notification-streams" => vec![
            stream("slack", json!({"url": format!("https://hooks.slack.com/services/{HERE}")})),
            stream("telegram", json!({"bot_token": format!("123:{HERE}"), "chat_id": "-1"})),
            stream("pushover", json!({"app_token": HERE, "user_key": HERE})),
            stream("webhook", json!({"url": format!("https://example.com/{HERE}"), "secret": HERE})),
        ],
        "stacks" => {
            let mut new = database(None);
            new["name"] = json!("stack");
            new["servers"] = json!([1]);
            vec![(new, database(Some(1)))]
        }
        "jobs" => vec![
            with_secrets(job(
                "mysql-backups",
                json!({"mysql_host": "127.0.0.1", "mysql_port": 1, "mysql_password": HERE}),
            )),
            job(
                "postgresql-backups",
                json!({"postgresql_host": "127.0.0.1", "postgresql_port": 1, "postgresql_password": HERE}),
            ),
            job("mongodb-backups", json!({"mongodb_host": "127.0.0.1", "mongodb_port": 1, "mongodb_password": HERE})),
            job("redis-backups", json!({"redis_host": "127.0.0.1", "redis_port": 1, "redis_password": HERE})),
            job("url-backups", json!({"url": format!("https://u:{HERE}@127.0.0.1:1/{HERE}")})),
        ],
        _ => Vec::new(),
    }
}

/// A record that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its resource in the path.
    pub resource: &'static str,
    /// Its id as paths have it.
    pub id: String,
    /// What changes its secrets, with canaries still to be put in.
    edit: Value,
}

/// Sends canaries in every secret field.
pub struct Planter<'a> {
    pub api: &'a Client,
    pub canaries: &'a mut Canaries,
    /// Which fields got one.
    pub planted: BTreeSet<SecretField>,
    /// What was made.
    pub made: Vec<Made>,
    /// What was answered.
    pub answers: Vec<(String, Answer)>,
}

impl<'a> Planter<'a> {
    pub fn new(api: &'a Client, canaries: &'a mut Canaries) -> Self {
        let (planted, made, answers) = Default::default();
        Self { api, canaries, planted, made, answers }
    }

    /// Sends a canary to each field, new records first; then each in every form that is refused.
    pub async fn plant(&mut self) {
        let calls: BTreeSet<_> = fields().into_iter().map(|field| (field.method, field.path)).collect();
        let (edits, creates): (Vec<_>, Vec<_>) = calls.into_iter().partition(|(_, path)| path.contains('{'));
        for (method, path) in &creates {
            self.create(method, path).await;
        }
        for (method, path) in &edits {
            self.edit(method, path).await;
        }
        for (method, path) in creates.into_iter().chain(edits) {
            self.send_faults(&method, path).await;
        }
    }

    async fn create(&mut self, method: &str, path: &'static str) {
        let resource = resource(path);
        for (new, edit) in bodies(resource) {
            let body = self.body(method, path, &new);
            let answer = self.send(method, path, &body).await;
            let id = answer.expect(201).data()["id"].clone();
            let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            self.made.push(Made { resource, id, edit });
        }
    }

    async fn edit(&mut self, method: &str, path: &'static str) {
        for made in self.made.clone().into_iter().filter(|made| made.resource == resource(path)) {
            let body = self.body(method, path, &made.edit);
            let answer = self.send(method, &path.replace("{id}", &made.id), &body).await;
            assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
        }
    }

    async fn send_faults(&mut self, method: &str, path: &'static str) {
        let resource = resource(path);
        let made = self.made.iter().find(|made| made.resource == resource && path.contains('{')).cloned();
        let path_of_one = made.map_or_else(|| path.to_owned(), |made| path.replace("{id}", &made.id));
        for (new, edit) in bodies(resource) {
            let whole = if path.contains('{') { edit } else { new };
            for fault in 0..FAULTS {
                let mut body = whole.clone();
                each_text(&mut body, "", &mut |_, text| text.contains(HERE).then(|| self.fault(fault, text)));
                self.send(method, &path_of_one, &body).await;
            }
            let body = self.body(method, path, &whole).to_string();
            let form = "application/x-www-form-urlencoded";
            let cut = body[..body.len() - 2].to_owned();
            for (kind, text) in [("application/json", &cut), (form, &body), ("text/plain", &body), ("image/png", &body)]
            {
                let request = self.api.request(method.parse().unwrap(), &path_of_one).header("content-type", kind);
                let answer = self.api.send(request, text.clone().into_bytes().into()).await;
                self.answers.push((format!("{method} {path} as {kind}"), answer));
            }
        }
    }

    /// A value that a field cannot take, or takes otherwise than it was meant, with a canary in it.
    fn fault(&mut self, fault: usize, text: &str) -> Value {
        let canary = self.canaries.next();
        let good = text.replace(HERE, &canary);
        match fault {
            0 => json!({canary.clone(): canary}),
            1 => json!([good]),
            2 => json!(format!("{good}{}", "y".repeat(100_000))),
            3 => json!(format!("{good}\n{canary}")),
            4 => json!(format!("{good}\u{0}")),
            5 | 6 if text.starts_with(QUIET) => json!(format!("{QUIET}\t{good}")),
            5 => json!(format!("ftp://{canary}:{canary}@{canary}:99999/")),
            _ => json!(format!("  https://[{canary}]/ ")),
        }
    }

    /// A body with a canary in each place for one.
    fn body(&mut self, method: &str, path: &'static str, body: &Value) -> Value {
        let mut body = body.clone();
        let recipe = body["recipe"].as_str().map(str::to_owned);
        each_text(&mut body, "", &mut |field, text| {
            text.contains(HERE).then(|| {
                self.note(method, path, field, recipe.as_deref());
                json!(text.replace(HERE, &self.canaries.next()))
            })
        });
        body
    }

    fn note(&mut self, method: &str, path: &'static str, field: &str, recipe: Option<&str>) {
        let field = match field.strip_prefix("config.") {
            // What changes a job does not say which recipe it has; the keys of secrets do.
            Some(key) => {
                let has = |slug: &str| recipe.is_none_or(|recipe| recipe == slug);
                let of = RECIPES.iter().filter(|one| has(one.slug));
                let of = of.filter(|one| one.fields.iter().any(|field| field.secret && field.key == key));
                of.map(|one| format!("config.{}.{key}", one.slug)).collect::<Vec<_>>()
            }
            None => vec![field.to_owned()],
        };
        let field = field.into_iter().map(|field| SecretField { method: method.to_owned(), path, field });
        self.planted.extend(field);
    }

    async fn send(&mut self, method: &str, path: &str, body: &Value) -> Answer {
        let method: Method = method.parse().unwrap();
        let answer = self.api.json(method.clone(), path, body.clone()).await;
        assert_ne!(answer.status, 429, "too fast");
        assert!(!answer.status.is_server_error(), "{method} {path}: {}", answer.text());
        self.answers.push((format!("{method} {path}"), answer.clone()));
        answer
    }
}

/// How many forms [`Planter::fault`] has.
const FAULTS: usize = 7;

fn resource(path: &'static str) -> &'static str {
    path.split('/').nth(2).unwrap_or_default()
}

/// Replaces every text of a document for which `replace` answers something; it is told where it stands.
fn each_text(value: &mut Value, at: &str, replace: &mut impl FnMut(&str, &str) -> Option<Value>) {
    let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    match value {
        Value::String(text) => {
            if let Some(new) = replace(at, text) {
                *value = new;
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|one| each_text(one, &below("*"), replace)),
        Value::Object(members) => members.iter_mut().for_each(|(name, one)| each_text(one, &below(name), replace)),
        _ => {}
    }
}
