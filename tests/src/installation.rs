//! An installation of its own: the whole stack on port 0, a clock that can be moved, and an SSH host to back up.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use holdfast_local::demo::sshd::Sshd;
use holdfast_local::embedded::EmbeddedAws;
use holdfast_local::stack::{Stack, StackOptions};
use holdfast_shared::aws::Endpoints;
use holdfast_shared::clock::OffsetClock;
use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::address::AllowedNetworks;
use holdfast_shared::service::{Report, Service};
use holdfast_worker::consumer::ConsumerOptions;
use jiff::SignedDuration;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::eventually;
use crate::http::Client;
use crate::proxy::Proxy;

/// What a test wants to be different.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// No worker in this process: the test runs one of its own, or none.
    pub no_worker: bool,
    /// Networks that users may name; loopback and private ones unless a test says otherwise.
    pub allow_networks: Option<AllowedNetworks>,
    /// The table is reached through this.
    pub table_proxy: Option<Proxy>,
    /// S3 is reached through this.
    pub s3_proxy: Option<Proxy>,
}

/// A running installation; everything goes when it is dropped.
#[derive(Debug)]
pub struct Installation {
    /// Calls the API with the first account's token.
    pub api: Client,
    /// The clock that every part of this process goes by.
    pub clock: Arc<OffsetClock>,
    /// The stack itself.
    pub stack: Stack,
    dir: TempDir,
}

/// A throwaway SSH host and the folder that it serves.
#[derive(Debug)]
pub struct Host {
    /// The server process.
    pub sshd: Sshd,
    /// Who logs in.
    pub user: String,
    dir: TempDir,
}

impl Host {
    /// Starts a host with an empty `site` folder.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same with further lines of `sshd_config`.
    pub async fn start_with(more: &str) -> Self {
        Self::start_in(TempDir::new().unwrap(), more).await
    }

    /// A host on which programs are looked for in its own `bin` first, and nowhere else if `only` is true.
    pub async fn start_with_programs(programs: &[(&str, &str)], only: bool) -> Self {
        let dir = TempDir::new().unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        for (name, script) in programs {
            std::fs::write(bin.join(name), script).unwrap();
            open_to_all(&bin.join(name), 0o755);
        }
        let others = if only { "" } else { ":/usr/local/bin:/usr/bin:/bin" };
        let path = format!("SetEnv PATH={}{others}", bin.display());
        Self::start_in(dir, &path).await
    }

    async fn start_in(dir: TempDir, more: &str) -> Self {
        std::fs::create_dir(dir.path().join("sshd")).unwrap();
        std::fs::create_dir(dir.path().join("site")).unwrap();
        let sshd = Sshd::start_with(&dir.path().join("sshd"), more).await.unwrap();
        let user = sshd.user().to_owned();
        Self { sshd, user, dir }
    }

    /// A host whose sessions belong to a user who may not read everything: `holdfast-test` when this runs as root (made
    /// where it is missing), otherwise whoever runs this.
    pub async fn start_for_other_user() -> Self {
        Self::start_for("holdfast-test", "").await
    }

    /// The same for a user of that name, with further lines of `sshd_config`.
    pub async fn start_for(user: &str, more: &str) -> Self {
        let mut host = Self::start_with(more).await;
        if rustix::process::geteuid().is_root() {
            host.user = make_user(user);
            // sshd reads the keys, and tar the site, as that user.
            for folder in ["", "sshd", "site"] {
                open_to_all(&host.dir.path().join(folder), 0o755);
            }
            open_to_all(&host.dir.path().join("sshd/authorized_keys"), 0o644);
        }
        host
    }

    /// Ends every session with SIGKILL; the server goes on.
    pub fn kill_sessions(&self) {
        kill_sessions_of(&self.sshd);
    }

    /// The folder to back up.
    pub fn site(&self) -> PathBuf {
        self.dir.path().join("site")
    }

    /// Writes a file below the site; its folders are made.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.site().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

impl Installation {
    /// A whole installation with one worker.
    pub async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    /// An installation that differs.
    pub async fn start_with(setup: Setup) -> Self {
        Self::reopen(TempDir::new().unwrap(), Arc::default(), setup).await
    }

