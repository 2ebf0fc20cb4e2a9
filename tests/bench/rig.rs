//! The parts that are measured, each a process: store and API, worker, sshd. All state is in one temporary folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use holdfast_local::demo::sshd::{Sshd, make_key};
use holdfast_tests::Client;
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::GB;
use crate::machine;
use crate::source::{self, Made};
use crate::store::History;

/// How often a running backup is looked at: seldom enough to cost nothing that could be seen.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the store's process says of itself.
#[derive(Debug, Deserialize)]
pub struct Reached {
    base_url: String,
    /// Its tokens.
    pub tokens: Vec<String>,
    /// What a worker, or the AWS CLI, finds in its environment.
    pub environment: HashMap<String, String>,
}

/// Store and API, and a host to back up.
#[derive(Debug)]
pub struct Rig {
    /// Calls the API.
    pub api: Client,
    /// How the store is reached.
    pub reached: Reached,
    store: Child,
    answers: Lines<BufReader<ChildStdout>>,
    sshd: Sshd,
    server: u64,
    dir: TempDir,
}

/// A worker's process; it ends with this value.
#[derive(Debug)]
pub struct Worker(Child);

/// CPU seconds by part.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    /// The side that backs up, up to the socket of the store.
    pub client: f64,
    /// sshd and tar.
    pub host: f64,
    /// The store, and for Holdfast the table, queue and API in the same process.
    pub store: f64,
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// From its start until it was known to be stored, seconds.
    pub wall: f64,
    /// CPU seconds.
    pub cpu: Cpu,
    /// The most that all ssh processes of the run held at once, MiB; 0 where that was not looked at.
    pub ssh_mib: f64,
    /// Bytes that were stored; 0 where that was not looked at.
    pub stored_bytes: u64,
}

impl Rig {
    /// Starts store and host. Fails where the disk has less than `needed_gb` left.
    pub async fn start(needed_gb: u64) -> anyhow::Result<Self> {
        machine::adopt_orphans()?;
        let dir = TempDir::with_prefix("holdfast-bench-")?;
        let disk = rustix::fs::statvfs(dir.path())?;
        let free_gb = disk.f_bavail * disk.f_frsize / GB;
        ensure!(
            free_gb >= needed_gb,
            "{} has {free_gb} GB left and {needed_gb} are needed; set TMPDIR or measure less with --size-gb",
            dir.path().display()
        );
        let (store, answers, reached) = start_store(&dir.path().join("data")).await?;
        std::fs::create_dir(dir.path().join("sshd"))?;
        let sshd = Sshd::start(&dir.path().join("sshd")).await?;
        make_key(&dir.path().join("own_key")).await?;
        sshd.authorize(&std::fs::read_to_string(dir.path().join("own_key.pub"))?)?;
        let known_hosts = format!("[127.0.0.1]:{} {}\n", sshd.port(), sshd.host_key()?);
        std::fs::write(dir.path().join("known_hosts"), known_hosts)?;
        let api = Client::new(&reached.base_url, reached.tokens.first().context("the store made no token")?);
        let key = api.post("/v1/ssh-keys", json!({"name": "bench"})).await.expect(201).data();
        sshd.authorize(key["public_key"].as_str().context("no public key")?)?;
        let server = json!({
            "name": "bench", "host": "127.0.0.1", "port": sshd.port(), "user": sshd.user(), "ssh_key": key["id"],
        });
        let server = api.post("/v1/servers", server).await.expect(201).data()["id"].as_u64().context("no server id")?;
        Ok(Self { api, reached, store, answers, sshd, server, dir })
    }

    /// Where the tree is that is backed up.
    pub fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    /// Makes the tree, and with that brings it into the page cache.
    pub fn make_tree(&self, size_gb: u64) -> anyhow::Result<Made> {
        Ok(source::make(&self.tree(), size_gb)?)
    }

    /// A job that stores the tree in one object, at zstd level 3.
    pub async fn add_job(&self, name: &str) -> anyhow::Result<String> {
        let job = json!({
            "name": name, "recipe": "file-backups",
            "config": {"root_path": self.tree(), "compression_level": 3},
            "compute": {"type": "server", "server_id": self.server},
            "storage": [{"storage_id": 1, "priority": 1}],
            "schedules": [{"cron": "0 3 * * *"}],
        });
        let made = self.api.post("/v1/jobs", job).await.expect(201).data();
        Ok(made["id"].as_str().context("no job id")?.to_owned())
    }

    /// Has the store write backups of a job that nobody ran.
    pub async fn add_history(&mut self, job: &str, backups: u64) -> anyhow::Result<()> {
        let asked = serde_json::to_string(&History { job: job.parse()?, backups })?;
        let stdin = self.store.stdin.as_mut().context("the store has no input")?;
        stdin.write_all(format!("{asked}\n").as_bytes()).await?;
        stdin.flush().await?;
        self.answers.next_line().await?.context("the backups were not written")?;
        Ok(())
    }

    /// Starts a worker and waits until it has settled.
    pub async fn start_worker(&self) -> anyhow::Result<Worker> {
        let program = std::env::current_exe()?.with_file_name("worker-process");
        let mut command = Command::new(program);
        command.envs(&self.reached.environment).env("RUST_LOG", "warn").stdin(Stdio::null()).kill_on_drop(true);
        let worker = Worker(command.spawn()?);
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(worker)
    }

