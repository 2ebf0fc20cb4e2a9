//! Reading a body: JSON, `application/x-www-form-urlencoded` and `multipart/form-data` all become one [`Tree`].

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;

use super::error::{Answer, HttpError};
use super::fields::Fields;
use super::tree::{Tree, malformed};

/// How large a body may be, bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// How much of a larger one is read and dropped, so that its sender gets to read the answer.
const MAX_DRAINED_BYTES: usize = 8 * MAX_BODY_BYTES;
/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a request's body says; an empty body says nothing, whatever its type.
///
/// Refused with 415 for a type or encoding that is not read, 413 over [`MAX_BODY_BYTES`] (chunked or not), 408 when it
/// takes longer than 30 s to arrive, and 400 when it cannot be read as what it claims to be.
#[derive(Debug)]
pub struct Body(pub Tree);

impl Body {
    /// Starts reading the members.
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(&self.0)
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = HttpError;

    async fn from_request(request: Request, _: &S) -> Answer<Self> {
        let (parts, body) = request.into_parts();
        let bytes = collect(&parts.headers, body).await?;
        Ok(Self(read(&parts.headers, bytes).await?))
    }
}

/// A body that is one long text, or has it among its members.
#[derive(Debug)]
pub enum TextBody {
    /// It came as `text/plain` and is taken byte by byte, empty or not; what belongs to it stands in the query.
    Plain(String),
    /// It came in any other kind that is read.
    Members(Body),
}

impl<S: Send + Sync> FromRequest<S> for TextBody {
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        if essence(request.headers()) != "text/plain" {
            return Body::from_request(request, state).await.map(Self::Members);
        }
        refuse_encoding(request.headers())?;
        let (parts, body) = request.into_parts();
        let bytes = collect(&parts.headers, body).await?;
        let text = String::from_utf8(bytes.into()).map_err(|_| malformed("the text is not valid UTF-8"))?;
        Ok(Self::Plain(text))
    }
}

enum Kind {
    Json,
    UrlEncoded,
    Multipart(String),
}

/// What a body's bytes say, as its headers say to read them.
pub(crate) async fn read(headers: &HeaderMap, bytes: Bytes) -> Result<Tree, HttpError> {
    if bytes.is_empty() {
        return Ok(Tree::default());
    }
    Ok(match kind(headers)? {
        Kind::Json => Tree::from_json(&bytes)?,
        Kind::UrlEncoded => Tree::from_urlencoded(&bytes)?,
        Kind::Multipart(boundary) => Tree::from_pairs(multipart_pairs(bytes, boundary).await?)?,
    })
}