    /// A whole installation whose S3 is behind `proxy`.
    pub async fn start_behind(proxy: &Proxy) -> Self {
        Self::start_with(Setup { s3_proxy: Some(proxy.clone()), ..Setup::default() }).await
    }

    /// An installation over a data folder that an earlier one left.
    pub async fn reopen(dir: TempDir, clock: Arc<OffsetClock>, setup: Setup) -> Self {
        let mut aws = EmbeddedAws::start(dir.path(), clock.clone()).await.unwrap();
        if let Some(proxy) = setup.table_proxy {
            proxy.forward_to(&aws.endpoints.dynamodb);
            aws.endpoints.dynamodb = proxy.url;
        }
        if let Some(proxy) = setup.s3_proxy {
            proxy.forward_to(&aws.endpoints.s3);
            aws.endpoints.s3 = proxy.url;
        }
        let options = StackOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            public_url: None,
            worker: (!setup.no_worker).then(ConsumerOptions::default),
            // Tests run the maintenance when they want to see what it does.
            maintenance: false,
            allow_networks: setup.allow_networks.unwrap_or_else(AllowedNetworks::loopback_and_private),
        };
        let stack = Stack::over(aws, options).await.unwrap();
        let api = Client::new(stack.base_url(), stack.token().expose());
        Self { api, clock, stack, dir }
    }

    /// The use cases below the API.
    pub fn service(&self) -> &Service {
        self.stack.service()
    }

    /// The first account.
    pub fn account(&self) -> AccountId {
        self.stack.aws().data().keys().account.clone()
    }

    /// Where the embedded services are.
    pub fn endpoints(&self) -> Endpoints {
        self.stack.aws().endpoints.clone()
    }

    /// The data folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Ends it cleanly and leaves the data folder and the clock, for [`Installation::reopen`].
    pub async fn stop(self) -> (TempDir, Arc<OffsetClock>) {
        self.stack.shutdown().await;
        (self.dir, self.clock)
    }

    /// Moves the clock on, for every part of this process.
    pub fn advance(&self, by: SignedDuration) {
        self.clock.advance(by);
        self.stack.aws().wake();
    }

    /// One pass of the maintenance; no step of it may fail.
    pub async fn maintain(&self) -> Report {
        let report = self.stack.run_maintenance().await;
        assert_eq!(report.failed_steps, 0, "{report:?}");
        report
    }

    /// Makes an SSH key that `host` accepts and a server for it; answers the server's id.
    pub async fn add_server(&self, host: &Host) -> u64 {
        let key = self.api.post("/v1/ssh-keys", json!({"name": "test"})).await.expect(201).data();
        host.sshd.authorize(key["public_key"].as_str().unwrap()).unwrap();
        let server = json!({
            "name": "test", "host": "127.0.0.1", "port": host.sshd.port(), "user": host.user, "ssh_key": key["id"],
        });
        self.api.post("/v1/servers", server).await.expect(201).data()["id"].as_u64().unwrap()
    }

    /// A job that backs up the host's site, without a schedule; answers its id.
    pub async fn add_job(&self, host: &Host) -> String {
        let server = self.add_server(host).await;
        self.add_job_with(server, json!({"config": {"root_path": host.site()}})).await
    }

    /// A job on a server; `more` replaces what a plain one would have.
    pub async fn add_job_with(&self, server: u64, more: Value) -> String {
        let mut job = json!({
            "name": "test", "recipe": "file-backups",
            "config": {"root_path": "/"},
            "compute": {"type": "server", "server_id": server},
            "storage": [{"storage_id": 1, "priority": 1}],
            "schedules": [],
        });
        for (name, value) in more.as_object().unwrap() {
            job[name] = value.clone();
        }
        let made = self.api.post("/v1/jobs", job).await.expect(201).data();
        made["id"].as_str().unwrap().to_owned()
    }

    /// Starts a backup by hand and answers its id.
    pub async fn start_backup(&self, job: &str) -> String {
        let started = self.api.post(&format!("/v1/jobs/{job}/backups/start"), json!({})).await.expect(202).json();
        started["backup_id"].as_str().unwrap().to_owned()
    }

