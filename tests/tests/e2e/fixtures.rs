//! Every exchange of the vendor's documentation, replayed as printed and compared field by field.
//!
//! A fixture holds the request and the answer as they are printed. `{placeholders}` stand for ids of this installation,
//! the token comes with every call. Of the answer every printed member must be there, of the same type and form; labels
//! and words that never vary must be the same, and what `exact` names must be the same whole. What `aside` names only has
//! to be there, for the reason given.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use holdfast_tests::installation::Host;
use holdfast_tests::{Answer, Installation};
use http::Method;
use serde_json::{Value, json};

/// Members whose values never vary.
const CONSTANT: [&str; 6] = ["label", "type", "recipe", "compute_type", "resource_type", "schedule_name"];
/// Words of a status that the printed answers and ours must share.
const CONSTANT_STATUS: [&str; 3] = ["starting", "active", "success"];
/// Members that can be null in one answer and not in another.
const NULLABLE: [&str; 6] = ["last_used", "last_ran_at", "endpoint", "started_at", "completed_at", "created_at"];

struct Fixture {
    name: String,
    text: Value,
}

/// What the replayed calls refer to.
struct World {
    installation: Installation,
    server: u64,
    root: String,
    other_storage: u64,
    encryption_key: Value,
    proxy: Value,
    /// A job with a completed backup.
    ran: String,
    /// A job of a URL, which has run too.
    url: String,
    _host: Host,
}

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/snapshooter");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut fixtures: Vec<_> = paths
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = serde_json::from_str(&fs::read_to_string(&path).unwrap());
            Fixture { text: text.unwrap_or_else(|error| panic!("{name}: {error}")), name }
        })
        .collect();
    fixtures.sort_by(|a, b| a.name.cmp(&b.name));
    fixtures
}

impl World {
    async fn start() -> Self {
        let installation = Installation::start().await;
        let host = Host::start().await;
        host.write("index.html", "hello");
        let server = installation.add_server(&host).await;
        let storage = json!({
            "name": "other", "provider": "custom", "endpoint": "http://127.0.0.1:9", "bucket": "other", "key": "k",
            "secret": "s",
        });
        let other_storage = installation.api.post("/v1/storages", storage).await.expect(201).data()["id"].as_u64();
        let ssh_key = installation.api.get("/v1/ssh-keys/1").await.expect(200).data();
        let key = json!({"name": "vault", "public_key": ssh_key["public_key"]});
        let encryption_key = installation.api.post("/v1/encryption-keys", key).await.expect(201).data()["id"].clone();
        let proxy = json!({"name": "bastion", "host": "10.0.0.2", "user": "jump", "ssh_key": 1});
        let proxy = installation.api.post("/v1/proxies", proxy).await.expect(201).data()["id"].clone();
        let root = host.site().to_str().unwrap().to_owned();
        let (other_storage, none) = (other_storage.unwrap(), String::new());
        let (ran, url, _host) = (none.clone(), none, host);
        let mut world = Self { installation, server, root, other_storage, encryption_key, proxy, ran, url, _host };
        world.ran = world.add_job().await;
        let backup = world.installation.run(&world.ran).await;
        assert_eq!(backup["status"], "completed", "{backup}");
        let url = json!({"name": "url", "recipe": "url-backups", "config": {"url": "example.com"}});
        world.url = world.add_job_with(url).await;
        world.installation.run(&world.url).await;
        world
    }

    async fn add_job(&self) -> String {
        self.add_job_with(json!({"config": {"root_path": self.root}})).await
    }

    async fn add_job_with(&self, mut more: Value) -> String {
        more["schedules"] = json!([{"frequency": "h24", "retention_daily": 12}]);
        self.installation.add_job_with(self.server, more).await
    }

    /// What placeholders stand for. Reads see the job that ran; each write gets a job of its own.
    async fn values(&self, method: &Method) -> BTreeMap<&'static str, Value> {
        let job = if *method == Method::GET { self.ran.clone() } else { self.add_job().await };
        let shown = self.installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data();
        BTreeMap::from([
            ("{schedule_id}", shown["schedule"][0]["id"].clone()),
            ("{job_id}", json!(job)),
            ("{url_job_id}", json!(self.url)),
            ("{server_id}", json!(self.server)),
            ("{storage_id}", json!(1)),
            ("{other_storage_id}", json!(self.other_storage)),
            ("{encryption_key_id}", self.encryption_key.clone()),
            ("{proxy_id}", self.proxy.clone()),
            ("{host}", json!("127.0.0.1")),
        ])
    }

    async fn replay(&self, fixture: &Fixture) -> Answer {
        let request = &fixture.text["request"];
        let method: Method = request["method"].as_str().unwrap().parse().unwrap();
        let values = self.values(&method).await;
        let path = fill(&request["path"], &values);
        let mut call = self.installation.api.request(method, path.as_str().unwrap());
        for (name, value) in request["headers"].as_object().unwrap() {
            call = call.header(name, value.as_str().unwrap());
        }
        let body = match fill(&request["body"], &values) {
            Value::Null => Bytes::new(),
            Value::String(form) => Bytes::from(form),
            document => Bytes::from(document.to_string()),
        };
        self.installation.api.send(call, body).await
    }
}

