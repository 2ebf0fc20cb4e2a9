//! The bytes: source → SHA-256 → zstd or gzip → age → SHA-256 and CRC64NVME → parts, in one pass and constant memory.
//!
//! Four stages work at once, joined by bounded channels: this task reads and sends, and a thread each hashes what was
//! read, compresses and encrypts it, and hashes what will be stored. Read buffers and part buffers are recycled, and a part goes to
//! every storage without being copied. Three parts of 5 MiB exist at most, and two of any larger size: 20 MiB up to an
//! object of 25 GiB. Nothing touches a disk.
//!
//! The end of the source is never success: what comes out here says what was read and sent, and the caller decides
//! whether that was all.

mod compress;
mod encrypt;
mod parts;
mod sink;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use age::Encryptor;
use aws_lc_rs::digest::{Context, SHA256};
use futures::stream::{FuturesUnordered, StreamExt};
use holdfast_shared::aws::objects::{Part, crc64_of_joined};
use holdfast_shared::domain::compression::Compression;
use holdfast_shared::domain::part_size::PartSizes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use compress::Compressor;
pub use encrypt::Recipients;
use parts::{Filled, PartBuffers, PartWriter, Stopped};
use sink::Sink;

/// Bytes of a read buffer.
const READ_BYTES: usize = 256 << 10;
/// How many read buffers there are.
const READ_BUFFERS: usize = 8;
/// How much of the end of the plain bytes is kept, for the source's own end mark.
const TAIL_BYTES: usize = 4 << 10;

/// In which form bytes are stored.
pub struct Form {
    /// How they are compressed.
    pub compression: Compression,
    /// What encrypts them afterwards; `None` leaves them in the clear.
    pub encryptor: Option<Encryptor>,
    /// How large the parts are in which they are sent.
    pub parts: PartSizes,
}

impl Form {
    /// Whether they are stored as they are read.
    fn is_plain(&self) -> bool {
        self.compression == Compression::None && self.encryptor.is_none()
    }
}

/// How far a pipe is; read by others while it runs.
#[derive(Debug, Default)]
pub struct Meter {
    read: AtomicU64,
    stored: AtomicU64,
}

impl Meter {
    /// Bytes that came from the source.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes that every storage has acknowledged.
    pub fn bytes_stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }
}

/// What went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piped {
    /// Bytes that came from the source.
    pub plain_bytes: u64,
    /// Bytes that were sent.
    pub stored_bytes: u64,
    /// SHA-256 of what came from the source, lowercase hex.
    pub plain_sha256: String,
    /// SHA-256 of what was sent, lowercase hex.
    pub stored_sha256: String,
    /// CRC64NVME of what was sent.
    pub crc64: u64,
    /// The last bytes that came from the source, at most 4 KiB.
    pub tail: Vec<u8>,
}

