//! PostgreSQL: the roles by `pg_dumpall`, then each database by `pg_dump`, each a file of its own.
//!
//! What is to be dumped is looked up with `psql` first, and the dump tool's version with it: it must not be older than
//! the server. Each dump is of one moment, but not all of the same.

mod archive;
mod client;

use std::collections::HashSet;
use std::time::Duration;

use holdfast_shared::domain::backup::MAX_FILES;
use holdfast_shared::domain::object_key::FileName;
use holdfast_shared::domain::recipe::{PostgresqlConfig, PostgresqlFormat};
use holdfast_shared::domain::sealed::Secret;
use serde::Deserialize;

use super::complaints::Complaints;
use super::{Asked, Dump, Judge, SourceError, SourceErrors};
use crate::remote::{Machine, Output, RemoteCommand};
use archive::Archive;
use client::{Client, complaints};

/// Databases that are there unless somebody dropped them, to ask about all others.
const MAINTENANCE_DATABASES: [&str; 2] = ["postgres", "template1"];
/// How long a question may take.
const LOOK_LIMIT: Duration = Duration::from_secs(120);

/// What there is to dump. The server writes the JSON, so a name may hold anything.
const LOOK: &str = "SELECT json_build_object( \
    'version', current_setting('server_version_num')::int, \
    'sees_passwords', has_table_privilege('pg_catalog.pg_authid', 'SELECT'), \
    'databases', (SELECT json_agg(json_build_object('name', datname, 'template', datistemplate) ORDER BY datname) \
        FROM pg_catalog.pg_database WHERE datallowconn))";

/// What the answer is written in, whatever the database is.
const UTF8: &str = "SET client_encoding = 'UTF8'";

/// What a dump of this database and user waits for, and on account of whom.
const WAITED_FOR: &str = "SELECT format('a lock on table %s, which is held by %s', wanted.relation::regclass, \
    (SELECT string_agg(format('process %s of user %s', holder.pid, holder.usename), ', ') \
        FROM pg_catalog.pg_stat_activity holder WHERE holder.pid = ANY (pg_catalog.pg_blocking_pids(wanted.pid)))) \
    FROM pg_catalog.pg_locks wanted JOIN pg_catalog.pg_stat_activity dump USING (pid) \
    WHERE NOT wanted.granted AND wanted.relation IS NOT NULL AND dump.application_name = 'pg_dump' \
        AND dump.usename = current_user AND dump.datname = current_database()";
/// How much longer than the run the server lets the dump wait for a lock, seconds: so that it does not wait for ever where
/// nobody could tell it that the run was stopped.
const LOCK_MARGIN_SECS: u64 = 30;

/// What a server answers to [`LOOK`].
#[derive(Debug, Deserialize)]
struct Seen {
    version: u32,
    sees_passwords: bool,
    databases: Vec<Database>,
}

#[derive(Debug, Deserialize)]
struct Database {
    name: String,
    template: bool,
}

/// Looks at the server: the roles first, if they are asked for, then each database.
pub async fn plan(asked: &Asked<'_>, config: &PostgresqlConfig) -> Result<Vec<Dump>, SourceError> {
    let password = config.access.password.as_ref().map(|sealed| asked.secret("postgresql_password", sealed));
    let client = Client { config, reach: asked.reach(&config.access, None).await?, password: password.transpose()? };
    let seen = look(&client, asked.machine).await?;
    check_version(&client, asked.machine, "pg_dump", seen.version).await?;
    let databases = chosen(&config.databases, &seen.databases)?;
    let mut dumps = Vec::with_capacity(databases.len() + 1);
    let mut names = HashSet::new();
    if config.globals {
        check_version(&client, asked.machine, "pg_dumpall", seen.version).await?;
        dumps.push(globals(&client, seen.sees_passwords, databases[0]));
        names.insert(dumps[0].name.clone());
    }
    for database in databases {
        dumps.push(dump(&client, database, asked.job.limits.stall_seconds, &mut names));
    }
    Ok(dumps)
}

/// Looks at the server that `config` names, and tells how to dump its first database into one file.
pub(super) async fn plan_one(
    asked: &Asked<'_>,
    config: &PostgresqlConfig,
    password: Option<Secret>,
    name: FileName,
) -> Result<Dump, SourceError> {
    let client = Client { config, reach: asked.reach(&config.access, None).await?, password };
    let seen = look(&client, asked.machine).await?;
    check_version(&client, asked.machine, "pg_dump", seen.version).await?;
    let database = chosen(&config.databases, &seen.databases)?[0];
    let stall = asked.job.limits.stall_seconds;
    Ok(Dump { name, ..dump(&client, database, stall, &mut HashSet::new()) })
}

