//! Injection: what users name is text wherever it ends up. Each attempt makes a file where it is taken for more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use holdfast_functions::http::operation::Call;
use holdfast_shared::config::Config;
use holdfast_shared::domain::object_key::{ObjectKey, prefix_of_account};
use holdfast_shared::domain::recipe::{FieldKind, RECIPES};
use holdfast_shared::service::Service;
use holdfast_tests::injections::{Attempt, Canaries, Kind};
use holdfast_tests::installation::Host;
use holdfast_tests::tree::{assert_same, entries, unpack};
use holdfast_tests::{Installation, Setup, eventually, leftovers};
use http::{Method, Request};
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

/// Calls the surface without the network in between, and as often as it likes.
#[derive(Clone)]
struct Surface {
    router: Router,
    token: String,
}

impl Surface {
    fn of(installation: &Installation) -> Self {
        let service = installation.service();
        let config = Config {
            requests_per_second: 1_000_000,
            account_requests_per_second: 1_000_000,
            ..(*service.config).clone()
        };
        let router = holdfast_functions::api::router(Service { config: Arc::new(config), ..service.clone() });
        Self { router, token: installation.api.token().to_owned() }
    }

    async fn send(&self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

const AGE_KEY: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
const BOT_TOKEN: &str = "123456:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
const PUSHOVER: &str = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG";

/// Sound bodies for a path that makes something, one for each form that its body can have. A resource that is not here
/// fails the test by its path; a field that is not here is tried all the same.
fn sound(path: &str) -> Vec<Value> {
    let login = json!({"name": "x", "host": "10.0.0.1", "user": "backup", "ssh_key": 1});
    let stream = |kind: &str, setting: &str, value: &str| json!({"name": "x", "type": kind, setting: value});
    let hook = "https://hooks.example.com/x";
    match path {
        "/v1/ssh-keys" => vec![json!({"name": "x"})],
        "/v1/servers" | "/v1/proxies" => vec![login],
        "/v1/storages" | "/v1/storage" => vec![json!({
            "name": "x", "provider": "custom", "bucket": "bucket", "region": "eu-west-1", "key": "k", "secret": "s",
            "endpoint": "https://s3.example.com", "storage_class": "STANDARD", "server_side_encryption": "aws:kms",
            "kms_key_id": "alias/x", "object_lock": {"mode": "GOVERNANCE", "days": 1},
        })],
        "/v1/stacks" => vec![json!({"name": "x", "servers": [1], "databases": [
            {"type": "mysql", "server_id": 1, "name": "shop", "username": "backup", "password": "x"}]})],
        "/v1/crontab-servers" => vec![json!({"name": "x", "ip_address": "203.0.113.7", "identifier": "web"})],
        "/v1/crontab-servers/{id}/alerts" => vec![json!({"username": "root", "command": "true"})],
        "/v1/crontabs" => vec![json!({"server": "web", "username": "root", "content": "0 * * * * true\n"})],
        "/v1/notification-streams" => vec![
            json!({"name": "x", "type": "webhook", "url": hook, "secret": "s", "events": ["failed"]}),
            stream("email", "email", "ops@example.com"),
            stream("slack", "url", hook),
            json!({"name": "x", "type": "telegram", "bot_token": BOT_TOKEN, "chat_id": "1"}),
            json!({"name": "x", "type": "pushover", "app_token": PUSHOVER, "user_key": PUSHOVER}),
        ],
        "/v1/encryption-keys" => vec![json!({"name": "x", "public_key": AGE_KEY})],
        "/v1/tokens" => vec![json!({"name": "x", "abilities": ["read-jobs"]})],
        "/v1/jobs" => RECIPES.iter().map(|recipe| job(recipe.slug)).collect(),
        "/v1/jobs/{id}/clone" => vec![json!({"name": "x"})],
        "/v1/jobs/{id}/encryption-key" => vec![json!({"encryption_key_id": 1})],
        "/v1/jobs/{id}/proxy" => vec![json!({"proxy_id": 1})],
        "/v1/jobs/{id}/backups/start" | "/v1/servers/{id}/host-key" | "/v1/proxies/{id}/host-key" => vec![json!({})],
        other => panic!("say what a sound body of {other} is"),
    }
}

fn job(slug: &str) -> Value {
    let config = match slug {
        "file-backups" => json!({"root_path": "/srv", "exclude": "*.log"}),
        "url-backups" => json!({"url": "https://example.com/dump"}),
        "sqlite-backups" => json!({"sqlite_path": "/srv/app.db"}),
        "laravel-forge-backups" => json!({"site_path": "/home/forge/site"}),
        _ => json!({}),
    };
    // Between them two jobs have all that a schedule and a compute can say; nothing of it depends on the recipe.
    let schedules = match slug {
        "file-backups" => json!([{"cron": "0 1 * * *", "timezone": "UTC"}]),
        "url-backups" => json!([{"frequency": "24", "frequency_mode": "hour"}]),
        _ => json!([]),
    };
    let compute = match slug {
        "url-backups" => json!({"type": "ss_serverless", "region": "EU"}),
        _ => json!({"type": "server", "server_id": 1}),
    };
    json!({"name": "x", "recipe": slug, "config": config, "compute": compute, "storage": [{"storage_id": 1}],
        "schedules": schedules})
}

/// Paths of all texts in a schema, below `path`.
fn texts(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    if let Some(schemas) = schema["anyOf"].as_array() {
        schemas.iter().for_each(|schema| texts(schema, path, found));
    }
    match schema["type"].as_str() {
        Some("string") => drop(found.insert(path.to_owned())),
        Some("array") => texts(&schema["items"], &below("0"), found),
        Some("object") => {
            for (name, member) in schema["properties"].as_object().into_iter().flatten() {
                texts(member, &below(name), found);
            }
        }
        _ => {}
    }
}

/// Texts of a call's body, where that is about `recipe`: those of its config stand in no schema.
fn fields(call: &Call, recipe: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for member in call.body.iter().flatten() {
        texts(&member.schema.0, member.name, &mut found);
        if member.name == "config" {
            let own = RECIPES.iter().find(|own| own.slug == recipe).unwrap().fields.iter();
            let own = own.filter(|field| !matches!(field.kind, FieldKind::Number | FieldKind::Checkbox));
            found.extend(own.map(|field| format!("config.{}", field.key)));
        }
    }
    found
}

/// What stands at a path.
fn at<'v>(body: &'v Value, path: &str) -> &'v Value {
    body.pointer(&format!("/{}", path.replace('.', "/"))).unwrap_or(&Value::Null)
}

