//! What can go wrong with a server, in words for its owner.

use std::io;

use holdfast_shared::domain::retry::Retry;
use holdfast_shared::guard::Refused;

/// A server could not be used. Display is safe to show to its owner and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Host, user or key are none that ssh may be given.
    #[error("the server cannot be connected to: {0}")]
    BadTarget(String),
    /// The host leads to where users may not lead us, or cannot be looked up.
    #[error(transparent)]
    Guarded(#[from] Refused),
    /// No SSH server answered, or not in time.
    #[error("no answer from {host} port {port}: {message}")]
    Unreachable {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
        /// What ssh said.
        message: String,
    },
    /// The name does not exist.
    #[error("host name {host} does not exist; correct it")]
    UnknownName {
        /// The host.
        host: String,
    },
    /// The server shows another key than the pinned one.
    #[error(
        "the host key has changed: expected {expected}, but the host shows {seen}; if that is right, accept its new key"
    )]
    HostKeyChanged {
        /// The pinned fingerprint.
        expected: String,
        /// What the server shows; more than one, where it has several keys.
        seen: String,
    },
    /// The server does not let the user in with this key.
    #[error("login as {user} was refused; add the SSH key's public half to that user's ~/.ssh/authorized_keys")]
    LoginRefused {
        /// The user.
        user: String,
    },
    /// Client and server have no algorithm in common.
    #[error("the server's SSH is too old or too strict to agree on an algorithm: {0}")]
    Incompatible(String),
    /// The host lets its users in, but lets them connect nowhere from there.
    #[error(
        "it lets {user} in, but lets no connections through; allow them in its sshd_config (AllowTcpForwarding, \
         PermitOpen, DisableForwarding) and in that user's authorized_keys (restrict, no-port-forwarding)"
    )]
    ForwardingRefused {
        /// The user.
        user: String,
    },
    /// The jump host on the way to a server failed, and not the server.
    #[error("proxy {name}: {error}")]
    Proxy {
        /// What its owner calls it.
        name: String,
        /// What is wrong with it.
        error: Box<RemoteError>,
    },
    /// There is no TLS with a database server as the job asks for it.
    #[error("TLS with {place} ({field}): {message}")]
    Tls {
        /// The server's host and port.
        place: String,
        /// The job's field that asks for it.
        field: &'static str,
        /// Why, and what to do.
        message: String,
        /// Whether trying again can help.
        retry: Retry,
    },
    /// The connection broke while a command ran.
    #[error("the connection was lost in the middle of it")]
    Lost,
    /// The command ran into its time limit.
    #[error("it was still running after {hours} hours and was stopped")]
    TimedOut {
        /// The limit.
        hours: u64,
    },
    /// The worker's own end failed: no `ssh` program, no room for its files.
    #[error("the worker could not start ssh")]
    Local(#[source] io::Error),
}

impl RemoteError {
    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Guarded(refused) => refused.retry(),
            Self::Proxy { error, .. } => error.retry(),
            Self::Tls { retry, .. } => *retry,
            Self::Unreachable { .. } | Self::Lost | Self::Local(_) => Retry::Later,
            Self::BadTarget(_)
            | Self::UnknownName { .. }
            | Self::HostKeyChanged { .. }
            | Self::LoginRefused { .. }
            | Self::ForwardingRefused { .. }
            | Self::Incompatible(_)
            | Self::TimedOut { .. } => Retry::Never,
        }
    }

    /// The step that failed: `connect`, `host_key`, `login`, `forwarding` or `command`.
    pub fn step(&self) -> &'static str {
        match self {
            Self::Proxy { error, .. } => error.step(),
            Self::HostKeyChanged { .. } => "host_key",
            Self::LoginRefused { .. } => "login",
            Self::ForwardingRefused { .. } => "forwarding",
            Self::TimedOut { .. } => "command",
            Self::BadTarget(_)
            | Self::Guarded(_)
            | Self::Lost
            | Self::Unreachable { .. }
            | Self::UnknownName { .. }
            | Self::Incompatible(_)
            | Self::Tls { .. }
            | Self::Local(_) => "connect",
        }
    }
}

/// What ssh's own words mean, when it could not connect.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    HostKey { seen: Option<String> },
    Login,
    Name,
    Algorithms,
    Other,
}

/// Reads what ssh printed. Its exit code is always 255, so the words are all there is; they are the same in every OpenSSH
/// since 6.8 (`sshconnect.c`, `sshconnect2.c`).
pub(super) fn read_complaint(text: &str) -> Complaint {
    if text.contains("Host key verification failed") || text.contains("HOST IDENTIFICATION HAS CHANGED") {
        let fingerprint = text.lines().map(str::trim).find(|line| line.starts_with("SHA256:"));
        return Complaint::HostKey { seen: fingerprint.map(|line| line.trim_end_matches('.').to_owned()) };
    }
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["Permission denied (", "Too many authentication failures", "No supported authentication methods"]) {
        Complaint::Login
    } else if says(&["Name or service not known", "nodename nor servname", "No address associated with hostname"]) {
        Complaint::Name
    } else if says(&["Unable to negotiate with", "no matching host key type", "no matching key exchange"]) {
        Complaint::Algorithms
    } else {
        Complaint::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // As OpenSSH 9.2 prints them.
    #[test]
    fn reads_what_ssh_prints() {
        let changed = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n\
                       The fingerprint for the ED25519 key sent by the remote host is\n\
                       SHA256:YDuHIETIU6YE8DZKgP7I8KBewVYa6iKk6MKlU3iy4/o.\n\
                       Host key verification failed.";
        let seen = Some("SHA256:YDuHIETIU6YE8DZKgP7I8KBewVYa6iKk6MKlU3iy4/o".to_owned());
        assert_eq!(read_complaint(changed), Complaint::HostKey { seen });
        let cases = [
            ("Host key verification failed.", Complaint::HostKey { seen: None }),
            ("root@127.0.0.1: Permission denied (publickey,keyboard-interactive).", Complaint::Login),
            ("ssh: Could not resolve hostname x.invalid: Name or service not known", Complaint::Name),
            ("ssh: Could not resolve hostname x: Temporary failure in name resolution", Complaint::Other),
            ("ssh: connect to host 127.0.0.1 port 22312: Connection refused", Complaint::Other),
            ("Unable to negotiate with 10.0.0.1 port 22: no matching cipher found.", Complaint::Algorithms),
            ("kex_exchange_identification: Connection closed by remote host", Complaint::Other),
        ];
        for (text, complaint) in cases {
            assert_eq!(read_complaint(text), complaint, "{text}");
        }
    }
}
