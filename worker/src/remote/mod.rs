//! Remote: one SSH connection to one server, and commands on it or on this machine. The only place that spawns processes.
//!
//! It runs the system's OpenSSH: one master connection per server and run, a channel for each command. What a user named
//! reaches it only through a generated ssh_config, after an allow-list. The private key lies in memory-backed storage,
//! readable by us only, and only until the connection stands.
//!
//! What lies behind a proxy is reached by a [`Road`] through the proxy's own connection, a server's sshd like anything
//! else: each ssh knows one host, one key and one pinned host key, and which of the two failed is never in doubt.

mod certificate;
mod command;
mod error;
mod forward;
mod jump;
mod machine;
mod relay;
mod road;
mod scan;
mod target;
mod verifier;

use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_shared::clock::SharedClock;
use holdfast_shared::domain::login::{HostKey, Login};
use holdfast_shared::domain::sealed::Secret;
use holdfast_shared::guard::Guard;
use openssh::{ControlPersist, KnownHosts, SessionBuilder};
use tempfile::TempDir;

pub use command::{Bytes, Exit, Group, Output, RemoteCommand, Running};
pub use error::RemoteError;
pub use forward::forwards;
pub use jump::Jump;
pub use machine::Machine;
pub use relay::{Relay, Wire};
pub use road::{Road, Stream};

use error::Complaint;
use target::{ALIAS, Target};

/// Memory-backed on Linux, so that a key that is written there never reaches a disk.
const MEMORY_FOLDER: &str = "/dev/shm";
/// Folders of sessions are named by this and the process that made them.
const FOLDER_PREFIX: &str = "holdfast-ssh-";
/// For the whole of connecting to one address: ssh's own limits cover each step of it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
/// A master whose worker was killed ends by itself after so long without a command, seconds. A run may be as long without
/// one: while it waits for a storage to begin an upload or to complete one of thousands of parts.
const MASTER_IDLE_SECS: NonZeroUsize = NonZeroUsize::new(1_800).expect("1800 is not zero");

/// An open connection to a server.
#[derive(Debug)]
pub struct Session {
    master: Arc<openssh::Session>,
    host_key: HostKey,
    user: String,
    /// What it goes through, where it does not go straight; closed after it.
    way: Option<Box<Road>>,
    /// Words before those of each command.
    wrap: Vec<String>,
    /// A client of the master's that asks for nothing: with it there is always one, so that the master ends neither in a
    /// long pause between two commands nor where it only forwards. It goes with this process, however that ends.
    _client: UnixStream,
    /// Holds the master's socket; removed when dropped.
    folder: TempDir,
}

impl Session {
    /// Connects, where the guard lets us, and logs in; where the host has several addresses, at the first one that answers.
    /// The server has to show its pinned host key; without one it has to show the best of those that a scan saw just
    /// before, which [`Session::host_key`] then tells so that it can be pinned.
    pub async fn open(
        login: &Login,
        private_key: &Secret,
        guard: &Guard,
        clock: &SharedClock,
    ) -> Result<Self, RemoteError> {
        let pinned = login.host_key.as_ref();
        target::with_each(login, guard, |target| Self::open_at(target, pinned, private_key, clock)).await
    }

    async fn open_at(
        target: Target,
        pinned: Option<&HostKey>,
        private_key: &Secret,
        clock: &SharedClock,
    ) -> Result<Self, RemoteError> {
        let host_key = scan::key_to_trust(&target, pinned, clock).await?;
        let folder = session_folder().map_err(RemoteError::Local)?;
        let files = write_files(folder.path(), &target, &host_key, private_key).map_err(RemoteError::Local)?;
        let mut builder = SessionBuilder::default();
        builder
            .config_file(&files.config)
            .known_hosts_check(KnownHosts::Strict)
            .control_directory(folder.path())
            .control_persist(ControlPersist::IdleFor(MASTER_IDLE_SECS));
        let connected = tokio::time::timeout(OPEN_TIMEOUT, builder.connect(ALIAS)).await;
        // The master has read the key by now, and needs it never again.
        let removed = std::fs::remove_file(&files.identity);
        let master = match connected {
            Ok(Ok(master)) => master,
            Ok(Err(error)) => return Err(connect_error(&target, &host_key, error, clock).await),
            Err(_) => return Err(unreachable(&target, "logging in took longer than a minute")),
        };
        removed.map_err(RemoteError::Local)?;
        let client = UnixStream::connect(master.control_socket()).map_err(RemoteError::Local)?;
        let (master, user) = (Arc::new(master), target.user);
        Ok(Self { master, host_key, user, way: None, wrap: Vec::new(), _client: client, folder })
    }

