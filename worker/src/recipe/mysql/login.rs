//! Login: how the tools reach a database server, as an option file that they read from their input.

use std::fmt;

use holdfast_shared::domain::sealed::Secret;

use crate::recipe::SourceError;

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
    /// What its owner corrects when it is refused, such as `mysql_username and mysql_password`.
    pub corrected_by: &'static str,
}

/// Where servers listen unless told otherwise.
pub const DEFAULT_PORT: u16 = 3306;

impl Login {
    /// The option file. `ignored_tables` are left out of a dump: each `database.table`, as the server spells it.
    pub(super) fn option_file(&self, ignored_tables: &[String]) -> Result<Vec<u8>, SourceError> {
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
        text.push_str("[mysqldump]\n");
        for table in ignored_tables {
            push(&mut text, "ignore-table", table)?;
        }
        Ok(text.into_bytes())
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
            corrected_by: "x",
        }
    }

    #[test]
    fn an_option_file_holds_everything_and_quotes_it() {
        let text = |login: &Login| String::from_utf8(login.option_file(&["a b.c".to_owned()]).unwrap()).unwrap();
        let local = "[client]\nuser=\"b\"\npassword=\" p\\\"w\\\\#;\\n\"\n[mysqldump]\nignore-table=\"a b.c\"\n";
        assert_eq!(text(&login()), local);
        let remote = text(&Login { host: Some("db.example".to_owned()), port: 3307, ..login() });
        assert!(remote.contains("host=\"db.example\"\nport=\"3307\"\nprotocol=\"tcp\"\n"), "{remote}");
        let other_port = text(&Login { port: 3307, ..login() });
        assert!(other_port.contains("host=\"127.0.0.1\"\nport=\"3307\"\n"), "{other_port}");
    }

    #[test]
    fn a_password_shows_in_no_message() {
        let long = Login { password: Some(Secret::new("hunter2".repeat(600))), ..login() };
        assert!(!long.option_file(&[]).unwrap_err().to_string().contains("hunter2"));
        assert!(!format!("{long:?}").contains("hunter2"));
    }
}
