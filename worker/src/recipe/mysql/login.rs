//! Login: how the tools reach a database server, as an option file that they read from their input.

use std::fmt;

use holdfast_shared::domain::recipe::{Tls, TlsMode};
use holdfast_shared::domain::sealed::Secret;

use crate::recipe::SourceError;
use crate::recipe::tls::AUTHORITIES;

/// The longest line of an option file that every version reads whole, bytes (`my_default.c`: a buffer of 4,096).
const MAX_LINE_BYTES: usize = 4_000;

/// Where a database server is and who logs in. Nothing of it is ever among a tool's arguments or in its environment.
#[derive(Clone)]
pub struct Login {
    /// `None`: the host on which the tools run.
    pub host: Option<String>,
    /// TCP port; without a host, [`DEFAULT_PORT`] stands for the local socket.
    pub port: u16,
    /// The local socket, where it is not where the tools look for it.
    pub socket: Option<String>,
    /// `None`: whom the tools take by themselves.
    pub username: Option<String>,
    /// Its password; `None` for none.
    pub password: Option<Secret>,
    /// How the tools protect the connection.
    pub tls: Tls,
    /// What messages call the place, where host and port are only what leads there.
    pub shown: Option<String>,
    /// What its owner corrects when it is refused, such as `mysql_username and mysql_password`.
    pub corrected_by: &'static str,
}

/// Whose tools: they know TLS by other words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maker {
    Mariadb,
    Mysql,
}

impl Maker {
    /// By what a tool calls itself.
    pub(super) fn of(version: &str) -> Self {
        if version.contains("MariaDB") { Self::Mariadb } else { Self::Mysql }
    }
}

/// Where servers listen unless told otherwise.
pub const DEFAULT_PORT: u16 = 3306;

impl Login {
    /// The option file for a tool. `ignored_tables` are left out of a dump: each `database.table`, as the server spells it.
    pub(super) fn option_file(&self, maker: Maker, ignored_tables: &[String]) -> Result<Vec<u8>, SourceError> {
        let mut text = "[client]\n".to_owned();
        let port = self.port.to_string();
        match (&self.socket, self.address()) {
            (Some(socket), _) => push(&mut text, "socket", socket)?,
            (None, Some(host)) => {
                push(&mut text, "host", host)?;
                push(&mut text, "port", &port)?;
                push(&mut text, "protocol", "tcp")?;
            }
            (None, None) => {}
        }
        if let Some(username) = &self.username {
            push(&mut text, "user", username)?;
        }
        if let Some(password) = &self.password {
            push(&mut text, "password", password.expose())?;
        }
        for (option, value) in self.tls_options(maker)? {
            push(&mut text, option, value)?;
        }
        text.push_str("[mysqldump]\n");
        for table in ignored_tables {
            push(&mut text, "ignore-table", table)?;
        }
        Ok(text.into_bytes())
    }

    /// What a tool is told of TLS. MariaDB's go on in the clear where a server offers none, unless they check its name.
    fn tls_options(&self, maker: Maker) -> Result<Vec<(&'static str, &'static str)>, SourceError> {
        let authorities = ("ssl-ca", AUTHORITIES);
        Ok(match (self.tls.mode, maker) {
            (TlsMode::Prefer, _) => Vec::new(),
            (TlsMode::Disable, Maker::Mysql) => vec![("ssl-mode", "DISABLED")],
            (TlsMode::Require, Maker::Mysql) => vec![("ssl-mode", "REQUIRED")],
            (TlsMode::VerifyCa, Maker::Mysql) => vec![("ssl-mode", "VERIFY_CA"), authorities],
            (TlsMode::VerifyFull, Maker::Mysql) => vec![("ssl-mode", "VERIFY_IDENTITY"), authorities],
            (TlsMode::Disable, Maker::Mariadb) => vec![("ssl", "0")],
            // Newer ones check names unless told not to.
            (TlsMode::Require, Maker::Mariadb) => vec![("ssl", "1"), ("ssl-verify-server-cert", "0")],
            (TlsMode::VerifyFull, Maker::Mariadb) => vec![authorities, ("ssl-verify-server-cert", "1")],
            (TlsMode::VerifyCa, Maker::Mariadb) => {
                return Err(SourceError::Refused(
                    "mysql_tls is verify-ca, but MariaDB's tools on the server cannot insist on a certificate without \
                     insisting on its name; make it verify-full, or let the job run without a server"
                        .to_owned(),
                ));
            }
        })
    }