/// The value with its placeholders filled in: one that stands alone becomes what it stands for, number or text.
fn fill(value: &Value, values: &BTreeMap<&str, Value>) -> Value {
    match value {
        Value::String(text) => values.get(text.as_str()).cloned().unwrap_or_else(|| {
            let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            json!(values.iter().fold(text.clone(), |text, (name, value)| text.replace(name, &plain(value))))
        }),
        Value::Array(all) => all.iter().map(|one| fill(one, values)).collect(),
        Value::Object(all) => all.iter().map(|(name, one)| (name.clone(), fill(one, values))).collect(),
        other => other.clone(),
    }
}

/// Compares an answer with a printed one and notes what differs, by JSON pointer.
struct Comparison<'a> {
    fixture: &'a Value,
    differences: Vec<String>,
}

impl Comparison<'_> {
    fn names(&self, list: &str, path: &str) -> bool {
        match &self.fixture[list] {
            Value::Array(paths) => paths.iter().any(|named| named == path),
            Value::Object(reasons) => reasons.contains_key(path),
            _ => false,
        }
    }

    fn compare(&mut self, path: &str, printed: &Value, seen: &Value) {
        let key = path.rsplit('/').next().unwrap_or_default();
        if self.names("aside", path) {
            return;
        }
        if self.names("exact", path) {
            return self.expect(path, printed, seen, same_but_more(printed, seen));
        }
        match (printed, seen) {
            (Value::Object(printed), Value::Object(seen)) => {
                for (name, value) in printed {
                    match seen.get(name) {
                        Some(found) => self.compare(&format!("{path}/{name}"), value, found),
                        None => self.differences.push(format!("{path}/{name} is missing")),
                    }
                }
            }
            (Value::Array(printed), Value::Array(seen)) => {
                self.expect(path, "entries", "none", printed.is_empty() || !seen.is_empty());
                // The printed lists are longer than ours and in another order: each printed entry shows what an entry of
                // ours must look like, one of the same recipe where it has one.
                for (index, entry) in printed.iter().enumerate().filter(|_| !seen.is_empty()) {
                    let alike = seen.iter().find(|one| one.get("recipe").is_some() && one["recipe"] == entry["recipe"]);
                    let found = alike.unwrap_or(&seen[index.min(seen.len() - 1)]);
                    self.compare(&format!("{path}/{index}"), entry, found);
                }
            }
            (Value::String(text), Value::String(found)) => {
                let constant = CONSTANT.contains(&key) || key == "status" && CONSTANT_STATUS.contains(&text.as_str());
                let fits = if constant { text == found } else { form(text) == form(found) };
                self.expect(path, text, found, fits);
            }
            (Value::Null, _) | (_, Value::Null) if NULLABLE.contains(&key) => {}
            _ => {
                let same = std::mem::discriminant(printed) == std::mem::discriminant(seen);
                self.expect(path, printed, seen, same);
            }
        }
    }

    fn expect(&mut self, path: &str, printed: impl std::fmt::Display, seen: impl std::fmt::Display, holds: bool) {
        if !holds {
            self.differences.push(format!("{path}: printed {printed}, answered {seen}"));
        }
    }
}

/// Whether all that is printed is answered with the same value.
fn same_but_more(printed: &Value, seen: &Value) -> bool {
    match (printed, seen) {
        (Value::Object(printed), Value::Object(seen)) => {
            printed.iter().all(|(name, value)| seen.get(name).is_some_and(|found| same_but_more(value, found)))
        }
        _ => printed == seen,
    }
}

/// What a text looks like to whoever parses it.
#[derive(Debug, PartialEq)]
enum Form {
    Time,
    Uuid,
    Size,
    Text,
}

fn form(text: &str) -> Form {
    let digits: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    match () {
        () if digits == "0000-00-00T00:00:00.000000Z" => Form::Time,
        () if text.parse::<uuid::Uuid>().is_ok() => Form::Uuid,
        () if digits.trim_start_matches('0') == " bytes" => Form::Size,
        () => Form::Text,
    }
}

