//! Execute: dump, stream, prove. What comes out is stored and read back, or deleted again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use holdfast_shared::aws::objects::{Objects, ObjectsError, Part, Upload};
use holdfast_shared::domain::backup::{Copy, File, Outcome, Status};
use holdfast_shared::domain::job::Job;
use holdfast_shared::domain::login::{LoginStatus, SshHost};
use holdfast_shared::domain::object_key::{FileName, ObjectKey};
use holdfast_shared::domain::recipe::Recipe;
use holdfast_shared::domain::storage::Storage;
use holdfast_shared::service::Claim;

use super::directory_of;
use super::keeper::{Kept, StopCause};
use crate::pipeline::{PipeError, Piped, pipe};
use crate::recipe::{Source, SourceError, SourceErrors};
use crate::remote::{RemoteError, Session};

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
    pub uploads: Arc<Vec<StorageUpload>>,
}

/// A storage of the job and the bucket behind it.
struct Bucket {
    storage: Storage,
    objects: Objects,
}

/// The object of a run in one storage.
pub(super) struct StorageUpload {
    storage_id: u64,
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
    honours(&kept.claim.job)?;
    let buckets = open_buckets(kept).await?;
    until_stopped(kept, sweep_earlier(kept, &buckets)).await?;
    let session = until_stopped(kept, connect(kept)).await?;
    let finished = dump(kept, &session, &buckets).await;
    session.close().await;
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
async fn connect(kept: &Kept) -> Result<Session, RunError> {
    let Claim { backup, server, .. } = &*kept.claim;
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

/// Dumps into one object per storage and proves each; deletes all of them where anything fails.
async fn dump(kept: &Kept, session: &Session, buckets: &[Bucket]) -> Result<Finished, RunError> {
    let mut uploads = Vec::with_capacity(buckets.len());
    let started = until_stopped(kept, start_uploads(kept, buckets, &mut uploads)).await;
    let uploads = Arc::new(uploads);
    let stored = match started {
        Ok(()) => store(kept, session, &uploads).await,
        Err(error) => Err(error),
    };
    match stored {
        Ok(outcome) => Ok(Finished { outcome, uploads }),
        Err(error) => {
            let discarding = discard(&uploads);
            match kept.stop_cause() {
                Some(StopCause::Shutdown) => drop(tokio::time::timeout(HURRIED_DISCARD, discarding).await),
                _ => discarding.await,
            }
            Err(error)
        }
    }
}

async fn start_uploads(kept: &Kept, buckets: &[Bucket], uploads: &mut Vec<StorageUpload>) -> Result<(), RunError> {
    let backup = &kept.claim.backup;
    let key = directory_of(backup).object(backup.attempt, object_name(&kept.claim.job.recipe)?).to_string();
    for Bucket { storage, objects } in buckets {
        let started = objects.start_upload(&key).await;
        let upload = started.map_err(|error| RunError::Storage { name: storage.name.clone(), error })?;
        uploads.push(StorageUpload { storage_id: storage.id, name: storage.name.clone(), upload });
    }
    Ok(())
}

async fn store(kept: &Kept, session: &Session, uploads: &Arc<Vec<StorageUpload>>) -> Result<Outcome, RunError> {
    let log = kept.log.clone();
    let recipe = &kept.claim.job.recipe;
    let mut source =
        until_stopped(kept, async { Ok(Source::start(session, recipe, move |line| log.line(line)).await?) }).await?;
    kept.log.line("dump started");
    let bytes = source.take_stdout()?;
    let put = |part: Part| put_everywhere(uploads.clone(), part);
    let piped = pipe(bytes, compression_of(recipe), &kept.meter, &kept.stop, put).await.map_err(pipe_error)?;
    let source_errors = until_stopped(kept, async { Ok(source.finish(&piped.tail).await?) }).await?;
    kept.log.line(format!("dump is whole: {} bytes, SHA-256 {}", piped.plain_bytes, piped.plain_sha256));
    kept.log.line(format!("to be stored: {} bytes, SHA-256 {}", piped.stored_bytes, piped.stored_sha256));
    let copies = until_stopped(kept, complete(kept, uploads, &piped)).await?;
    outcome(kept, piped, copies, source_errors)
}

/// Sends one part to every storage at once; the bytes are shared.
async fn put_everywhere(uploads: Arc<Vec<StorageUpload>>, part: Part) -> Result<(), RunError> {
    try_join_all(uploads.iter().map(|to| put_part(to, &part))).await.map(drop)
}

async fn put_part(to: &StorageUpload, part: &Part) -> Result<(), RunError> {
    to.upload.put_part(part).await.map_err(|error| to.failed(error))
}

/// Completes every object and reads back what the stores hold.
async fn complete(kept: &Kept, uploads: &[StorageUpload], piped: &Piped) -> Result<Vec<Copy>, RunError> {
    try_join_all(uploads.iter().map(|to| complete_one(kept, to, piped))).await
}

async fn complete_one(kept: &Kept, to: &StorageUpload, piped: &Piped) -> Result<Copy, RunError> {
    let stored = to.upload.complete(piped.stored_bytes, piped.crc64).await.map_err(|error| to.failed(error))?;
    kept.log.line(format!("{}: stored {} bytes, read back {}", to.name, stored.size_bytes, stored.checksum));
    Ok(Copy { storage_id: to.storage_id, keys: vec![stored.key] })
}

fn outcome(kept: &Kept, piped: Piped, copies: Vec<Copy>, source_errors: SourceErrors) -> Result<Outcome, RunError> {
    let status = if source_errors.is_empty() { Status::Completed } else { Status::CompletedWithErrors };
    let file = File {
        id: 1,
        name: object_name(&kept.claim.job.recipe)?.to_string(),
        plain_bytes: piped.plain_bytes,
        stored_bytes: piped.stored_bytes,
        plain_sha256: piped.plain_sha256,
        stored_sha256: piped.stored_sha256,
    };
    Ok(Outcome { status, files: vec![file], copies, source_errors })
}

/// Deletes what was stored, as far as the stores let it: what stays is swept later.
pub(super) async fn discard(uploads: &[StorageUpload]) {
    join_all(uploads.iter().map(discard_one)).await;
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

fn compression_of(recipe: &Recipe) -> u8 {
    match recipe {
        Recipe::FileBackups(config) => config.compression_level,
    }
}

/// What stock tools unpack it by.
fn ending_of(recipe: &Recipe) -> &'static str {
    match compression_of(recipe) {
        0 => "tar",
        _ => "tar.zst",
    }
}

fn object_name(recipe: &Recipe) -> Result<FileName, RunError> {
    let name = format!("{}.{}", recipe.slug(), ending_of(recipe));
    FileName::new(name).ok_or_else(|| RunError::Internal("a recipe's name makes no object key".to_owned()))
}
