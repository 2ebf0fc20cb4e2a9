//! Signature version 4 on requests to the embedded services, so that other users of the machine cannot reach them.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>. Headers, path,
//! query and body are verified; the signing date's age is not, because the services may run on a moved clock.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::fault::Fault;

/// The largest request of any service behind this: DynamoDB's batch. Each refuses earlier by its own limits.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// The path is encoded once more for signing, slashes and unreserved characters stay.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The one key pair that the embedded services accept. Debug prints nothing of the secret.
#[derive(Clone)]
pub struct Credentials {
    /// Public half; names the pair.
    pub access_key_id: String,
    /// Secret half.
    pub secret_access_key: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Middleware that lets only requests through that are signed with `credentials`; the others get AWS's 403s.
pub async fn require(State(credentials): State<Arc<Credentials>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return Fault::new("RequestEntityTooLarge", "the request is too long or was cut off")
            .with_status(StatusCode::PAYLOAD_TOO_LARGE)
            .into_response();
    };
    match verify(&credentials, &parts, &body) {
        Ok(()) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(fault) => fault.with_status(StatusCode::FORBIDDEN).into_response(),
    }
}

fn verify(credentials: &Credentials, parts: &Parts, body: &[u8]) -> Result<(), Fault> {
    let missing = || Fault::new("MissingAuthenticationToken", "request is missing Authentication Token");
    let authorization = header(parts, "authorization").ok_or_else(missing)?;
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(missing)?;
    let field = |name: &str| fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
    let (Some(credential), Some(signed), Some(signature)) =
        (field("Credential"), field("SignedHeaders"), field("Signature"))
    else {
        return Err(Fault::new("IncompleteSignature", "the Authorization header lacks a part"));
    };
    let (access_key_id, scope) = credential.split_once('/').ok_or_else(missing)?;
    if access_key_id != credentials.access_key_id {
        return Err(Fault::new(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ));
    }
    let date = header(parts, "x-amz-date").ok_or_else(missing)?;
    let request = hex::encode(digest(&SHA256, canonical_request(parts, signed, body).as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{request}");
    let expected = hex::decode(signature).unwrap_or_default();
    hmac::verify(&signing_key(credentials, scope), text.as_bytes(), &expected).map_err(|_| {
        let message = "The request signature we calculated does not match the signature you provided.";
        Fault::new("SignatureDoesNotMatch", message)
    })
}

fn canonical_request(parts: &Parts, signed: &str, body: &[u8]) -> String {
    let path = utf8_percent_encode(parts.uri.path(), PATH);
    let mut query: Vec<&str> = parts.uri.query().unwrap_or_default().split('&').collect();
    query.sort_unstable();
    let mut headers = String::new();
    for name in signed.split(';') {
        let value: Vec<&str> = header(parts, name).unwrap_or_default().split_ascii_whitespace().collect();
        headers += &format!("{name}:{}\n", value.join(" "));
    }
    let payload = hex::encode(digest(&SHA256, body));
    format!("{}\n{path}\n{}\n{headers}\n{signed}\n{payload}", parts.method, query.join("&"))
}

/// The secret key, narrowed to each part of the scope (date, region, service, `aws4_request`) in turn.
fn signing_key(credentials: &Credentials, scope: &str) -> hmac::Key {
    let secret = format!("AWS4{}", credentials.secret_access_key);
    scope.split('/').fold(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), |key, part| {
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
    })
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}
