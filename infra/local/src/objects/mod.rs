//! An S3 for one machine: the protocol by `s3s`, the store ours.
//!
//! Metadata is in SQLite (`catalog`), bytes are in part files that are written once (`files`). An object is an ordered
//! list of part files, so that completing an upload, copying and deleting are each one metadata transaction. A file is
//! on the disk before the row that names it, and the row before the answer: `kill -9` loses nothing that was
//! acknowledged, and what it leaves behind is removed by the next [`ObjectStore::open`].

mod api;
mod catalog;
mod checksum;
mod conditions;
mod fault;
mod files;
mod listing;
mod object;
mod receive;
mod send;
mod serve;
mod upload;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use holdfast_shared::clock::SharedClock;
use s3s::S3Error;
use s3s::path::check_bucket_name;
use s3s::service::S3Service;
use tokio::task::spawn_blocking;

use self::catalog::{Catalog, Tx};
use self::fault::Result;
use self::files::Files;

/// The key pair that requests are signed with. Debug shows no secret.
#[derive(Clone)]
pub struct Credentials {
    /// The public half; it stands in presigned links.
    pub access_key: String,
    /// The secret half.
    pub secret_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Why the store could not be opened or changed from inside.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has this folder open.
    #[error("the object store is in use by another process; stop that one first")]
    InUse,
    /// S3 does not allow this bucket name.
    #[error("{0:?} is no bucket name; use 3 to 63 lower-case letters, digits, dots and hyphens")]
    BucketName(String),
    /// The folder cannot be used.
    #[error("the folder of the object store cannot be used")]
    Folder(#[from] io::Error),
    /// The catalog cannot be read or written.
    #[error("the catalog of the object store cannot be used")]
    Catalog(#[source] rusqlite::Error),
    /// A change was refused.
    #[error("the object store refused the change")]
    Refused(#[source] S3Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy) => Self::InUse,
            _ => Self::Catalog(error),
        }
    }
}

/// The object store of one folder. Clones share it; the folder is free again once the last is dropped.
#[derive(Clone)]
pub struct ObjectStore(Arc<Inner>);

struct Inner {
    catalog: Catalog,
    files: Files,
    clock: SharedClock,
}

impl ObjectStore {
    /// Opens the store below `dir`, making it if it is not there, and removes what a crash left of unfinished
    /// requests. Fails with [`StoreError::InUse`] while another store has the folder open. `clock` gives the times
    /// that objects carry; signatures and expiries are checked by the machine's own clock, as `s3s` does it.
    pub fn open(dir: &Path, clock: SharedClock) -> std::result::Result<Self, StoreError> {
        std::fs::create_dir_all(dir)?;
        let catalog = Catalog::open(&dir.join("catalog.sqlite"))?;
        let files = Files::open(&dir.join("parts"))?;
        std::fs::File::open(dir)?.sync_all()?;
        let swept = files.sweep(&catalog.named_files()?)?;
        if swept > 0 {
            tracing::info!(files = swept, "removed part files of requests that a crash broke off");
        }
        Ok(Self(Arc::new(Inner { catalog, files, clock })))
    }

    /// Makes a bucket; one that is there already is left as it is. Blocks for one write to the disk.
    pub fn create_bucket(&self, name: &str) -> std::result::Result<(), StoreError> {
        if !check_bucket_name(name) {
            return Err(StoreError::BucketName(name.to_owned()));
        }
        let now = self.now();
        self.transact(|tx| tx.create_bucket(name, now)).map_err(|fault| StoreError::Refused(fault.into()))?;
        Ok(())
    }

    /// The S3 protocol over this store, for requests signed with `credentials` and no others.
    pub fn service(&self, credentials: Credentials) -> S3Service {
        serve::service(self.clone(), credentials)
    }

    /// Milliseconds since 1970.
    fn now(&self) -> i64 {
        self.0.clock.now().as_millisecond()
    }

    fn files(&self) -> &Files {
        &self.0.files
    }

    /// Runs `work` in one transaction, then removes the files that it left without a name.
    fn transact<T>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
        let (answer, freed) = self.0.catalog.transact(work)?;
        self.files().discard(freed);
        Ok(answer)
    }

    /// Runs `work` where it may block, to its end even if nobody waits for it any more.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> Result<T> + Send + 'static) -> Result<T> {
        let store = self.clone();
        spawn_blocking(move || work(&store)).await?
    }

    /// One transaction, run where it may block.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        self.blocking(move |store| store.transact(work)).await
    }
}
