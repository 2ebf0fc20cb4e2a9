//! Objects: what a key holds, and the transactions that put, copy and delete one.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row, params};
use s3s::S3ErrorCode;
use s3s::dto::{ETag, ETagCondition, Timestamp};
use serde::{Deserialize, Serialize};

use super::catalog::Tx;
use super::checksum::Checksum;
use super::conditions::wire_time;
use super::fault::{Fault, Result, refused};

/// The headers that a client stores with an object and gets back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Headers {
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) expires: Option<Timestamp>,
    /// `x-amz-meta-…`.
    pub(super) metadata: BTreeMap<String, String>,
    /// `x-amz-storage-class`; kept and told, and nothing else follows from it here.
    pub(super) storage_class: Option<String>,
    /// `x-amz-server-side-encryption`, likewise.
    pub(super) server_side_encryption: Option<String>,
    /// `x-amz-server-side-encryption-aws-kms-key-id`, likewise.
    pub(super) kms_key_id: Option<String>,
    pub(super) lock: Option<Lock>,
}

/// Until when an object can be neither deleted nor replaced. There are no versions here, so that a lock holds for the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Lock {
    /// `GOVERNANCE` or `COMPLIANCE`; nobody can pass either by here.
    pub(super) mode: String,
    pub(super) until: Timestamp,
}

impl Lock {
    /// The lock that a request asks for; both halves belong together.
    pub(super) fn asked(mode: Option<&str>, until: Option<&Timestamp>, now: i64) -> Result<Option<Self>> {
        match (mode, until) {
            (None, None) => Ok(None),
            (Some(mode), Some(until)) if *until > wire_time(now) => {
                Ok(Some(Self { mode: mode.to_owned(), until: until.clone() }))
            }
            (Some(_), Some(_)) => {
                Err(refused(S3ErrorCode::InvalidArgument, "The retain until date must be in the future!"))
            }
            _ => {
                let message = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied";
                Err(refused(S3ErrorCode::InvalidArgument, message))
            }
        }
    }
}

/// Takes the stored headers out of a request that comes `now`; a fault where they contradict each other.
macro_rules! headers_of {
    ($input:expr, $now:expr) => {{
        let input = &$input;
        let mode = input.object_lock_mode.as_ref().map(|mode| mode.as_str());
        let until = input.object_lock_retain_until_date.as_ref();
        $crate::objects::object::Lock::asked(mode, until, $now).map(|lock| $crate::objects::object::Headers {
            cache_control: input.cache_control.clone(),
            content_disposition: input.content_disposition.clone(),
            content_encoding: $crate::objects::object::stored_encoding(input.content_encoding.as_deref()),
            content_language: input.content_language.clone(),
            content_type: input.content_type.clone(),
            expires: input.expires.clone(),
            metadata: input.metadata.clone().unwrap_or_default().into_iter().collect(),
            storage_class: input.storage_class.as_ref().map(|class| class.as_str().to_owned()),
            server_side_encryption: input.server_side_encryption.as_ref().map(|kind| kind.as_str().to_owned()),
            kms_key_id: input.ssekms_key_id.clone(),
            lock,
        })
    }};
}
pub(super) use headers_of;

/// `aws-chunked` belongs to the transfer, not to the object.
pub(super) fn stored_encoding(encoding: Option<&str>) -> Option<String> {
    let kept: Vec<&str> = encoding?
        .split(',')
        .map(str::trim)
        .filter(|e| !e.is_empty() && !e.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// Bytes of an object that lie in one part file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// The part number that the client gave; 1 for an object of one piece.
    pub(super) number: i32,
    pub(super) file: String,
    pub(super) size: u64,
}

/// An object without its bytes.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) size: u64,
    /// Hexadecimal, without quotes.
    pub(super) etag: String,
    /// Milliseconds since 1970.
    pub(super) modified: i64,
    pub(super) headers: Headers,
    pub(super) checksum: Checksum,
    /// The multipart upload that it came from.
    pub(super) upload: Option<String>,
}

