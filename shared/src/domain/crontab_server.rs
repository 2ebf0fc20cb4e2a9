//! A crontab server: a machine that sends its users' crontabs by itself. Nothing connects to it.

use core::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::host::LoginName;
use super::sealed::{Sealed, Secret};

/// The longest identifier, in characters.
pub const MAX_IDENTIFIER_CHARS: usize = 128;
/// How long the command of an alert may be, bytes.
pub const MAX_COMMAND_BYTES: usize = 16 * 1024;

/// A machine that sends crontabs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrontabServer {
    /// Integer id, counted per account.
    pub id: u64,
    /// What its owner calls it.
    pub name: String,
    /// What it calls itself when it sends something; unique in the account, never changes. See [`identifier`].
    pub identifier: String,
    /// Where it sends from; an IPv4-mapped address is kept as the IPv4 address that it is.
    pub ip_address: IpAddr,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its owner last changed it.
    pub updated_at: Timestamp,
    /// Counts its owner's edits, from 1: each one states the revision that it read, and loses to an edit in between.
    pub revision: u64,
    /// How many alerts of it are kept.
    pub alerts: u64,
}

/// What its owner says of a new crontab server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCrontabServer {
    /// What to call it.
    pub name: String,
    /// What it calls itself.
    pub identifier: String,
    /// Where it sends from.
    pub ip_address: IpAddr,
}

/// What its owner changes of a crontab server; `None` leaves a part as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrontabServerEdit {
    /// What to call it.
    pub name: Option<String>,
    /// Where it sends from.
    pub ip_address: Option<IpAddr>,
}

/// A command of a crontab that did not do well, as its server told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Integer id, counted per account.
    pub id: u64,
    /// Whose crontab.
    pub username: LoginName,
    /// The command, sealed: commands hold passwords.
    pub command: Sealed,
    /// When it was told.
    pub created_at: Timestamp,
}

/// An alert in the open.
#[derive(Debug, Clone, PartialEq)]
pub struct PlainAlert {
    /// What is stored of it.
    pub alert: Alert,
    /// The command.
    pub command: Secret,
}

/// What a server says of a command that did not do well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAlert {
    /// Whose crontab.
    pub username: LoginName,
    /// The command.
    pub command: Secret,
}

impl CrontabServer {
    /// Whether something that came from `peer` came from this machine.
    pub fn is_at(&self, peer: IpAddr) -> bool {
        self.ip_address.to_canonical() == peer.to_canonical()
    }
}

/// Takes an identifier: 1 to [`MAX_IDENTIFIER_CHARS`] letters, digits, dots, dashes and underscores, first a letter or digit.
pub fn identifier(text: &str) -> Result<String, String> {
    let clean = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !clean || !begins || text.len() > MAX_IDENTIFIER_CHARS {
        return Err(format!(
            "must be 1 to {MAX_IDENTIFIER_CHARS} letters, digits, dots, dashes or underscores, first a letter or digit"
        ));
    }
    Ok(text.to_owned())
}

/// Takes an IPv4 or IPv6 address; an IPv4-mapped one is the IPv4 address that it is.
pub fn ip_address(text: &str) -> Result<IpAddr, &'static str> {
    let address = text.trim().parse::<IpAddr>();
    address.map(|address| address.to_canonical()).map_err(|_| "must be an IPv4 or IPv6 address")
}

/// Takes the command of an alert.
pub fn command(text: &str) -> Result<Secret, String> {
    if text.trim().is_empty() {
        return Err("must not be blank".to_owned());
    }
    if text.len() > MAX_COMMAND_BYTES {
        return Err(format!("must not be longer than {MAX_COMMAND_BYTES} bytes"));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_and_refuses_identifiers() {
        for text in ["web-1", "db.example.com", "A_b", "1"] {
            assert_eq!(identifier(text).as_deref(), Ok(text));
        }
        for text in ["", "-a", ".a", "a/b", "a b", "a\n", "ü", "a%2Fb", &"x".repeat(129)] {
            assert!(identifier(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address_that_it_is() {
        let now = Timestamp::UNIX_EPOCH;
        let at = |text: &str| CrontabServer {
            id: 1,
            name: "web".to_owned(),
            identifier: "web".to_owned(),
            ip_address: ip_address(text).unwrap(),
            created_at: now,
            updated_at: now,
            revision: 1,
            alerts: 0,
        };
        let cases = [
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "::ffff:203.0.113.7", true),
            ("::ffff:203.0.113.7", "203.0.113.7", true),
            ("2001:db8::1", "2001:0db8:0:0::1", true),
            ("203.0.113.7", "203.0.113.8", false),
            ("203.0.113.7", "::203.0.113.7", false),
        ];
        for (own, peer, is_same) in cases {
            assert_eq!(at(own).is_at(peer.parse().unwrap()), is_same, "{own} {peer}");
        }
        for text in ["", "x", "1.2.3", "203.0.113.7/32", "203.0.113.07", "fe80::1%eth0"] {
            assert!(ip_address(text).is_err(), "{text}");
        }
    }
}
