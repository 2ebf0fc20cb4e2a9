//! Pages of objects.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::S3ErrorCode;
use s3s::dto::*;

use crate::objects::ObjectStore;
use crate::objects::conditions::{length, wire_time};
use crate::objects::fault::{Result, refused};
use crate::objects::listing::{Listed, Query, after};

/// Keys, parts or uploads in one page at most.
const PAGE: i32 = 1000;

/// What `encoding-type=url` escapes.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b'*');

impl ObjectStore {
    pub(super) async fn on_list_objects(&self, input: ListObjectsV2Input) -> Result<ListObjectsV2Output> {
        let limit = page_limit(input.max_keys, "max-keys")?;
        let query = Query {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().filter(|delimiter| !delimiter.is_empty()),
            from: first_key(input.continuation_token.as_deref(), input.start_after.as_deref())?,
            limit: usize::try_from(limit).unwrap_or_default(),
        };
        let bucket = input.bucket.clone();
        let page = self.run(move |tx| tx.list_objects(&bucket, &query)).await?;
        let escape = Escape::of(input.encoding_type.as_ref());
        Ok(ListObjectsV2Output {
            key_count: i32::try_from(page.len()).ok(),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.map(|next| BASE64_URL_SAFE_NO_PAD.encode(next)),
            contents: Some(page.objects.into_iter().map(|listed| wire_object(listed, escape)).collect()),
            common_prefixes: Some(page.prefixes.into_iter().map(|prefix| escape.common_prefix(prefix)).collect()),
            name: Some(input.bucket),
            prefix: Some(escape.key(input.prefix.unwrap_or_default())),
            delimiter: input.delimiter.map(|delimiter| escape.key(delimiter)),
            max_keys: Some(limit),
            continuation_token: input.continuation_token,
            start_after: input.start_after.map(|key| escape.key(key)),
            encoding_type: input.encoding_type,
            request_charged: None,
        })
    }
}

/// The size of a page that a client asked for, within what S3 gives.
pub(super) fn page_limit(asked: Option<i32>, name: &str) -> Result<i32> {
    match asked.unwrap_or(PAGE) {
        limit if limit < 0 => Err(refused(
            S3ErrorCode::InvalidArgument,
            format!("Argument {name} must be an integer between 0 and 2147483647"),
        )),
        limit => Ok(limit.min(PAGE)),
    }
}

/// A continuation token is where its page starts; without one `start-after` counts.
fn first_key(token: Option<&str>, start_after: Option<&str>) -> Result<Vec<u8>> {
    match (token, start_after) {
        (Some(token), _) => BASE64_URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_| refused(S3ErrorCode::InvalidArgument, "The continuation token provided is incorrect")),
        (None, Some(key)) if !key.is_empty() => Ok(after(key.as_bytes())),
        (None, _) => Ok(Vec::new()),
    }
}

/// How keys are written into answers: XML cannot hold every character that a key can.
#[derive(Clone, Copy)]
pub(super) struct Escape(bool);

impl Escape {
    pub(super) fn of(encoding: Option<&EncodingType>) -> Self {
        Self(encoding.is_some_and(|encoding| encoding.as_str() == EncodingType::URL))
    }

    pub(super) fn key(self, key: String) -> String {
        if self.0 { utf8_percent_encode(&key, ESCAPED).to_string() } else { key }
    }

    fn common_prefix(self, prefix: String) -> CommonPrefix {
        CommonPrefix { prefix: Some(self.key(prefix)) }
    }
}

fn wire_object(listed: Listed, escape: Escape) -> Object {
    Object {
        key: Some(escape.key(listed.key)),
        size: Some(length(listed.size)),
        e_tag: Some(ETag::Strong(listed.etag)),
        last_modified: Some(wire_time(listed.modified)),
        checksum_algorithm: Some(vec![ChecksumAlgorithm::from_static(listed.checksum.algorithm.name())]),
        checksum_type: Some(listed.checksum.kind.wire()),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..Object::default()
    }
}