/// Why a pipe ended early; `E` is what sending a part answers.
#[derive(Debug, thiserror::Error)]
pub enum PipeError<E> {
    /// The token was cancelled.
    #[error("the backup was stopped")]
    Cancelled,
    /// The source broke.
    #[error("the source could not be read")]
    Read(#[source] io::Error),
    /// The compressor refused.
    #[error("the data could not be compressed")]
    Compress(#[source] io::Error),
    /// A part could not be sent.
    #[error("a part could not be stored")]
    Put(E),
    /// A stage of ours ended before its work was done.
    #[error("the pipeline lost bytes between its stages; this is a fault of ours")]
    Lost,
}

/// Reads `source` to its end, brings it into `form` and hands each part to `put`, several at once and in order of their
/// numbers. At least one part is handed over, if an empty one.
///
/// When this returns, no part is on its way any more. Cancelling `cancel` ends it at any point.
pub async fn pipe<R, P, F, E>(
    source: R,
    form: Form,
    meter: &Meter,
    cancel: &CancellationToken,
    put: P,
) -> Result<Piped, PipeError<E>>
where
    R: AsyncRead + Unpin,
    P: Fn(Part) -> F,
    F: Future<Output = Result<(), E>>,
{
    let (free, empty) = channel(READ_BUFFERS);
    for _ in 0..READ_BUFFERS {
        free.try_send(Vec::with_capacity(READ_BYTES)).map_err(|_| PipeError::Lost)?;
    }
    let (read, to_hash) = channel(READ_BUFFERS);
    let (hashed, to_compress) = channel(READ_BUFFERS);
    let (filled, to_seal) = channel(1);
    let (sealed, to_send) = channel(1);
    let buffers = PartBuffers::default();
    let writer = PartWriter::new(buffers.clone(), filled, form.parts);

    let is_plain = form.is_plain();
    let hashing = spawn_blocking(move || hash_plain(to_hash, hashed));
    let compressing = spawn_blocking(move || compress(form, to_compress, free, writer));
    let sealing = spawn_blocking(move || hash_stored(is_plain, to_seal, sealed));
    let reading = async { read_all(source, empty, read, meter).await.map_err(PipeError::Read) };
    let sending = async { send_all(to_send, buffers, meter, put).await.map_err(PipeError::Put) };
    // Dropping the two ends the threads too: each stops when a channel next to it is gone.
    let both = async { tokio::try_join!(reading, sending) };
    let (read_bytes, sent_bytes) = tokio::select! {
        () = cancel.cancelled() => return Err(PipeError::Cancelled),
        ended = both => ended?,
    };
    let plain = hashing.await.map_err(|_| PipeError::Lost)?;
    let compressed_bytes = compressing.await.map_err(|_| PipeError::Lost)?.map_err(|stop| match stop {
        Stop::Compress(error) => PipeError::Compress(error),
        Stop::Neighbour => PipeError::Lost,
    })?;
    let stored = sealing.await.map_err(|_| PipeError::Lost)?;
    // Every stage counts for itself: a byte that is lost between two of them must not go unnoticed.
    if [plain.bytes, compressed_bytes] != [read_bytes; 2] || stored.bytes != sent_bytes {
        return Err(PipeError::Lost);
    }
    Ok(Piped {
        plain_bytes: plain.bytes,
        stored_bytes: stored.bytes,
        stored_sha256: stored.sha256.unwrap_or_else(|| plain.sha256.clone()),
        plain_sha256: plain.sha256,
        crc64: stored.crc64,
        tail: plain.tail,
    })
}

/// Fills read buffers until the source ends; answers the bytes. Ends early, and well, when the next stage is gone.
async fn read_all<R: AsyncRead + Unpin>(
    mut source: R,
    mut empty: Receiver<Vec<u8>>,
    full: Sender<Vec<u8>>,
    meter: &Meter,
) -> io::Result<u64> {
    let mut total = 0;
    while let Some(mut buffer) = empty.recv().await {
        buffer.clear();
        while buffer.len() < buffer.capacity() {
            let bytes = source.read_buf(&mut buffer).await? as u64;
            if bytes == 0 {
                let _ = full.send(buffer).await;
                return Ok(total);
            }
            total += bytes;
            meter.read.fetch_add(bytes, Ordering::Relaxed);
        }
        if full.send(buffer).await.is_err() {
            break;
        }
    }
    Ok(total)
}

struct Plain {
    bytes: u64,
    sha256: String,
    tail: Vec<u8>,
}

/// Hashes read buffers and passes them on.
fn hash_plain(mut input: Receiver<Vec<u8>>, output: Sender<Vec<u8>>) -> Plain {
    let (mut bytes, mut hash, mut tail) = (0, Context::new(&SHA256), Vec::with_capacity(2 * TAIL_BYTES));
    while let Some(buffer) = input.blocking_recv() {
        bytes += buffer.len() as u64;
        hash.update(&buffer);
        tail.extend_from_slice(&buffer[buffer.len().saturating_sub(TAIL_BYTES)..]);
        tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
        if output.blocking_send(buffer).is_err() {
            break;
        }
    }
    Plain { bytes, sha256: hex::encode(hash.finish()), tail }
}

/// Why the compressing thread stopped early.
enum Stop {
    Compress(io::Error),
    Neighbour,
}

impl From<Stopped> for Stop {
    fn from(_: Stopped) -> Self {
        Self::Neighbour
    }
}

/// Compresses read buffers into parts, encrypted where that is asked for, and gives the buffers back; answers the bytes
/// that went in.
fn compress(form: Form, mut input: Receiver<Vec<u8>>, free: Sender<Vec<u8>>, parts: PartWriter) -> Result<u64, Stop> {
    let mut compressor = Compressor::new(form.compression).map_err(Stop::Compress)?;
    let mut sink = Sink::open(parts, form.encryptor)?;
    let mut total = 0;
    while let Some(buffer) = input.blocking_recv() {
        total += buffer.len() as u64;
        compressor.write(&buffer, &mut sink)?;
        // Gone when the source has ended.
        let _ = free.try_send(buffer);
    }
    compressor.finish(&mut sink)?;
    sink.finish()?;
    Ok(total)
}

struct StoredSum {
    bytes: u64,
    /// `None` where the bytes are those that were read.
    sha256: Option<String>,
    crc64: u64,
}

/// A part with what its memory counts against.
type Sealed = (Part, tokio::sync::OwnedSemaphorePermit);

/// Hashes parts and passes them on.
fn hash_stored(is_plain: bool, mut input: Receiver<Filled>, output: Sender<Sealed>) -> StoredSum {
    let mut hash = (!is_plain).then(|| Context::new(&SHA256));
    let (mut bytes, mut crc64) = (0, 0);
    while let Some(filled) = input.blocking_recv() {
        let part = Part::new(filled.number, filled.bytes.into());
        let part_bytes = part.bytes.len() as u64;
        crc64 = crc64_of_joined(crc64, part.crc64, part_bytes);
        bytes += part_bytes;
        if let Some(hash) = &mut hash {
            hash.update(&part.bytes);
        }
        if output.blocking_send((part, filled.permit)).is_err() {
            break;
        }
    }
    StoredSum { bytes, sha256: hash.map(|hash| hex::encode(hash.finish())), crc64 }
}

/// Sends parts as they come, as many at once as there are part buffers; answers the bytes that were acknowledged.
async fn send_all<P, F, E>(mut input: Receiver<Sealed>, buffers: PartBuffers, meter: &Meter, put: P) -> Result<u64, E>
where
    P: Fn(Part) -> F,
    F: Future<Output = Result<(), E>>,
{
    let send = |(part, permit): Sealed| {
        let bytes = part.bytes.clone();
        let sent = put(part);
        let buffers = &buffers;
        async move {
            sent.await?;
            let acknowledged = bytes.len() as u64;
            buffers.give_back(bytes, permit);
            meter.stored.fetch_add(acknowledged, Ordering::Relaxed);
            Ok(acknowledged)
        }
    };
    let (mut total, mut under_way, mut more) = (0, FuturesUnordered::new(), true);
    while more || !under_way.is_empty() {
        tokio::select! {
            part = input.recv(), if more => match part {
                Some(part) => under_way.push(send(part)),
                None => more = false,
            },
            Some(sent) = under_way.next(), if !under_way.is_empty() => total += sent?,
        }
    }
    Ok(total)
}

/// A meter that a run shares with those who watch it.
pub type SharedMeter = Arc<Meter>;

#[cfg(test)]
mod tests;
