//! Multipart uploads: parts that become one object in one transaction, without copying a byte.

use rusqlite::{OptionalExtension, Row, params};
use s3s::S3ErrorCode;
use s3s::dto::Checksum as Sums;
use uuid::Uuid;

use super::catalog::Tx;
use super::checksum::{self, Kind, Scheme, mismatch};
use super::fault::{Fault, Result, invalid, refused};
use super::listing::beyond;
use super::object::{Headers, Object, Precondition, Segment};

/// Every part but the last has at least this many bytes.
const MIN_PART: u64 = 5 * 1024 * 1024;

/// An upload that is not completed.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    /// Sorts by the time of its start.
    pub(super) id: String,
    pub(super) key: String,
    /// Milliseconds since 1970.
    pub(super) initiated: i64,
    pub(super) headers: Headers,
    pub(super) scheme: Scheme,
}

impl Upload {
    /// A new upload that starts `now` (milliseconds since 1970).
    pub(super) fn new(key: String, headers: Headers, scheme: Scheme, now: i64) -> Self {
        let id = format!("{now:013x}{}", Uuid::new_v4().simple());
        Self { id, key, initiated: now, headers, scheme }
    }
}

/// An uploaded part.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) number: i32,
    pub(super) file: String,
    pub(super) size: u64,
    /// Hexadecimal MD5, without quotes.
    pub(super) etag: String,
    /// Base64, by the upload's algorithm.
    pub(super) checksum: String,
    /// Milliseconds since 1970.
    pub(super) modified: i64,
}

/// A part as `CompleteMultipartUpload` names it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) number: i32,
    pub(super) etag: String,
    pub(super) sums: Sums,
}

/// What `CompleteMultipartUpload` asks for.
#[derive(Debug)]
pub(super) struct Completion {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) upload: String,
    pub(super) parts: Vec<Wanted>,
    pub(super) kind: Option<Kind>,
    /// The checksum that the object shall have.
    pub(super) sums: Sums,
    pub(super) size: Option<u64>,
    pub(super) precondition: Precondition,
    /// Milliseconds since 1970.
    pub(super) now: i64,
}

/// The refusal of an upload that is not there (any more).
pub(super) fn no_such_upload() -> Fault {
    refused(
        S3ErrorCode::NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been \
         aborted or completed.",
    )
}

fn invalid_part() -> Fault {
    refused(
        S3ErrorCode::InvalidPart,
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or \
         the specified entity tag may not match the part's entity tag.",
    )
}