/// Puts a text at a path; objects and lists on the way are made.
fn put(body: &mut Value, path: &str, text: &str) {
    let place = path.split('.').fold(body, |place, name| match name.parse::<usize>() {
        Ok(_) => {
            if !place.is_array() {
                *place = json!([null]);
            }
            &mut place[0]
        }
        Err(_) => &mut place[name],
    });
    *place = json!(text);
}

/// One form of the body of one call.
struct Case {
    method: Method,
    path: String,
    /// What is sent beside the texts that are tried.
    body: Value,
    /// The texts, each with what would be sound there.
    texts: BTreeMap<String, String>,
}

/// Every text of every call that makes or changes something, once. `ids` tells the path of a record by its pattern and the
/// number of its form.
fn cases(ids: impl Fn(&str, usize) -> String) -> Vec<Case> {
    let calls = holdfast_functions::api::operations().into_iter().map(|operation| operation.call);
    let calls: Vec<Call> = calls.filter(|call| call.is_mutating() && call.body.is_some()).collect();
    let patched: BTreeSet<_> = calls.iter().filter(|call| call.method == Method::PATCH).map(|call| call.path).collect();
    // Elsewhere the same call once more.
    let is_first = |call: &&Call| !(call.method == Method::POST && patched.contains(call.path));
    let calls = calls.iter().filter(is_first).filter(|call| call.path.split('/').nth(2) != Some("storage"));
    let mut cases = Vec::new();
    for call in calls {
        let edits = call.method == Method::PATCH;
        let forms = if edits { forms_of_record(call.path) } else { sound(call.path) };
        for (number, form) in forms.iter().enumerate() {
            let texts = texts_of(call, &forms, number);
            let mut body = form.clone();
            if edits {
                // A list or an object replaces the one before, so it has to be whole.
                let is_whole = |name: &str| texts.keys().any(|field| field.starts_with(&format!("{name}.")));
                body.as_object_mut().unwrap().retain(|name, _| is_whole(name));
            }
            if !texts.is_empty() {
                cases.push(Case { method: call.method.clone(), path: ids(call.path, number), body, texts });
            }
        }
    }
    cases
}

