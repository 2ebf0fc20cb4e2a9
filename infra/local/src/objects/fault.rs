//! What can go wrong inside the store, and how S3 words it.

use std::io;

use s3s::{S3Error, S3ErrorCode};

/// What every fallible function of the store answers.
pub(super) type Result<T> = std::result::Result<T, Fault>;

/// A refusal that S3 documents, or a failure of the machine underneath.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The client's request is refused, in S3's own words.
    #[error("refused: {0}")]
    Refused(S3Error),
    /// The metadata could not be read or written.
    #[error("the object catalog failed")]
    Catalog(#[from] rusqlite::Error),
    /// A part file could not be read or written.
    #[error("a part file failed")]
    File(#[from] io::Error),
    /// A row holds what this version cannot read.
    #[error("a row of the object catalog cannot be read")]
    Row(#[from] serde_json::Error),
    /// A task of the store did not end by itself.
    #[error("a task of the object store ended early")]
    Task(#[from] tokio::task::JoinError),
}

impl Fault {
    fn disk_is_full(&self) -> bool {
        match self {
            Self::Catalog(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            Self::File(error) => matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded),
            _ => false,
        }
    }
}

/// A refusal with the message that S3 gives for it.
pub(super) fn refused(code: S3ErrorCode, message: impl Into<String>) -> Fault {
    Fault::Refused(S3Error::with_message(code, message.into()))
}

/// A request that contradicts itself or lacks something.
pub(super) fn invalid(message: impl Into<String>) -> Fault {
    refused(S3ErrorCode::InvalidRequest, message)
}

impl From<S3Error> for Fault {
    fn from(error: S3Error) -> Self {
        Self::Refused(error)
    }
}

/// Refusals go out as they are; a failure of the machine is logged here, once, and goes out as `InternalError`, which
/// clients retry.
impl From<Fault> for S3Error {
    fn from(fault: Fault) -> Self {
        if let Fault::Refused(error) = fault {
            return error;
        }
        let message = if fault.disk_is_full() {
            tracing::error!(error = ?fault, "the disk under the object store is full; free space on it");
            "the disk under the object store is full"
        } else {
            tracing::error!(error = ?fault, "the object store failed");
            "We encountered an internal error. Please try again."
        };
        S3Error::with_message(S3ErrorCode::InternalError, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_and_answered_as_an_internal_error() {
        let full: S3Error = Fault::File(io::Error::from(io::ErrorKind::StorageFull)).into();
        assert_eq!(full.code(), &S3ErrorCode::InternalError);
        assert_eq!(full.message(), Some("the disk under the object store is full"));

        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        let full: S3Error = Fault::Catalog(rusqlite::Error::SqliteFailure(code, None)).into();
        assert_eq!(full.message(), Some("the disk under the object store is full"));
    }

    #[test]
    fn a_refusal_keeps_its_code() {
        let error: S3Error = refused(S3ErrorCode::NoSuchKey, "gone").into();
        assert_eq!(error.code(), &S3ErrorCode::NoSuchKey);
    }
}
