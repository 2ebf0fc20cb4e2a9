//! A stack: a named group of servers with the databases on them.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sealed::{Sealed, Secret};
use crate::error::FieldErrors;

/// How many servers a stack names at most: an edit that replaces all of them must fit in one transaction of 100 writes.
pub const MAX_SERVERS: usize = 40;
/// How many databases a stack has at most: with the longest fields, all of them fit in one item of 400 KB.
pub const MAX_DATABASES: usize = 64;
/// The longest name of a database, in characters: MySQL's limit for identifiers.
pub const MAX_DATABASE_NAME_CHARS: usize = 64;
/// The longest user name at a database, in characters.
pub const MAX_USERNAME_CHARS: usize = 128;

/// A kind of database server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseKind {
    /// MySQL or MariaDB.
    Mysql,
    /// PostgreSQL.
    Postgresql,
    /// Redis or Valkey.
    Redis,
    /// MongoDB.
    Mongodb,
}

impl DatabaseKind {
    /// The words on the wire, in the order of [`DatabaseKind::ALL`].
    pub const NAMES: [&str; 4] = ["mysql", "postgresql", "redis", "mongodb"];
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Mysql, Self::Postgresql, Self::Redis, Self::Mongodb];

    /// The kind that `word` names; the error lists them.
    pub fn parse(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        found.ok_or_else(|| format!("must be one of {}", Self::NAMES.join(", ")))
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Postgresql => "postgresql",
            Self::Redis => "redis",
            Self::Mongodb => "mongodb",
        }
    }
}

/// Where a database is and what it is called; all that is not secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseSpec {
    /// What kind of database.
    pub kind: DatabaseKind,
    /// The server from which it is reached, one of the stack's.
    pub server_id: u64,
    /// The server of its replica, one of the stack's, where it has one.
    pub replica_server_id: Option<u64>,
    /// Its name; `None` for all that the server has. See [`database_name`].
    pub name: Option<String>,
    /// Who logs in; `None` where nobody has to.
    pub username: Option<String>,
}

impl DatabaseSpec {
    /// Whether a password that was given for `other` would be sent to nowhere else than it was given for.
    fn takes_password_of(&self, other: &Self) -> bool {
        let place = |spec: &Self| (spec.kind, spec.server_id, spec.replica_server_id);
        place(self) == place(other)
    }
}

/// A database of a stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// Integer id, counted per stack.
    pub id: u64,
    /// Where it is.
    pub spec: DatabaseSpec,
    /// What its user logs in with, sealed.
    #[serde(default)]
    pub password: Option<Sealed>,
}

/// A named group of servers with the databases on them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// Integer id, counted per account.
    pub id: u64,
    /// A second id that cannot be guessed; shown as 32 lowercase hexadecimal digits.
    pub uid: Uuid,
    /// What its owner calls it.
    pub name: String,
    /// Ids of its servers, in its owner's order, each once.
    pub servers: Vec<u64>,
    /// The databases on them.
    #[serde(default)]
    pub databases: Vec<Database>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its owner last changed it.
    pub updated_at: Timestamp,
    /// Counts its owner's edits, from 1: each one states the revision that it read, and loses to an edit in between.
    pub revision: u64,
    /// The id of the last database that was added: an id is never given to another one.
    pub last_database: u64,
}

/// A database as its owner states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseInput {
    /// The database of the stack that this is; `None` for a new one.
    pub id: Option<u64>,
    /// Where it is.
    pub spec: DatabaseSpec,
    /// What its user logs in with; `None` keeps that of [`DatabaseInput::id`].
    pub password: Option<Secret>,
}

/// What its owner says of a new stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStack {
    /// What to call it.
    pub name: String,
    /// Ids of its servers; see [`check`].
    pub servers: Vec<u64>,
    /// The databases on them.
    pub databases: Vec<DatabaseInput>,
}

/// What its owner changes of a stack; `None` leaves a part as it is, a list replaces the one before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StackEdit {
    /// What to call it.
    pub name: Option<String>,
    /// Ids of its servers.
    pub servers: Option<Vec<u64>>,
    /// The databases on them.
    pub databases: Option<Vec<DatabaseInput>>,
}