    /// The same, but connects from the jump that `road` goes through.
    pub async fn open_through(
        road: Road,
        login: &Login,
        private_key: &Secret,
        clock: &SharedClock,
    ) -> Result<Self, RemoteError> {
        match Self::open_behind(&road, login, private_key, clock).await {
            Ok(session) => Ok(Self { way: Some(Box::new(road)), ..session }),
            Err(error) => {
                road.close().await;
                Err(error)
            }
        }
    }

    async fn open_behind(
        road: &Road,
        login: &Login,
        private_key: &Secret,
        clock: &SharedClock,
    ) -> Result<Self, RemoteError> {
        let target = Target::at(login, road.local_port(&login.host, login.port).await?)?;
        let opened = Self::open_at(target, login.host_key.as_ref(), private_key, clock).await;
        opened.map_err(|error| match error {
            RemoteError::Unreachable { .. } => road.trouble().unwrap_or(error),
            error => error,
        })
    }

    /// The key that the server showed.
    pub fn host_key(&self) -> &HostKey {
        &self.host_key
    }

    /// Whether the connection still stands, as far as its master has noticed.
    pub(super) fn is_there(&self) -> bool {
        UnixStream::connect(self.master.control_socket()).is_ok()
    }

    /// Disconnects. Commands that still run lose their connection.
    pub async fn close(self) {
        if let Some(master) = Arc::into_inner(self.master) {
            // A master that is gone already is as good as closed.
            let _ = master.close().await;
        }
        if let Some(road) = self.way {
            Box::pin(road.close()).await;
        }
    }
}

/// Removes what sessions of killed processes left behind: sockets and configs, and a key if it was killed while it
/// connected. Answers how many there were.
pub fn remove_stale_folders() -> usize {
    let alive = |name: &str| {
        let pid = name.strip_prefix(FOLDER_PREFIX)?.split('-').next()?.parse().ok()?;
        let process = rustix::process::Pid::from_raw(pid)?;
        Some(rustix::process::test_kill_process(process) != Err(rustix::io::Errno::SRCH))
    };
    let Ok(entries) = std::fs::read_dir(folder_for_sessions()) else { return 0 };
    let dead = entries.flatten().filter(|entry| entry.file_name().to_str().and_then(alive) == Some(false));
    dead.filter(|entry| std::fs::remove_dir_all(entry.path()).is_ok()).count()
}

fn folder_for_sessions() -> PathBuf {
    let memory = Path::new(MEMORY_FOLDER);
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// A folder that only we can enter.
fn session_folder() -> io::Result<TempDir> {
    let prefix = format!("{FOLDER_PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(folder_for_sessions())
}

struct Files {
    config: PathBuf,
    identity: PathBuf,
}

fn write_files(folder: &Path, target: &Target, host_key: &HostKey, private_key: &Secret) -> io::Result<Files> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        Ok::<_, io::Error>(path)
    };
    let public_key = host_key.public_key.as_deref().ok_or_else(|| io::Error::other("the host key is not known"))?;
    // A key without a line feed at its end is refused by OpenSSH.
    let identity = write("key", &format!("{}\n", private_key.expose().trim_end()))?;
    let known_hosts = write("known_hosts", &format!("{ALIAS} {public_key}\n"))?;
    let config = write("config", &target.ssh_config(&identity, &known_hosts))?;
    Ok(Files { config, identity })
}

/// Turns what ssh printed into what it means.
async fn connect_error(target: &Target, pinned: &HostKey, error: openssh::Error, clock: &SharedClock) -> RemoteError {
    let words = match error {
        openssh::Error::Connect(words) if words.kind() != io::ErrorKind::NotFound => words.to_string(),
        openssh::Error::Connect(error) | openssh::Error::Master(error) => return RemoteError::Local(error),
        other => return RemoteError::Local(io::Error::other(other)),
    };
    match error::read_complaint(&words) {
        Complaint::Login => RemoteError::LoginRefused { user: target.user.clone() },
        Complaint::Name => RemoteError::UnknownName { host: target.host.clone() },
        Complaint::Algorithms => RemoteError::Incompatible(words),
        Complaint::Other => unreachable(target, last_line(&words)),
        Complaint::HostKey { seen } => {
            let seen = match seen {
                Some(seen) => seen,
                None => scan::shown_fingerprints(target, clock).await,
            };
            RemoteError::HostKeyChanged { expected: pinned.fingerprint.clone(), seen }
        }
    }
}

fn unreachable(target: &Target, message: &str) -> RemoteError {
    RemoteError::Unreachable { host: target.host.clone(), port: target.port, message: message.to_owned() }
}

fn last_line(text: &str) -> &str {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("ssh gave no reason")
}
