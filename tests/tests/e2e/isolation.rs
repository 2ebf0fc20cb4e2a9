//! Accounts: what belongs to one does not exist for another.

use bytes::Bytes;
use holdfast_tests::installation::Host;
use holdfast_tests::{Client, Installation};
use http::Method;
use serde_json::{Value, json};

use crate::routes::{self, Route};

/// A client of a second account, which owns nothing.
async fn stranger(installation: &Installation) -> Client {
    let service = installation.service();
    let account = service.create_account("second").await.unwrap();
    let (_, token) = service.create_token(&account.id, "second", vec!["*".to_owned()]).await.unwrap();
    installation.api.with_token(token.expose())
}

const LISTS: [&str; 10] = [
    "/v1/ssh-keys",
    "/v1/servers",
    "/v1/proxies",
    "/v1/storages",
    "/v1/encryption-keys",
    "/v1/jobs",
    "/v1/stacks",
    "/v1/crontab-servers",
    "/v1/crontabs",
    "/v1/notification-streams",
];

/// All that an account's lists show.
async fn lists(client: &Client) -> Vec<Value> {
    let mut all = Vec::new();
    for path in LISTS {
        all.push(client.get(path).await.expect(200).data());
    }
    all
}

async fn add_proxy_and_key(owner: &Client) {
    let proxy = json!({"name": "test", "host": "10.0.0.1", "user": "test", "ssh_key": 1});
    owner.post("/v1/proxies", proxy).await.expect(201);
    let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    owner.post("/v1/encryption-keys", json!({"name": "test", "public_key": key})).await.expect(201);
}

/// What the route's parameters are in the first account.
struct Owned {
    job: String,
    schedule: u64,
    backup: String,
}

impl Owned {
    fn path(&self, pattern: &str) -> String {
        let id = match pattern.split('/').nth(2) {
            Some("jobs") => self.job.as_str(),
            Some("backups") => self.backup.as_str(),
            // The stranger's own token has the number 1.
            Some("tokens") => "2",
            // The first of anything else in an account has the number 1.
            _ => "1",
        };
        pattern
            .replacen("{id}", id, 1)
            .replacen("{job}", id, 1)
            .replacen("{schedule}", &self.schedule.to_string(), 1)
            .replacen("{number}", "1", 1)
    }
}

fn crontab() -> Value {
    json!({"server": "web", "username": "test", "content": "0 * * * * true\n"})
}

/// A body that its owner could send.
fn body(route: &Route) -> Value {
    match route.pattern.as_str() {
        "/v1/jobs/{id}/encryption-key" => json!({"encryption_key_id": 1}),
        "/v1/jobs/{id}/proxy" => json!({"proxy_id": 1}),
        "/v1/jobs/{id}/storage" => json!({"storage": [{"storage_id": 1}]}),
        _ => json!({}),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_account_finds_nothing_of_the_first() {
    let installation = Installation::start().await;
    let host = Host::start().await;
    host.write("a", "a");
    let server = installation.add_server(&host).await;
    let more = json!({"config": {"root_path": host.site()}, "schedules": [{"frequency": "h24"}]});
    let job = installation.add_job_with(server, more).await;
    let backup = installation.run(&job).await["id"].as_str().unwrap().to_owned();
    let shown = installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data();
    let owned = Owned { job, schedule: shown["schedule"][0]["id"].as_u64().unwrap(), backup };
    add_proxy_and_key(&installation.api).await;
    installation.api.post("/v1/stacks", json!({"name": "test", "servers": [1]})).await.expect(201);
    let crontab_server = json!({"name": "test", "ip_address": "203.0.113.7", "identifier": "web"});
    installation.api.post("/v1/crontab-servers", crontab_server).await.expect(201);
    installation.api.post("/v1/crontabs", crontab()).await.expect(201);
    let stream = json!({"name": "test", "type": "email", "email": "test@example.com"});
    installation.api.post("/v1/notification-streams", stream).await.expect(201);
    let before = lists(&installation.api).await;

    installation.api.post("/v1/tokens", json!({"name": "test", "abilities": ["*"]})).await.expect(201);
    let stranger = stranger(&installation).await;
    assert_eq!(lists(&stranger).await, vec![json!([]); LISTS.len()]);
    let with_id = routes::all().into_iter().filter(|route| route.pattern.contains('{') && !is_download(route));
    let mut seen = 0;
    for route in with_id {
        let path = owned.path(&route.pattern);
        let request = stranger.request(route.method.clone(), &path).header("content-type", "application/json");
        let has_body = matches!(route.method, Method::POST | Method::PATCH);
        let body = if has_body { Bytes::from(body(&route).to_string()) } else { Bytes::new() };
        let answer = stranger.send(request, body).await;
        assert_eq!(answer.status, 404, "{} {path}: {}", route.method, answer.text());
        assert!(!answer.text().contains("test"), "an answer names what it hides: {}", answer.text());
        seen += 1;
    }
    assert!(seen > 20, "only {seen} routes with an id were read");
    assert_eq!(lists(&installation.api).await, before, "a stranger changed something");
}

fn is_download(route: &Route) -> bool {
    route.pattern.starts_with("/v1/downloads/")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_another_account_cannot_be_used_in_a_body() {
    let installation = Installation::start().await;
    let host = Host::start().await;
    let server = installation.add_server(&host).await;
    add_proxy_and_key(&installation.api).await;
    let stranger = stranger(&installation).await;
    let job = json!({
        "name": "mine", "recipe_id": 1, "config": {"root_path": "/"},
        "compute": {"type": "server", "server_id": server}, "storage": [{"storage_id": 1}],
        "encryption_key_id": 1, "proxy_id": 1,
    });
    let stack = json!({"name": "mine", "servers": [server]});
    let errors = stranger.post("/v1/stacks", stack).await.expect(422).json()["errors"].clone();
    assert_eq!(errors, json!({"servers.0": ["there is no server 1"]}));
    let crontab_server = json!({"name": "mine", "ip_address": "203.0.113.7", "identifier": "web"});
    installation.api.post("/v1/crontab-servers", crontab_server).await.expect(201);
    let errors = stranger.post("/v1/crontabs", crontab()).await.expect(422).json()["errors"].clone();
    assert_eq!(errors, json!({"server": ["is not the identifier of a crontab server"]}));
    let errors = stranger.post("/v1/jobs", job).await.expect(422).json()["errors"].clone();
    let fields: Vec<_> = errors.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["compute.server_id", "encryption_key_id", "proxy_id", "storage.0.storage_id"]);
    let new = json!({"name": "mine", "host": "10.0.0.1", "user": "root", "ssh_key": 1});
    for path in ["/v1/servers", "/v1/proxies"] {
        let errors = stranger.post(path, new.clone()).await.expect(422).json()["errors"].clone();
        assert!(errors["ssh_key"].is_array(), "{path}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_idempotency_key_starts_a_backup_of_each_job() {
    let installation = Installation::start().await;
    let host = Host::start().await;
    host.write("a", "a");
    let first = installation.add_job(&host).await;
    let second = installation.add_job(&host).await;
    let mut started = Vec::new();
    for job in [&first, &second, &first] {
        let path = format!("/v1/jobs/{job}/backups/start");
        let request = installation.api.request(Method::POST, &path).header("idempotency-key", "same");
        let answer = installation.api.send(request, Bytes::new()).await.expect(202).json();
        started.push(answer["backup_id"].as_str().unwrap().to_owned());
    }
    assert_ne!(started[0], started[1]);
    assert_eq!(started[0], started[2]);
    for backup in &started[..2] {
        assert_eq!(installation.ended(backup).await["status"], "completed");
    }
}
