//! Takes a request's body in: one pass that writes it to a part file and computes its digests, in fixed buffers.

use bytes::Bytes;
use futures::StreamExt as _;
use s3s::dto::{Checksum as Sums, StreamingBlob};
use s3s::{S3ErrorCode, StdError};
use tokio::task::{JoinHandle, spawn_blocking};

use super::checksum::{Algorithm, Hasher};
use super::fault::{Fault, Result, refused};
use super::files::{Draft, Files};

/// Bytes that are collected before they are hashed and written in one go, while the next ones arrive.
const BATCH: usize = 512 * 1024;

/// Pieces in one batch at most, whatever their size.
const BATCH_PIECES: usize = 1024;

/// A body that has arrived whole. Its file is not on the disk yet, and goes away with this value.
pub(super) struct Received {
    pub(super) draft: Draft,
    pub(super) size: u64,
    pub(super) md5: [u8; 16],
    pub(super) sums: Sums,
}

/// Reads a body to its end. Whoever stops waiting (the client went away) leaves no file behind.
pub(super) async fn receive(files: &Files, body: Option<StreamingBlob>, algorithms: &[Algorithm]) -> Result<Received> {
    let (files, hasher) = (files.clone(), Hasher::new(algorithms));
    let mut writing: JoinHandle<Result<Sink>> =
        spawn_blocking(move || Ok(Sink { draft: files.create()?, hasher, size: 0 }));
    let mut batch = Vec::new();
    let mut held = 0;
    if let Some(mut body) = body {
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(broken_body)?;
            held += piece.len();
            batch.push(piece);
            if held >= BATCH || batch.len() >= BATCH_PIECES {
                let sink = writing.await??;
                let full = std::mem::take(&mut batch);
                held = 0;
                writing = spawn_blocking(move || sink.write(&full));
            }
        }
    }
    let sink = writing.await??;
    spawn_blocking(move || Ok(sink.write(&batch)?.finish())).await?
}

struct Sink {
    draft: Draft,
    hasher: Hasher,
    size: u64,
}

impl Sink {
    fn write(mut self, batch: &[Bytes]) -> Result<Self> {
        for piece in batch {
            self.draft.write(piece)?;
            self.hasher.update(piece);
            self.size += piece.len() as u64;
        }
        Ok(self)
    }

    fn finish(self) -> Received {
        let (md5, sums) = self.hasher.finish();
        Received { draft: self.draft, size: self.size, md5, sums }
    }
}

/// The refusal that fits a body that broke off. The protocol crate keeps its error types to itself, so that only
/// their text tells which check of the payload failed.
fn broken_body(error: StdError) -> Fault {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
        let mut error = s3s::S3Error::with_message(S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()), message);
        error.set_status_code(http::StatusCode::BAD_REQUEST);
        return error.into();
    }
    if text.contains("SignatureMismatch") {
        let message = "The chunk or trailer signature we calculated does not match the signature you provided.";
        return refused(S3ErrorCode::SignatureDoesNotMatch, message);
    }
    tracing::debug!(%error, "a request body broke off");
    refused(
        S3ErrorCode::IncompleteBody,
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    )
}