    /// The home folder that the tools shall see, if not their own: a login's own option files come after ours and would
    /// replace a user or a password that the job gives.
    pub(super) fn home(&self) -> Option<&'static str> {
        (self.username.is_some() || self.password.is_some()).then_some("HOME=/nonexistent")
    }

    /// The host to connect to by TCP; `None` for the local socket, which the tools also mean by `localhost`.
    fn address(&self) -> Option<&str> {
        match self.host.as_deref().unwrap_or("localhost") {
            "localhost" if self.port == DEFAULT_PORT => None,
            "localhost" => Some("127.0.0.1"),
            host => Some(host),
        }
    }

    /// Where the server is, for a message.
    pub fn place(&self) -> String {
        if let Some(shown) = &self.shown {
            return shown.clone();
        }
        match (&self.socket, self.address()) {
            (Some(socket), _) => format!("socket {socket}"),
            (None, Some(host)) => format!("{host} port {}", self.port),
            (None, None) => "the local socket".to_owned(),
        }
    }
}

/// Where it is; whoever logs in is not shown.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("place", &self.place()).finish_non_exhaustive()
    }
}

/// Adds a line, quoted and escaped as
/// [option files](https://dev.mysql.com/doc/refman/8.4/en/option-files.html) are read.
fn push(text: &mut String, option: &str, value: &str) -> Result<(), SourceError> {
    let mut line = format!("{option}=\"");
    for one in value.chars() {
        match one {
            '\\' => line.push_str("\\\\"),
            '"' => line.push_str("\\\""),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\0' => return Err(SourceError::Refused(format!("the {option} of the database holds a NUL"))),
            _ => line.push(one),
        }
    }
    line.push_str("\"\n");
    if line.len() > MAX_LINE_BYTES {
        let message =
            format!("the {option} of the database is longer than its tools can read ({MAX_LINE_BYTES} bytes)");
        return Err(SourceError::Refused(message));
    }
    text.push_str(&line);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login {
            host: None,
            port: DEFAULT_PORT,
            socket: None,
            username: Some("b".to_owned()),
            password: Some(Secret::new(" p\"w\\#;\n")),
            tls: Tls::preferred(),
            shown: None,
            corrected_by: "x",
        }
    }

    #[test]
    fn an_option_file_holds_everything_and_quotes_it() {
        let text = |login: &Login| {
            String::from_utf8(login.option_file(Maker::Mariadb, &["a b.c".to_owned()]).unwrap()).unwrap()
        };
        let local = "[client]\nuser=\"b\"\npassword=\" p\\\"w\\\\#;\\n\"\n[mysqldump]\nignore-table=\"a b.c\"\n";
        assert_eq!(text(&login()), local);
        let remote = text(&Login { host: Some("db.example".to_owned()), port: 3307, ..login() });
        assert!(remote.contains("host=\"db.example\"\nport=\"3307\"\nprotocol=\"tcp\"\n"), "{remote}");
        let other_port = text(&Login { port: 3307, ..login() });
        assert!(other_port.contains("host=\"127.0.0.1\"\nport=\"3307\"\n"), "{other_port}");
    }

    #[test]
    fn each_makers_tools_are_told_in_their_words() {
        let told = |mode, maker| {
            let tls = Tls { mode, authorities: None };
            let file = Login { tls, ..login() }.option_file(maker, &[]).map_err(|error| error.to_string())?;
            let text = String::from_utf8(file).unwrap();
            Ok::<_, String>(text.lines().filter(|line| line.starts_with("ssl")).collect::<Vec<_>>().join(" "))
        };
        let full = "ssl-mode=\"VERIFY_IDENTITY\" ssl-ca=\"/dev/fd/4\"";
        assert_eq!(told(TlsMode::VerifyFull, Maker::of("mysql  Ver 8.4.3 for Linux")).unwrap(), full);
        let mariadb = Maker::of("mariadb  Ver 15.1 Distrib 10.11.19-MariaDB, for debian-linux-gnu");
        let full = "ssl-ca=\"/dev/fd/4\" ssl-verify-server-cert=\"1\"";
        assert_eq!(told(TlsMode::VerifyFull, mariadb).unwrap(), full);
        assert_eq!(told(TlsMode::Prefer, mariadb).unwrap(), "");
        assert!(told(TlsMode::VerifyCa, mariadb).unwrap_err().starts_with("mysql_tls is verify-ca"));
    }

    #[test]
    fn a_password_shows_in_no_message() {
        let long = Login { password: Some(Secret::new("hunter2".repeat(600))), ..login() };
        assert!(!long.option_file(Maker::Mysql, &[]).unwrap_err().to_string().contains("hunter2"));
        assert!(!format!("{long:?}").contains("hunter2"));
    }
}
