//! Secrets stay secret: a canary in every field that takes one, and then a look at all that anybody gets to see or that
//! is kept: answers, errors, the audit trail, the table, the queue, every file, the log at its most talkative, and the
//! command lines and environments of all processes during runs.

pub mod canary;
pub mod secrets;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use holdfast_shared::aws::Sealer;
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::sealed::Sealed;
use holdfast_shared::domain::sealing_key::{SealingKey, SealingKeys};
use holdfast_tests::installation::Host;
use holdfast_tests::table::RawTable;
use holdfast_tests::{Client, eventually};
use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::routes;
use canary::{Canaries, Needle, found, found_in_file};
use secrets::Planter;

/// What logs everything that any part of the process could ever say.
const TALKATIVE: &str = "trace";
/// The files of the data folder that hold keys in the open, and nothing else.
const KEY_FILES: [&str; 2] = ["key", "token"];
/// The texts that are sealed, and shown to who may download.
const SHOWN: [&str; 4] = ["/content", "/diff", "/alerts", "/snapshots/"];

/// Shows the scripts of a job to who may set them.
const SCRIPTS: &str = "/scripts";

/// A running `holdfast serve` that logs all it can into a file.
struct Talkative {
    child: Child,
    home: TempDir,
    api: Client,
}

impl Talkative {
    async fn start() -> Self {
        let home = TempDir::new().unwrap();
        let [out, log] = ["out", "log"].map(|name| File::create(home.path().join(name)).unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-process"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(home.path().join("data"));
        command.env("RUST_LOG", TALKATIVE).stdin(Stdio::null()).stdout(out).stderr(log).kill_on_drop(true);
        let child = command.spawn().unwrap();
        let base_url = eventually("where it listens", || async {
            let said = std::fs::read_to_string(home.path().join("out")).unwrap();
            let lines: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("holdfast listens on ")).collect();
            lines.first().filter(|_| said.lines().count() > 1).map(|url| (*url).to_owned()).ok_or(said)
        })
        .await;
        let token = std::fs::read_to_string(home.path().join("data/token")).unwrap();
        Self { child, api: Client::new(&base_url, token.trim()), home }
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Ends it, and answers the folder with all that it left.
    async fn end(mut self) -> TempDir {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.child.wait().await.unwrap();
        self.home
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.api.post(path, body).await.expect(201).data()
    }
}

/// Samples what everybody on the machine can see of processes, until it is stopped.
struct Sampler {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<BTreeSet<Vec<u8>>>,
}

impl Sampler {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !told.load(Ordering::Relaxed) {
                for process in std::fs::read_dir("/proc").unwrap().flatten() {
                    let files = ["cmdline", "environ"].map(|name| std::fs::read(process.path().join(name)));
                    seen.extend(files.into_iter().flatten());
                }
                std::thread::sleep(Duration::from_millis(3));
            }
            seen
        });
        Self { stop, thread }
    }

    fn stop(self) -> BTreeSet<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The private half of an SSH key, as only the installation's keys open it.
async fn private_key(data: &Path, table: &RawTable) -> String {
    let file: Value = serde_json::from_slice(&std::fs::read(data.join("key")).unwrap()).unwrap();
    let key = SealingKey::from_base64(file["sealing_keys"][0]["key"].as_str().unwrap()).unwrap();
    let sealer = Sealer::new(SealingKeys::new(vec![(1, key)]).unwrap()).unwrap();
    let account = AccountId::parse(file["account"].as_str().unwrap()).unwrap();
    let item = table.item("#SSH_KEYS", "0001").await;
    let sealed = Sealed(item["private_key"].as_s().unwrap().clone());
    sealer.open(&account, "ssh_key/1", &sealed).unwrap().expose().to_owned()
}

/// The 32 bytes from which an ed25519 key follows, and what every private key begins with. In the file the seed stands
/// before the public half and the comment: <https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL.key>
fn needles_of(private_key: &str) -> Vec<Needle> {
    let text: String = private_key.lines().filter(|line| !line.starts_with("---")).collect();
    let bytes = STANDARD.decode(text).unwrap();
    let comment = bytes.windows(8).rposition(|window| window == b"holdfast").unwrap();
    let seed = &bytes[comment - 4 - 64..][..32];
    vec![Needle::new("the ssh key", seed), Needle::new("an ssh key", "OPENSSH PRIVATE KEY")]
}