/// The texts of a form: none that only another form has, and none that was the same in an earlier form.
fn texts_of(call: &Call, forms: &[Value], number: usize) -> BTreeMap<String, String> {
    let form = &forms[number];
    let is_own = |field: &String| !at(form, field).is_null() || forms.iter().all(|one| at(one, field).is_null());
    let is_new = |field: &String| forms[..number].iter().all(|one| at(one, field) != at(form, field));
    let fields = fields(call, form["recipe"].as_str().unwrap_or_default()).into_iter().filter(is_own);
    let fields = fields.filter(|field| number == 0 || is_new(field) || field.starts_with("config."));
    let sound = |field: &str| at(form, field).as_str().unwrap_or("x").to_owned();
    fields.map(|field| (field.clone(), sound(&field))).collect()
}

/// The forms that the record of a path has.
fn forms_of_record(path: &str) -> Vec<Value> {
    match path {
        "/v1/account" => vec![json!({"name": "x", "timezone": "UTC"})],
        "/v1/jobs/{id}/schedules/{schedule}" => {
            vec![json!({"cron": "0 1 * * *", "timezone": "UTC"}), json!({"frequency": "24", "frequency_mode": "hour"})]
        }
        "/v1/jobs/{id}/storage" => vec![json!({"storage": [{"storage_id": 1}]})],
        record => sound(record.strip_suffix("/{id}").unwrap_or(record)),
    }
}

/// One record of each form, and the path that each pattern has for it.
async fn records(surface: &Surface) -> impl Fn(&str, usize) -> String + use<> {
    let mut jobs = Vec::new();
    let order = [
        "/v1/ssh-keys",
        "/v1/servers",
        "/v1/proxies",
        "/v1/storages",
        "/v1/stacks",
        "/v1/crontab-servers",
        "/v1/notification-streams",
        "/v1/encryption-keys",
        "/v1/tokens",
        "/v1/jobs",
    ];
    for path in order {
        let again = if path == "/v1/jobs" { vec![job("file-backups")] } else { Vec::new() };
        for body in sound(path).into_iter().chain(again) {
            let (status, made) = surface.send(&Method::POST, path, &body).await;
            assert_eq!(status, 201, "{path} {body}: {made}");
            if path == "/v1/jobs" {
                let [id, schedule] = [&made["data"]["id"], &made["data"]["schedule"][0]["id"]].map(Value::to_string);
                jobs.push((id.replace('"', ""), schedule));
            }
        }
    }
    move |pattern, form| {
        // A job whose schedules nothing replaces meanwhile.
        let apart = ["/clone", "/{schedule}"].iter().any(|end| pattern.ends_with(end));
        let (job, schedule) = &jobs[if apart { jobs.len() - 1 } else { form.min(jobs.len() - 1) }];
        let id = match pattern.split('/').nth(2) {
            Some("jobs") => job.clone(),
            // The first of each is the installation's own.
            Some("storages" | "tokens") => (form + 2).to_string(),
            _ => (form + 1).to_string(),
        };
        pattern.replace("{id}", &id).replace("{schedule}", schedule)
    }
}

/// Tries a text in all fields of a form: it is refused by name in some, and stored in the others. Answers in which.
async fn attempt(surface: &Surface, case: &Case, texts: BTreeMap<&str, String>) -> Vec<String> {
    let Case { method, path, .. } = case;
    let mut left = texts;
    // A fault can hide others: of a stream, say, that has no type.
    while !left.is_empty() {
        let mut body = case.body.clone();
        if body["identifier"].is_string() {
            // No two may have the same.
            body["identifier"] = json!(Uuid::new_v4());
        }
        left.iter().for_each(|(field, text)| put(&mut body, field, text));
        let (status, answer) = surface.send(method, path, &body).await;
        let what = || format!("{method} {path}: {status} {answer}\n{:.2000}", body.to_string());
        match status {
            200..=204 => {
                for (field, text) in &left {
                    // What is shown of it is what was sent.
                    let shown = at(&answer["data"], field).as_str().filter(|shown| !shown.starts_with("**"));
                    assert!(shown.is_none_or(|shown| shown == text || shown == text.trim()), "{field} of {}", what());
                }
                return left.into_keys().map(str::to_owned).collect();
            }
            422 => {
                let named: Vec<_> = answer["errors"].as_object().unwrap().keys().collect();
                assert!(!named.is_empty() && named.iter().all(|field| left.contains_key(field.as_str())), "{}", what());
                left.retain(|field, _| !named.iter().any(|named| named == field));
            }
            _ => panic!("{}", what()),
        }
    }
    Vec::new()
}

