//! The one SQLite file of queues and schedules.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::types::Type;
use rusqlite::{Connection, Row, TransactionBehavior};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault::Fault;

const SCHEMA: &str = include_str!("schema.sql");

/// One connection behind a lock: SQLite has one writer anyway, and every call here is short.
#[derive(Debug)]
pub(super) struct Database(Mutex<Connection>);

impl Database {
    /// Opens or makes the file, such that a commit is on disk when it returns.
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Mutex::new(connection)))
    }

    /// Runs `work` in a transaction and tells whether it changed anything. A panic or error inside rolls back, which is
    /// why a poisoned lock is safe to use again.
    pub(super) fn transact<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<(T, bool), Fault> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = connection.total_changes();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let answer = work(&transaction)?;
        transaction.commit()?;
        Ok((answer, connection.total_changes() != before))
    }
}

/// A value as the JSON text that a column holds.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::internal(error.to_string()))
}

/// A column that holds JSON text.
pub(crate) fn json_column<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}
