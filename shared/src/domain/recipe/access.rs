//! Access to a database server: where it is, and who logs in how.

use serde::{Deserialize, Serialize};

use super::field::Setting;
use super::reader::{ConfigReader, password};
use crate::domain::host::Host;
use crate::domain::sealed::Sealed;

/// How long a login name may be.
const MAX_USERNAME_CHARS: usize = 128;

/// Where a database server is, and who logs in how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// `None`: the host on which the dump tool runs.
    #[serde(default)]
    pub host: Option<Host>,
    /// TCP port, 1 to 65,535.
    pub port: u16,
    /// `None`: whom the dump tool takes by itself.
    #[serde(default)]
    pub username: Option<String>,
    /// Sealed for the job and the field's key.
    #[serde(default)]
    pub password: Option<Sealed>,
}

/// The keys of host, port, user name and password.
pub(super) type AccessKeys = [&'static str; 4];

impl Access {
    /// Access without a password on the host itself.
    pub(super) fn local(port: u16) -> Self {
        Self { host: None, port, username: None, password: None }
    }

    pub(super) fn read(&mut self, reader: &mut ConfigReader<'_>, keys: AccessKeys) {
        let [host, port, name, secret] = keys;
        reader.text(host, Host::parse, &mut self.host);
        reader.port(port, &mut self.port);
        reader.text(name, username, &mut self.username);
        reader.secret(secret, password, &mut self.password);
    }

    /// In the order of [`AccessKeys`].
    pub(super) fn settings(&self) -> Vec<Setting<'_>> {
        vec![
            Setting::of(self.host.as_deref()),
            Setting::Number(self.port.into()),
            Setting::of(self.username.as_deref()),
            Setting::Secret(self.password.is_some()),
        ]
    }
}

/// Takes a login name of a database: longer and freer than a system's, but nothing that could be an option.
fn username(text: &str) -> Result<String, String> {
    if text.starts_with('-') || text.contains(char::is_control) || text.chars().count() > MAX_USERNAME_CHARS {
        let bounds = "with no leading dash and no control characters";
        return Err(format!("must be a login name of 1 to {MAX_USERNAME_CHARS} characters, {bounds}"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_and_refuses_login_names() {
        for text in ["root", "snapshooter-demo", "DOMAIN\\user", "a b", "ä'\"$"] {
            assert_eq!(username(text).unwrap(), text);
        }
        let long = "a".repeat(MAX_USERNAME_CHARS + 1);
        for text in ["-p", "--defaults-file=/x", "a\nb", "a\0", long.as_str()] {
            assert!(username(text).is_err(), "{text:?}");
        }
    }
}
