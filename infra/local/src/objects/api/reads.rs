//! What reads an object: get and head.

use s3s::dto::*;
use s3s::{S3Response, dto};

use crate::objects::ObjectStore;
use crate::objects::checksum::set_sums;
use crate::objects::conditions::{Conditions, Extent, wire_time};
use crate::objects::fault::Result;
use crate::objects::files::Pin;
use crate::objects::object::{Object as Stored, Segment};
use crate::objects::send::{Outgoing, spans};

/// What `GetObject` and `HeadObject` both ask.
struct Asked {
    bucket: String,
    key: String,
    conditions: Conditions,
    range: Option<dto::Range>,
    part: Option<i32>,
    checksum: bool,
}

macro_rules! asked {
    ($input:expr) => {
        Asked {
            bucket: $input.bucket,
            key: $input.key,
            conditions: Conditions {
                if_match: $input.if_match,
                if_none_match: $input.if_none_match,
                if_modified_since: $input.if_modified_since,
                if_unmodified_since: $input.if_unmodified_since,
            },
            range: $input.range,
            part: $input.part_number,
            checksum: $input.checksum_mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED),
        }
    };
}

/// An object that may be read, with its files held.
struct Found {
    object: Stored,
    segments: Vec<Segment>,
    extent: Extent,
    pin: Pin,
    /// Whether the checksum was asked for. It belongs to the whole, so that a partial answer has none.
    checksum: bool,
}

/// Fills what the answers of get and head have in common; the checksum fields too.
macro_rules! describe {
    ($output:ident, $found:expr) => {{
        let found: &Found = $found;
        let object = &found.object;
        let headers = object.headers.clone();
        let (lock_mode, lock_until) = headers.lock.map(|lock| (lock.mode, lock.until)).unzip();
        let mut output = $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: headers.cache_control,
            content_disposition: headers.content_disposition,
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            content_length: Some(found.extent.length()),
            content_range: found.extent.content_range(object.size),
            content_type: Some(headers.content_type.unwrap_or_else(|| "binary/octet-stream".to_owned())),
            e_tag: Some(object.wire_etag()),
            expires: headers.expires,
            last_modified: Some(wire_time(object.modified)),
            metadata: Some(headers.metadata.into_iter().collect()),
            object_lock_mode: lock_mode.map(ObjectLockMode::from),
            object_lock_retain_until_date: lock_until,
            parts_count: found.extent.parts,
            server_side_encryption: headers.server_side_encryption.map(ServerSideEncryption::from),
            ssekms_key_id: headers.kms_key_id,
            // S3 tells the class only where it is not the usual one.
            storage_class: headers
                .storage_class
                .filter(|class| class != StorageClass::STANDARD)
                .map(StorageClass::from),
            ..$output::default()
        };
        if found.checksum && !found.extent.partial {
            output.checksum_type = set_sums!(output, object.checksum.wire());
        }
        output
    }};
}

impl ObjectStore {
    pub(super) async fn on_get_object(&self, input: GetObjectInput) -> Result<GetObjectOutput> {
        let found = self.find(asked!(input)).await?;
        let mut output = describe!(GetObjectOutput, &found);
        let spans = spans(&found.segments, &found.extent.bytes);
        output.body = Some(StreamingBlob::new(Outgoing::new(spans, found.pin)));
        Ok(output)
    }

    pub(super) async fn on_head_object(&self, input: HeadObjectInput) -> Result<S3Response<HeadObjectOutput>> {
        let found = self.find(asked!(input)).await?;
        let output = describe!(HeadObjectOutput, &found);
        if output.content_range.is_some() {
            return Ok(S3Response::with_status(output, http::StatusCode::PARTIAL_CONTENT));
        }
        Ok(S3Response::new(output))
    }

    async fn find(&self, asked: Asked) -> Result<Found> {
        let files = self.files().clone();
        self.run(move |tx| {
            let (id, object) = tx.require_object(&asked.bucket, &asked.key)?;
            asked.conditions.check(&object)?;
            let segments = tx.segments(id)?;
            let extent = Extent::resolve(object.size, &segments, asked.range.as_ref(), asked.part)?;
            let names = spans(&segments, &extent.bytes).into_iter().map(|span| span.file).collect();
            let pin = files.pin(names);
            Ok(Found { object, segments, extent, pin, checksum: asked.checksum })
        })
        .await
    }
}