/// What the key files hold.
fn keys_of(data: &Path) -> Vec<Needle> {
    let file: Value = serde_json::from_slice(&std::fs::read(data.join("key")).unwrap()).unwrap();
    let token = std::fs::read_to_string(data.join("token")).unwrap();
    vec![
        Needle::new("the sealing key", file["sealing_keys"][0]["key"].as_str().unwrap()),
        Needle::new("the stores' secret key", file["secret_key"].as_str().unwrap()),
        token_needle(token.trim()),
    ]
}

/// The secret of `hfst_ACCOUNT_ID_SECRET`.
fn token_needle(token: &str) -> Needle {
    Needle::new("a token", token.splitn(4, '_').nth(3).unwrap())
}

/// Calls every GET of the surface for every record that there is.
async fn every_get(api: &Client) -> Vec<(String, Bytes)> {
    let mut answers = Vec::new();
    let patterns = routes::all().into_iter().filter(|route| route.method == Method::GET).map(|route| route.pattern);
    for pattern in patterns.filter(|pattern| !pattern.starts_with("/v1/downloads/")) {
        for path in paths_of(api, &pattern).await {
            let answer = api.get(&path).await;
            assert!(answer.status != 429 && !answer.status.is_server_error(), "{path}: {}", answer.text());
            let headers = format!("{:?}\n", answer.headers);
            answers.push((path, [headers.as_bytes(), &answer.body].concat().into()));
        }
    }
    answers
}

async fn paths_of(api: &Client, pattern: &str) -> Vec<String> {
    let Some((list, rest)) = pattern.split_once("/{id}") else { return vec![pattern.to_owned()] };
    let lists = match list {
        "/v1/backups" => {
            let jobs = ids(api, "/v1/jobs").await;
            jobs.into_iter().map(|job| format!("/v1/jobs/{job}/backups")).collect()
        }
        "/v1/storage" => vec!["/v1/storages".to_owned()],
        list => vec![list.to_owned()],
    };
    let mut paths = Vec::new();
    for listed in lists {
        for id in ids(api, &listed).await {
            let path = format!("{list}/{id}{rest}");
            let numbers = if path.contains('{') { vec!["1", "2"] } else { vec![""] };
            let with = |number| path.replace("{number}", number).replace("{schedule}", number);
            paths.extend(numbers.into_iter().map(with));
        }
    }
    assert!(!paths.is_empty(), "nothing to show at {pattern}");
    paths
}

async fn ids(api: &Client, list: &str) -> Vec<String> {
    let listed = api.get(&format!("{list}?page_size=100")).await.expect(200).data();
    let id = |one: &Value| one["id"].as_str().map_or_else(|| one["id"].to_string(), str::to_owned);
    listed.as_array().unwrap().iter().map(id).collect()
}

/// Every file below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(files_below(&path)),
            false => files.push(path),
        }
    }
    files
}

/// A crontab and an alert with a secret in each, which who may download is shown.
async fn plant_shown(serve: &Talkative, canaries: &mut Canaries) {
    let server = json!({"name": "c", "ip_address": "203.0.113.7", "identifier": "web"});
    serve.post("/v1/crontab-servers", server).await;
    for _ in 0..2 {
        let text = format!("MAILTO=\n0 0 * * * backup -p{}\n", canaries.next());
        serve.post("/v1/crontabs", json!({"server": "web", "username": "root", "content": text})).await;
    }
    let alert = json!({"username": "root", "command": format!("backup -p{}", canaries.next())});
    serve.post("/v1/crontab-servers/1/alerts", alert).await;
}

/// Secrets in places that are for none.
async fn plant_elsewhere(serve: &Talkative, canaries: &mut Canaries) -> Vec<(String, Bytes)> {
    let mut answers = Vec::new();
    let armor = ["AGE-SECRET-KEY-1", "-----BEGIN OPENSSH PRIVATE KEY-----\n", "-----BEGIN PRIVATE KEY-----\n"];
    for begin in armor {
        let key = json!({"name": "k", "public_key": format!("{begin}{}", canaries.next())});
        answers.push((begin.to_owned(), serve.api.post("/v1/encryption-keys", key).await.expect(422).body));
    }
    for token in [format!("hfst_x_1_{}", canaries.next()), canaries.next()] {
        answers.push(("401".to_owned(), serve.api.with_token(&token).get("/v1/jobs").await.expect(401).body));
    }
    answers
}