    /// Runs a backup of the job; fails unless it completes without errors.
    pub async fn back_up(&self, worker: &Worker, job: &str) -> anyhow::Result<Cost> {
        let before = (self.cpu_of_host()?, self.cpu_of_store()?, machine::cpu_seconds(worker.pid()?)?);
        let started = Instant::now();
        let answer = self.api.post(&format!("/v1/jobs/{job}/backups/start"), json!({})).await.expect(202).json();
        let path = format!("/v1/backups/{}", answer["backup_id"].as_str().context("no backup id")?);
        let mut ssh_mib: f64 = 0.0;
        let backup = loop {
            let backup = self.api.get(&path).await.expect(200).data();
            if !matches!(backup["status"].as_str(), Some("pending" | "running")) {
                break backup;
            }
            ssh_mib = ssh_mib.max(worker.ssh_mib()?);
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let wall = started.elapsed().as_secs_f64();
        ensure!(backup["status"] == "completed", "the backup failed: {backup}");
        let masters = machine::bury_orphans("ssh").await?;
        machine::children_ended(self.sshd_pid()?).await?;
        let cpu = Cpu {
            client: machine::cpu_seconds(worker.pid()?)? - before.2 + masters,
            host: self.cpu_of_host()? - before.0,
            store: self.cpu_of_store()? - before.1,
        };
        let size = backup["files"][0]["size"].as_str().and_then(|size| size.strip_suffix(" bytes"));
        let stored_bytes = size.context("no size")?.parse()?;
        Ok(Cost { wall, cpu, ssh_mib, stored_bytes })
    }

    /// Runs a pipeline of bash's, in whose environment are the store's addresses and keys; fails unless it exits 0.
    pub async fn run_pipeline(&self, pipeline: &str) -> anyhow::Result<Cost> {
        let own = || machine::cpu_seconds(std::process::id());
        let before = (self.cpu_of_host()?, self.cpu_of_store()?, own()?);
        let started = Instant::now();
        let mut command = Command::new("bash");
        command.args(["-c", &format!("set -o pipefail; {pipeline}")]).current_dir(self.dir.path());
        // Version 1 of the AWS CLI knows the region by another name than the SDKs.
        let region = self.reached.environment.get("AWS_REGION").cloned().unwrap_or_default();
        command.env("AWS_DEFAULT_REGION", region);
        let ended = command.envs(&self.reached.environment).stdin(Stdio::null()).status().await?;
        let wall = started.elapsed().as_secs_f64();
        ensure!(ended.success(), "the pipeline failed: {ended}");
        machine::children_ended(self.sshd_pid()?).await?;
        let cpu = Cpu {
            client: own()? - before.2,
            host: self.cpu_of_host()? - before.0,
            store: self.cpu_of_store()? - before.1,
        };
        Ok(Cost { wall, cpu, ssh_mib: 0.0, stored_bytes: 0 })
    }

    /// How the host is logged in to by hand, as words of a shell.
    pub fn ssh_words(&self) -> String {
        let (port, user) = (self.sshd.port(), self.sshd.user());
        let options = "-o IdentitiesOnly=yes -o UserKnownHostsFile=known_hosts -o GlobalKnownHostsFile=/dev/null";
        format!("ssh -F none {options} -i own_key -c aes128-gcm@openssh.com -p {port} {user}@127.0.0.1")
    }

    /// CPU seconds of the store's process so far.
    pub fn cpu_of_store(&self) -> anyhow::Result<f64> {
        machine::cpu_seconds(self.store.id().context("the store has ended")?)
    }

    fn cpu_of_host(&self) -> anyhow::Result<f64> {
        machine::cpu_seconds(self.sshd_pid()?)
    }

    fn sshd_pid(&self) -> anyhow::Result<u32> {
        self.sshd.pid().context("sshd has ended")
    }
}

impl Worker {
    /// Peak of what was resident so far, MiB.
    pub fn peak_mib(&self) -> anyhow::Result<f64> {
        machine::memory_mib(self.pid()?, "VmHWM").context("the worker has ended")
    }

    fn pid(&self) -> anyhow::Result<u32> {
        self.0.id().context("the worker has ended")
    }

    /// What its ssh processes hold now, MiB: the master, which is an orphan, and one for each command.
    fn ssh_mib(&self) -> anyhow::Result<f64> {
        let all = machine::children_of(std::process::id()).into_iter().chain(machine::children_of(self.pid()?));
        Ok(all.filter(|pid| machine::is_program(*pid, "ssh")).filter_map(|pid| machine::memory_mib(pid, "VmRSS")).sum())
    }
}

async fn start_store(dir: &Path) -> anyhow::Result<(Child, Lines<BufReader<ChildStdout>>, Reached)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--store").arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut store = command.spawn()?;
    let stdout = store.stdout.take().context("the store has no output")?;
    let mut answers = BufReader::new(stdout).lines();
    let line = answers.next_line().await?.context("the store did not start")?;
    Ok((store, answers, serde_json::from_str(&line)?))
}
