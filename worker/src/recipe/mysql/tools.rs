//! Tools: which of them the machine has, and how they are run so that nothing secret shows.

use std::time::Duration;

use holdfast_shared::domain::recipe::TlsMode;
use tokio::io::AsyncReadExt;

use super::judge::complaints;
use super::login::{Login, Maker};
use crate::recipe::SourceError;
use crate::recipe::tls::with_authorities;
use crate::remote::{Machine, RemoteCommand, RemoteError};

/// How long looking at a server may take: it waits for locks too.
const LOOK_LIMIT: Duration = Duration::from_secs(300);
/// The most that an answer of the server may hold, bytes: names of some hundred thousand tables.
const MAX_ANSWER_BYTES: u64 = 32 << 20;

/// Prints those of its arguments that are programs.
const FIND: &str = r#"for tool; do command -v -- "$tool" >/dev/null 2>&1 && printf '%s\n' "$tool"; done; exit 0"#;

/// Runs its arguments on the SQL of the first line of input, with what follows as the option file `/dev/fd/3`. `cat` makes
/// that a pipe: what sshd hands over can be a socket, which cannot be opened by a name.
const QUERY: &str = r#"IFS= read -r sql
cat | { exec 3<&0; printf '%s\n' "$sql" | "$@"; }"#;

/// Runs its arguments and the lines of input up to an empty one, with what follows as the option file `/dev/stdin`. A tool
/// that cannot write any more shall end by itself, since it may have something to put right first.
const DUMP: &str = r#"trap '' PIPE
while IFS= read -r word && [ -n "$word" ]; do set -- "$@" "$word"; done
cat | "$@""#;

/// The tools of a machine.
#[derive(Debug)]
pub(super) struct Tools {
    found: Vec<String>,
}

/// A dump tool, and what it can be told.
#[derive(Debug)]
pub(super) struct DumpTool {
    pub name: String,
    /// What it calls itself, with its version.
    pub version: String,
    help: String,
}

impl Tools {
    /// Looks which tools there are.
    pub(super) async fn find(machine: &Machine) -> Result<Self, SourceError> {
        let words = ["-c", FIND, "sh", "mariadb", "mysql", "mariadb-dump", "mysqldump"];
        let output = machine.output(RemoteCommand::new("sh").args(words).limit(LOOK_LIMIT)).await?;
        Ok(Self { found: output.stdout.lines().map(str::to_owned).collect() })
    }

    /// The first of them that there is.
    fn first<'a>(&self, names: [&'a str; 2]) -> Result<&'a str, SourceError> {
        let found = names.into_iter().find(|name| self.found.iter().any(|found| found == name));
        found.ok_or_else(|| {
            let [one, other] = names;
            let packages = "on Debian and Ubuntu with `apt install mariadb-client` or `apt install mysql-client`";
            SourceError::Refused(format!(
                "neither {one} nor {other} is installed where the dump runs; install it, {packages}"
            ))
        })
    }

    /// Asks the server; answers its rows. `sql` is one line.
    pub(super) async fn query(
        &self,
        machine: &Machine,
        login: &Login,
        sql: &str,
    ) -> Result<Vec<Vec<String>>, SourceError> {
        let client = self.first(["mariadb", "mysql"])?;
        let command = self.question(machine, login, sql).await?;
        let mut running = machine.spawn(command, |_| ()).await?;
        let mut answer = Vec::new();
        if let Some(pipe) = running.take_stdout() {
            pipe.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await.map_err(RemoteError::Local)?;
        }
        if answer.len() as u64 == MAX_ANSWER_BYTES {
            return Err(SourceError::Refused(
                "the database server has too many names to list; name the databases".into(),
            ));
        }
        let exit = match running.wait().await {
            Err(RemoteError::TimedOut { .. }) => return Err(SourceError::Broken(slow(login))),
            ended => ended?,
        };
        complaints(login, String::new()).hear_all(&exit.stderr).check(client, exit.code)?;
        Ok(String::from_utf8_lossy(&answer).lines().map(cells).collect())
    }

    /// The command that asks the server, and prints its rows.
    pub(super) async fn question(
        &self,
        machine: &Machine,
        login: &Login,
        sql: &str,
    ) -> Result<RemoteCommand, SourceError> {
        let client = self.first(["mariadb", "mysql"])?;
        let maker = match login.tls.mode {
            // Both are told nothing.
            TlsMode::Prefer => Maker::Mysql,
            _ => maker_of(machine, client).await?,
        };
        let (script, mut input) = with_authorities(&login.tls, QUERY);
        let words = ["-c", &script, "sh", "env"].into_iter().chain(login.home()).chain([
            client,
            "--defaults-extra-file=/dev/fd/3",
            "--batch",
            "--skip-column-names",
            "--default-character-set=utf8mb4",
            "--connect-timeout=30",
        ]);
        input.extend(format!("{sql}\n").into_bytes());
        input.extend(login.option_file(maker, &[])?);
        Ok(RemoteCommand::new("sh").args(words).stdin(input).limit(LOOK_LIMIT))
    }

    /// The dump tool that goes best with the server.
    pub(super) async fn dump_tool(&self, machine: &Machine, is_mariadb: bool) -> Result<DumpTool, SourceError> {
        let names = if is_mariadb { ["mariadb-dump", "mysqldump"] } else { ["mysqldump", "mariadb-dump"] };
        let name = self.first(names)?;
        let output =
            machine.output(RemoteCommand::new(name).args(["--no-defaults", "--help"]).limit(LOOK_LIMIT)).await?;
        if output.exit.code != 0 {
            let said = output.exit.stderr;
            return Err(SourceError::Refused(format!("{name} cannot be run where the dump runs; mend it: {said}")));
        }
        let version = output.stdout.lines().next().unwrap_or_default().trim().to_owned();
        Ok(DumpTool { name: name.to_owned(), version, help: output.stdout })
    }
}

