//! Keeping: how a store is asked to keep what is written to it, and what it says when it keeps what was to go.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::create_multipart_upload::builders::CreateMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::delete_object::DeleteObjectError;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::types::{ObjectLockMode, ServerSideEncryption as WireEncryption, StorageClass};
use aws_smithy_types::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::Objects;
use crate::domain::storage_options::{LockMode, ObjectLock, StorageOptions};

/// How objects are to be kept, in the SDK's words.
#[derive(Debug, Clone, Default)]
pub(super) struct Keeping {
    storage_class: Option<StorageClass>,
    encryption: Option<WireEncryption>,
    kms_key_id: Option<String>,
    lock: Option<(ObjectLockMode, DateTime)>,
}

impl Objects {
    /// The same bucket, in which what is written is kept as `options` say; a lock counts from `now`.
    #[must_use]
    pub fn keeping(self, options: &StorageOptions, now: Timestamp) -> Self {
        let StorageOptions { storage_class, server_side_encryption, kms_key_id, object_lock } = options;
        let lock = |ObjectLock { mode, days }: &ObjectLock| {
            let mode = match mode {
                LockMode::Governance => ObjectLockMode::Governance,
                LockMode::Compliance => ObjectLockMode::Compliance,
            };
            let until = now + SignedDuration::from_hours(24 * i64::from(*days));
            (mode, DateTime::from_secs(until.as_second()))
        };
        let keeping = Keeping {
            storage_class: storage_class.as_deref().map(StorageClass::from),
            encryption: server_side_encryption.map(|encryption| WireEncryption::from(encryption.as_str())),
            kms_key_id: kms_key_id.clone(),
            lock: object_lock.as_ref().map(lock),
        };
        Self { keeping: keeping.into(), ..self }
    }

    /// The same bucket, in which nothing that is written is locked: for what has to go again at once.
    #[must_use]
    pub fn unlocked(self) -> Self {
        Self { keeping: Keeping { lock: None, ..Keeping::clone(&self.keeping) }.into(), ..self }
    }

    /// Whether what is written is locked.
    pub fn locks(&self) -> bool {
        self.keeping.lock.is_some()
    }

    pub(super) fn keep_upload(
        &self,
        request: CreateMultipartUploadFluentBuilder,
    ) -> CreateMultipartUploadFluentBuilder {
        let Keeping { storage_class, encryption, kms_key_id, lock } = Keeping::clone(&self.keeping);
        let (mode, until) = lock.unzip();
        let request = request.set_storage_class(storage_class).set_server_side_encryption(encryption);
        let request = request.set_ssekms_key_id(kms_key_id);
        request.set_object_lock_mode(mode).set_object_lock_retain_until_date(until)
    }

    pub(super) fn keep_object(&self, request: PutObjectFluentBuilder) -> PutObjectFluentBuilder {
        let Keeping { storage_class, encryption, kms_key_id, lock } = Keeping::clone(&self.keeping);
        let (mode, until) = lock.unzip();
        let request = request.set_storage_class(storage_class).set_server_side_encryption(encryption);
        let request = request.set_ssekms_key_id(kms_key_id);
        request.set_object_lock_mode(mode).set_object_lock_retain_until_date(until)
    }
}

/// Whether a store refused to delete an object because it is locked. Stores word it differently, S3 with a plain
/// `AccessDenied` whose message tells.
pub(super) fn is_lock(error: &SdkError<DeleteObjectError>) -> bool {
    let message = error.message().unwrap_or_default().to_ascii_lowercase();
    let told = ["object lock", "objectlock", "worm", "retention", "retain"];
    matches!(error, SdkError::ServiceError(_)) && told.iter().any(|words| message.contains(words))
}
