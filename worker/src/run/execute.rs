//! Execute: dump, stream, prove. What comes out is stored and read back, or deleted again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_shared::ErrorKind;
use holdfast_shared::aws::objects::{Part, Swept, Upload};
use holdfast_shared::domain::backup::{A_PASSPHRASE, Copy, File, MAX_FILES, Outcome, Status};
use holdfast_shared::domain::compression::Compression;
use holdfast_shared::domain::encryption_key::EncryptionKey;
use holdfast_shared::domain::object_key::{FileName, MANIFEST, ObjectKey};
use holdfast_shared::domain::part_size::{MAX_PARTS, PartSizes};
use holdfast_shared::domain::retry::Retry;
use holdfast_shared::domain::storage::Storage;
use holdfast_shared::service::Claim;
use tokio::task::spawn_blocking;

use super::connect::Site;
use super::keeper::{Kept, StopCause};
use super::limits::Exceeded;
use super::manifest;
use super::targets::{COMPLETE_LAG, Target, Targets};
use super::{hooks, limits};
use crate::pipeline::{Form, PipeError, Piped, Recipients, pipe};
use crate::recipe::{Asked, Dump, SourceError, SourceErrors, plan};
use crate::remote::{Machine, RemoteError};

/// How long a worker that is stopping may spend on deleting what it stored; the next attempt deletes the rest.
const HURRIED_DISCARD: Duration = Duration::from_secs(6);

