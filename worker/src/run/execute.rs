//! Execute: dump, stream, prove. What comes out is stored and read back, or deleted again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use holdfast_shared::aws::objects::{Objects, ObjectsError, Part, Upload};
use holdfast_shared::domain::backup::{Copy, File, MAX_FILES, Outcome, Status};
use holdfast_shared::domain::job::Job;
use holdfast_shared::domain::login::{LoginStatus, SshHost};
use holdfast_shared::domain::object_key::{FileName, ObjectKey};
use holdfast_shared::domain::server::Server;
use holdfast_shared::domain::storage::Storage;

use super::directory_of;
use super::keeper::{Kept, StopCause};
use crate::pipeline::{PipeError, Piped, pipe};
use crate::recipe::{Asked, Dump, SourceError, SourceErrors, check_built, plan};
use crate::remote::{Machine, RemoteError, Session};

/// How long a worker that is stopping may spend on deleting what it stored; the next attempt deletes the rest.
const HURRIED_DISCARD: Duration = Duration::from_secs(6);

/// Why an attempt stored nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// The server, or the dump on it.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A storage.
    #[error("storage {name}: {error}")]
    Storage {
        /// What its owner calls it.
        name: String,
        /// What it said.
        error: ObjectsError,
    },
    /// What the job asks for, and this worker cannot do.
    #[error("{0}")]
    Refused(&'static str),
    /// One of our own records.
    #[error(transparent)]
    Service(#[from] holdfast_shared::Error),
    /// A fault of ours.
    #[error("the worker failed: {0}")]
    Internal(String),
    /// It was stopped; [`Kept::stop_cause`] tells why.
    #[error("the run was stopped")]
    Stopped,
}

impl From<RemoteError> for RunError {
    fn from(error: RemoteError) -> Self {
        Self::Source(error.into())
    }
}

/// A backup that is stored and proved, but not recorded yet.
pub(super) struct Finished {
    pub outcome: Outcome,
    /// To delete it again should the record be refused.
    pub uploads: Vec<Arc<StorageUpload>>,
}

/// A storage of the job and the bucket behind it.
struct Bucket {
    storage: Storage,
    objects: Objects,
}

/// A file of a run in one storage.
pub(super) struct StorageUpload {
    name: String,
    upload: Upload,
}

impl StorageUpload {
    fn failed(&self, error: ObjectsError) -> RunError {
        RunError::Storage { name: self.name.clone(), error }
    }
}

/// Runs the attempt of `kept`. When it fails, whatever reason there is, nothing of it stays behind that could be deleted.
pub(super) async fn execute(kept: &Kept) -> Result<Finished, RunError> {
    check_built(&kept.claim.job)?;
    honours(&kept.claim.job)?;
    let Some(server) = &kept.claim.server else { return Err(RunError::Internal("the job has no server".to_owned())) };
    let buckets = open_buckets(kept).await?;
    until_stopped(kept, sweep_earlier(kept, &buckets)).await?;
    let machine = Machine::Server(until_stopped(kept, connect(kept, server)).await?);
    let finished = dump(kept, &machine, &buckets).await;
    machine.close().await;
    finished
}

/// Gives up on `work` as soon as the run is to stop.
async fn until_stopped<T>(kept: &Kept, work: impl Future<Output = Result<T, RunError>>) -> Result<T, RunError> {
    tokio::select! {
        biased;
        () = kept.stop.cancelled() => Err(RunError::Stopped),
        done = work => done,
    }
}

/// Refuses a job that asks for more than this worker can do. What its owner believes to be encrypted must never be stored in
/// the clear, and what is reached through a jump host must not be tried without it.
fn honours(job: &Job) -> Result<(), RunError> {
    if job.encryption_key_id.is_some() {
        let message = "the job has an encryption key, and this worker cannot encrypt; nothing was read or stored. \
                       Take the key away from the job to store its backups in the clear";
        return Err(RunError::Refused(message));
    }
    if job.proxy_id.is_some() {
        let message = "the job has a proxy, and this worker cannot go through one; nothing was read or stored. \
                       Take the proxy away from the job to connect without it";
        return Err(RunError::Refused(message));
    }
    Ok(())
}

async fn open_buckets(kept: &Kept) -> Result<Vec<Bucket>, RunError> {
    let mut buckets = Vec::with_capacity(kept.claim.storages.len());
    for storage in &kept.claim.storages {
        let reached = kept.service.check_reach(storage).await;
        reached.map_err(|error| RunError::Storage { name: storage.name.clone(), error: error.into() })?;
        let objects = kept.service.objects(&kept.claim.backup.account, storage)?;
        buckets.push(Bucket { storage: storage.clone(), objects });
    }
    Ok(buckets)
}

/// Deletes what earlier attempts left: objects that were completed without a record, and uploads.
async fn sweep_earlier(kept: &Kept, buckets: &[Bucket]) -> Result<(), RunError> {
    let own = kept.claim.backup.attempt;
    if own <= 1 {
        return Ok(());
    }
    let prefix = directory_of(&kept.claim.backup).prefix_of_backup();
    let keep = |key: &str| ObjectKey::parse(key).is_none_or(|key| key.attempt() >= own);
    for Bucket { storage, objects } in buckets {
        let swept = objects.sweep_prefix(&prefix, keep).await;
        let swept = swept.map_err(|error| RunError::Storage { name: storage.name.clone(), error })?;
        if swept != Default::default() {
            let (objects, uploads) = (swept.objects, swept.uploads);
            kept.log
                .line(format!("{}: deleted {objects} objects, {uploads} uploads of earlier attempts", storage.name));
        }
    }
    Ok(())
}

/// Connects to the server and pins its key on first use.
async fn connect(kept: &Kept, server: &Server) -> Result<Session, RunError> {
    let backup = &kept.claim.backup;
    let (host, login) = (SshHost::Server(server.id), &server.login);
    let private_key = kept.service.open_ssh_key(&backup.account, login.ssh_key_id).await?;
    let opened = Session::open(login, &private_key, &kept.service.aws.outside.guard, &kept.service.clock).await;
    let status = if opened.is_ok() { LoginStatus::Success } else { LoginStatus::Failed };
    if let Err(error) = kept.service.login_used(&backup.account, host, status).await {
        tracing::debug!(error = error.chain(), "the server's last use could not be noted");
    }
    let session = opened?;
    let shown = session.host_key();
    kept.log.line(format!("connected; the server showed {}", shown.fingerprint));
    if login.host_key.is_none() {
        let pinned = kept.service.pin_host_key(&backup.account, host, login, shown.clone()).await?;
        if pinned.fingerprint != shown.fingerprint {
            let seen = shown.fingerprint.clone();
            session.close().await;
            return Err(RemoteError::HostKeyChanged { expected: pinned.fingerprint, seen }.into());
        }
        kept.log.line("this key is pinned from now on, as it was the first connection");
    }
    Ok(session)
}

/// What an attempt has stored so far.
#[derive(Default)]
struct Stored {
    uploads: Vec<Arc<StorageUpload>>,
    files: Vec<File>,
    /// Of each storage, with a key for each file.
    copies: Vec<Copy>,
    source_errors: SourceErrors,
}

/// Stores each dump as one object per storage and proves each; deletes all of them where anything fails.
async fn dump(kept: &Kept, machine: &Machine, buckets: &[Bucket]) -> Result<Finished, RunError> {
    let copies = buckets.iter().map(|bucket| Copy { storage_id: bucket.storage.id, keys: Vec::new() }).collect();
    let mut stored = Stored { copies, ..Stored::default() };
    match store_all(kept, machine, buckets, &mut stored).await {
        Ok(()) => {
            let Stored { uploads, files, copies, source_errors } = stored;
            let status = if source_errors.is_empty() { Status::Completed } else { Status::CompletedWithErrors };
            Ok(Finished { outcome: Outcome { status, files, copies, source_errors }, uploads })
        }
        Err(error) => {
            let discarding = discard(&stored.uploads);
            match kept.stop_cause() {
                Some(StopCause::Shutdown) => drop(tokio::time::timeout(HURRIED_DISCARD, discarding).await),
                _ => discarding.await,
            }
            Err(error)
        }
    }
}

async fn store_all(kept: &Kept, machine: &Machine, buckets: &[Bucket], stored: &mut Stored) -> Result<(), RunError> {
    let asked = Asked { machine, job: &kept.claim.job, service: &kept.service };
    let dumps = until_stopped(kept, async { Ok(plan(&asked).await?) }).await?;
    if dumps.len() > MAX_FILES {
        let count = dumps.len();
        let message = format!("the source makes {count} files, and a backup holds at most {MAX_FILES}; split the job");
        return Err(SourceError::Refused(message).into());
    }
    for dump in dumps {
        store(kept, machine, buckets, dump, stored).await?;
    }
    Ok(())
}

/// Stores one dump in every storage and proves it.
async fn store(
    kept: &Kept,
    machine: &Machine,
    buckets: &[Bucket],
    dump: Dump,
    stored: &mut Stored,
) -> Result<(), RunError> {
    let level = kept.claim.job.recipe.compression_level();
    let name = if level == 0 { dump.name.clone() } else { dump.name.and("zst") };
    let uploads = until_stopped(kept, start_uploads(kept, buckets, &name, stored)).await?;
    dump.notes.iter().for_each(|note| kept.log.line(note));
    let log = kept.log.clone();
    let mut source = until_stopped(kept, async { Ok(dump.start(machine, move |line| log.line(line)).await?) }).await?;
    kept.log.line(format!("dump of {name} started"));
    let bytes = source.take_bytes()?;
    let put = |part: Part| put_everywhere(&uploads, part);
    let piped = pipe(bytes, level, &kept.meter, &kept.stop, put).await.map_err(pipe_error)?;
    let source_errors = until_stopped(kept, async { Ok(source.finish(&piped.tail).await?) }).await?;
    kept.log.line(format!("dump is whole: {} bytes, SHA-256 {}", piped.plain_bytes, piped.plain_sha256));
    kept.log.line(format!("to be stored: {} bytes, SHA-256 {}", piped.stored_bytes, piped.stored_sha256));
    let keys = until_stopped(kept, complete(kept, &uploads, &piped)).await?;
    stored.source_errors.extend(source_errors);
    stored.copies.iter_mut().zip(keys).for_each(|(copy, key)| copy.keys.push(key));
    stored.files.push(file(stored.files.len(), name, piped)?);
    Ok(())
}

/// Starts a file in every storage; what was started is in `stored` whatever happens.
async fn start_uploads(
    kept: &Kept,
    buckets: &[Bucket],
    name: &FileName,
    stored: &mut Stored,
) -> Result<Vec<Arc<StorageUpload>>, RunError> {
    let backup = &kept.claim.backup;
    let key = directory_of(backup).object(backup.attempt, name.clone()).to_string();
    let before = stored.uploads.len();
    for Bucket { storage, objects } in buckets {
        let started = objects.start_upload(&key).await;
        let upload = started.map_err(|error| RunError::Storage { name: storage.name.clone(), error })?;
        stored.uploads.push(Arc::new(StorageUpload { name: storage.name.clone(), upload }));
    }
    Ok(stored.uploads[before..].to_vec())
}

/// Sends one part to every storage at once; the bytes are shared.
async fn put_everywhere(uploads: &[Arc<StorageUpload>], part: Part) -> Result<(), RunError> {
    try_join_all(uploads.iter().map(|to| put_part(to, &part))).await.map(drop)
}

async fn put_part(to: &StorageUpload, part: &Part) -> Result<(), RunError> {
    to.upload.put_part(part).await.map_err(|error| to.failed(error))
}

/// Completes every object and reads back what the stores hold; answers the keys, in the order of the storages.
async fn complete(kept: &Kept, uploads: &[Arc<StorageUpload>], piped: &Piped) -> Result<Vec<String>, RunError> {
    try_join_all(uploads.iter().map(|to| complete_one(kept, to, piped))).await
}

async fn complete_one(kept: &Kept, to: &StorageUpload, piped: &Piped) -> Result<String, RunError> {
    let stored = to.upload.complete(piped.stored_bytes, piped.crc64).await.map_err(|error| to.failed(error))?;
    kept.log.line(format!("{}: stored {} bytes, read back {}", to.name, stored.size_bytes, stored.checksum));
    Ok(stored.key)
}

fn file(before: usize, name: FileName, piped: Piped) -> Result<File, RunError> {
    let id = u32::try_from(before + 1).map_err(|_| RunError::Internal("too many files".to_owned()))?;
    Ok(File {
        id,
        name: name.to_string(),
        plain_bytes: piped.plain_bytes,
        stored_bytes: piped.stored_bytes,
        plain_sha256: piped.plain_sha256,
        stored_sha256: piped.stored_sha256,
    })
}

/// Deletes what was stored, as far as the stores let it: what stays is swept later.
pub(super) async fn discard(uploads: &[Arc<StorageUpload>]) {
    join_all(uploads.iter().map(|to| discard_one(to))).await;
}

async fn discard_one(to: &StorageUpload) {
    if let Err(error) = to.upload.discard().await {
        tracing::warn!(storage = to.name, key = to.upload.key(), %error, "an object stays behind until it is swept");
    }
}

fn pipe_error(error: PipeError<RunError>) -> RunError {
    match error {
        PipeError::Put(error) => error,
        PipeError::Cancelled => RunError::Stopped,
        PipeError::Read(error) => SourceError::Broken(format!("the dump could not be read: {error}")).into(),
        PipeError::Compress(error) => RunError::Internal(format!("zstd: {error}")),
        PipeError::Lost => RunError::Internal(error.to_string()),
    }
}
