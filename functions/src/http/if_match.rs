//! `If-Match` and `ETag`: two writers never overwrite each other without noticing (RFC 9110, section 13.1.1).
//!
//! A record's entity tag is its revision: it counts its owner's edits. What runs note on it (when it was last used, a
//! check's result) does not change the tag.

use axum::extract::FromRequestParts;
use holdfast_shared::domain::revision::Expected;
use http::header::{ETAG, IF_MATCH};
use http::request::Parts;
use http::{HeaderName, HeaderValue};

use super::error::{Answer, HttpError};

/// The revisions that a client is willing to change, by its `If-Match`; without the header, whichever there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IfMatch(pub Expected);

/// A record's revision as the header `ETag`.
pub fn etag(revision: u64) -> [(HeaderName, HeaderValue); 1] {
    let tag = HeaderValue::from_str(&format!("\"{revision}\""));
    // Digits between quotes are always a header's value.
    [(ETAG, tag.unwrap_or_else(|_| HeaderValue::from_static("\"\"")))]
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let mut expected = Expected::Any;
        for header in parts.headers.get_all(IF_MATCH) {
            let text = header.to_str().unwrap_or_default().trim();
            if text == "*" {
                return Ok(Self(Expected::Any));
            }
            // A weak tag never matches, and neither does what is no revision.
            let tags =
                text.split(',').filter_map(|tag| tag.trim().strip_prefix('"')?.strip_suffix('"')?.parse::<u64>().ok());
            let mut named = match expected {
                Expected::Any => Vec::new(),
                Expected::OneOf(named) => named,
            };
            named.extend(tags);
            expected = Expected::OneOf(named);
        }
        Ok(Self(expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(headers: &[&str]) -> IfMatch {
        let mut request = http::Request::get("/");
        for value in headers {
            request = request.header(IF_MATCH, *value);
        }
        IfMatch::from_request_parts(&mut request.body(()).unwrap().into_parts().0, &()).await.unwrap()
    }

    #[tokio::test]
    async fn a_revision_matches_its_own_tag_only() {
        for headers in [&[][..], &["*"], &["\"3\""], &["\"1\", \"3\""], &["\"1\"", "\"3\""]] {
            assert!(read(headers).await.0.check(3).is_ok(), "{headers:?}");
        }
        for headers in [&["\"2\""][..], &["3"], &["W/\"3\""], &["\"three\""], &[""]] {
            assert!(read(headers).await.0.check(3).is_err(), "{headers:?}");
        }
        assert_eq!(etag(3)[0].1, "\"3\"");
    }
}
