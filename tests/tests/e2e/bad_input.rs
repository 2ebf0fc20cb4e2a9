//! Bad input that only a person would think of: each is refused with a status and words that help, and leaves nothing
//! written. What follows from the schemas is in `bad_fields.rs`, ids in paths are in `isolation.rs`.

use bytes::Bytes;
use holdfast_shared::aws::table::{JobFilter, Order, SortBy, Window};
use holdfast_tests::{Answer, Installation, Setup};
use http::Method;
use serde_json::{Value, json};

/// An installation with a server and a job of the first account, and what came of each bad call.
struct Refusals {
    installation: Installation,
    job: String,
    schedule: u64,
    before: String,
    told: Vec<String>,
}

impl Refusals {
    async fn start() -> Self {
        let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
        let api = &installation.api;
        api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201);
        api.post("/v1/servers", server(json!({}))).await.expect(201);
        let made = api.post("/v1/jobs", job(json!({}))).await.expect(201).data();
        let (job, schedule) = (made["id"].as_str().unwrap().to_owned(), made["schedule"][0]["id"].as_u64().unwrap());
        let before = world(&installation).await;
        Self { installation, job, schedule, before, told: Vec::new() }
    }

    /// Asserts the status, that every field (and no other) is named, and that nothing was written.
    async fn refused(&mut self, what: &str, answer: Answer, status: u16, fields: &[&str]) {
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        assert!(!answer.header("x-request-id").is_empty(), "{what}");
        let body = answer.json();
        let errors = body["errors"].as_object().cloned().unwrap_or_default();
        let named: Vec<_> = errors.keys().map(String::as_str).collect();
        assert_eq!(named, fields, "{what}: {body}");
        let said = match errors.is_empty() {
            true => body["message"].as_str().unwrap_or_else(|| panic!("{what} says nothing: {body}")).to_owned(),
            false => {
                errors.iter().map(|(field, all)| format!("{field}: {}", lines(all))).collect::<Vec<_>>().join("; ")
            }
        };
        self.told.push(format!("{what}: {status} {said}"));
        assert_eq!(world(&self.installation).await, self.before, "{what} wrote something");
    }

    /// A job that differs from a sound one in this is refused for it.
    async fn job(&mut self, what: &str, differs: Value, fields: &[&str]) {
        let answer = self.installation.api.post("/v1/jobs", job(differs)).await;
        self.refused(what, answer, 422, fields).await;
    }

    async fn schedule(&mut self, what: &str, schedule: Value, fields: &[&str]) {
        let path = format!("/v1/jobs/{}/schedules/{}", self.job, self.schedule);
        let answer = self.installation.api.patch(&path, schedule.clone()).await;
        self.refused(what, answer, 422, fields).await;
        // A new job is refused for the same, under the schedule's place in its list.
        let answer = self.installation.api.post("/v1/jobs", job(json!({"schedules": [schedule]}))).await;
        let named: Vec<_> = fields.iter().map(|field| format!("schedules.0.{field}")).collect();
        self.refused(what, answer, 422, &named.iter().map(String::as_str).collect::<Vec<_>>()).await;
        self.told.pop();
    }

    async fn server(&mut self, what: &str, differs: Value, fields: &[&str]) {
        let answer = self.installation.api.post("/v1/servers", server(differs.clone())).await;
        self.refused(what, answer, 422, fields).await;
        if !differs.as_object().unwrap().values().any(|value| value == "") {
            let answer = self.installation.api.patch("/v1/servers/1", differs).await;
            self.refused(what, answer, 422, fields).await;
            self.told.pop();
        }
    }

    async fn storage(&mut self, what: &str, differs: Value, fields: &[&str]) {
        let mut storage = json!({
            "name": "mine", "provider": "aws", "bucket": "mine", "region": "eu-central-1", "key": "k", "secret": "s",
        });
        merge(&mut storage, differs);
        let answer = self.installation.api.post("/v1/storages", storage).await;
        self.refused(what, answer, 422, fields).await;
    }

    async fn list(&mut self, path: &str, fields: &[&str]) {
        let answer = self.installation.api.get(path).await;
        self.refused(path, answer, 422, fields).await;
    }

    /// A whole request of the test's own.
    async fn raw(
        &mut self,
        what: &str,
        request: http::request::Builder,
        body: impl Into<Bytes>,
        status: u16,
    ) -> Answer {
        let answer = self.installation.api.send(request, body.into()).await;
        self.refused(what, answer.clone(), status, &[]).await;
        answer
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        self.installation.api.request(method, path)
    }

    /// One line for each refusal, for a snapshot. Ids that vary are taken out.
    fn told(self) -> String {
        self.told.join("\n").replace(&self.job, "JOB")
    }
}