/// Tries each attempt: as it is where something is made; behind what would be sound, one in four, where something is
/// changed. Answers how many were stored, by field.
async fn stored_of(surface: Surface, attempts: Arc<[Attempt]>, cases: Vec<Case>) -> BTreeMap<String, usize> {
    let mut stored = BTreeMap::new();
    for (number, case) in cases.iter().enumerate() {
        let edits = case.method == Method::PATCH;
        for (index, one) in attempts.iter().enumerate().filter(|(index, _)| !edits || (index + number) % 4 == 0) {
            let dressed = |sound: &str| if edits { format!("{sound}{}", one.text) } else { one.text.clone() };
            let texts = case.texts.iter().map(|(field, sound)| (field.as_str(), dressed(sound))).collect();
            for field in attempt(&surface, case, texts).await {
                *stored.entry(field).or_insert(0) += 1;
            }
            assert!(!one.canary.exists(), "attempt {index} got through");
        }
    }
    stored
}

fn home() -> PathBuf {
    let passwd = Command::new("sh").args(["-c", "getent passwd \"$(id -u)\""]).output().unwrap();
    let line = String::from_utf8(passwd.stdout).unwrap();
    PathBuf::from(line.split(':').nth(5).expect("the user has no home"))
}

/// Asserts that no canary is in their folder, below `places`, or where a program could have run.
fn assert_none(canaries: &Canaries, places: &[&Path]) {
    let (home, here) = (home(), std::env::current_dir().unwrap());
    assert_eq!(canaries.found(places), Vec::<PathBuf>::new());
    for folder in [&home, &here, Path::new("/"), Path::new("/dev/shm"), Path::new("/tmp"), Path::new("/run/sshd")] {
        assert_eq!(canaries.found_right_in(folder), Vec::<PathBuf>::new());
    }
    assert_eq!(canaries.found_right_in(&std::env::temp_dir()), Vec::<PathBuf>::new());
}

/// Asserts that every object of every account lies where its record says, also for whoever decodes its key again.
async fn assert_keys_below_prefix(installation: &Installation) {
    let prefix = prefix_of_account(&installation.account());
    for key in leftovers::all_objects(installation).await {
        let parsed = ObjectKey::parse(&key).unwrap_or_else(|| panic!("{key} is none of our keys"));
        assert!(key.starts_with(&prefix) && parsed.to_string() == key, "{key}");
        assert!(!key.contains(['%', '\\']) && !key.contains(".."), "{key}");
    }
}

