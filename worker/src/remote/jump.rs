//! A jump: a host that we are logged in to, and from which others are reached.
//!
//! The connections go through its master, each as a channel of its own (`direct-tcpip`, what `ssh -W` and `ssh -L` open),
//! so nothing runs on the jump and its users need no shell there. Names are looked up where the connection is made: on the
//! jump. The guard has judged the way to the jump itself, from where on its owner's network is its owner's affair: a
//! private address behind it is what a jump is there for, and nothing of ours can be reached from it that the whole
//! internet could not reach.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use holdfast_shared::domain::host::Host;
use tokio::process::Command;
use tokio::time::timeout;

use super::{RemoteError, Session, last_line};

/// For asking the master for a forward; it does not connect yet.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(20);

/// A host that we are logged in to, and from which others are reached.
#[derive(Debug)]
pub struct Jump {
    session: Session,
    /// What its owner calls it, where it is a proxy; a server that is its own jump has none.
    proxy: Option<String>,
    forwards: AtomicU32,
}

impl Jump {
    /// The proxy of that name.
    pub fn proxy(session: Session, name: &str) -> Self {
        Self { session, proxy: Some(name.to_owned()), forwards: AtomicU32::new(0) }
    }

    /// A server from which something else is reached.
    pub fn server(session: Session) -> Self {
        Self { session, proxy: None, forwards: AtomicU32::new(0) }
    }

    /// Disconnects, and cuts off whatever is reached through it.
    pub async fn close(self) {
        self.session.close().await;
    }

    /// A socket of ours each of whose connections becomes one from the jump to `host`. That this fails is seen there
    /// only as an end; [`Jump::trouble`] then tells why.
    pub(super) async fn socket_to(&self, host: &Host, port: u16) -> Result<PathBuf, RemoteError> {
        let number = self.forwards.fetch_add(1, Ordering::Relaxed);
        let socket = self.session.folder.path().join(format!("forward-{number}"));
        let mut command = Command::new("ssh");
        // No config of this machine, and no connection of its own where the master is gone.
        command.args(["-F", "none", "-o", "ProxyCommand=false", "-S"]).arg(self.session.master.control_socket());
        // A host of ours holds no character that would end it here.
        command.args(["-O", "forward", "-L"]).arg(format!("{}:[{host}]:{port}", socket.display())).arg("none");
        command.stdin(Stdio::null()).kill_on_drop(true);
        let asked = timeout(FORWARD_TIMEOUT, command.output()).await.map_err(|_| self.named(RemoteError::Lost))?;
        match asked.map_err(RemoteError::Local)? {
            done if done.status.success() => Ok(socket),
            failed => {
                let words = String::from_utf8_lossy(&failed.stderr);
                tracing::debug!(words = last_line(&words), "a jump host does not take a forward");
                Err(self.named(RemoteError::Lost))
            }
        }
    }

    /// Why the last connection to `host` came to nothing, where the jump said so or is gone itself.
    pub(super) fn trouble(&self, host: &Host, port: u16) -> Option<RemoteError> {
        if !self.session.is_there() {
            return Some(self.named(RemoteError::Lost));
        }
        let log = self.session.master.control_socket().with_file_name("log");
        let words = std::fs::read_to_string(log).ok()?;
        let why = words.lines().rev().find_map(|line| line.split_once(": open failed: "))?.1;
        if why.starts_with("administratively prohibited") {
            return Some(self.named(RemoteError::ForwardingRefused { user: self.session.user.clone() }));
        }
        let why = why.strip_prefix("connect failed: ").unwrap_or(why).trim();
        let unknown = ["Name or service not known", "No address associated with hostname", "nodename nor servname"];
        if host.parse::<IpAddr>().is_err() && unknown.contains(&why) {
            return Some(RemoteError::UnknownName { host: host.to_string() });
        }
        let message = match &self.proxy {
            Some(name) => format!("{why}, as proxy {name} says"),
            None => format!("{why}, as the server says"),
        };
        Some(RemoteError::Unreachable { host: host.to_string(), port, message })
    }

    /// An error of the jump itself.
    fn named(&self, error: RemoteError) -> RemoteError {
        match &self.proxy {
            Some(name) => RemoteError::Proxy { name: name.clone(), error: Box::new(error) },
            None => error,
        }
    }
}
