//! MongoDB: databases, as the archive that `mongodump` writes: one of all, or one of each that is named.
//!
//! Of a replica set, an archive of all databases has the oplog of the time that it took, so that `mongorestore
//! --oplogReplay` makes one moment of it. `mongodump` asks for the password on its input.

mod archive;

use std::time::Duration;

use holdfast_shared::domain::object_key::FileName;
use holdfast_shared::domain::recipe::MongodbConfig;
use holdfast_shared::domain::sealed::Secret;

use super::complaints::{Complaints, Meaning};
use super::{Asked, Dump, Judge, SourceError, SourceErrors};
use crate::remote::{Machine, RemoteCommand};
use archive::Archive;

/// How long the look at the server may take.
const LOOK_LIMIT: Duration = Duration::from_secs(120);

/// Looks whether there is an oplog to take; one dump holds everything, or one each database that is named.
pub async fn plan(asked: &Asked<'_>, config: &MongodbConfig) -> Result<Vec<Dump>, SourceError> {
    let password =
        config.access.password.as_ref().map(|sealed| asked.secret("mongodb_password", sealed)).transpose()?;
    if config.databases.is_empty() {
        let oplog = has_oplog(asked.machine, config, password.as_ref()).await?.then_some("--oplog");
        let command = mongodump(config, password.as_ref()).args(oplog);
        return Ok(vec![Dump::of_command(FileName::of("mongodb", "archive"), command, Report::new(None))]);
    }
    let dumps = config.databases.iter().enumerate().map(|(index, database)| {
        let command = mongodump(config, password.as_ref()).args([format!("--db={database}")]);
        let name = FileName::of(&format!("{:02}-{database}", index + 1), "archive");
        Dump::of_command(name, command, Report::new(Some(database.clone())))
    });
    Ok(dumps.collect())
}

/// `mongodump` with an archive on its output. It reads the password where it has a user without one.
fn mongodump(config: &MongodbConfig, password: Option<&Secret>) -> RemoteCommand {
    let access = &config.access;
    let host = access.host.as_deref().unwrap_or("127.0.0.1");
    let mut words = vec!["--archive".to_owned(), format!("--host={host}"), format!("--port={}", access.port)];
    if let Some(user) = &access.username {
        let database = config.authentication_database.as_deref().unwrap_or("admin");
        words.extend([format!("--username={user}"), format!("--authenticationDatabase={database}")]);
    }
    let password = password.map(Secret::expose).unwrap_or_default();
    RemoteCommand::new("mongodump").args(words).stdin(format!("{password}\n").into_bytes())
}

/// Whether the server belongs to a replica set: it then has one document in the collection that describes it.
async fn has_oplog(machine: &Machine, config: &MongodbConfig, password: Option<&Secret>) -> Result<bool, SourceError> {
    let options = ["--db=local", "--collection=system.replset"];
    let output = machine.output(mongodump(config, password).args(options).limit(LOOK_LIMIT)).await?;
    complaints().hear_all(&output.exit.stderr).check("mongodump", output.exit.code)?;
    Ok(describes_replica_set(&output.exit.stderr))
}

fn describes_replica_set(stderr: &str) -> bool {
    stderr.lines().any(|line| line.contains("local.system.replset") && line.contains("(1 document)"))
}

/// The judge of an archive.
#[derive(Debug)]
struct Report {
    complaints: Complaints,
    archive: Archive,
    /// The database that must be there.
    database: Option<String>,
}

impl Report {
    fn new(database: Option<String>) -> Self {
        Self { complaints: complaints(), archive: Archive::new(), database }
    }
}

impl Judge for Report {
    fn hear(&mut self, line: &str) {
        self.complaints.hear(line);
    }

    fn see(&mut self, bytes: &[u8]) {
        self.archive.see(bytes);
    }

    fn judge(&self, code: i32, _tail: &[u8]) -> Result<SourceErrors, SourceError> {
        self.complaints.check("mongodump", code)?;
        if let Err(why) = self.archive.check() {
            return Err(SourceError::Broken(format!("{why}; mongodump said: {}", self.complaints.said())));
        }
        match &self.database {
            // mongodump ends well with nothing of a database that does not exist.
            Some(database) if self.archive.collections() == 0 => Err(SourceError::Refused(format!(
                "the server has no database \"{database}\", or nothing is in it; correct mongodb_database"
            ))),
            _ => Ok(Vec::new()),
        }
    }
}

fn complaints() -> Complaints {
    Complaints::new(|line| Meaning::lasting(refusal(line)))
}

/// Complaints of `mongodump` and the server that stay until somebody acts.
fn refusal(line: &str) -> Option<String> {
    let says = |words: &str| line.contains(words);
    let advice = if says("Authentication failed") || says("auth error") {
        "correct mongodb_username, mongodb_password and mongodb_authentication_database"
    } else if says("requires authentication") {
        "the server wants a login; set mongodb_username and mongodb_password"
    } else if says("not authorized on local") {
        "db.grantRolesToUser(…, [\"backup\", \"clusterMonitor\"]) in the database admin"
    } else if says("not authorized") {
        "db.grantRolesToUser(…, [\"backup\"]) in the database admin"
    } else if says("unknown option") || says("unknown flag") {
        "install the MongoDB Database Tools, 100 or newer"
    } else {
        return None;
    };
    Some(format!("{line}: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_this_one_and_holds_no_password() {
        let mut config = MongodbConfig::default();
        let words = |config: &MongodbConfig| format!("{:?}", mongodump(config, Some(&Secret::new("hunter2"))));
        let plain = r#"words: ["mongodump", "--archive", "--host=127.0.0.1", "--port=27017"]"#;
        assert!(words(&config).contains(plain), "{}", words(&config));
        config.access.username = Some("backup".to_owned());
        let login = r#""--username=backup", "--authenticationDatabase=admin"]"#;
        assert!(words(&config).contains(login), "{}", words(&config));
        assert!(!words(&config).contains("hunter2"));
    }

    #[test]
    fn a_replica_set_describes_itself() {
        let of = |count: &str| format!("2026-11-21T07:00:00.000+0000\tdone dumping `local.system.replset` ({count})\n");
        assert!(describes_replica_set(&of("1 document")));
        assert!(!describes_replica_set(&of("0 documents")));
        assert!(!describes_replica_set(""));
    }

    #[test]
    fn a_database_without_collections_is_none() {
        let judged = |bytes: &[u8], database: Option<&str>, code: i32| {
            let mut report = Report::new(database.map(str::to_owned));
            report.see(bytes);
            report.judge(code, &[])
        };
        let whole = archive::tests::whole();
        assert!(judged(&whole, Some("shop"), 0).is_ok() && judged(&whole, None, 0).is_ok());
        assert!(judged(&whole, None, 1).is_err());
        let empty = [&whole[..4], &[5, 0, 0, 0, 0], &[0xff; 4]].concat();
        assert!(judged(&empty, None, 0).is_ok());
        assert!(matches!(judged(&empty, Some("shop"), 0), Err(SourceError::Refused(_))));
    }

    #[test]
    fn complaints_say_what_to_do() {
        let cases = [
            (
                "Failed: can't create session: … sasl conversation error: … (AuthenticationFailed) Authentication failed.",
                "password",
            ),
            (
                "Failed: … (Unauthorized) not authorized on local to execute command { find: \"system.replset\"",
                "clusterMonitor",
            ),
            ("Failed: … not authorized on shop to execute command { listCollections: 1", "\"backup\""),
        ];
        for (line, advice) in cases {
            assert!(refusal(line).unwrap().contains(advice), "{line}");
        }
    }
}