fn differences(fixture: &Fixture, answer: &Answer) -> Vec<String> {
    let printed = &fixture.text["response"];
    if answer.status.as_u16() != printed["status"] {
        return vec![format!("printed {}, answered {} {}", printed["status"], answer.status, answer.text())];
    }
    let mut comparison = Comparison { fixture: &fixture.text, differences: Vec::new() };
    comparison.compare("", &printed["body"], &answer.json());
    comparison.differences
}

#[test]
fn a_comparison_sees_what_is_missing_or_of_another_kind() {
    let told = |fixture: Value, printed: Value, seen: Value| {
        let mut comparison = Comparison { fixture: &fixture, differences: Vec::new() };
        comparison.compare("", &printed, &seen);
        comparison.differences.len()
    };
    let printed = json!({"id": 15, "label": "Root Paths", "at": "2022-01-11T06:40:31.000000Z", "all": [{"a": 1}]});
    let with = |name: &str, value: Value| {
        let mut seen = printed.clone();
        seen[name] = value;
        told(json!({}), printed.clone(), seen)
    };
    assert_eq!(told(json!({}), printed.clone(), printed.clone()), 0);
    assert_eq!(
        (with("more", json!(1)), with("id", json!(7)), with("at", json!("2026-01-01T00:00:00.123456Z"))),
        (0, 0, 0)
    );
    assert_eq!(
        (with("id", json!("7")), with("label", json!("Paths")), with("at", json!("2026-01-01T00:00:00Z"))),
        (1, 1, 1)
    );
    assert_eq!((with("all", json!([])), with("all", json!([{"b": 1}])), with("at", Value::Null)), (1, 1, 1));
    assert_eq!(told(json!({"exact": ["/id"]}), json!({"id": 1}), json!({"id": 2})), 1);
    assert_eq!(told(json!({"aside": {"/id": "why"}}), json!({"id": 1}), json!({"id": "x"})), 0);
    assert_eq!(told(json!({"aside": {"/id": "why"}}), json!({"id": 1}), json!({})), 1);
}

/// Replays the fixtures that pass.
async fn replay_all(passes: impl Fn(&str) -> bool) {
    let world = World::start().await;
    let mut all = Vec::new();
    let fixtures = fixtures().into_iter();
    for fixture in fixtures.filter(|fixture| passes(fixture.text["request"]["method"].as_str().unwrap())) {
        let answer = world.replay(&fixture).await;
        all.extend(differences(&fixture, &answer).into_iter().map(|one| format!("{}: {one}", fixture.name)));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_printed_read_is_answered_as_printed() {
    replay_all(|method| method == "GET").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_printed_write_is_answered_as_printed() {
    replay_all(|method| method != "GET").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn printed_updates_take_effect() {
    let world = World::start().await;
    let replayed = async |name: &str| {
        let fixture = fixtures().into_iter().find(|fixture| fixture.name == name).unwrap();
        let method = fixture.text["request"]["method"].as_str().unwrap().parse().unwrap();
        let values = world.values(&method).await;
        let path = fill(&fixture.text["request"]["path"], &values);
        let body = fill(&fixture.text["request"]["body"], &values);
        world.installation.api.json(method, path.as_str().unwrap(), body).await.expect(204);
        let job = values["{job_id}"].as_str().unwrap();
        world.installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data()
    };
    assert_eq!(replayed("schedules-update-timezone").await["schedule"][0]["timezone"], "America/Mexico_City");
    assert_eq!(replayed("schedules-update-run-offset").await["schedule"][0]["run_offset"], 10);
    let kept = json!({"hourly": 0, "daily": 0, "weekly": 1, "monthly": 0, "keep_last": 0, "days": 0});
    assert_eq!(replayed("schedules-update-retention").await["schedule"][0]["retention"], kept);
    let by_cron = replayed("schedules-update-cron").await["schedule"][0].clone();
    assert_eq!((&by_cron["cron"], &by_cron["frequency"]), (&json!("0 * * * *"), &Value::Null));
    for name in ["storage-update", "storage-update-example", "jobs-update-storage"] {
        let storages = replayed(name).await["storage"].clone();
        let shown: Vec<_> =
            storages.as_array().unwrap().iter().map(|one| (one["id"].as_u64(), one["priority"].as_u64())).collect();
        assert_eq!(shown, [(Some(1), Some(1)), (Some(world.other_storage), Some(2))], "{name}");
    }
    let schedules = replayed("jobs-update-schedules").await["schedule"].clone();
    let zones: Vec<_> = schedules.as_array().unwrap().iter().map(|one| one["timezone"].clone()).collect();
    assert_eq!(zones, ["UTC", "America/Mexico_City"]);
}