#[test]
fn attempts_make_their_canaries_where_they_are_taken_for_more() {
    let canaries = Canaries::new();
    let attempts = canaries.attempts();
    assert!(attempts.len() >= 100, "{}", attempts.len());
    assert!(
        attempts.iter().all(|attempt| attempt.text.contains(attempt.canary.file_name().unwrap().to_str().unwrap()))
    );
    let cwd = tempfile::tempdir().unwrap();
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        let command = command.args(args).current_dir(cwd.path()).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    };
    for Attempt { kind, text, canary, .. } in attempts.iter().filter(|one| one.text.len() < 5_000) {
        match kind {
            Kind::Shell => {
                for line in [format!("echo x{text}"), format!("echo 'x{text}'"), format!("echo \"x{text}\"")] {
                    run("sh", &["-c", &line]);
                }
            }
            Kind::SshConfig => {
                std::fs::write(cwd.path().join("config"), format!("Host target\n  HostName {text}\n")).unwrap();
                run("ssh", &["-F", "config", "-o", "BatchMode=yes", "target", "true"]);
            }
            Kind::Option if text.starts_with("-oProxyCommand") => run("ssh", &["-F", "none", text, "target", "true"]),
            Kind::Tar if text.starts_with("--checkpoint-action") || text.starts_with("--use") => {
                run("tar", &["--create", "--file=archive", "--checkpoint=1", text, "--", "config"]);
            }
            _ => continue,
        }
        let made = canary.exists() || cwd.path().join(canary.file_name().unwrap()).exists();
        assert!(made, "{text:?} makes nothing");
    }
    assert!(canaries.found(&[cwd.path()]).len() >= 40, "what was made is not found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attempt_in_each_text_is_refused_by_name_or_only_stored() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let (surface, canaries) = (Surface::of(&installation), Canaries::new());
    let cases = cases(records(&surface).await);
    let named: BTreeSet<String> = cases.iter().flat_map(|case| case.texts.keys().cloned()).collect();
    for field in ["host", "user", "bucket", "endpoint", "config.root_path", "config.mysql_database", "databases.0.name"]
    {
        assert!(named.contains(field), "fields are no longer where this test reads them: {named:?}");
    }
    let attempts: Arc<[Attempt]> = canaries.attempts().into();
    // One after the other, so that nothing changes under a call; what is made and what is changed side by side.
    let (edits, creates): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.method == Method::PATCH);
    let tries = [edits, creates].map(|cases| tokio::spawn(stored_of(surface.clone(), attempts.clone(), cases)));
    let mut stored: BTreeMap<String, usize> = BTreeMap::new();
    for outcome in tries {
        outcome.await.unwrap().into_iter().for_each(|(field, count)| *stored.entry(field).or_default() += count);
    }
    // Where nothing but a few characters is taken, none of these is.
    for field in ["host", "user", "host_key", "bucket", "region", "identifier", "ip_address", "abilities.0", "recipe"] {
        assert!(named.contains(field) && !stored.contains_key(field), "{field}: {stored:?}");
    }
    assert!(stored["name"] > attempts.len(), "nothing was stored: {stored:?}");
    assert_none(&canaries, &[installation.dir()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_users_and_buckets_that_are_stored_run_nothing_when_they_are_checked() {
    let installation = Installation::start().await;
    let (host, canaries, surface) = (Host::start().await, Canaries::new(), Surface::of(&installation));
    let server = installation.add_server(&host).await;
    let mut stored = vec![format!("/v1/servers/{server}")];
    let login = json!({"name": "x", "host": "127.0.0.1", "port": host.sshd.port(), "user": host.user, "ssh_key": 1});
    let storage = json!({
        "name": "x", "provider": "custom", "bucket": "bucket", "region": "eu-west-1", "key": "k", "secret": "s",
        "endpoint": installation.endpoints().s3,
    });
    let fields = [
        ("/v1/servers", &login, "host"),
        ("/v1/servers", &login, "user"),
        ("/v1/servers", &login, "name"),
        ("/v1/proxies", &login, "host"),
        ("/v1/proxies", &login, "user"),
        ("/v1/storages", &storage, "bucket"),
        ("/v1/storages", &storage, "region"),
        ("/v1/storages", &storage, "endpoint"),
        ("/v1/storages", &storage, "key"),
    ];
    for (path, sound, field) in fields {
        for text in canaries.attempts().into_iter().map(|attempt| attempt.text) {
            for text in [format!("{}{text}", sound[field].as_str().unwrap()), text] {
                let mut body = sound.clone();
                body[field] = json!(text);
                let (status, answer) = surface.send(&Method::POST, path, &body).await;
                match status {
                    201 if field == "name" || field == "key" => break,
                    201 => stored.push(format!("{path}/{}", answer["data"]["id"])),
                    _ => assert!(status == 422 && answer["errors"][field].is_array(), "{field} {text:?}: {answer}"),
                }
            }
        }
        // What is only a name or a secret is checked once: with the last that was stored.
        let (_, listed) = surface.send(&Method::GET, &format!("{path}?sort=-id"), &Value::Null).await;
        stored.extend(listed["data"][0]["id"].as_u64().map(|id| format!("{path}/{id}")));
    }
    let mut ended = Vec::new();
    for path in BTreeSet::from_iter(stored) {
        let (status, asked) = surface.send(&Method::POST, &format!("{path}/check"), &json!({})).await;
        assert_eq!(status, 202, "{asked}");
        let check = eventually("the check ends", async || {
            let (_, seen) = surface.send(&Method::GET, &path, &Value::Null).await;
            if seen["data"]["check"]["finished_at"].is_null() { Err(seen) } else { Ok(seen["data"]["check"].clone()) }
        });
        ended.push(check.await["status"].clone());
    }
    assert!(ended.contains(&json!("success")), "nothing was connected to: {ended:?}");
    assert_none(&canaries, &[installation.dir(), host.site().parent().unwrap()]);
    assert_keys_below_prefix(&installation).await;
}

/// Makes a job with what is taken of `wanted`, field by field in place of what is sound, and starts it.
async fn start(surface: &Surface, mut body: Value, wanted: &[(&str, &str)]) -> String {
    let sound = body.clone();
    for (field, text) in wanted {
        put(&mut body, field, text);
    }
    let (status, refused) = surface.send(&Method::POST, "/v1/jobs", &body).await;
    let made = match status {
        201 => refused,
        _ => {
            for field in refused["errors"].as_object().unwrap_or_else(|| panic!("{refused}")).keys() {
                match at(&sound, field).as_str() {
                    Some(text) => put(&mut body, field, text),
                    None => panic!("{field} of {body}: {refused}"),
                }
            }
            let (status, made) = surface.send(&Method::POST, "/v1/jobs", &body).await;
            assert_eq!(status, 201, "{made}");
            made
        }
    };
    let path = format!("/v1/jobs/{}/backups/start", made["data"]["id"].as_str().unwrap());
    let (status, started) = surface.send(&Method::POST, &path, &json!({})).await;
    assert_eq!(status, 202, "{started}");
    started["backup_id"].as_str().unwrap().to_owned()
}

async fn ended(surface: &Surface, backup: &str) -> Value {
    eventually("the backup ends", async || {
        let (_, seen) = surface.send(&Method::GET, &format!("/v1/backups/{backup}"), &Value::Null).await;
        let is_over = !matches!(seen["data"]["status"].as_str(), Some("pending" | "running"));
        if is_over { Ok(seen["data"].clone()) } else { Err(seen) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_paths_and_patterns_run_nothing_when_they_are_backed_up() {
    let installation = Installation::start().await;
    let (host, canaries, surface) = (Host::start().await, Canaries::new(), Surface::of(&installation));
    let server = installation.add_server(&host).await;
    let attempts = canaries.attempts();
    // One is nothing but the name of its canary.
    let is_name = |one: &Attempt| {
        let name = &one.relative;
        name.len() <= 200 && !name.contains(['/', '\0']) && **name != *one.canary.file_name().unwrap().to_str().unwrap()
    };
    let job = |root: &str| {
        json!({"name": "x", "recipe": "file-backups", "config": {"root_path": root, "exclude": "none"},
            "compute": {"server_id": server}, "storage": [{"storage_id": 1}]})
    };
    let site = host.site().display().to_string();
    let mut started = Vec::new();
    for one @ Attempt { text, relative, .. } in &attempts {
        let mut root = site.clone();
        if is_name(one) {
            host.write(&format!("{relative}/{relative}"), relative);
            root = format!("{site}/{relative}");
        }
        let wanted = [("name", text.as_str()), ("config.root_path", root.as_str()), ("config.exclude", text.as_str())];
        started.push(start(&surface, job(&site), &wanted).await);
    }
    assert!(entries(&host.site()).len() >= 120, "few attempts are names of files");
    let mut backups = Vec::new();
    for backup in &started {
        backups.push(ended(&surface, backup).await);
    }
    let folder = host.site();
    let places = [installation.dir(), folder.parent().unwrap()];
    assert_none(&canaries, &places);
    for backup in backups {
        assert_eq!(backup["status"], "completed", "{backup}");
    }
    // The whole site, as root where it can be; and paths that are nowhere, which tar is asked about.
    let mut whole = job(&site);
    whole["config"]["use_sudo"] = json!(true);
    let whole = ended(&surface, &start(&surface, whole, &[]).await).await;
    assert_eq!(whole["status"], "completed", "{whole}");
    let archive = installation.download(&whole).await;
    assert_same(&archive, &host.site());
    let lines: Vec<_> = attempts.iter().map(|one| format!("/{}", one.text)).collect();
    let lines: Vec<_> = lines.iter().filter(|line| !line.contains(char::is_control) && line.len() < 4_000).collect();
    for roots in lines.chunks(20) {
        let roots: Vec<_> = roots.iter().map(|root| root.as_str()).collect();
        let nowhere = ended(&surface, &start(&surface, job(&roots.join("\n")), &[]).await).await;
        assert_eq!(
            (&nowhere["status"], &nowhere["failure"]["kind"]),
            (&json!("failed"), &json!("source")),
            "{nowhere}"
        );
    }
    let unpacked = unpack(&archive);
    assert_none(&canaries, &[places[0], places[1], unpacked.path()]);
    assert_keys_below_prefix(&installation).await;
}