/// Why an attempt stored nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// The server, or the dump on it.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Every storage.
    #[error("{message}")]
    Storage {
        /// What each of them said.
        message: String,
        /// Whether trying again can help any.
        retry: Retry,
    },
    /// What the job asks for, and this worker cannot do.
    #[error("{0}")]
    Refused(String),
    /// The script that runs before anything is read.
    #[error("pre_script {0}")]
    PreScript(String),
    /// A limit of the job.
    #[error(transparent)]
    Limit(#[from] Exceeded),
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

impl RunError {
    /// The same, told as the fault of a proxy where it is one of connecting.
    pub(super) fn of_proxy(self, name: &str) -> Self {
        match self {
            Self::Source(SourceError::Remote(error)) => {
                RemoteError::Proxy { name: name.to_owned(), error: Box::new(error) }.into()
            }
            other => other,
        }
    }
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
    pub targets: Targets,
}

/// Below which all lies that the attempt stores.
pub(super) fn prefix_of(kept: &Kept) -> String {
    let backup = &kept.claim.backup;
    backup.directory().prefix_of_attempt(backup.attempt)
}

/// What form the files of a run get: what encrypts them, if anything does, and in which parts they go.
struct Sealing {
    parts: PartSizes,
    recipients: Option<Arc<Recipients>>,
    fingerprints: Vec<String>,
}

impl Sealing {
    /// The form of one file, and what it adds to the file's name.
    async fn form(&self, compression: Compression, name: FileName) -> Result<(Form, FileName), RunError> {
        let refused = |error: String| RunError::Refused(format!("nothing can be encrypted: {error}"));
        let encryptor = match self.recipients.clone() {
            None => None,
            Some(recipients) => {
                let making = spawn_blocking(move || recipients.encryptor());
                let made = making.await.map_err(|error| RunError::Internal(error.to_string()))?;
                Some(made.map_err(|error| refused(error.to_string()))?)
            }
        };
        let name = compression.ending().map_or(name.clone(), |ending| name.and(ending));
        let name = if encryptor.is_some() { name.and("age") } else { name };
        Ok((Form { compression, encryptor, parts: self.parts }, name))
    }
}

/// Runs the attempt of `kept`. When it fails, whatever reason there is, nothing of it stays behind that could be deleted.
pub(super) async fn execute(kept: &Kept) -> Result<Finished, RunError> {
    let sealing = sealing(kept).await?;
    let targets = until_stopped(kept, open_targets(kept)).await?;
    until_stopped(kept, sweep_earlier(kept, &targets)).await?;
    let scripts = kept.service.open_hooks(&kept.claim.job)?;
    let mut site = until_stopped(kept, Site::open(kept)).await?;
    let finished = match hooks::before(kept, &site.machine, &scripts).await {
        Ok(()) => {
            limits::be_polite(kept, &mut site.machine).await;
            let finished = limits::within(kept, &site.machine, dump(kept, &site, targets, &sealing)).await;
            site.machine.run_by(&[]);
            finished.map_err(|error| site.explained(error))
        }
        Err(error) => Err(error),
    };
    let finished = hooks::after(kept, &site.machine, &scripts, finished).await;
    site.close().await;
    finished
}

/// Gives up on `work` as soon as the run is to stop.
pub(super) async fn until_stopped<T>(
    kept: &Kept,
    work: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    tokio::select! {
        biased;
        () = kept.stop.cancelled() => Err(RunError::Stopped),
        done = work => done,
    }
}

/// What a job's backups are encrypted with. What its owner believes to be encrypted must never be stored in the clear: a
/// key that is gone or cannot be used ends the run before anything is read.
async fn sealing(kept: &Kept) -> Result<Sealing, RunError> {
    let refused =
        |why: String| RunError::Refused(format!("{why}; nothing was read or stored. Give the job another key"));
    let keys = kept.service.encryption_keys_of(&kept.claim.job).await.map_err(|error| match error.kind {
        ErrorKind::NotFound => refused("an encryption key of the job is gone".to_owned()),
        _ => error.into(),
    })?;
    let parts = part_sizes(kept);
    if let Some(passphrase) = kept.service.open_encryption_password(&kept.claim.job)? {
        if !keys.is_empty() {
            return Err(refused("the job has both encryption keys and a passphrase".to_owned()));
        }
        kept.log.line("encrypted with a passphrase");
        let recipients = Some(Arc::new(Recipients::knowing(passphrase)));
        return Ok(Sealing { parts, recipients, fingerprints: vec![A_PASSPHRASE.to_owned()] });
    }
    let recipients = Recipients::of(keys.iter().map(|key| &key.key)).map_err(refused)?.map(Arc::new);
    for EncryptionKey { name, key, .. } in &keys {
        kept.log.line(format!("encrypted to {name} ({})", key.fingerprint));
    }
    Ok(Sealing { parts, recipients, fingerprints: keys.into_iter().map(|key| key.key.fingerprint).collect() })
}

/// Parts of one size where any of the storages wants that, as all get the same ones.
fn part_sizes(kept: &Kept) -> PartSizes {
    let Claim { backup, job, storages, .. } = &*kept.claim;
    match storages.iter().any(Storage::needs_equal_parts) {
        true => PartSizes::equal_for_stream(job.last_stored_bytes, backup.attempt),
        false => PartSizes::Growing,
    }
}

/// The buckets of all storages; one that leads where we do not connect to is lost from the beginning.
async fn open_targets(kept: &Kept) -> Result<Targets, RunError> {
    let mut targets = Vec::with_capacity(kept.claim.storages.len());
    for storage in &kept.claim.storages {
        let objects = kept.service.objects(&kept.claim.backup.account, storage)?;
        targets.push(Target::new(storage.clone(), objects));
    }
    let targets = Targets::new(targets, kept.log.clone());
    let reach = |_, target: Arc<Target>| async move { Ok(kept.service.check_reach(&target.storage).await?) };
    targets.everywhere(reach).await?;
    Ok(targets)
}

/// Deletes what earlier attempts left: objects that were completed without a record, and uploads.
async fn sweep_earlier(kept: &Kept, targets: &Targets) -> Result<(), RunError> {
    let own = kept.claim.backup.attempt;
    if own <= 1 {
        return Ok(());
    }
    let prefix = kept.claim.backup.directory().prefix_of_backup();
    let keep = |key: &str| ObjectKey::parse(key).is_none_or(|key| key.attempt() >= own);
    let sweep = |_, target: Arc<Target>| {
        let prefix = &prefix;
        async move { target.objects.sweep_prefix(prefix, keep).await }
    };
    for (target, swept) in targets.all().iter().zip(targets.everywhere(sweep).await?) {
        let Some(Swept { objects, uploads, locked }) = swept.filter(|swept| *swept != Swept::default()) else {
            continue;
        };
        let name = &target.storage.name;
        if locked > 0 {
            kept.log.line(format!("{name}: {locked} objects of earlier attempts stay until their lock has ended"));
        }
        kept.log.line(format!("{name}: deleted {objects} objects, {uploads} uploads of earlier attempts"));
    }
    Ok(())
}

/// What an attempt has stored so far.
#[derive(Default)]
struct Stored {
    files: Vec<File>,
    /// The same in every storage.
    keys: Vec<String>,
    source_errors: SourceErrors,
}

/// Stores each dump as one object per storage and proves each; deletes all of them where anything fails.
async fn dump(kept: &Kept, site: &Site, targets: Targets, sealing: &Sealing) -> Result<Finished, RunError> {
    match store_all(kept, site, &targets, sealing).await {
        Ok(outcome) => Ok(Finished { outcome, targets }),
        Err(error) => {
            let prefix = prefix_of(kept);
            let discarding = targets.discard(&prefix);
            match kept.stop_cause() {
                Some(StopCause::Shutdown) => drop(tokio::time::timeout(HURRIED_DISCARD, discarding).await),
                _ => discarding.await,
            }
            Err(error)
        }
    }
}

async fn store_all(kept: &Kept, site: &Site, targets: &Targets, sealing: &Sealing) -> Result<Outcome, RunError> {
    let Site { machine, road } = site;
    let asked = Asked { machine, job: &kept.claim.job, service: &kept.service, road: road.as_ref() };
    let dumps = until_stopped(kept, async { Ok(plan(&asked).await?) }).await?;
    if dumps.len() > MAX_FILES {
        let count = dumps.len();
        let message = format!("the source makes {count} files, and a backup holds at most {MAX_FILES}; split the job");
        return Err(SourceError::Refused(message).into());
    }
    let mut stored = Stored::default();
    for dump in dumps {
        store(kept, machine, targets, sealing, dump, &mut stored).await?;
    }
    let outcome = outcome(targets, sealing, stored);
    until_stopped(kept, store_manifest(kept, targets, &outcome)).await?;
    // A storage that missed the manifest alone misses its copy as well.
    Ok(judged(targets, outcome))
}

fn outcome(targets: &Targets, sealing: &Sealing, stored: Stored) -> Outcome {
    let Stored { files, keys, source_errors } = stored;
    let copies = targets.all().iter().map(|target| Copy::stored(target.storage.id, keys.clone())).collect();
    let (status, encrypted_to) = (Status::Completed, sealing.fingerprints.clone());
    judged(targets, Outcome { status, files, copies, source_errors, encrypted_to })
}

/// The outcome with the copies that are missing as far as is known.
fn judged(targets: &Targets, outcome: Outcome) -> Outcome {
    let known = targets.all().iter().zip(outcome.copies).map(|(target, copy)| match target.lost() {
        None => copy,
        Some(why) => Copy::missing(copy.storage_id, copy.keys, why),
    });
    let copies: Vec<Copy> = known.collect();
    let is_whole = outcome.source_errors.is_empty() && copies.iter().all(Copy::holds);
    let status = if is_whole { Status::Completed } else { Status::CompletedWithErrors };
    Outcome { status, copies, ..outcome }
}

/// Stores one dump in every storage and proves it.
async fn store(
    kept: &Kept,
    machine: &Machine,
    targets: &Targets,
    sealing: &Sealing,
    dump: Dump,
    stored: &mut Stored,
) -> Result<(), RunError> {
    let form = sealing.form(kept.claim.job.compressed(), dump.name.clone());
    let (form, name) = until_stopped(kept, form).await?;
    // The one name that means something else beside a backup's files.
    let name = if name.as_str() == MANIFEST { name.and("file") } else { name };
    let backup = &kept.claim.backup;
    let key = backup.directory().object(backup.attempt, name.clone()).to_string();
    let start = |_, target: Arc<Target>| {
        let key = &key;
        async move {
            let _owing = kept.limits.owing(&target.storage.name);
            target.objects.start_upload(key).await.map(Arc::new)
        }
    };
    let uploads = until_stopped(kept, targets.everywhere(start)).await?;
    dump.notes.iter().for_each(|note| kept.log.line(note));
    kept.limits.ask_by(dump.question.clone());
    let log = kept.log.clone();
    let mut source = until_stopped(kept, async { Ok(dump.start(machine, move |line| log.line(line)).await?) }).await?;
    kept.log.line(format!("dump of {name} started"));
    let group = source.group();
    let received = async {
        let bytes = limits::Limited::new(source.take_bytes()?, kept.limits.clone());
        let put = |part: Part| put_everywhere(kept, targets, &uploads, part);
        let piped = pipe(bytes, form, &kept.meter, &kept.stop, put).await.map_err(pipe_error)?;
        let remark = |line| kept.log.line(line);
        let source_errors = until_stopped(kept, async { Ok(source.finish(&piped.tail, remark).await?) }).await?;
        Ok::<_, RunError>((piped, source_errors))
    };
    let (piped, source_errors) = match received.await {
        Ok(received) => received,
        Err(error) => {
            machine.kill(&group).await;
            return Err(error);
        }
    };
    kept.limits.ask_by(None);
    kept.log.line(format!("dump is whole: {} bytes, SHA-256 {}", piped.plain_bytes, piped.plain_sha256));
    kept.log.line(format!("to be stored: {} bytes, SHA-256 {}", piped.stored_bytes, piped.stored_sha256));
    until_stopped(kept, complete(kept, targets, &uploads, &piped)).await?;
    stored.source_errors.extend(source_errors);
    stored.keys.push(key);
    stored.files.push(file(stored.files.len(), name, piped)?);
    Ok(())
}

/// A file's upload in each storage; none where the storage is lost.
type Uploads = [Option<Arc<Upload>>];

/// Sends one part to every storage at once; the bytes are shared.
async fn put_everywhere(kept: &Kept, targets: &Targets, uploads: &Uploads, part: Part) -> Result<(), RunError> {
    if part.number > MAX_PARTS {
        // Parts that grow never come to this. Those of the next attempt are twice as large.
        let message =
            format!("the source has more than {MAX_PARTS} parts of one size hold; larger ones are taken next");
        return Err(RunError::Storage { message, retry: Retry::Later });
    }
    let bytes = part.bytes.len();
    let put = |place: usize, target: Arc<Target>| {
        let (upload, part) = (uploads[place].clone(), part.clone());
        async move {
            let _owing = kept.limits.owing(&target.storage.name);
            match upload {
                Some(upload) => upload.put_part(&part).await,
                None => Ok(()),
            }
        }
    };
    targets.send_everywhere(bytes, put).await
}

/// Completes every object and reads back what the stores hold.
async fn complete(kept: &Kept, targets: &Targets, uploads: &Uploads, piped: &Piped) -> Result<(), RunError> {
    let complete = |place: usize, target: Arc<Target>| {
        let upload = uploads[place].clone();
        async move {
            let _owing = kept.limits.owing(&target.storage.name);
            match upload {
                Some(upload) => upload.complete(piped.stored_bytes, piped.crc64).await.map(Some),
                None => Ok(None),
            }
        }
    };
    for (target, stored) in targets.all().iter().zip(targets.everywhere_within(COMPLETE_LAG, complete).await?) {
        let Some(stored) = stored.flatten() else { continue };
        let name = &target.storage.name;
        kept.log.line(format!("{name}: stored {} bytes, read back {}", stored.size_bytes, stored.checksum));
    }
    Ok(())
}

/// Puts what tells of the files beside them.
async fn store_manifest(kept: &Kept, targets: &Targets, outcome: &Outcome) -> Result<(), RunError> {
    let internal = |error: String| RunError::Internal(error);
    let key = manifest::key(&kept.claim).ok_or_else(|| internal("the manifest has no name".to_owned()))?;
    let content = manifest::manifest(&kept.claim, outcome, kept.service.clock.now());
    let text = serde_json::to_string_pretty(&content).map_err(|error| internal(error.to_string()))?;
    let text = Bytes::from(text + "\n");
    let put = |_, target: Arc<Target>| {
        let (key, text) = (&key, text.clone());
        async move { target.objects.put(key, text).await }
    };
    targets.everywhere(put).await.map(drop)
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

fn pipe_error(error: PipeError<RunError>) -> RunError {
    match error {
        PipeError::Put(error) => error,
        PipeError::Cancelled => RunError::Stopped,
        PipeError::Read(error) => match Exceeded::of(&error) {
            Some(exceeded) => exceeded.into(),
            None => SourceError::Broken(format!("the dump could not be read: {error}")).into(),
        },
        PipeError::Compress(error) => RunError::Internal(format!("the compressor failed: {error}")),
        PipeError::Lost => RunError::Internal(error.to_string()),
    }
}