impl DumpTool {
    /// Whether it knows an option, such as `--events`.
    pub(super) fn knows(&self, option: &str) -> bool {
        let ends = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '-');
        self.help.match_indices(option).any(|(at, _)| ends(&self.help[at + option.len()..]))
    }

    /// The command that dumps `databases` with `options`.
    pub(super) fn command(
        &self,
        login: &Login,
        options: &[String],
        databases: &[String],
        ignored_tables: &[String],
    ) -> Result<RemoteCommand, SourceError> {
        let (script, mut input) = with_authorities(&login.tls, DUMP);
        for database in databases {
            if database.contains(['\n', '\0']) || database.is_empty() {
                let message = format!("the name of database {database:?} cannot be told to {}; rename it", self.name);
                return Err(SourceError::Refused(message));
            }
            input.extend(database.bytes().chain([b'\n']));
        }
        input.push(b'\n');
        input.extend(login.option_file(Maker::of(&self.version), ignored_tables)?);
        let words = ["-c", &script, "sh", "env"].into_iter().chain(login.home());
        let words = words.chain([self.name.as_str(), "--defaults-extra-file=/dev/stdin"]);
        let words = words.chain(options.iter().map(String::as_str)).chain(["--databases", "--"]);
        Ok(RemoteCommand::new("sh").args(words).stdin(input))
    }
}

/// Whose client that is.
async fn maker_of(machine: &Machine, client: &str) -> Result<Maker, SourceError> {
    let command = RemoteCommand::new(client).args(["--no-defaults", "--version"]).limit(LOOK_LIMIT);
    Ok(Maker::of(&machine.output(command).await?.stdout))
}

fn slow(login: &Login) -> String {
    let minutes = LOOK_LIMIT.as_secs() / 60;
    format!("the database server at {} did not answer within {minutes} minutes; is something locked?", login.place())
}

/// The cells of a row as `--batch` prints them.
fn cells(line: &str) -> Vec<String> {
    line.split('\t').map(unescaped).collect()
}

fn unescaped(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    let mut chars = cell.chars();
    while let Some(one) = chars.next() {
        match (one, one == '\\') {
            (_, true) => match chars.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('0') => text.push('\0'),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            (one, false) => text.push(one),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_meant() {
        assert_eq!(cells("a\\tb\\nc\\\\d\tNULL\t"), ["a\tb\nc\\d", "NULL", ""]);
    }

    #[test]
    fn options_are_known_by_their_whole_name() {
        let help = "mysqldump  Ver 8\n  --source-data[=#]   \n  --ignore-table-data=name\n  -E, --events  ".to_owned();
        let tool = DumpTool { name: String::new(), version: String::new(), help };
        assert!(tool.knows("--source-data") && tool.knows("--events") && tool.knows("--ignore-table-data"));
        assert!(!tool.knows("--ignore-table") && !tool.knows("--master-data") && !tool.knows("--event"));
    }
}
