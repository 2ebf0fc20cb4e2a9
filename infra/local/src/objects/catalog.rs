//! The catalog: which buckets, objects, uploads and parts there are, in one SQLite file.
//!
//! Every change is one transaction, on the disk before it is answered (`synchronous = FULL`). The file is held under
//! an exclusive lock, because a second process on the same folder would sweep files that the first is writing.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use s3s::S3ErrorCode;

use super::fault::{Result, refused};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS bucket (
        name TEXT PRIMARY KEY,
        created INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Keys are bytes, so that they sort as S3 sorts them and a prefix is a range.
    CREATE TABLE IF NOT EXISTS object (
        id INTEGER PRIMARY KEY,
        bucket TEXT NOT NULL REFERENCES bucket,
        key BLOB NOT NULL,
        size INTEGER NOT NULL,
        etag TEXT NOT NULL,
        modified INTEGER NOT NULL,
        headers TEXT NOT NULL,
        checksum TEXT NOT NULL,
        upload TEXT,
        UNIQUE (bucket, key)
    ) STRICT;

    -- The bytes of an object, in order. A copy names the files of its source.
    CREATE TABLE IF NOT EXISTS segment (
        object INTEGER NOT NULL REFERENCES object ON DELETE CASCADE,
        number INTEGER NOT NULL,
        file TEXT NOT NULL,
        size INTEGER NOT NULL,
        PRIMARY KEY (object, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS segment_file ON segment (file);

    CREATE TABLE IF NOT EXISTS upload (
        id TEXT PRIMARY KEY,
        bucket TEXT NOT NULL REFERENCES bucket,
        key BLOB NOT NULL,
        initiated INTEGER NOT NULL,
        headers TEXT NOT NULL,
        scheme TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS upload_key ON upload (bucket, key, id);

    CREATE TABLE IF NOT EXISTS part (
        upload TEXT NOT NULL REFERENCES upload ON DELETE CASCADE,
        number INTEGER NOT NULL,
        file TEXT NOT NULL,
        size INTEGER NOT NULL,
        etag TEXT NOT NULL,
        checksum TEXT NOT NULL,
        modified INTEGER NOT NULL,
        PRIMARY KEY (upload, number)
    ) STRICT, WITHOUT ROWID;
";

/// The one connection; transactions take turns.
pub(super) struct Catalog(Mutex<Connection>);

/// A transaction, and the part files that it leaves without a name.
pub(super) struct Tx<'a> {
    pub(super) sql: Transaction<'a>,
    freed: Vec<String>,
}

impl Catalog {
    /// Opens or makes the catalog. Fails with SQLite's `DatabaseBusy` while another process holds it.
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::ZERO)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} COMMIT;"))?;
        Ok(Self(Mutex::new(connection)))
    }

    /// Runs `work` in one transaction and commits it if it succeeds; answers also the files that nothing names now.
    pub(super) fn transact<T>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<(T, Vec<String>)> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tx = Tx { sql: connection.transaction()?, freed: Vec::new() };
        let answer = work(&mut tx)?;
        let freed = tx.unnamed()?;
        tx.sql.commit()?;
        Ok((answer, freed))
    }

    /// Every file that a row names.
    pub(super) fn named_files(&self) -> rusqlite::Result<HashSet<String>> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut query = connection.prepare("SELECT file FROM segment UNION SELECT file FROM part")?;
        query.query_map([], |row| row.get(0))?.collect()
    }
}

impl Tx<'_> {
    /// Notes files that lose a name here; those that keep another one stay.
    pub(super) fn free(&mut self, files: impl IntoIterator<Item = String>) {
        self.freed.extend(files);
    }

    /// Refuses when there is no such bucket.
    pub(super) fn require_bucket(&self, name: &str) -> Result<()> {
        let mut query = self.sql.prepare_cached("SELECT 1 FROM bucket WHERE name = ?")?;
        if query.exists([name])? {
            return Ok(());
        }
        Err(refused(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist"))
    }

    /// Makes a bucket; answers whether it is new.
    pub(super) fn create_bucket(&self, name: &str, now: i64) -> Result<bool> {
        let added =
            self.sql.execute("INSERT OR IGNORE INTO bucket (name, created) VALUES (?, ?)", params![name, now])?;
        Ok(added == 1)
    }

    /// Removes an empty bucket, with the uploads that never became an object.
    pub(super) fn delete_bucket(&mut self, name: &str) -> Result<()> {
        self.require_bucket(name)?;
        if self.sql.prepare_cached("SELECT 1 FROM object WHERE bucket = ?")?.exists([name])? {
            return Err(refused(S3ErrorCode::BucketNotEmpty, "The bucket you tried to delete is not empty"));
        }
        let files =
            self.files("SELECT file FROM part JOIN upload ON upload.id = part.upload WHERE bucket = ?", name)?;
        self.free(files);
        self.sql.execute("DELETE FROM upload WHERE bucket = ?", [name])?;
        self.sql.execute("DELETE FROM bucket WHERE name = ?", [name])?;
        Ok(())
    }

    /// Every bucket with the time of its making (milliseconds since 1970), by name.
    pub(super) fn buckets(&self) -> Result<Vec<(String, i64)>> {
        let mut query = self.sql.prepare_cached("SELECT name, created FROM bucket ORDER BY name")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The files that a query with one parameter answers.
    pub(super) fn files(&self, query: &str, parameter: impl rusqlite::ToSql) -> Result<Vec<String>> {
        let mut query = self.sql.prepare_cached(query)?;
        let rows = query.query_map([parameter], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn unnamed(&mut self) -> Result<Vec<String>> {
        let mut segments = self.sql.prepare_cached("SELECT 1 FROM segment WHERE file = ?")?;
        let mut unnamed = Vec::new();
        for file in std::mem::take(&mut self.freed) {
            if segments.query_row([&file], |_| Ok(())).optional()?.is_none() {
                unnamed.push(file);
            }
        }
        Ok(unnamed)
    }
}
