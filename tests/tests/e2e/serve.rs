//! `holdfast serve` as people run it: a process that says where it is, ends when told, and loses nothing when killed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use holdfast_local::demo::sshd::Sshd;
use holdfast_tests::{Client, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast-process");
/// How long it may take to end.
const END_LIMIT: Duration = Duration::from_secs(20);

/// A running `holdfast serve`.
pub struct Serve {
    child: Child,
    base_url: String,
    token_path: PathBuf,
    api: Client,
}

impl Serve {
    pub async fn start(data: &Path) -> Self {
        let mut command = serve(data, "127.0.0.1:0");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = async || lines.next_line().await.unwrap().expect("it ended before it said where it listens");
        let base_url = line().await.strip_prefix("holdfast listens on ").expect("where it listens").to_owned();
        let token_path = PathBuf::from(line().await.strip_prefix("its token is in ").expect("where its token is"));
        // What it prints later has to go somewhere.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let token = std::fs::read_to_string(&token_path).unwrap();
        let api = Client::new(&base_url, token.trim());
        Self { child, base_url, token_path, api }
    }

    /// `http://address:port`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Sends SIGTERM and answers the exit code.
    pub async fn end(mut self) -> Option<i32> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).unwrap();
        let asked = Instant::now();
        kill_process(pid, Signal::TERM).unwrap();
        let ended = tokio::time::timeout(END_LIMIT, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it still runs after {:?}", asked.elapsed())).unwrap();
        status.code()
    }

    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

fn serve(data: &Path, listen: &str) -> Command {
    let mut command = Command::new(HOLDFAST);
    command.arg("serve").arg("--listen").arg(listen).arg("--data").arg(data);
    command.stdin(Stdio::null()).env_remove("RUST_LOG").kill_on_drop(true);
    command
}

/// Runs a command line that must come to its end by itself.
pub async fn run(mut command: Command) -> Output {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    tokio::time::timeout(END_LIMIT, output).await.expect("it does not end").unwrap()
}

pub fn words(arguments: &[&str]) -> Command {
    let mut command = Command::new(HOLDFAST);
    command.args(arguments);
    command
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A host whose `tar` waits, before it reads anything, for as long as the file `hold` is there.
struct SlowHost {
    sshd: Sshd,
    dir: TempDir,
}

impl SlowHost {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        for folder in ["sshd", "site", "bin"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("site/index.html"), "hello").unwrap();
        std::fs::write(dir.path().join("hold"), "").unwrap();
        let here = dir.path().display();
        // `--version` and the like are answered at once.
        let script = format!(
            "#!/bin/sh\n\
             PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH\n\
             case \"$*\" in *--version*) exec tar \"$@\";; esac\n\
             touch '{here}/began'\n\
             while [ -e '{here}/hold' ]; do sleep 0.1; done\n\
             exec tar \"$@\"\n"
        );
        let tar = dir.path().join("bin/tar");
        std::fs::write(&tar, script).unwrap();
        std::fs::set_permissions(&tar, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("SetEnv PATH={here}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let sshd = Sshd::start_with(&dir.path().join("sshd"), &path).await.unwrap();
        Self { sshd, dir }
    }

    /// Waits until a `tar` was started since the last time.
    async fn began(&self) {
        let path = self.dir.path().join("began");
        eventually("tar", || async { std::fs::remove_file(&path) }).await;
    }

    fn let_go(&self) {
        std::fs::remove_file(self.dir.path().join("hold")).unwrap();
    }

    /// Makes a key, a server and a job of it; answers the job's id.
    async fn add_job(&self, api: &Client) -> String {
        let key = api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201).data();
        self.sshd.authorize(key["public_key"].as_str().unwrap()).unwrap();
        let server = json!({
            "name": "slow", "host": "127.0.0.1", "port": self.sshd.port(), "user": self.sshd.user(),
            "ssh_key": key["id"],
        });
        let server = api.post("/v1/servers", server).await.expect(201).data();
        let job = json!({
            "name": "slow", "recipe_id": 1, "config": {"root_path": self.dir.path().join("site")},
            "compute": {"server_id": server["id"]}, "storage": [{"storage_id": 1}],
        });
        api.post("/v1/jobs", job).await.expect(201).data()["id"].as_str().unwrap().to_owned()
    }
}

async fn backup_when(api: &Client, backup: &str, status: &str) -> Value {
    eventually(status, || async {
        let seen = api.get(&format!("/v1/backups/{backup}")).await.expect(200).data();
        if seen["status"] == status { Ok(seen) } else { Err(seen) }
    })
    .await
}

async fn start_backup(api: &Client, job: &str) -> String {
    let started = api.post(&format!("/v1/jobs/{job}/backups/start"), json!({})).await.expect(202).json();
    started["backup_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_and_help_are_what_one_expects() {
    let version = run(words(&["--version"])).await;
    assert_eq!(text(&version.stdout), format!("holdfast {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(version.status.code(), Some(0));
    let help = run(words(&["--help"])).await;
    assert_eq!(help.status.code(), Some(0));
    for word in ["serve", "demo", "Usage: holdfast", "Exit status"] {
        assert!(text(&help.stdout).contains(word), "{}", text(&help.stdout));
    }
    let help = text(&run(words(&["serve", "--help"])).await.stdout);
    for word in ["--listen", "127.0.0.1:8080", "--data", "./holdfast-data", "--public-url"] {
        assert!(help.contains(word), "{help}");
    }
    for wrong in [&["serve", "--listen", "127.0.0.1"][..], &["backup"], &[], &["serve", "--port", "1"]] {
        let refused = run(words(wrong)).await;
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}");
        assert!(text(&refused.stderr).to_lowercase().contains("usage") || text(&refused.stderr).contains("error"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_where_it_listens_and_guards_its_token() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("new/data");
    let serve = Serve::start(&data).await;
    assert!(serve.base_url.starts_with("http://127.0.0.1:"), "{}", serve.base_url);
    assert_eq!(serve.token_path, data.canonicalize().unwrap().join("token"));
    for (name, mode) in [("token", 0o600), ("key", 0o600), ("", 0o700)] {
        let found = std::fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{name:?} is {found:o}");
    }
    let health = serve.api.with_token("").get("/healthz").await.expect(200).json();
    assert_eq!(health, json!({"status": "ready"}));
    let storages = serve.api.get("/v1/storages").await.expect(200).data();
    assert_eq!((storages.as_array().unwrap().len(), &storages[0]["provider"]), (1, &json!("holdfast")));
    assert_eq!(serve.end().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_use_is_told_with_exit_2() {
    let (home, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let first = Serve::start(home.path()).await;
    let second = run(serve(home.path(), "127.0.0.1:0")).await;
    assert_eq!(second.status.code(), Some(2), "{}", text(&second.stderr));
    assert!(text(&second.stderr).contains("in use by another holdfast"), "{}", text(&second.stderr));

    let taken = first.base_url.strip_prefix("http://").unwrap();
    let refused = run(serve(other.path(), taken)).await;
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains(taken) && text(&refused.stderr).contains("--listen"));
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0, "the folder was touched for nothing");

    std::fs::write(other.path().join("letter.txt"), "dear").unwrap();
    let refused = run(serve(other.path(), "127.0.0.1:0")).await;
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("holds no holdfast data"), "{}", text(&refused.stderr));
    let mut odd = serve(home.path(), "127.0.0.1:0");
    odd.arg("--public-url").arg("backups.example.com");
    let refused = run(odd).await;
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    // The first one noticed nothing of it.
    first.api.get("/healthz").await.expect(200);
    assert_eq!(first.end().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_one_keeps_all_that_it_acknowledged() {
    let home = TempDir::new().unwrap();
    let host = SlowHost::start().await;
    let first = Serve::start(home.path()).await;
    let job = host.add_job(&first.api).await;
    let edit = json!({"name": "kept", "schedules": [{"frequency": "h24", "retention_daily": 3}]});
    first.api.patch(&format!("/v1/jobs/{job}"), edit).await.expect(204);
    let before = first.api.get("/v1/jobs").await.expect(200).data();
    let token = std::fs::read(&first.token_path).unwrap();
    first.kill().await;

    let second = Serve::start(home.path()).await;
    assert_eq!(std::fs::read(&second.token_path).unwrap(), token, "the token is another one");
    let after = second.api.get("/v1/jobs").await.expect(200).data();
    assert_eq!(after, before);
    host.let_go();
    let backup = start_backup(&second.api, &job).await;
    backup_when(&second.api, &backup, "completed").await;
    assert_eq!(second.end().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_ended_in_mid_backup_gives_it_back() {
    let home = TempDir::new().unwrap();
    let host = SlowHost::start().await;
    let first = Serve::start(home.path()).await;
    let job = host.add_job(&first.api).await;
    let backup = start_backup(&first.api, &job).await;
    host.began().await;
    backup_when(&first.api, &backup, "running").await;
    assert_eq!(first.end().await, Some(0));

    let second = Serve::start(home.path()).await;
    host.let_go();
    let done = backup_when(&second.api, &backup, "completed").await;
    assert!(done["attempt"].as_u64().unwrap() > 1, "{done}");
    let link = done["files"][0]["url"].as_str().unwrap();
    let file = second.api.download(link).await.expect(200);
    assert_eq!(file.body.len() as u64, done["files"][0]["stored_bytes"].as_u64().unwrap());
    let listed = second.api.get(&format!("/v1/jobs/{job}/backups")).await.expect(200).data();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(second.end().await, Some(0));
}
