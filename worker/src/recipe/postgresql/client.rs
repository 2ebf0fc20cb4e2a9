//! PostgreSQL's own programs: how they are told where to connect to, and what they complain of.

use holdfast_shared::domain::recipe::PostgresqlConfig;
use holdfast_shared::domain::sealed::Secret;

use crate::recipe::Reach;
use crate::recipe::complaints::{Complaints, Meaning};
use crate::recipe::tls::{AUTHORITIES, NO_AUTHORITIES, with_authorities};
use crate::remote::RemoteCommand;

/// Runs the words after the first seven, connected to host, port, user, database and address, with a mode of TLS and the
/// authorities for it; what is empty is left to libpq. They
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
unset line PGPASSWORD PGSERVICE PGHOSTADDR PGSSLROOTCERT PGCLIENTENCODING
[ -z "$1" ] || export PGHOST="$1"
[ -z "$3" ] || export PGUSER="$3"
[ -z "$5" ] || export PGHOSTADDR="$5"
[ -z "$7" ] || export PGSSLROOTCERT="$7"
export PGPORT="$2" PGDATABASE="$4" PGSSLMODE="$6" PGCONNECT_TIMEOUT=30
shift 7
exec "$@"
"#;

/// How one job's programs connect.
#[derive(Debug)]
pub(super) struct Client<'a> {
    pub(super) config: &'a PostgresqlConfig,
    pub(super) reach: Reach,
    pub(super) password: Option<Secret>,
}

impl Client<'_> {
    /// A program connected to `database`. libpq compares the host's name with the certificate also where it is told which
    /// address to take for it.
    pub(super) fn command(&self, database: &str, program: &str) -> RemoteCommand {
        let Self { config: PostgresqlConfig { access, tls, .. }, reach, .. } = self;
        let (host, user) = (reach.name.as_deref().unwrap_or_default(), access.username.as_deref().unwrap_or_default());
        let address = reach.host.as_deref().filter(|_| reach.is_ours).unwrap_or_default();
        let authorities = if tls.mode.verifies() { AUTHORITIES } else { "" };
        let (script, mut input) = with_authorities(tls, CONNECT);
        let port = reach.port.to_string();
        let words =
            ["-c", &script, "sh", host, &port, user, database, address, tls.mode.as_str(), authorities, program];
        let line = self.password.as_ref().map(|password| password_line(password.expose())).unwrap_or_default();
        input.extend(format!("{line}\n").into_bytes());
        RemoteCommand::new("sh").args(words).stdin(input)
    }
}

/// A line of a password file that counts for every connection.
fn password_line(password: &str) -> String {
    format!("*:*:*:*:{}", password.replace('\\', "\\\\").replace(':', "\\:"))
}

/// What PostgreSQL's programs print as errors.
pub(super) fn complaints() -> Complaints {
    Complaints::new(|line| match passing(line) {
        Some(why) => Meaning::Passing(why),
        None => Meaning::lasting(refusal(line)),
    })
}

/// Messages that tell of what can pass by itself.
fn passing(line: &str) -> Option<String> {
    let says = |words: &str| line.contains(words);
    let what = if says("terminating connection due to administrator command") {
        "somebody ended the connection to the database server"
    } else if says("canceling statement due to statement timeout") || says("canceling statement due to lock timeout") {
        "a table was locked by somebody else for too long"
    } else if says("server closed the connection unexpectedly") {
        "the database server ended the connection"
    } else {
        return None;
    };
    Some(format!("{what}: {line}"))
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
    } else if says("does not support SSL, but SSL was required") {
        "set TLS up on the server, or make postgresql_tls prefer"
    } else if says("certificate verify failed") {
        "the server's certificate comes from none of the authorities; correct postgresql_tls_ca"
    } else if says("server certificate for") && says("does not match host name") {
        "name the host in postgresql_host as the certificate does, or make postgresql_tls verify-ca"
    } else if says(NO_AUTHORITIES) || says("could not read root certificate file") {
        "give the job the certificate of the server's authority: postgresql_tls_ca"
    } else if says("no pg_hba.conf entry") && (says("no encryption") || says("SSL off")) {
        "the server wants TLS; make postgresql_tls require"
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
    use holdfast_shared::domain::recipe::TlsMode;

    use super::*;

    #[test]
    fn a_password_is_one_field_of_its_line() {
        assert_eq!(password_line(r" a:b\c "), r"*:*:*:*: a\:b\\c ");
    }

    #[test]
    fn nothing_secret_is_among_the_words() {
        let config = PostgresqlConfig::default();
        let client = Client { config: &config, reach: reach(false), password: Some(Secret::new("hunter2")) };
        let command = client.command("shop", "pg_dump");
        assert!(!format!("{command:?}").contains("hunter2"));
    }

    fn reach(is_ours: bool) -> Reach {
        let host = if is_ours { "127.0.0.1" } else { "db.example" };
        let (host, name) = (Some(host.to_owned()), Some("db.example".to_owned()));
        Reach { host, port: 5432, name, is_ours, is_relayed: false }
    }

    #[test]
    fn the_name_stays_where_the_address_is_ours() {
        let mut config = PostgresqlConfig::default();
        config.tls.mode = TlsMode::VerifyFull;
        let words = |is_ours| {
            format!("{:?}", Client { config: &config, reach: reach(is_ours), password: None }.command("shop", "psql"))
        };
        let ours = r#""db.example", "5432", "", "shop", "127.0.0.1", "verify-full", "/dev/fd/4", "psql""#;
        assert!(words(true).contains(ours), "{}", words(true));
        let straight = r#""db.example", "5432", "", "shop", "", "verify-full", "/dev/fd/4", "psql""#;
        assert!(words(false).contains(straight), "{}", words(false));
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
        assert!(passing("pg_dump: error: server closed the connection unexpectedly").is_some());
    }
}