fn kind(headers: &HeaderMap) -> Result<Kind, HttpError> {
    refuse_encoding(headers)?;
    match essence(headers).as_str() {
        "application/json" => Ok(Kind::Json),
        "application/x-www-form-urlencoded" => Ok(Kind::UrlEncoded),
        "multipart/form-data" => multer::parse_boundary(content_type(headers))
            .map(Kind::Multipart)
            .map_err(|_| malformed("the Content-Type multipart/form-data names no boundary").into()),
        other if other.starts_with("application/") && other.ends_with("+json") => Ok(Kind::Json),
        _ => Err(unsupported(
            "send the body as application/json, application/x-www-form-urlencoded or multipart/form-data",
        )),
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The media type without its parameters, in lowercase.
pub(crate) fn essence(headers: &HeaderMap) -> String {
    content_type(headers).split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn refuse_encoding(headers: &HeaderMap) -> Result<(), HttpError> {
    match headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        true => Err(unsupported("send the body without a Content-Encoding")),
        false => Ok(()),
    }
}

fn unsupported(message: &str) -> HttpError {
    HttpError::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
}

/// The bytes of a body, unless it takes longer than [`PATIENCE`] to arrive.
pub(crate) async fn collect(headers: &HeaderMap, body: axum::body::Body) -> Result<Bytes, HttpError> {
    collect_within(PATIENCE, headers, body).await
}

async fn collect_within(patience: Duration, headers: &HeaderMap, body: axum::body::Body) -> Result<Bytes, HttpError> {
    tokio::time::timeout(patience, read_all(headers, body)).await.unwrap_or_else(|_| {
        let message = format!("the body did not arrive within {} s", patience.as_secs());
        Err(HttpError::with_status(StatusCode::REQUEST_TIMEOUT, message))
    })
}

async fn read_all(headers: &HeaderMap, mut body: axum::body::Body) -> Result<Bytes, HttpError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut seen = 0;
    let mut kept = BytesMut::new();
    while announced.unwrap_or(0) <= MAX_DRAINED_BYTES && seen <= MAX_DRAINED_BYTES {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|error| malformed("the body ended early").with_source(error))?;
        let Ok(data) = frame.into_data() else { continue };
        seen += data.len();
        if seen <= MAX_BODY_BYTES {
            kept.extend_from_slice(&data);
        }
    }
    if announced.unwrap_or(0).max(seen) > MAX_BODY_BYTES {
        let message = format!("the body is larger than {MAX_BODY_BYTES} bytes");
        return Err(HttpError::with_status(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(kept.freeze())
}

async fn multipart_pairs(bytes: Bytes, boundary: String) -> Result<Vec<(String, String)>, HttpError> {
    let broken = |error: multer::Error| malformed(format!("the multipart body cannot be read: {error}"));
    let stream = futures::stream::once(async { Ok::<_, Infallible>(bytes) });
    let mut parts = multer::Multipart::new(stream, boundary);
    let mut pairs = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        let name = part.name().ok_or_else(|| malformed("a part of the multipart body has no name"))?.to_owned();
        let value = part.bytes().await.map_err(broken)?;
        let value = String::from_utf8(value.into()).map_err(|_| malformed("a form field is not valid UTF-8"))?;
        pairs.push((name, value));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use serde_json::{Value, json};

    use super::*;

    async fn read_as(content_type: &str, body: impl Into<axum::body::Body>) -> Result<Value, (u16, String)> {
        let request = Request::post("/").header(CONTENT_TYPE, content_type).body(body.into()).unwrap();
        let answer = Body::from_request(request, &()).await;
        answer.map(|body| Value::Object(body.0.0)).map_err(|error| (error.status.as_u16(), error.error.message))
    }

    fn chunked(total_bytes: usize) -> axum::body::Body {
        let chunk = Bytes::from(vec![b' '; 64 * 1024]);
        let chunks = std::iter::repeat_n(Ok::<_, Infallible>(chunk), total_bytes / (64 * 1024));
        axum::body::Body::from_stream(futures::stream::iter(chunks))
    }

    #[tokio::test]
    async fn reads_the_three_kinds_alike() {
        let expected = json!({"name": "a b", "config": {"root_path": "/"}});
        let json = read_as("application/json; charset=utf-8", r#"{"name":"a b","config":{"root_path":"/"}}"#);
        assert_eq!(json.await.unwrap(), expected);
        let form = read_as("application/x-www-form-urlencoded", "name=a+b&config[root_path]=%2F");
        assert_eq!(form.await.unwrap(), expected);
        let parts = "--B\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\na b\r\n\
                     --B\r\nContent-Disposition: form-data; name=\"config[root_path]\"\r\n\r\n/\r\n--B--\r\n";
        assert_eq!(read_as("multipart/form-data; boundary=B", parts).await.unwrap(), expected);
        assert_eq!(read_as("application/vnd.api+json", "{}").await.unwrap(), json!({}));
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_not_waited_for() {
        let begun = futures::stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"{")) });
        let body = axum::body::Body::from_stream(begun.chain(futures::stream::pending()));
        let refused = collect_within(Duration::from_millis(10), &HeaderMap::new(), body).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test]
    async fn an_empty_body_says_nothing() {
        for content_type in ["application/json", "text/plain", ""] {
            assert_eq!(read_as(content_type, "").await.unwrap(), json!({}));
        }
    }

    #[tokio::test]
    async fn refuses_with_the_right_status() {
        let cases = [
            ("text/plain", "name=x", 415),
            ("", "name=x", 415),
            ("application/xml", "<x/>", 415),
            ("application/json", "{\"a\":", 400),
            ("application/json", "null", 400),
            ("application/json", "\u{feff}{}", 400),
            ("multipart/form-data", "x", 400),
            ("multipart/form-data; boundary=B", "--B\r\nno end", 400),
            ("application/x-www-form-urlencoded", "a=%C3%28", 400),
        ];
        for (content_type, body, status) in cases {
            assert_eq!(read_as(content_type, body).await.unwrap_err().0, status, "{content_type} {body}");
        }
    }

    #[tokio::test]
    async fn refuses_an_encoded_body() {
        let request = Request::post("/")
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_ENCODING, "gzip")
            .body(axum::body::Body::from("x"))
            .unwrap();
        assert_eq!(Body::from_request(request, &()).await.unwrap_err().status, 415);
    }

    #[tokio::test]
    async fn takes_a_text_as_it_is() {
        let send = async |content_type: &str, encoding: &str, body: Vec<u8>| {
            let request = Request::post("/").header(CONTENT_TYPE, content_type).header(CONTENT_ENCODING, encoding);
            let answer = TextBody::from_request(request.body(body.into()).unwrap(), &()).await;
            answer.map_err(|error| error.status.as_u16())
        };
        let odd = "a=1&b=%41+c\r\n\u{feff}\0".to_owned();
        for (content_type, text) in [("text/plain", odd.clone()), ("Text/Plain; charset=utf-8", String::new())] {
            let taken = send(content_type, "identity", text.clone().into_bytes()).await.unwrap();
            assert!(matches!(taken, TextBody::Plain(kept) if kept == text), "{content_type}");
        }
        let form = send("application/x-www-form-urlencoded", "identity", odd.into_bytes()).await.unwrap();
        assert!(matches!(form, TextBody::Members(Body(tree)) if tree.0["b"] == "A c\r\n\u{feff}\0"));
        assert_eq!(send("text/plain", "identity", vec![0xC3, 0x28]).await.unwrap_err(), 400);
        assert_eq!(send("text/plain", "gzip", Vec::new()).await.unwrap_err(), 415);
        assert_eq!(send("text/html", "identity", b"x".to_vec()).await.unwrap_err(), 415);
        assert!(send("text/plain", "identity", vec![b'x'; MAX_BODY_BYTES]).await.is_ok());
        assert_eq!(send("text/plain", "identity", vec![b'x'; MAX_BODY_BYTES + 1]).await.unwrap_err(), 413);
    }

    #[tokio::test]
    async fn refuses_more_than_a_mebibyte() {
        let text = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BODY_BYTES - 8));
        assert_eq!(text.len(), MAX_BODY_BYTES);
        assert!(read_as("application/json", text.clone()).await.is_ok());
        assert_eq!(read_as("application/json", format!("{text} ")).await.unwrap_err().0, 413);
        assert_eq!(read_as("application/json", chunked(2 * MAX_BODY_BYTES)).await.unwrap_err().0, 413);
        assert_eq!(read_as("application/json", chunked(64 * MAX_BODY_BYTES)).await.unwrap_err().0, 413);
    }
}