/// How a path names a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum StackRef {
    /// By its integer id.
    Id(u64),
    /// By its uid.
    Uid(Uuid),
}

impl TryFrom<String> for StackRef {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_uid = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let uid = is_uid.then(|| Uuid::try_parse(&text).ok()).flatten().map(Self::Uid);
        uid.or_else(|| text.parse().ok().map(Self::Id)).ok_or("is neither an id nor a uid")
    }
}

/// What servers and databases of one stack must be to each other; every fault under its field.
pub fn check<'a>(servers: &[u64], databases: impl IntoIterator<Item = &'a DatabaseSpec>) -> FieldErrors {
    let mut faults = FieldErrors::default();
    if servers.len() > MAX_SERVERS {
        faults.push("servers", format!("must not name more than {MAX_SERVERS} servers"));
    }
    let mut known = HashSet::new();
    for (index, server) in servers.iter().enumerate().filter(|(_, server)| !known.insert(**server)) {
        faults.push(format!("servers.{index}"), format!("server {server} is named twice"));
    }
    if servers.is_empty() {
        faults.push("servers", "must name at least one server");
    }
    let mut seen = HashSet::new();
    for (index, spec) in databases.into_iter().enumerate() {
        if index == MAX_DATABASES {
            faults.push("databases", format!("must not be more than {MAX_DATABASES}"));
        }
        let outside = |server: &u64| !servers.contains(server);
        for (field, server) in [("server_id", Some(spec.server_id)), ("replica_server_id", spec.replica_server_id)] {
            if server.as_ref().is_some_and(outside) {
                faults.push(format!("databases.{index}.{field}"), "must be one of the stack's servers");
            }
        }
        if spec.replica_server_id == Some(spec.server_id) {
            faults.push(format!("databases.{index}.replica_server_id"), "must be another server than server_id");
        }
        if spec.kind == DatabaseKind::Redis && spec.name.is_some() {
            faults.push(format!("databases.{index}.name"), "must be left out: a redis is stored whole");
        }
        if !seen.insert((spec.kind, spec.server_id, &spec.name)) {
            faults.push(format!("databases.{index}"), "is the same database as one before it");
        }
    }
    faults
}

/// What databases that replace `seen` must be: an id is one of theirs, and a password goes nowhere else unseen.
pub fn check_replacing(seen: &[Database], databases: &[DatabaseInput]) -> FieldErrors {
    let mut faults = FieldErrors::default();
    let mut taken = HashSet::new();
    for (index, input) in databases.iter().enumerate() {
        let Some(id) = input.id else { continue };
        let Some(before) = seen.iter().find(|database| database.id == id) else {
            faults.push(format!("databases.{index}.id"), format!("the stack has no database {id}"));
            continue;
        };
        if !taken.insert(id) {
            faults.push(format!("databases.{index}.id"), format!("database {id} is named twice"));
        }
        let kept = input.password.is_none() && before.password.is_some();
        if kept && !input.spec.takes_password_of(&before.spec) {
            // Or whoever may edit a stack, but not see its passwords, could have one sent to a server of their own.
            let message = "must be sent again when the type, the server or the replica change";
            faults.push(format!("databases.{index}.password"), message);
        }
    }
    faults
}