/// All that the account has, and all that Scheduler has, as text.
async fn world(installation: &Installation) -> String {
    let (service, account) = (installation.service(), installation.account());
    let order = Order { by: SortBy::Id, descending: false };
    let keys = service.list_ssh_keys(&account, order, 100, None).await.unwrap();
    let servers = service.list_servers(&account, order, 100, None).await.unwrap();
    let storages = service.list_storages(&account, order, 100, None).await.unwrap();
    let jobs = service.list_jobs(&account, &JobFilter::default(), order, &Window::first(100)).await.unwrap();
    let mut backups = Vec::new();
    for job in &jobs.records {
        backups.push(
            service.list_backups(&account, job.job.id, &Default::default(), order, &Window::first(100)).await.unwrap(),
        );
    }
    let entries = service.aws.scheduler.list(None, None).await.unwrap();
    format!("{keys:#?}{servers:#?}{storages:#?}{jobs:#?}{backups:#?}{entries:#?}")
}

fn lines(messages: &Value) -> String {
    messages.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect::<Vec<_>>().join(", ")
}

fn job(differs: Value) -> Value {
    let mut job = json!({
        "name": "job", "recipe_id": 1, "config": {"root_path": "/"}, "compute": {"type": "server", "server_id": 1},
        "storage": [{"storage_id": 1}], "schedules": [{"frequency": "h24"}],
    });
    merge(&mut job, differs);
    job
}

fn server(differs: Value) -> Value {
    let mut server = json!({"name": "server", "host": "10.0.0.1", "user": "root", "ssh_key": 1});
    merge(&mut server, differs);
    server
}