    /// The backup once it has ended, however it ended.
    pub async fn ended(&self, backup: &str) -> Value {
        self.backup_when(backup, |backup| !matches!(backup["status"].as_str(), Some("pending" | "running"))).await
    }

    /// The backup once `is_so` holds of it.
    pub async fn backup_when(&self, backup: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually("the backup", || async {
            let seen = self.api.get(&format!("/v1/backups/{backup}")).await.expect(200).data();
            if is_so(&seen) { Ok(seen) } else { Err(seen) }
        })
        .await
    }

    /// The newest backup of a job of which `is_so` holds, once there is one.
    pub async fn listed_when(&self, job: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually("a backup in the list", || async {
            let listed = self.api.get(&format!("/v1/jobs/{job}/backups")).await.expect(200).data();
            let found = listed.as_array().unwrap().iter().find(|backup| is_so(backup)).cloned();
            found.ok_or(listed)
        })
        .await
    }

    /// The log of a backup once `is_so` holds of it.
    pub async fn log_when(&self, backup: &str, is_so: impl Fn(&str) -> bool) -> String {
        eventually("the log", || async {
            let log = self.log(backup).await;
            if is_so(&log) { Ok(log) } else { Err(log) }
        })
        .await
    }

    /// Starts a backup and answers it once it has ended.
    pub async fn run(&self, job: &str) -> Value {
        let backup = self.start_backup(job).await;
        self.ended(&backup).await
    }

    /// The whole log of a backup.
    pub async fn log(&self, backup: &str) -> String {
        self.api.get(&format!("/v1/backups/{backup}/log")).await.expect(200).text()
    }

    /// Every file of a backup, downloaded by its link and unpacked with stock `zstd`, in their order with their names.
    pub async fn unpacked(&self, backup: &Value) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for file in backup["files"].as_array().unwrap_or_else(|| panic!("no files: {backup}")) {
            let stored = self.api.download(file["url"].as_str().unwrap()).await.expect(200).body;
            let name = file["name"].as_str().unwrap();
            let plain = name.strip_suffix(".zst").unwrap_or_else(|| panic!("{name} is not compressed"));
            files.push((plain.to_owned(), crate::tree::pipe("zstd", &["-dc"], &stored)));
        }
        files
    }

    /// The only file of a completed backup, downloaded by its link.
    pub async fn download(&self, backup: &Value) -> bytes::Bytes {
        self.download_nth(backup, 0).await
    }

    /// A file of a completed backup by its place, downloaded by its link.
    pub async fn download_nth(&self, backup: &Value, place: usize) -> bytes::Bytes {
        let link = backup["files"][place]["url"].as_str().unwrap_or_else(|| panic!("no file: {backup}"));
        self.api.download(link).await.expect(200).body
    }
}

/// Ends every session of a server with SIGKILL; the server goes on.
pub fn kill_sessions_of(sshd: &Sshd) {
    let listener = sshd.pid().expect("sshd has ended");
    for session in processes_below(listener) {
        let pid = Pid::from_raw(session).unwrap();
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// An id that the API printed.
pub fn id(text: &str) -> Uuid {
    text.parse().unwrap()
}

fn make_user(name: &str) -> String {
    let found = Command::new("id").arg(name).output().unwrap();
    if !found.status.success() {
        // No password, but not locked either: sshd lets nobody in to a locked account.
        let made =
            Command::new("useradd").args(["--system", "--shell", "/bin/sh", "--password", "*", name]).output().unwrap();
        // Another test may have made it at the same moment.
        assert!(made.status.success() || made.status.code() == Some(9), "{made:?}");
    }
    name.to_owned()
}

fn open_to_all(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

/// Processes whose parent is `pid`, and theirs.
pub fn processes_below(pid: u32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let own: Vec<u32> = children.split_whitespace().map(|child| child.parse().unwrap()).collect();
    let below = own.iter().flat_map(|child| processes_below(*child)).collect::<Vec<_>>();
    own.into_iter().map(|child| i32::try_from(child).unwrap()).chain(below).collect()
}