impl Tx<'_> {
    /// Starts an upload.
    pub(super) fn create_upload(&self, bucket: &str, upload: &Upload) -> Result<()> {
        self.require_bucket(bucket)?;
        self.sql
            .prepare_cached(
                "INSERT INTO upload (id, bucket, key, initiated, headers, scheme) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                upload.id,
                bucket,
                upload.key.as_bytes(),
                upload.initiated,
                serde_json::to_string(&upload.headers)?,
                serde_json::to_string(&upload.scheme)?,
            ])?;
        Ok(())
    }

    /// The upload with this id at this key.
    pub(super) fn require_upload(&self, bucket: &str, key: &str, id: &str) -> Result<Upload> {
        self.require_bucket(bucket)?;
        let mut query = self.sql.prepare_cached(
            "SELECT id, key, initiated, headers, scheme FROM upload WHERE id = ? AND bucket = ? AND key = ?",
        )?;
        let row = query.query_row(params![id, bucket, key.as_bytes()], read_upload).optional()?;
        row.ok_or_else(no_such_upload)?
    }

    /// Adds a part, in the place of one with the same number.
    pub(super) fn put_part(&mut self, bucket: &str, key: &str, upload: &str, part: &Part) -> Result<()> {
        self.require_upload(bucket, key, upload)?;
        let replaced: Option<String> = self
            .sql
            .prepare_cached("SELECT file FROM part WHERE upload = ? AND number = ?")?
            .query_row(params![upload, part.number], |row| row.get(0))
            .optional()?;
        self.free(replaced);
        self.sql
            .prepare_cached(
                "INSERT OR REPLACE INTO part (upload, number, file, size, etag, checksum, modified)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![upload, part.number, part.file, part.size, part.etag, part.checksum, part.modified])?;
        Ok(())
    }

    /// Parts of an upload with numbers above `after`, in order, at most `limit`.
    pub(super) fn parts(&self, upload: &str, after: i32, limit: i64) -> Result<Vec<Part>> {
        let mut query = self.sql.prepare_cached(
            "SELECT number, file, size, etag, checksum, modified FROM part
             WHERE upload = ? AND number > ? ORDER BY number LIMIT ?",
        )?;
        let rows = query.query_map(params![upload, after, limit], |row| {
            Ok(Part {
                number: row.get(0)?,
                file: row.get(1)?,
                size: row.get(2)?,
                etag: row.get(3)?,
                checksum: row.get(4)?,
                modified: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Drops an upload with its parts.
    pub(super) fn abort_upload(&mut self, bucket: &str, key: &str, id: &str) -> Result<()> {
        self.require_upload(bucket, key, id)?;
        self.remove_upload(id)
    }

    /// Uploads of a bucket under `prefix`, after the upload `(key, id)`, by key and start, at most `limit`.
    pub(super) fn uploads(&self, bucket: &str, prefix: &str, after: (&str, &str), limit: i64) -> Result<Vec<Upload>> {
        self.require_bucket(bucket)?;
        let mut query = self.sql.prepare_cached(
            "SELECT id, key, initiated, headers, scheme FROM upload
             WHERE bucket = ? AND key >= ? AND key < ? AND (key, id) > (?, ?) ORDER BY key, id LIMIT ?",
        )?;
        let (from, to) = (prefix.as_bytes(), beyond(prefix.as_bytes()));
        let (key, id) = after;
        let rows = query.query_map(params![bucket, from, to, key.as_bytes(), id, limit], read_upload)?;
        rows.map(|row| row?).collect()
    }

    /// Makes the object of an upload's parts. An upload that already became the object at this key is answered again
    /// as it was the first time: the client may not have got the first answer.
    pub(super) fn complete_upload(&mut self, wanted: &Completion) -> Result<Object> {
        self.require_bucket(&wanted.bucket)?;
        if let Some((_, present)) = self.find_object(&wanted.bucket, &wanted.key)?
            && present.upload.as_deref() == Some(&wanted.upload)
        {
            let etag = checksum::multipart_etag(wanted.parts.iter().map(|part| part.etag.as_str()));
            return if etag.as_ref() == Some(&present.etag) { Ok(present) } else { Err(invalid_part()) };
        }
        let upload = self.require_upload(&wanted.bucket, &wanted.key, &wanted.upload)?;
        let parts = self.chosen_parts(&upload, &wanted.parts)?;
        let object = assemble(upload, &parts, wanted)?;
        let segments: Vec<Segment> =
            parts.into_iter().map(|Part { number, file, size, .. }| Segment { number, file, size }).collect();
        self.put_object((&wanted.bucket, &wanted.key), &object, &segments, &wanted.precondition)?;
        self.remove_upload(&wanted.upload)?;
        Ok(object)
    }

    fn chosen_parts(&self, upload: &Upload, wanted: &[Wanted]) -> Result<Vec<Part>> {
        if wanted.is_empty() {
            return Err(refused(S3ErrorCode::MalformedXML, "You must specify at least one part"));
        }
        if !wanted.is_sorted_by(|a, b| a.number < b.number) {
            let message = "The list of parts was not in ascending order. Parts must be ordered by part number.";
            return Err(refused(S3ErrorCode::InvalidPartOrder, message));
        }
        let mut stored = self.parts(&upload.id, 0, i64::MAX)?.into_iter();
        let mut chosen = Vec::with_capacity(wanted.len());
        for part in wanted {
            let found = stored.find(|stored| stored.number == part.number).ok_or_else(invalid_part)?;
            check_part(upload.scheme, &found, part)?;
            chosen.push(found);
        }
        let too_small = chosen.iter().rev().skip(1).any(|part| part.size < MIN_PART);
        if too_small {
            let message = "Your proposed upload is smaller than the minimum allowed size";
            return Err(refused(S3ErrorCode::EntityTooSmall, message));
        }
        Ok(chosen)
    }

    /// Frees the parts' files too; those that an object names by now stay.
    fn remove_upload(&mut self, id: &str) -> Result<()> {
        let files = self.files("SELECT file FROM part WHERE upload = ?", id)?;
        self.free(files);
        self.sql.execute("DELETE FROM upload WHERE id = ?", [id])?;
        Ok(())
    }
}

fn check_part(scheme: Scheme, stored: &Part, wanted: &Wanted) -> Result<()> {
    if wanted.etag != stored.etag {
        return Err(invalid_part());
    }
    match scheme.algorithm.of(&wanted.sums) {
        Some(value) if value != stored.checksum => Err(invalid_part()),
        None if scheme.kind == Kind::Composite => {
            let (algorithm, number) = (scheme.algorithm.lower(), stored.number);
            Err(invalid(format!(
                "The upload was created using a {algorithm} checksum. The complete request must include the \
                 checksum for each part. It was missing for part {number} in the request."
            )))
        }
        _ => Ok(()),
    }
}

fn assemble(upload: Upload, parts: &[Part], wanted: &Completion) -> Result<Object> {
    let size = parts.iter().map(|part| part.size).sum();
    if wanted.size.is_some_and(|claimed| claimed != size) {
        let claimed = wanted.size.unwrap_or_default();
        return Err(invalid(format!(
            "The provided 'x-amz-mp-object-size' header value {claimed} does not match what was computed: {size}"
        )));
    }
    if wanted.kind.is_some_and(|kind| kind != upload.scheme.kind) {
        let expected = upload.scheme.kind.wire();
        let expected = expected.as_str();
        return Err(invalid(format!("The upload was created using the {expected} checksum mode.")));
    }
    let checksum = upload.scheme.assemble(parts.iter().map(|part| (part.checksum.as_str(), part.size)))?;
    // A composite checksum may be claimed with or without the number of parts.
    let bare = checksum.value.split('-').next();
    match checksum.algorithm.of(&wanted.sums) {
        Some(claimed) if claimed != checksum.value && Some(claimed) != bare => {
            return Err(mismatch(checksum.algorithm));
        }
        _ => {}
    }
    let etag = checksum::multipart_etag(parts.iter().map(|part| part.etag.as_str())).ok_or_else(invalid_part)?;
    Ok(Object { size, etag, modified: wanted.now, headers: upload.headers, checksum, upload: Some(upload.id) })
}

fn read_upload(row: &Row<'_>) -> rusqlite::Result<Result<Upload>> {
    let (key, headers, scheme): (Vec<u8>, String, String) = (row.get("key")?, row.get("headers")?, row.get("scheme")?);
    let (id, initiated) = (row.get("id")?, row.get("initiated")?);
    let parse = || {
        let (headers, scheme) = (serde_json::from_str(&headers)?, serde_json::from_str(&scheme)?);
        Ok(Upload { id, key: String::from_utf8_lossy(&key).into_owned(), initiated, headers, scheme })
    };
    Ok(parse())
}