impl Object {
    /// Whether a precondition names this object.
    pub(super) fn matches(&self, condition: &ETagCondition) -> bool {
        match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(etag) => etag.value() == self.etag,
        }
    }

    /// Refuses while a lock holds, in S3's words.
    fn check_lock(&self, now: i64) -> Result<()> {
        match &self.headers.lock {
            Some(lock) if lock.until > wire_time(now) => {
                let message = "Access Denied because object protected by object lock.";
                Err(refused(S3ErrorCode::AccessDenied, message))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn wire_etag(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }
}

/// What must hold of the key's present object for a write to take place.
#[derive(Debug, Default)]
pub(super) struct Precondition {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
}

impl Precondition {
    fn check(&self, present: Option<&Object>) -> Result<()> {
        match (&self.if_match, present) {
            (Some(_), None) => return Err(no_such_key()),
            (Some(condition), Some(present)) if !present.matches(condition) => return Err(precondition_failed()),
            _ => {}
        }
        match (&self.if_none_match, present) {
            (Some(condition), Some(present)) if present.matches(condition) => Err(precondition_failed()),
            _ => Ok(()),
        }
    }
}

/// The refusal of a key that holds nothing.
pub(super) fn no_such_key() -> Fault {
    refused(S3ErrorCode::NoSuchKey, "The specified key does not exist.")
}

/// The refusal of a request whose precondition does not hold.
pub(super) fn precondition_failed() -> Fault {
    refused(S3ErrorCode::PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

impl Tx<'_> {
    /// The object at a key, with the id of its row.
    pub(super) fn find_object(&self, bucket: &str, key: &str) -> Result<Option<(i64, Object)>> {
        let mut query = self.sql.prepare_cached(
            "SELECT id, size, etag, modified, headers, checksum, upload FROM object WHERE bucket = ? AND key = ?",
        )?;
        let row = query.query_row(params![bucket, key.as_bytes()], read_object).optional()?;
        row.transpose()
    }

    /// The object at a key, or the refusal that fits what is missing.
    pub(super) fn require_object(&self, bucket: &str, key: &str) -> Result<(i64, Object)> {
        self.require_bucket(bucket)?;
        self.find_object(bucket, key)?.ok_or_else(no_such_key)
    }

    /// The files of an object, in order.
    pub(super) fn segments(&self, object: i64) -> Result<Vec<Segment>> {
        let mut query =
            self.sql.prepare_cached("SELECT number, file, size FROM segment WHERE object = ? ORDER BY number")?;
        let rows = query
            .query_map([object], |row| Ok(Segment { number: row.get(0)?, file: row.get(1)?, size: row.get(2)? }))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Puts an object at a key in the place of what is there, if the precondition holds.
    pub(super) fn put_object(
        &mut self,
        (bucket, key): (&str, &str),
        object: &Object,
        segments: &[Segment],
        precondition: &Precondition,
    ) -> Result<()> {
        self.require_bucket(bucket)?;
        let present = self.find_object(bucket, key)?;
        precondition.check(present.as_ref().map(|(_, present)| present))?;
        if let Some((id, present)) = present {
            present.check_lock(object.modified)?;
            self.remove_object(id)?;
        }
        self.sql
            .prepare_cached(
                "INSERT INTO object (bucket, key, size, etag, modified, headers, checksum, upload)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                bucket,
                key.as_bytes(),
                object.size,
                object.etag,
                object.modified,
                serde_json::to_string(&object.headers)?,
                serde_json::to_string(&object.checksum)?,
                object.upload,
            ])?;
        let id = self.sql.last_insert_rowid();
        let mut insert =
            self.sql.prepare_cached("INSERT INTO segment (object, number, file, size) VALUES (?, ?, ?, ?)")?;
        for segment in segments {
            insert.execute(params![id, segment.number, segment.file, segment.size])?;
        }
        Ok(())
    }

    /// Deletes what a key holds, if the precondition and a lock allow it `now`; nothing there is no error.
    pub(super) fn delete_object(
        &mut self,
        (bucket, key): (&str, &str),
        if_match: Option<&ETagCondition>,
        now: i64,
    ) -> Result<()> {
        self.require_bucket(bucket)?;
        match (self.find_object(bucket, key)?, if_match) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(no_such_key()),
            (Some((_, present)), Some(condition)) if !present.matches(condition) => Err(precondition_failed()),
            (Some((id, present)), _) => {
                present.check_lock(now)?;
                self.remove_object(id)
            }
        }
    }

    fn remove_object(&mut self, id: i64) -> Result<()> {
        let files = self.files("SELECT file FROM segment WHERE object = ?", id)?;
        self.free(files);
        self.sql.execute("DELETE FROM object WHERE id = ?", [id])?;
        Ok(())
    }
}

fn read_object(row: &Row<'_>) -> rusqlite::Result<Result<(i64, Object)>> {
    let (headers, checksum): (String, String) = (row.get("headers")?, row.get("checksum")?);
    let id = row.get("id")?;
    let (size, etag, modified) = (row.get("size")?, row.get("etag")?, row.get("modified")?);
    let upload = row.get("upload")?;
    let parse = || {
        let (headers, checksum) = (serde_json::from_str(&headers)?, serde_json::from_str(&checksum)?);
        Ok((id, Object { size, etag, modified, headers, checksum, upload }))
    };
    Ok(parse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transfer_encoding_is_not_stored() {
        assert_eq!(stored_encoding(Some("aws-chunked")), None);
        assert_eq!(stored_encoding(Some("zstd, aws-chunked")).as_deref(), Some("zstd"));
        assert_eq!(stored_encoding(Some("")), None);
        assert_eq!(stored_encoding(None), None);
    }
}
