//! PostgreSQL's own programs: how they are told where to connect to, and what they complain of.

use holdfast_shared::domain::recipe::PostgresqlConfig;
use holdfast_shared::domain::sealed::Secret;

use crate::recipe::complaints::Complaints;
use crate::remote::RemoteCommand;

/// Runs the words after the first four, connected to host, port, user and database; what is empty is left to libpq. They
/// stand in variables of libpq's, where a database's name is nothing but that: as an operand it may be a whole connection
/// string. The first line of the input, unless it is empty, is a line of a [password file]. That has to be a regular
/// file, so it is one for as long as it takes to open it: in memory where there is a place for that, and gone before
/// anything that could be looked at starts.
///
/// [password file]: https://www.postgresql.org/docs/current/libpq-pgpass.html
const CONNECT: &str = r#"
IFS= read -r line
if [ -n "$line" ]; then
    umask 077
    file=$(mktemp -p /dev/shm 2>/dev/null || mktemp) || exit 1
    printf '%s\n' "$line" >"$file" && exec 3<"$file" || { rm -f "$file"; exit 1; }
    rm -f "$file"
    export PGPASSFILE=/dev/fd/3
fi
unset line PGPASSWORD PGSERVICE PGHOSTADDR PGCLIENTENCODING
[ -z "$1" ] || export PGHOST="$1"
[ -z "$3" ] || export PGUSER="$3"
export PGPORT="$2" PGDATABASE="$4" PGCONNECT_TIMEOUT=30
shift 4
exec "$@"
"#;

/// How one job's programs connect.
#[derive(Debug)]
pub(super) struct Client<'a> {
    pub(super) config: &'a PostgresqlConfig,
    pub(super) password: Option<Secret>,
}

impl Client<'_> {
    /// A program connected to `database`.
    pub(super) fn command(&self, database: &str, program: &str) -> RemoteCommand {
        let access = &self.config.access;
        let (host, user) = (access.host.as_deref().unwrap_or_default(), access.username.as_deref().unwrap_or_default());
        let words = ["-c", CONNECT, "sh", host, &access.port.to_string(), user, database, program].map(str::to_owned);
        let line = self.password.as_ref().map(|password| password_line(password.expose())).unwrap_or_default();
        RemoteCommand::new("sh").args(words).stdin(format!("{line}\n").into_bytes())
    }
}

/// A line of a password file that counts for every connection.
fn password_line(password: &str) -> String {
    format!("*:*:*:*:{}", password.replace('\\', "\\\\").replace(':', "\\:"))
}

/// What PostgreSQL's programs print as errors.
pub(super) fn complaints() -> Complaints {
    Complaints::new(refusal)
}

/// Messages of server and programs in English that stay until somebody acts. A server that speaks another language is
/// understood no further than its programs are; the failure then says what they said.
fn refusal(line: &str) -> Option<String> {
    let says = |words: &str| line.contains(words);
    let advice = if says("password authentication failed") {
        "correct the user name or the password"
    } else if says("no password supplied") {
        "the server wants a password; set postgresql_password"
    } else if says("authentication failed for user") {
        "let this user log in by pg_hba.conf, or set postgresql_host, postgresql_username and postgresql_password"
    } else if says("no pg_hba.conf entry") {
        "allow this user and address in the server's pg_hba.conf"
    } else if says("permission denied for database") || says("does not have CONNECT privilege") {
        "GRANT CONNECT ON DATABASE … TO the user of the job"
    } else if says("permission denied for large object") {
        "GRANT SELECT ON LARGE OBJECT … TO the user of the job, or make it their owner's member"
    } else if says("permission denied for") {
        "GRANT pg_read_all_data TO the user of the job (before PostgreSQL 14: SELECT and USAGE on each table and schema)"
    } else if says("row-level security policy") {
        "ALTER ROLE … BYPASSRLS for the user of the job, so that no row is left out"
    } else if says("database \"") && says("does not exist") {
        "correct postgresql_database"
    } else if says("role \"") && says("does not exist") {
        "correct postgresql_username"
    } else if says("server version mismatch") {
        "install a pg_dump that is at least as new as the server"
    } else {
        return None;
    };
    Some(format!("{line}: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_field_of_its_line() {
        assert_eq!(password_line(r" a:b\c "), r"*:*:*:*: a\:b\\c ");
    }

    #[test]
    fn nothing_secret_is_among_the_words() {
        let config = PostgresqlConfig::default();
        let client = Client { config: &config, password: Some(Secret::new("hunter2")) };
        let command = client.command("shop", "pg_dump");
        assert!(!format!("{command:?}").contains("hunter2"));
    }

    #[test]
    fn complaints_say_what_to_do() {
        let cases = [
            (r#"psql: error: FATAL:  password authentication failed for user "b""#, "correct the user name"),
            (r#"psql: error: FATAL:  database "shop" does not exist"#, "postgresql_database"),
            (r#"psql: error: FATAL:  role "b" does not exist"#, "postgresql_username"),
            ("pg_dump: error: query failed: ERROR:  permission denied for table t", "GRANT pg_read_all_data"),
            ("ERROR:  permission denied for large object 16402", "ON LARGE OBJECT"),
            (r#"FATAL:  permission denied for database "shop""#, "GRANT CONNECT"),
            ("ERROR:  query would be affected by row-level security policy for table \"t\"", "BYPASSRLS"),
            (r#"FATAL:  Peer authentication failed for user "b""#, "pg_hba.conf"),
        ];
        for (line, advice) in cases {
            assert!(refusal(line).unwrap().contains(advice), "{line}");
        }
        assert_eq!(refusal("pg_dump: error: server closed the connection unexpectedly"), None);
    }
}
