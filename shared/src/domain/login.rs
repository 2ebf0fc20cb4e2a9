//! A login: how an SSH host is reached, whether that is a server or a proxy on the way to one.

use serde::{Deserialize, Serialize};

pub use super::host::{Host, LoginName};
pub use super::host_key::{HostKey, HostKeySource};

/// Where sshd listens unless its owner says otherwise.
pub const DEFAULT_PORT: u16 = 22;

/// Which record a login belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshHost {
    /// The server of that id.
    Server(u64),
    /// The proxy of that id.
    Proxy(u64),
}

/// Where to connect to, as whom, with which key, and what must be there. Part of the record that it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Login {
    /// Host name or address.
    pub host: Host,
    /// TCP port, 1 to 65,535.
    pub port: u16,
    /// Login name.
    pub user: LoginName,
    /// The key that logs in.
    pub ssh_key_id: u64,
    /// The key that the host must show; `None` until the first connection pins what it sees.
    #[serde(default)]
    pub host_key: Option<HostKey>,
}

/// What its owner changes of a login; `None` leaves a part as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoginEdit {
    /// Host name or address.
    pub host: Option<Host>,
    /// TCP port, 1 to 65,535.
    pub port: Option<u16>,
    /// Login name.
    pub user: Option<LoginName>,
    /// The key that logs in.
    pub ssh_key_id: Option<u64>,
    /// The key that the host must show.
    pub host_key: Option<HostKey>,
}

impl LoginEdit {
    /// The login as it is after the edit.
    ///
    /// A key that was pinned from the first connection belongs to the machine that was connected to, so it goes when
    /// host or port change; one that the owner gave or accepted stays.
    pub fn apply(self, seen: &Login) -> Login {
        let host = self.host.unwrap_or_else(|| seen.host.clone());
        let port = self.port.unwrap_or(seen.port);
        let moved = host != seen.host || port != seen.port;
        let kept = seen.host_key.clone().filter(|key| !(moved && key.source == HostKeySource::FirstUse));
        Login {
            host,
            port,
            user: self.user.unwrap_or_else(|| seen.user.clone()),
            ssh_key_id: self.ssh_key_id.unwrap_or(seen.ssh_key_id),
            host_key: self.host_key.or(kept),
        }
    }
}

/// Whether the last connection worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginStatus {
    /// Never connected.
    #[default]
    Pending,
    /// The last connection worked.
    Success,
    /// The last connection failed.
    Failed,
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn login(source: HostKeySource) -> Login {
        let fingerprint = "SHA256:jCqC5VQl2yLgLgcFs7UzoqVisSiuEleFs0EvMvsUHn0";
        Login {
            host: Host::parse("10.0.0.1").unwrap(),
            port: 22,
            user: LoginName::parse("backup").unwrap(),
            ssh_key_id: 1,
            host_key: Some(HostKey::parse(fingerprint, source, Timestamp::UNIX_EPOCH).unwrap()),
        }
    }

    #[test]
    fn a_key_seen_on_first_use_goes_with_the_machine_it_was_seen_on() {
        let moves = [
            LoginEdit { port: Some(2222), ..LoginEdit::default() },
            LoginEdit { host: Some(Host::parse("10.0.0.2").unwrap()), ..LoginEdit::default() },
        ];
        for edit in moves {
            assert_eq!(edit.clone().apply(&login(HostKeySource::FirstUse)).host_key, None);
            for source in [HostKeySource::Given, HostKeySource::Accepted] {
                assert_eq!(edit.clone().apply(&login(source)).host_key, login(source).host_key);
            }
        }
        let seen = login(HostKeySource::FirstUse);
        let edit = LoginEdit { ssh_key_id: Some(2), port: Some(22), ..LoginEdit::default() };
        assert_eq!(edit.apply(&seen), Login { ssh_key_id: 2, ..seen });
    }
}