/// A host that is backed up, its server with the number 1, and its job; and one of each resource that holds no secret.
async fn add_host(serve: &Talkative, host: &Host) -> String {
    let key = serve.post("/v1/ssh-keys", json!({"name": "k"})).await;
    host.sshd.authorize(key["public_key"].as_str().unwrap()).unwrap();
    let server = json!({"name": "w", "host": "127.0.0.1", "port": host.sshd.port(), "user": host.user, "ssh_key": 1});
    serve.post("/v1/servers", server).await;
    let proxy = json!({"name": "p", "host": "10.0.0.1", "user": "root", "ssh_key": 1});
    serve.post("/v1/proxies", proxy).await;
    let public = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    serve.post("/v1/encryption-keys", json!({"name": "e", "public_key": public})).await;
    let job = json!({
        "name": "files", "recipe": "file-backups", "config": {"root_path": host.site()},
        "compute": {"type": "server", "server_id": 1}, "storage": [{"storage_id": 1}],
        "schedules": [{"cron": "0 0 1 1 *", "timezone": "UTC", "retention_daily": 1}],
    });
    serve.post("/v1/jobs", job).await["id"].as_str().unwrap().to_owned()
}

/// A storage that is there and does not know the credentials, and a job that copies to it.
async fn add_refused_storage(serve: &Talkative, canaries: &mut Canaries) {
    let file = std::fs::read(serve.data().join("endpoints")).unwrap();
    let endpoints: Value = serde_json::from_slice(&file).unwrap();
    let storage = json!({
        "name": "refused", "provider": "custom", "bucket": "holdfast", "endpoint": endpoints["s3"],
        "key": canaries.next(), "secret": canaries.next(),
    });
    let id = serve.post("/v1/storages", storage).await["id"].clone();
    let job = json!({
        "name": "refused", "recipe": "file-backups", "config": {"root_path": "/etc/hostname"},
        "compute": {"type": "server", "server_id": 1}, "storage": [{"storage_id": id}], "schedules": [],
    });
    serve.post("/v1/jobs", job).await;
    serve.api.post(&format!("/v1/storages/{id}/check"), json!({})).await.expect(202);
    eventually("the storage's check", || async {
        let seen = serve.api.get(&format!("/v1/storages/{id}")).await.expect(200).data();
        if seen["check"]["status"] == "failed" { Ok(()) } else { Err(seen) }
    })
    .await;
}

/// Starts a backup of every job and waits until each was tried: nobody listens where the databases would be.
async fn run_all(serve: &Talkative) {
    serve.api.post("/v1/servers/1/check", json!({})).await.expect(202);
    for job in ids(&serve.api, "/v1/jobs").await {
        serve.api.post(&format!("/v1/jobs/{job}/backups/start"), json!({})).await.expect(202);
    }
    for job in ids(&serve.api, "/v1/jobs").await {
        eventually("all backups", || async {
            let listed = serve.api.get(&format!("/v1/jobs/{job}/backups")).await.expect(200).data();
            let untried = |one: &Value| match one["status"].as_str() {
                Some("pending" | "running") => one["failure"].is_null(),
                _ => false,
            };
            if listed.as_array().unwrap().iter().any(untried) { Err(listed) } else { Ok(()) }
        })
        .await;
    }
}

/// The ticket of a job's newest backup, after it was used.
async fn used_ticket(api: &Client, job: &str) -> Needle {
    let listed = api.get(&format!("/v1/jobs/{job}/backups")).await.expect(200).data();
    assert_eq!(listed[0]["status"], "completed", "{listed}");
    let link = listed[0]["files"][0]["url"].as_str().unwrap();
    api.download(link).await.expect(200);
    let ticket = link.rsplit('/').next().unwrap();
    // All of them begin alike; none ends like another.
    Needle::new("a ticket", &ticket[ticket.len() - 20..])
}