/// Replaces members; null takes one away.
fn merge(base: &mut Value, differs: Value) {
    let Value::Object(differs) = differs else { panic!("{differs} is no object") };
    for (name, value) in differs {
        match value {
            Value::Null => drop(base.as_object_mut().unwrap().remove(&name)),
            value => base[name] = value,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules() {
    let mut bad = Refusals::start().await;
    bad.schedule("four fields", json!({"cron": "0 0 * *"}), &["cron"]).await;
    bad.schedule("seven fields", json!({"cron": "0 0 0 * * * *"}), &["cron"]).await;
    bad.schedule("a step of zero", json!({"cron": "*/0 * * * *"}), &["cron"]).await;
    bad.schedule("31 February", json!({"cron": "0 0 31 2 *"}), &["cron"]).await;
    bad.schedule("minute 60", json!({"cron": "60 * * * *"}), &["cron"]).await;
    bad.schedule("both days with a star", json!({"cron": "0 0 */2 * MON"}), &["cron"]).await;
    bad.schedule("an unknown zone", json!({"timezone": "Mars/Olympus"}), &["timezone"]).await;
    bad.schedule("an unknown frequency", json!({"frequency": "h5"}), &["frequency"]).await;
    bad.schedule("cron and frequency", json!({"cron": "1 * * * *", "frequency": "h1"}), &["cron"]).await;
    bad.schedule("an offset of 24 hours", json!({"run_offset": 24}), &["run_offset"]).await;
    bad.job("eleven schedules", json!({"schedules": vec![json!({"frequency": "h24"}); 11]}), &["schedules"]).await;
    bad.job("a schedule twice", json!({"schedules": [{}, {}]}), &["schedules.1"]).await;
    bad.job("a schedule of another job", json!({"schedules": [{"id": 1}]}), &["schedules.0.id"]).await;
    insta::assert_snapshot!(bad.told(), @r"
    four fields: 422 cron: a cron expression has 5 fields: minute hour day-of-month month day-of-week; this one has 4
    seven fields: 422 cron: a cron expression has 5 fields: minute hour day-of-month month day-of-week (seconds and years are not supported); this one has 7
    a step of zero: 422 cron: minute `*/0`: a step is a whole number from 1 to 60
    31 February: 422 cron: this never runs: its months have at most 29 days; choose an earlier day of month
    minute 60: 422 cron: minute `60` is out of range; use 0 to 59
    both days with a star: 422 cron: day of month `*/2` with day of week `MON` means days that match both, which cannot be scheduled; set one of them to `*`, or list the days instead of `*/n` to run on days that match either
    an unknown zone: 422 timezone: timezone `Mars/Olympus` is not known; use an IANA name such as UTC or Europe/Berlin
    an unknown frequency: 422 frequency: 5 is not a frequency in hours; use 24, 12, 6, 4, 3, 2, 1, or a cron expression
    cron and frequency: 422 cron: cannot be sent together with a frequency; send one of the two
    an offset of 24 hours: 422 run_offset: must be a whole number from 0 to 23
    eleven schedules: 422 schedules: must not have more than 10 entries
    a schedule twice: 422 schedules.1: stands there twice
    a schedule of another job: 422 schedules.0.id: is not a schedule of this job
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs() {
    let mut bad = Refusals::start().await;
    let config = |config: Value| json!({"config": config});
    bad.job("an unknown recipe", json!({"recipe_id": 4711}), &["recipe_id"]).await;
    bad.job("an unknown recipe by name", json!({"recipe_id": null, "recipe": "x"}), &["recipe"]).await;
    bad.job("no recipe", json!({"recipe_id": null}), &["recipe_id"]).await;
    bad.job("no config", json!({"config": null}), &["config.root_path"]).await;
    bad.job("a root path of blank lines", config(json!({"root_path": "\n \n"})), &["config.root_path"]).await;
    bad.job("a relative root path", config(json!({"root_path": "var/www"})), &["config.root_path"]).await;
    bad.job("a relative second path", config(json!({"root_path": "/a\n../b"})), &["config.root_path"]).await;
    let level = |level: Value| json!({"config": {"root_path": "/", "compression_level": level}});
    bad.job("level 20", level(json!(20)), &["config.compression_level"]).await;
    bad.job("no server", json!({"compute": {"type": "server"}}), &["compute.server_id"]).await;
    bad.job("serverless", json!({"compute": {"type": "ss_serverless", "region": "EU"}}), &["compute.type"]).await;
    bad.job("no region", json!({"compute": {"type": "serverless"}}), &["compute.region"]).await;
    bad.job("an unknown region", json!({"compute": {"type": "serverless", "region": "x"}}), &["compute.region"]).await;
    let mysql = |config: Value| json!({"recipe_id": 28, "config": config});
    bad.job("a field of another recipe", mysql(json!({"root_path": "/"})), &["config.root_path"]).await;
    bad.job("a database that is an option", mysql(json!({"mysql_database": "--x"})), &["config.mysql_database"]).await;
    let both = mysql(json!({"mysql_host": "a b", "mysql_password": "a\nb"}));
    bad.job("a host and a password", both, &["config.mysql_host", "config.mysql_password"]).await;
    bad.job("a URL of another kind", config(json!({"url": "file:///etc/passwd"})), &["config.url"]).await;
    bad.job("a URL beside a root path", config(json!({"root_path": "/", "url": "a.b"})), &["config.url"]).await;
    bad.job("agent", json!({"compute": {"type": "agent"}}), &["compute.type"]).await;
    bad.job("an unknown compute", json!({"compute": {"type": "mainframe"}}), &["compute.type"]).await;
    bad.job("an empty list of storages", json!({"storage": []}), &["storage"]).await;
    let second = json!({"storage": [{"storage_id": 1}, {"storage_id": 98}]});
    bad.job("an unknown second storage", second, &["storage.1.storage_id"]).await;
    let twice = json!({"storage": [{"storage_id": 1}, {"storage_id": 1}]});
    bad.job("a storage twice", twice, &["storage.1.storage_id"]).await;
    let two = json!({"name": "x".repeat(256), "compute": {"server_id": 99}, "storage": [{"storage_id": 99}]});
    bad.job("three faults at once", two, &["compute.server_id", "name", "storage.0.storage_id"]).await;
    let path = format!("/v1/jobs/{}", bad.job);
    let changes = [
        ("an edit with a relative path", json!({"config": {"root_path": "x"}}), "config.root_path"),
        ("an edit of the recipe", json!({"recipe_id": 28}), "recipe_id"),
    ];
    for (what, change, field) in changes {
        let answer = bad.installation.api.patch(&path, change).await;
        bad.refused(what, answer, 422, &[field]).await;
    }
    insta::assert_snapshot!(bad.told(), @r"
    an unknown recipe: 422 recipe_id: there is no such recipe; there are 1 (file-backups), 8 (laravel-forge-backups), 28 (mysql-backups), 1001 (url-backups), 1002 (postgresql-backups), 1003 (mongodb-backups), 1004 (redis-backups), 1005 (sqlite-backups)
    an unknown recipe by name: 422 recipe: there is no such recipe; there are 1 (file-backups), 8 (laravel-forge-backups), 28 (mysql-backups), 1001 (url-backups), 1002 (postgresql-backups), 1003 (mongodb-backups), 1004 (redis-backups), 1005 (sqlite-backups)
    no recipe: 422 recipe_id: is required, one of 1 (file-backups), 8 (laravel-forge-backups), 28 (mysql-backups), 1001 (url-backups), 1002 (postgresql-backups), 1003 (mongodb-backups), 1004 (redis-backups), 1005 (sqlite-backups)
    no config: 422 config.root_path: is required: one absolute path per line
    a root path of blank lines: 422 config.root_path: is required: one absolute path per line
    a relative root path: 422 config.root_path: line 1 must be absolute: begin it with /
    a relative second path: 422 config.root_path: line 2 must be absolute: begin it with /
    level 20: 422 config.compression_level: must be a whole number from 0 to 19
    no server: 422 compute.server_id: is required
    serverless: 422 compute.type: must be server for file-backups
    no region: 422 compute.region: is required: EU or US
    an unknown region: 422 compute.region: must be EU or US
    a field of another recipe: 422 config.root_path: is not a field of mysql-backups; it has mysql_host, mysql_port, mysql_username, mysql_password, mysql_tls, mysql_tls_ca, mysql_database, mysql_excluded_tables, single_transaction, routines, events, triggers, run_on_replica, compression_level
    a database that is an option: 422 config.mysql_database: entry 1 must hold letters, digits, spaces and _-$.@#+ only, and begin with a letter, digit or _
    a host and a password: 422 config.mysql_host: must be a host name or address: letters, digits, dots and dashes, no leading dash; config.mysql_password: must not hold line breaks or other control characters
    a URL of another kind: 422 config.url: must begin with https:// or http://
    a URL beside a root path: 422 config.url: is not a field of file-backups; it has root_path, exclude, compression_level, use_sudo, one_file_system
    agent: 422 compute.type: agents are not available yet
    an unknown compute: 422 compute.type: must be server or ss_serverless
    an empty list of storages: 422 storage: must have at least one entry
    an unknown second storage: 422 storage.1.storage_id: names no storage of this account
    a storage twice: 422 storage.1.storage_id: stands there twice
    three faults at once: 422 compute.server_id: names no server of this account; name: must have 1 to 255 characters; storage.0.storage_id: names no storage of this account
    an edit with a relative path: 422 config.root_path: line 1 must be absolute: begin it with /
    an edit of the recipe: 422 recipe_id: of a job cannot be changed; make another job
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_and_storages() {
    let mut bad = Refusals::start().await;
    bad.server("port 65,536 by its other name", json!({"ssh_port": "65536"}), &["ssh_port"]).await;
    bad.server("a host with a newline", json!({"host": "a\nProxyCommand id"}), &["host"]).await;
    bad.server("a host with a space", json!({"host": "a b"}), &["host"]).await;
    bad.server("a host with a leading dash", json!({"host": "-oProxyCommand=id"}), &["host"]).await;
    bad.server("a host that is a number", json!({"host": "2130706433"}), &["host"]).await;
    bad.server("a user with a newline", json!({"user": "root\n"}), &["user"]).await;
    bad.server("a user with a space", json!({"user": "a b"}), &["user"]).await;
    bad.server("a user with a leading dash", json!({"user": "-lroot"}), &["user"]).await;
    bad.server("a host key that is none", json!({"host_key": "ssh-ed25519 x"}), &["host_key"]).await;
    let all = json!({"name": null, "host": null, "user": null, "ssh_key": null});
    let answer = bad.installation.api.post("/v1/servers", server(all)).await;
    bad.refused("nothing", answer, 422, &["host", "name", "ssh_key", "user"]).await;
    bad.storage("a bucket with a slash", json!({"bucket": "a/b"}), &["bucket"]).await;
    bad.storage("a region with a dot", json!({"region": "evil.com/"}), &["region"]).await;
    bad.storage("an endpoint of a provider", json!({"endpoint": "https://s3.example"}), &["endpoint"]).await;
    bad.storage("custom without an endpoint", json!({"provider": "custom"}), &["endpoint"]).await;
    let path = json!({"provider": "custom", "endpoint": "https://s3.example/path"});
    bad.storage("an endpoint with a path", path, &["endpoint"]).await;
    let answer = bad.installation.api.patch("/v1/storages/1", json!({"bucket": "other"})).await;
    bad.refused("the installation's own bucket", answer, 422, &["bucket"]).await;
    let answer = bad.installation.api.post("/v1/ssh-keys", json!({"name": " "})).await;
    bad.refused("a blank name", answer, 422, &["name"]).await;
    insta::assert_snapshot!(bad.told(), @r"
    port 65,536 by its other name: 422 ssh_port: must be between 1 and 65535
    a host with a newline: 422 host: must be a host name or address: letters, digits, dots and dashes, no leading dash
    a host with a space: 422 host: must be a host name or address: letters, digits, dots and dashes, no leading dash
    a host with a leading dash: 422 host: must be a host name or address: letters, digits, dots and dashes, no leading dash
    a host that is a number: 422 host: looks like a number; write an IPv4 address as four decimal numbers
    a user with a newline: 422 user: must be 1 to 64 letters, digits, dots, dashes, underscores, @ or +, with no leading dash
    a user with a space: 422 user: must be 1 to 64 letters, digits, dots, dashes, underscores, @ or +, with no leading dash
    a user with a leading dash: 422 user: must be 1 to 64 letters, digits, dots, dashes, underscores, @ or +, with no leading dash
    a host key that is none: 422 host_key: must be a known_hosts line (HOST ALGORITHM BASE64) or a fingerprint (SHA256:…), as ssh-keyscan and ssh-keygen -l print them
    nothing: 422 host: is required; name: is required; ssh_key: is required; user: is required
    a bucket with a slash: 422 bucket: must be a bucket name: 3 to 63 letters, digits, dots and dashes
    a region with a dot: 422 region: must be a region such as eu-central-1: lowercase letters, digits and dashes
    an endpoint of a provider: 422 endpoint: is known for this provider; leave it out
    custom without an endpoint: 422 endpoint: is required for this provider
    an endpoint with a path: 422 endpoint: must be https://HOST or https://HOST:PORT
    the installation's own bucket: 422 bucket: cannot be changed on the installation's own storage
    a blank name: 422 name: must not be blank
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_starts() {
    let mut bad = Refusals::start().await;
    let backups = format!("/v1/jobs/{}/backups", bad.job);
    bad.list("/v1/jobs?sort=--name", &["sort"]).await;
    let start = format!("{backups}/start");
    for (what, key) in [("a key of 256 characters", "k".repeat(256)), ("an empty key", String::new())] {
        let request = bad.request(Method::POST, &start).header("idempotency-key", key);
        let answer = bad.installation.api.send(request, Bytes::new()).await;
        bad.refused(what, answer, 422, &["Idempotency-Key"]).await;
    }
    let odd = http::HeaderValue::from_bytes(b"caf\xe9").unwrap();
    let request = bad.request(Method::POST, &start).header("idempotency-key", odd);
    let answer = bad.installation.api.send(request, Bytes::new()).await;
    bad.refused("a key with odd bytes", answer, 422, &["Idempotency-Key"]).await;
    let doubled = bad.request(Method::POST, &start).header("idempotency-key", "a").header("idempotency-key", "b");
    let answer = bad.installation.api.send(doubled, Bytes::new()).await;
    bad.refused("two keys", answer, 422, &["Idempotency-Key"]).await;
    insta::assert_snapshot!(bad.told(), @r"
    /v1/jobs?sort=--name: 422 sort: must be one of id, name, last_ran_at, created_at, updated_at, with - in front for descending
    a key of 256 characters: 422 Idempotency-Key: must be 1 to 255 visible ASCII characters
    an empty key: 422 Idempotency-Key: must be 1 to 255 visible ASCII characters
    a key with odd bytes: 422 Idempotency-Key: must be 1 to 255 visible ASCII characters
    two keys: 422 Idempotency-Key: must be sent once
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies() {
    let mut bad = Refusals::start().await;
    let typed = |bad: &Refusals, kind: &str| bad.request(Method::POST, "/v1/ssh-keys").header("content-type", kind);
    let json = "application/json";
    let request = typed(&bad, json);
    bad.raw("not JSON", request, "{\"name\":", 400).await;
    let request = typed(&bad, json);
    bad.raw("a list", request, "[]", 400).await;
    let request = typed(&bad, "application/x-www-form-urlencoded");
    bad.raw("a form that is not UTF-8", request, "name=%C3%28", 400).await;
    let request = typed(&bad, "multipart/form-data");
    bad.raw("a form without a boundary", request, "x", 400).await;
    let request = typed(&bad, "text/plain");
    bad.raw("plain text", request, "name=x", 415).await;
    let request = typed(&bad, "application/xml");
    bad.raw("XML", request, "<name>x</name>", 415).await;
    let request = bad.request(Method::POST, "/v1/ssh-keys");
    bad.raw("no type", request, "name=x", 415).await;
    let request = typed(&bad, json).header("content-encoding", "gzip");
    bad.raw("a compressed body", request, "x", 415).await;
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(1024 * 1024));
    let request = typed(&bad, json);
    bad.raw("over a mebibyte", request, large.clone(), 413).await;
    let answer = chunked(&bad.installation, &large).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(world(&bad.installation).await, bad.before, "a chunked body wrote something");
    insta::assert_snapshot!(bad.told(), @r"
    not JSON: 400 the body is not valid JSON: EOF while parsing a value at line 1 column 8
    a list: 400 the body must be a JSON object
    a form that is not UTF-8: 400 a form field is not valid UTF-8
    a form without a boundary: 400 the Content-Type multipart/form-data names no boundary
    plain text: 415 send the body as application/json, application/x-www-form-urlencoded or multipart/form-data
    XML: 415 send the body as application/json, application/x-www-form-urlencoded or multipart/form-data
    no type: 415 send the body as application/json, application/x-www-form-urlencoded or multipart/form-data
    a compressed body: 415 send the body without a Content-Encoding
    over a mebibyte: 413 the body is larger than 1048576 bytes
    ");
}

/// Sends a body in chunks, without saying how long it is, and answers the head of the response.
async fn chunked(installation: &Installation, body: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = installation.stack.base_url().strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let token = installation.stack.token().expose();
    let head = format!(
        "POST /v1/ssh-keys HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for chunk in body.as_bytes().chunks(64 * 1024) {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await.unwrap();
        stream.write_all(chunk).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_routes_and_methods() {
    let mut bad = Refusals::start().await;
    let base = bad.installation.stack.base_url().to_owned();
    let token = bad.installation.stack.token().expose().to_owned();
    let bare = |path: &str| http::Request::builder().method(Method::GET).uri(format!("{base}{path}"));
    let refused = [
        ("no token", bare("/v1/jobs")),
        ("an unknown token", bare("/v1/jobs").header("authorization", "Bearer hfst_x_y")),
        ("an altered token", bare("/v1/jobs").header("authorization", format!("Bearer {token}x"))),
        ("a password", bare("/v1/jobs").header("authorization", "Basic dTpw")),
        ("an empty header", bare("/v1/jobs").header("authorization", "")),
    ];
    for (what, request) in refused {
        let answer = bad.raw(what, request, "", 401).await;
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{what}");
        assert!(!answer.text().contains(&token), "{what} shows the token");
    }
    let authorization = format!("Bearer {token}");
    let doubled = bare("/v1/jobs").header("authorization", &authorization).header("authorization", &authorization);
    bad.raw("a doubled header", doubled, "", 400).await;
    let request = bad.request(Method::GET, "/v1/nowhere");
    bad.raw("an unknown route", request, "", 404).await;
    let request = bad.request(Method::GET, "/v1");
    bad.raw("the top", request, "", 404).await;
    for (method, path, allow) in [
        (Method::PUT, "/v1/jobs", "GET,HEAD,POST"),
        (Method::DELETE, "/v1/jobs", "GET,HEAD,POST"),
        (Method::PUT, "/v1/servers/1", "GET,HEAD,PATCH,POST,DELETE"),
        (Method::GET, "/v1/servers/1/check", "POST"),
        (Method::POST, "/v1/recipes", "GET,HEAD"),
    ] {
        let request = bad.request(method.clone(), path);
        let answer = bad.raw(&format!("{method} {path}"), request, "", 405).await;
        let mut methods: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
        let mut expected: Vec<_> = allow.split(',').collect();
        methods.sort_unstable();
        expected.sort_unstable();
        assert_eq!(methods, expected, "{path}");
    }
    insta::assert_snapshot!(bad.told(), @r"
    no token: 401 send the header Authorization: Bearer TOKEN
    an unknown token: 401 this token is not known; it may have been deleted
    an altered token: 401 this token is not known; it may have been deleted
    a password: 401 the Authorization header must be Bearer TOKEN
    an empty header: 401 the Authorization header must be Bearer TOKEN
    a doubled header: 400 send one Authorization header, not several
    an unknown route: 404 route not found
    the top: 404 route not found
    PUT /v1/jobs: 405 this path does not take that method; see Allow
    DELETE /v1/jobs: 405 this path does not take that method; see Allow
    PUT /v1/servers/1: 405 this path does not take that method; see Allow
    GET /v1/servers/1/check: 405 this path does not take that method; see Allow
    POST /v1/recipes: 405 this path does not take that method; see Allow
    ");
}