/// Asks the first database of the job, or one that every server has.
async fn look(client: &Client<'_>, machine: &Machine) -> Result<Seen, SourceError> {
    let first = client.config.databases.first().map(String::as_str);
    let mut failure = None;
    for database in first.map_or(MAINTENANCE_DATABASES.to_vec(), |first| vec![first]) {
        let output = machine.output(psql(client, database, LOOK)).await?;
        let complaints = complaints().hear_all(&output.exit.stderr);
        match complaints.check("psql", output.exit.code) {
            Ok(()) => return read(&output),
            Err(SourceError::Refused(refusal)) => failure = failure.or(Some(refusal)),
            Err(other) => return Err(other),
        }
    }
    Err(SourceError::Refused(failure.unwrap_or_default()))
}

fn psql(client: &Client<'_>, database: &str, question: &str) -> RemoteCommand {
    let options = ["--no-psqlrc", "--no-password", "--quiet", "--no-align", "--tuples-only"];
    let options = options.into_iter().chain(["--set=ON_ERROR_STOP=1", "--command", UTF8, "--command", question]);
    client.command(database, "psql").args(options).limit(LOOK_LIMIT)
}

fn read(output: &Output) -> Result<Seen, SourceError> {
    serde_json::from_str(output.stdout.trim()).map_err(|error| {
        SourceError::Broken(format!(
            "psql answered what is no list of databases ({error}); name fewer databases, or one"
        ))
    })
}

/// The databases that a job means: those that it names, or all but the templates.
fn chosen<'a>(named: &'a [String], all: &'a [Database]) -> Result<Vec<&'a str>, SourceError> {
    let unknown = |name: &&String| !all.iter().any(|database| database.name == **name);
    let missing: Vec<_> = named.iter().filter(unknown).map(|name| format!("\"{name}\"")).collect();
    if !missing.is_empty() {
        let message = format!("the server has no database {}; correct postgresql_database", missing.join(", "));
        return Err(SourceError::Refused(message));
    }
    let chosen: Vec<&str> = match named {
        [] => all.iter().filter(|database| !database.template).map(|database| database.name.as_str()).collect(),
        named => named.iter().map(String::as_str).collect(),
    };
    match chosen.len() {
        0 => Err(SourceError::Refused("the server has no database but templates".to_owned())),
        // One more file may be that of the roles; the run counts them too.
        1..=MAX_FILES => Ok(chosen),
        many => Err(SourceError::Refused(format!(
            "the server has {many} databases, and a backup holds at most {MAX_FILES} files; name them in several jobs"
        ))),
    }
}

/// Fails for good where a tool is missing, or older than the server: it would not know all of what the server can do.
async fn check_version(client: &Client<'_>, machine: &Machine, tool: &str, server: u32) -> Result<(), SourceError> {
    let output = machine.output(client.command("", tool).args(["--version"]).limit(LOOK_LIMIT)).await?;
    complaints().hear_all(&output.exit.stderr).check(tool, output.exit.code)?;
    let (tool_release, server_release) = (release_of_text(&output.stdout), release_of_number(server));
    if tool_release.is_some_and(|release| release >= server_release) {
        return Ok(());
    }
    let (major, minor) = server_release;
    let needed = if major >= 10 { major.to_string() } else { format!("{major}.{minor}") };
    Err(SourceError::Refused(format!(
        "{tool} is older than the server: it is \"{}\", and the server is PostgreSQL {needed}; install \
         postgresql-client-{needed} or newer",
        output.stdout.trim()
    )))
}

/// The release in `pg_dump (PostgreSQL) 15.18 (Debian …)`: 15, or 9 and 6 when releases had two numbers.
fn release_of_text(text: &str) -> Option<(u32, u32)> {
    let version = text.split_once("(PostgreSQL) ")?.1;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let major = numbers.next()?.ok()?;
    let minor = if major >= 10 { 0 } else { numbers.next()?.ok()? };
    Some((major, minor))
}

/// The release in `server_version_num`: 150018 is 15.18, 90624 is 9.6.24.
fn release_of_number(number: u32) -> (u32, u32) {
    let major = number / 10_000;
    (major, if major >= 10 { 0 } else { number / 100 % 100 })
}

/// The dump of roles and tablespaces, connected to a database that is there.
fn globals(client: &Client<'_>, sees_passwords: bool, database: &str) -> Dump {
    // The option takes a whole connection string too; what could be taken for one goes by another database.
    let through = if database.contains(['=', ':']) { MAINTENANCE_DATABASES[1] } else { database };
    let passwords = (!sees_passwords).then_some("--no-role-passwords");
    let options = ["--no-password".to_owned(), "--globals-only".to_owned(), format!("--database={through}")];
    let options = options.into_iter().chain(passwords.map(str::to_owned));
    let mark = "-- PostgreSQL database cluster dump complete";
    let judge = Report::new("pg_dumpall", Proof::Mark(mark));
    let judge = if sees_passwords { judge } else { judge.remarking(WITHOUT_PASSWORDS) };
    Dump::of_command(FileName::of("globals", "sql"), client.command("", "pg_dumpall").args(options), judge)
}

