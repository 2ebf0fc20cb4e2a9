//! The members of a storage that say how it is asked to keep what is written to it.

use holdfast_shared::domain::storage_options::{
    LockMode, MAX_KMS_KEY_CHARS, MAX_LOCK_DAYS, ObjectLock, STORAGE_CLASSES, ServerSideEncryption, StorageOptionsEdit,
    kms_key_id, storage_class,
};

use crate::http::Fields;
use crate::http::schema::{Member, Schema, integer_in, line, object, one_of, optional, or_null, required};

/// What a body can hold of them; null leaves each to the bucket.
pub(super) fn members() -> [Member; 4] {
    let words = "of objects written from now on; null leaves it to the bucket";
    [
        optional("storage_class", or_null(one_of(&STORAGE_CLASSES)).described(words)),
        optional("server_side_encryption", or_null(one_of(&ServerSideEncryption::NAMES)).described(words)),
        optional(
            "kms_key_id",
            or_null(line(MAX_KMS_KEY_CHARS)).described("for aws:kms; null is the default key of the account there"),
        ),
        optional(
            "object_lock",
            or_null(lock_schema()).described("keeps what is written from now on from being deleted; null does not"),
        ),
    ]
}

/// The form of a lock.
pub(super) fn lock_schema() -> Schema {
    let days = integer_in(1..=i64::from(MAX_LOCK_DAYS)).described("from the beginning of the run that writes");
    object([required("mode", one_of(&LockMode::NAMES)), required("days", days)])
}

/// What a body says of them.
pub(super) fn read(fields: &mut Fields<'_>) -> StorageOptionsEdit {
    let storage_class = or_taken_away(fields, "storage_class", |fields, name| fields.optional(name, storage_class));
    let server_side_encryption = or_taken_away(fields, "server_side_encryption", |fields, name| {
        fields.optional(name, ServerSideEncryption::parse)
    });
    let kms_key_id = or_taken_away(fields, "kms_key_id", |fields, name| fields.optional(name, kms_key_id));
    let object_lock = or_taken_away(fields, "object_lock", |fields, name| fields.object(name, lock));
    StorageOptionsEdit { storage_class, server_side_encryption, kms_key_id, object_lock }
}

fn lock(fields: &mut Fields<'_>) -> Option<ObjectLock> {
    let mode = fields.required("mode", LockMode::parse);
    let days = fields.required_integer("days", 1..=i64::from(MAX_LOCK_DAYS));
    Some(ObjectLock { mode: mode?, days: u32::try_from(days?).ok()? })
}

/// What `read` makes of a member; `Some(None)` where null takes it away.
fn or_taken_away<T>(
    fields: &mut Fields<'_>,
    name: &str,
    read: impl FnOnce(&mut Fields<'_>, &str) -> Option<T>,
) -> Option<Option<T>> {
    match fields.is_null(name) {
        true => Some(None),
        false => read(fields, name).map(Some),
    }
}
