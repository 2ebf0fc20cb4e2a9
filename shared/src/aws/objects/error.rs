//! What can go wrong with a bucket, in words for its owner.

use std::error::Error as StdError;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_smithy_types::error::display::DisplayErrorContext;

use crate::domain::retry::Retry;

/// A bucket did not do what was asked. Display is safe to show to the bucket's owner; it holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The store knows neither the key nor the right to do this.
    #[error("bucket {bucket} refused to {action} ({code}); check the storage's key, secret and permissions")]
    Refused {
        /// The bucket.
        bucket: String,
        /// What was tried: `write a part`, `list objects` ….
        action: &'static str,
        /// The store's own word.
        code: String,
    },
    /// The bucket is not there, or not in this region.
    #[error("bucket {bucket} was not found ({code}); check the storage's bucket, region and endpoint")]
    NoBucket {
        /// The bucket.
        bucket: String,
        /// The store's own word.
        code: String,
    },
    /// The object, or the upload, is not there.
    #[error("bucket {bucket} has nothing to {action} there ({code})")]
    NotFound {
        /// The bucket.
        bucket: String,
        /// What was tried.
        action: &'static str,
        /// The store's own word.
        code: String,
    },
    /// The store understood and said no; saying it again does not help.
    #[error("bucket {bucket} cannot {action}: {code}: {message}")]
    Rejected {
        /// The bucket.
        bucket: String,
        /// What was tried.
        action: &'static str,
        /// The store's own word.
        code: String,
        /// The store's own message.
        message: String,
    },
    /// The store has no room left, or not for its owner.
    #[error("bucket {bucket} has no room left to {action} ({code}); free some there, or have its quota raised")]
    Full {
        /// The bucket.
        bucket: String,
        /// What was tried.
        action: &'static str,
        /// The store's own word.
        code: String,
    },
    /// The store did not answer, or answered that it cannot right now, however often it was asked.
    #[error("bucket {bucket} could not be reached to {action}, or is failing; check its endpoint if this stays so")]
    Unavailable {
        /// The bucket.
        bucket: String,
        /// What was tried.
        action: &'static str,
        /// What the last try said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// What the store says it holds is not what was sent.
    #[error("bucket {bucket} holds something else at {key} than what was sent: {what}")]
    Mismatch {
        /// The bucket.
        bucket: String,
        /// The object.
        key: String,
        /// What differs, with both values.
        what: String,
    },
    /// An object lock keeps what was to be deleted.
    #[error("bucket {bucket} keeps what was to be deleted under an object lock; it goes once the lock has ended")]
    Locked {
        /// The bucket.
        bucket: String,
    },
    /// The endpoint leads to where users may not lead us, or cannot be looked up.
    #[error(transparent)]
    Guarded(#[from] crate::guard::Refused),
    /// What was handed in cannot be used to build a request: an endpoint that is no URL.
    #[error("the storage of bucket {bucket} cannot be used: {message}")]
    Unusable {
        /// The bucket.
        bucket: String,
        /// What is wrong.
        message: String,
    },
}

impl ObjectsError {
    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Guarded(refused) => refused.retry(),
            Self::Refused { .. } | Self::NoBucket { .. } | Self::Rejected { .. } | Self::Unusable { .. } => {
                Retry::Never
            }
            Self::Full { .. }
            | Self::NotFound { .. }
            | Self::Unavailable { .. }
            | Self::Mismatch { .. }
            | Self::Locked { .. } => Retry::Later,
        }
    }

    /// Whether what was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Sorts what the SDK reports, after its own retries.
    pub(super) fn from_sdk<E>(bucket: &str, action: &'static str, error: SdkError<E>) -> Self
    where
        E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let code = error.code().map(str::to_owned).or(status.map(|status| format!("HTTP {status}")));
        let message = error.message().unwrap_or("no further words").to_owned();
        let bucket = bucket.to_owned();
        match (&error, class_of(status.unwrap_or(0), code.as_deref().unwrap_or(""))) {
            (SdkError::ConstructionFailure(_), _) => {
                Self::Unusable { bucket, message: DisplayErrorContext(&error).to_string() }
            }
            (SdkError::ServiceError(_), Class::Refused) => {
                Self::Refused { bucket, action, code: code.unwrap_or_default() }
            }
            (SdkError::ServiceError(_), Class::NoBucket) => Self::NoBucket { bucket, code: code.unwrap_or_default() },
            (SdkError::ServiceError(_), Class::NotFound) => {
                Self::NotFound { bucket, action, code: code.unwrap_or_default() }
            }
            (SdkError::ServiceError(_), Class::Full) => Self::Full { bucket, action, code: code.unwrap_or_default() },
            (SdkError::ServiceError(_), Class::Rejected) => {
                Self::Rejected { bucket, action, code: code.unwrap_or_default(), message }
            }
            _ => Self::Unavailable { bucket, action, source: described(&error).into() },
        }
    }
}

/// The SDK's error as text with all its sources and the store's request id.
fn described<E: StdError + ProvideErrorMetadata + 'static>(error: &SdkError<E>) -> String {
    let id = error.request_id().unwrap_or("none");
    format!("{} (request id {id})", DisplayErrorContext(error))
}

#[derive(Debug, PartialEq, Eq)]
enum Class {
    Refused,
    NoBucket,
    NotFound,
    Rejected,
    Full,
    Passing,
}

/// Sorts an answer by [S3's words](https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html) first and its
/// HTTP status second: other stores know fewer words.
fn class_of(status: u16, code: &str) -> Class {
    match code {
        // These are 4xx, but pass: a clock, a short-lived credential, bytes damaged on the way.
        "ExpiredToken"
        | "RequestTimeTooSkewed"
        | "RequestTimeout"
        | "BadDigest"
        | "InvalidPart"
        | "SlowDown"
        | "XAmzContentChecksumMismatch"
        | "XAmzContentSHA256Mismatch"
        | "OperationAborted" => Class::Passing,
        "NoSuchBucket"
        | "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => Class::NoBucket,
        // S3 itself never is: these are MinIO's, Ceph's and others' words.
        "XMinioStorageFull" | "QuotaExceeded" | "QuotaExceededException" | "StorageQuotaExceeded" => Class::Full,
        _ => match status {
            507 => Class::Full,
            401 | 403 => Class::Refused,
            404 => Class::NotFound,
            301 | 307 => Class::NoBucket,
            408 | 409 | 423 | 425 | 429 => Class::Passing,
            400..=499 | 501 => Class::Rejected,
            _ => Class::Passing,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_word_and_then_by_status() {
        let cases = [
            (403, "AccessDenied", Class::Refused),
            (403, "RequestTimeTooSkewed", Class::Passing),
            (403, "HTTP 403", Class::Refused),
            (404, "NoSuchBucket", Class::NoBucket),
            (404, "NoSuchUpload", Class::NotFound),
            (301, "PermanentRedirect", Class::NoBucket),
            (400, "AuthorizationHeaderMalformed", Class::NoBucket),
            (400, "BadDigest", Class::Passing),
            (400, "EntityTooLarge", Class::Rejected),
            (429, "HTTP 429", Class::Passing),
            (501, "NotImplemented", Class::Rejected),
            (503, "SlowDown", Class::Passing),
            (507, "XMinioStorageFull", Class::Full),
            (507, "HTTP 507", Class::Full),
            (403, "QuotaExceeded", Class::Full),
        ];
        for (status, code, class) in cases {
            assert_eq!(class_of(status, code), class, "{status} {code}");
        }
    }
}