const WITHOUT_PASSWORDS: &str =
    "the roles are stored without their passwords, as this user may not read them; a superuser may";

/// The dump of one database, which may stand still for `stall` seconds; `names` are those of files so far.
fn dump(client: &Client<'_>, database: &str, stall: u32, names: &mut HashSet<FileName>) -> Dump {
    let config = client.config;
    let (format, ending, proof) = match config.format {
        PostgresqlFormat::Plain => ("plain", "sql", Proof::Mark("-- PostgreSQL database dump complete")),
        PostgresqlFormat::Custom => ("custom", "dump", Proof::Archive(Archive::new())),
    };
    // The worker compresses, and better than the host would.
    let options = ["--no-password".to_owned(), format!("--format={format}"), "--compress=0".to_owned()];
    let lock_limit = (u64::from(stall) + LOCK_MARGIN_SECS) * 1_000;
    let options = options.into_iter().chain([format!("--lock-wait-timeout={lock_limit}")]);
    let tables = config.excluded_tables.iter().map(|table| format!("--exclude-table={}", pattern(table)));
    let data = config.excluded_table_data.iter().map(|table| format!("--exclude-table-data={}", pattern(table)));
    let command = client.command(database, "pg_dump").args(options.chain(tables).chain(data));
    Dump::of_command(free_name(database, ending, names), command, Report::new("pg_dump", proof))
        .asking(psql(client, database, WAITED_FOR))
}

/// A name that no other file of the backup has: two databases may differ in what a file's name does not show.
fn free_name(database: &str, ending: &str, names: &mut HashSet<FileName>) -> FileName {
    let mut name = FileName::of(database, ending);
    let mut number = 2;
    while !names.insert(name.clone()) {
        name = FileName::of(database, &format!("{number}.{ending}"));
        number += 1;
    }
    name
}

/// The [pattern] of one table, `table` or `schema.table`, in which nothing has a meaning.
///
/// [pattern]: https://www.postgresql.org/docs/current/app-psql.html#APP-PSQL-PATTERNS
fn pattern(table: &str) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    match table.split_once('.') {
        Some((schema, table)) => format!("{}.{}", quoted(schema), quoted(table)),
        None => quoted(table),
    }
}

/// What shows that a dump is whole.
#[derive(Debug)]
enum Proof {
    /// The comment that SQL ends with.
    Mark(&'static str),
    /// The archive itself.
    Archive(Archive),
}

/// The judge of each dump.
#[derive(Debug)]
struct Report {
    tool: &'static str,
    complaints: Complaints,
    proof: Proof,
    remark: Option<&'static str>,
}

impl Report {
    fn new(tool: &'static str, proof: Proof) -> Self {
        Self { tool, complaints: complaints(), proof, remark: None }
    }

    fn remarking(self, remark: &'static str) -> Self {
        Self { remark: Some(remark), ..self }
    }
}

impl Judge for Report {
    fn hear(&mut self, line: &str) {
        self.complaints.hear(line);
    }

    fn see(&mut self, bytes: &[u8]) {
        if let Proof::Archive(archive) = &mut self.proof {
            archive.see(bytes);
        }
    }

    fn remarks(&self) -> Vec<String> {
        self.remark.into_iter().map(str::to_owned).collect()
    }

    fn judge(&self, code: i32, tail: &[u8]) -> Result<SourceErrors, SourceError> {
        self.complaints.check(self.tool, code)?;
        let whole = match &self.proof {
            Proof::Mark(mark) if ends_in_mark(tail, mark) => Ok(()),
            Proof::Mark(_) => Err("the dump was cut off: it does not end as one ends".to_owned()),
            Proof::Archive(archive) => archive.check(),
        };
        let (tool, said) = (self.tool, self.complaints.said());
        whole.map(|()| Vec::new()).map_err(|why| SourceError::Broken(format!("{why}; {tool} said: {said}")))
    }
}

/// Whether SQL ends in the comment. Behind it newer releases have `\unrestrict TOKEN`, which undoes the `\restrict` at
/// the beginning, and nothing else.
fn ends_in_mark(tail: &[u8], mark: &str) -> bool {
    let mut lines = tail.trim_ascii_end().rsplit(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let last = lines.next().unwrap_or_default();
    let end = if last.starts_with(b"\\unrestrict ") { lines.next().unwrap_or_default() } else { last };
    end == b"--" && lines.next() == Some(mark.as_bytes()) && lines.next() == Some(b"--") && tail.ends_with(b"\n")
}

#[cfg(test)]
mod tests;