/// Takes the name of a database: 1 to [`MAX_DATABASE_NAME_CHARS`] letters, digits and `_.$@+-`, no leading dash.
pub fn database_name(text: &str) -> Result<String, String> {
    let clean = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.$@+-".contains(&byte));
    if !clean || text.starts_with('-') || !(1..=MAX_DATABASE_NAME_CHARS).contains(&text.len()) {
        return Err(format!("must be 1 to {MAX_DATABASE_NAME_CHARS} letters, digits or _.$@+-, with no leading dash"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(kind: DatabaseKind, server_id: u64) -> DatabaseSpec {
        DatabaseSpec { kind, server_id, replica_server_id: None, name: None, username: None }
    }

    fn told(faults: &FieldErrors) -> Vec<String> {
        faults.iter().map(|(field, all)| format!("{field} {}", all.join("; "))).collect()
    }

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for (kind, name) in DatabaseKind::ALL.into_iter().zip(DatabaseKind::NAMES) {
            assert_eq!(DatabaseKind::parse(name), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), name);
        }
        assert!(DatabaseKind::parse("all").unwrap_err().ends_with("mysql, postgresql, redis, mongodb"));
    }

    #[test]
    fn a_path_names_a_stack_by_id_or_uid() {
        let uid = "5999b763474b0eafa5fafb64bff0ba80";
        let read = |text: &str| StackRef::try_from(text.to_owned());
        assert_eq!(read(uid), Ok(StackRef::Uid(Uuid::try_parse(uid).unwrap())));
        assert_eq!(
            read("11111111111111111111111111111111"),
            Ok(StackRef::Uid(Uuid::from_u128(0x1111_1111_1111_1111_1111_1111_1111_1111)))
        );
        assert_eq!(read("7"), Ok(StackRef::Id(7)));
        for text in ["", "x", "-1", &uid.to_uppercase(), &uid[1..], "5999b763-474b-0eaf-a5fa-fb64bff0ba80"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn servers_and_databases_belong_together() {
        let sound = [spec(DatabaseKind::Mysql, 1), spec(DatabaseKind::Redis, 1), spec(DatabaseKind::Mysql, 2)];
        assert!(check(&[1, 2], &sound).is_empty());
        let replica = DatabaseSpec { replica_server_id: Some(2), ..spec(DatabaseKind::Mysql, 1) };
        assert!(check(&[1, 2], [&replica]).is_empty());
        assert_eq!(told(&check(&[], [])), ["servers must name at least one server"]);
        let odd = [
            spec(DatabaseKind::Mysql, 9),
            DatabaseSpec { replica_server_id: Some(8), name: Some("0".to_owned()), ..spec(DatabaseKind::Redis, 1) },
            DatabaseSpec { replica_server_id: Some(1), ..spec(DatabaseKind::Mongodb, 1) },
            spec(DatabaseKind::Mongodb, 1),
        ];
        let expected = [
            "databases.0.server_id must be one of the stack's servers",
            "databases.1.name must be left out: a redis is stored whole",
            "databases.1.replica_server_id must be one of the stack's servers",
            "databases.2.replica_server_id must be another server than server_id",
            "databases.3 is the same database as one before it",
            "servers.2 server 1 is named twice",
        ];
        assert_eq!(told(&check(&[1, 2, 1], &odd)), expected);
    }

    #[test]
    fn a_kept_password_goes_nowhere_else() {
        let seen = Database { id: 3, spec: spec(DatabaseKind::Mysql, 1), password: Some(Sealed("x".to_owned())) };
        let input =
            |spec, password: Option<&str>| DatabaseInput { id: Some(3), spec, password: password.map(Secret::new) };
        let renamed = DatabaseSpec { name: Some("shop".to_owned()), ..seen.spec.clone() };
        let moved = DatabaseSpec { server_id: 2, ..seen.spec.clone() };
        let faults = |inputs: &[DatabaseInput]| told(&check_replacing(std::slice::from_ref(&seen), inputs));
        assert!(faults(&[input(renamed, None)]).is_empty());
        assert!(faults(&[input(moved.clone(), Some("new"))]).is_empty());
        let refused = "databases.0.password must be sent again when the type, the server or the replica change";
        assert_eq!(faults(&[input(moved, None)]), [refused]);
        let again = input(seen.spec.clone(), None);
        assert_eq!(faults(&[again.clone(), again.clone()]), ["databases.1.id database 3 is named twice"]);
        assert_eq!(faults(&[DatabaseInput { id: Some(4), ..again }]), ["databases.0.id the stack has no database 4"]);
    }

    #[test]
    fn names_of_databases_mean_nothing_else() {
        for text in ["shop", "shab-test-db", "a.b_c$", "0"] {
            assert_eq!(database_name(text).as_deref(), Ok(text));
        }
        for text in ["", "-x", "a b", "a;b", "a'b", "host=x dbname=y", "postgres://x", "a\nb", "ä", &"x".repeat(65)] {
            assert!(database_name(text).is_err(), "{text:?}");
        }
    }
}