#[test]
fn secret_fields_are_known() {
    let fields = secrets::fields();
    let has = |path: &str, field: &str| fields.iter().any(|one| one.path == path && one.field == field);
    assert!(has("/v1/storages", "secret") && has("/v1/stacks/{id}", "databases.*.password"), "{fields:#?}");
    assert!(has("/v1/jobs", "config.mysql-backups.mysql_password") && has("/v1/notification-streams", "bot_token"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_seen_anywhere() {
    let serve = Talkative::start().await;
    let host = Host::start().await;
    host.write("index.html", "hello");
    let (mut sealed, mut shown) = (Canaries::new(), Canaries::new());
    let job = add_host(&serve, &host).await;

    let mut planter = Planter::new(&serve.api, &mut sealed);
    planter.plant().await;
    let missing: Vec<_> = secrets::fields().into_iter().filter(|field| !planter.planted.contains(field)).collect();
    assert!(missing.is_empty(), "no body in canaries/secrets.rs has a canary for {missing:#?}");
    let mut answers: Vec<(String, Bytes)> = planter.answers.into_iter().map(|(what, one)| (what, one.body)).collect();
    let made = planter.made;
    answers.extend(plant_elsewhere(&serve, &mut sealed).await);
    plant_shown(&serve, &mut shown).await;
    let new = json!({"name": "t", "abilities": ["*"]});
    let request = serve.api.request(Method::POST, "/v1/tokens").header("idempotency-key", "once");
    let request = request.header("content-type", "application/json");
    let token = serve.api.send(request, new.to_string().into()).await.expect(201).data()["token"].clone();
    let token = token.as_str().unwrap().to_owned();

    let sampler = Sampler::start();
    add_refused_storage(&serve, &mut sealed).await;
    run_all(&serve).await;
    let processes = sampler.stop();
    let ran = |what: &[u8]| processes.iter().any(|seen| seen.windows(what.len()).any(|window| window == what));
    assert!(ran(b"ssh\0") && ran(b"tar"), "no run was seen");

    let ticket = used_ticket(&serve.api, &job).await;
    let (sealed, shown) = ([sealed.needle("a secret")], [shown.needle("a crontab's secret")]);
    let table = RawTable::beside(&serve.data());
    let ssh = needles_of(&private_key(&serve.data(), &table).await);
    let keys = keys_of(&serve.data());
    let mut told = Vec::new();

    // One copy and one deletion, for what they leave in the trail and the table.
    serve
        .api
        .post(&format!("/v1/jobs/{}/clone", made.iter().find(|one| one.resource == "jobs").unwrap().id), json!({}))
        .await
        .expect(201);
    for one in ["storages", "stacks", "notification-streams", "jobs"] {
        let gone = made.iter().find(|made| made.resource == one).unwrap();
        serve.api.delete(&format!("/v1/{one}/{}", gone.id)).await.expect(204);
    }

    let reader = Resource::ALL.map(|resource| Ability::Read(resource).to_string());
    let reader = serve.post("/v1/tokens", json!({"name": "reader", "abilities": reader})).await;
    let reader_token = reader["token"].as_str().unwrap().to_owned();
    let reader = serve.api.with_token(&reader_token);
    for (path, answer) in every_get(&reader).await {
        let secrets = sealed.iter().chain(&shown).chain(&ssh).chain(&keys).chain([&ticket]);
        told.extend(found(secrets, &format!("GET {path} of a reader"), &answer));
        assert!(!String::from_utf8_lossy(&answer).contains("/v1/downloads/v"), "{path} shows a link");
    }
    let whole = serve.api.with_token(&token);
    for (path, answer) in every_get(&whole).await {
        if !path.ends_with(SCRIPTS) {
            told.extend(found(&sealed, &format!("GET {path}"), &answer));
        }
        told.extend(found(ssh.iter().chain(&keys), &format!("GET {path}"), &answer));
        if !SHOWN.iter().any(|part| path.contains(part)) {
            told.extend(found(&shown, &format!("GET {path}"), &answer));
        }
    }
    for (what, answer) in answers {
        told.extend(found(sealed.iter().chain(&shown), &format!("the answer to {what}"), &answer));
    }

    let tokens = [token_needle(&token), token_needle(&reader_token)];
    let everything = || sealed.iter().chain(&shown).chain(&ssh).chain(&keys).chain(&tokens).chain([&ticket]);
    for item in table.items().await {
        told.extend(found(everything(), &format!("the table at {:?}", item["pk"]), format!("{item:?}").as_bytes()));
    }
    for process in processes {
        told.extend(found(everything(), "a process", &process));
    }
    let home = serve.end().await;
    let key_files = KEY_FILES.map(|name| home.path().join("data").join(name));
    assert!(home.path().join("log").metadata().unwrap().len() > 1_000_000, "it logs nothing");
    for file in files_below(home.path()).into_iter().filter(|file| !key_files.contains(file)) {
        told.extend(found_in_file(everything(), &file));
    }
    assert!(told.is_empty(), "{} leaks:\n{}", told.len(), told[..told.len().min(20)].join("\n"));
}
