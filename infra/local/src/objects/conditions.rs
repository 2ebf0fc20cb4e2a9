//! What a read asks of an object before it gets it: preconditions, a range or a part.

use std::ops::Range;
use std::time::SystemTime;

use jiff::Timestamp as Instant;
use s3s::dto::{ETagCondition, Range as WireRange, Timestamp};
use s3s::{S3Error, S3ErrorCode};

use super::fault::{Fault, Result, invalid, refused};
use super::object::{Object, Segment, precondition_failed};

/// The conditional headers of `GetObject`, `HeadObject` and the source of `CopyObject`.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

impl Conditions {
    /// Refuses with 412 or 304 as RFC 9110, section 13.2.2, orders the headers: an ETag outranks a date.
    pub(super) fn check(&self, object: &Object) -> Result<()> {
        // HTTP dates count whole seconds.
        let modified = wire_time(object.modified / 1000 * 1000);
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !object.matches(condition) => return Err(precondition_failed()),
            (None, Some(since)) if modified > *since => return Err(precondition_failed()),
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) if object.matches(condition) => Err(not_modified(object)),
            (None, Some(since)) if modified <= *since => Err(not_modified(object)),
            _ => Ok(()),
        }
    }

    /// The same for the source of a copy, where every failed condition is 412.
    pub(super) fn check_source(&self, object: &Object) -> Result<()> {
        self.check(object).map_err(|fault| match fault {
            Fault::Refused(_) => precondition_failed(),
            other => other,
        })
    }
}

fn not_modified(object: &Object) -> Fault {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    if let Ok(etag) = object.wire_etag().to_http_header() {
        error.set_headers(http::HeaderMap::from_iter([(http::header::ETAG, etag)]));
    }
    error.into()
}

/// The bytes of an object that a request is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) bytes: Range<u64>,
    /// Whether it is less than the object, or asked for as a part.
    pub(super) partial: bool,
    /// Parts of the object, if one was asked for.
    pub(super) parts: Option<i32>,
}

impl Extent {
    /// Resolves `Range` and `partNumber` against an object of `size` bytes.
    pub(super) fn resolve(
        size: u64,
        segments: &[Segment],
        range: Option<&WireRange>,
        part: Option<i32>,
    ) -> Result<Self> {
        match (range, part) {
            (Some(_), Some(_)) => Err(invalid("Cannot specify both Range header and partNumber query parameter")),
            (None, None) => Ok(Self { bytes: 0..size, partial: false, parts: None }),
            (Some(range), None) => {
                let bytes = range
                    .check(size)
                    .map_err(|_| refused(S3ErrorCode::InvalidRange, "The requested range is not satisfiable"))?;
                Ok(Self { bytes, partial: true, parts: None })
            }
            (None, Some(number)) => Self::of_part(segments, number),
        }
    }

    fn of_part(segments: &[Segment], number: i32) -> Result<Self> {
        let index = segments.iter().position(|segment| segment.number == number).ok_or_else(|| {
            let mut error = S3Error::with_message(
                S3ErrorCode::Custom("InvalidPartNumber".into()),
                "The requested partnumber is not satisfiable",
            );
            error.set_status_code(http::StatusCode::RANGE_NOT_SATISFIABLE);
            Fault::from(error)
        })?;
        let start = segments[..index].iter().map(|segment| segment.size).sum();
        let end = start + segments[index].size;
        Ok(Self { bytes: start..end, partial: true, parts: i32::try_from(segments.len()).ok() })
    }

    pub(super) fn length(&self) -> i64 {
        length(self.bytes.end - self.bytes.start)
    }

    /// The `Content-Range` of a partial answer. An empty part has none.
    pub(super) fn content_range(&self, size: u64) -> Option<String> {
        let Range { start, end } = self.bytes;
        (self.partial && start < end).then(|| format!("bytes {start}-{}/{size}", end - 1))
    }
}

/// A number of bytes as the protocol crate carries it.
pub(super) fn length(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A time of ours (milliseconds since 1970) as the protocol crate carries it.
pub(super) fn wire_time(millis: i64) -> Timestamp {
    Instant::from_millisecond(millis).map_or_else(|_| Timestamp::default(), |time| SystemTime::from(time).into())
}
