//! `Idempotency-Key` on calls that make something: what is sent again is answered again, not made again.
//!
//! <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use holdfast_shared::service::{ClaimedCall, KeptAnswer, Repetition};
use holdfast_shared::{Error, Result};
use http::header::{CONTENT_TYPE, ETAG, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;

use super::Caller;
use super::body::collect;
use super::error::Answer;
use super::operation::{Call, Repeatable};
use super::surface::App;

/// What a client repeats a request with.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// On an answer that was given before.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const MAX_KEY_CHARS: usize = 255;
/// The headers of an answer that are kept.
const KEPT_HEADERS: [HeaderName; 3] = [CONTENT_TYPE, ETAG, LOCATION];

/// The key that a request carries, if any. It must be sent once, of 1 to 255 visible characters.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(Error::invalid("Idempotency-Key", "must be sent once"));
    }
    let key = key.to_str().ok().map(str::trim).filter(|key| (1..=MAX_KEY_CHARS).contains(&key.len()));
    let message = format!("must be 1 to {MAX_KEY_CHARS} visible ASCII characters");
    key.map(Some).ok_or_else(|| Error::invalid("Idempotency-Key", message))
}

/// Answers a repeated request as the first one was answered, and keeps the answer of a first one. Of answers that are
/// no success nothing is kept.
pub async fn repeat(
    State(app): State<App>,
    Extension(call): Extension<Arc<Call>>,
    request: Request,
    next: Next,
) -> Answer<Response> {
    let key = idempotency_key(request.headers())?.map(str::to_owned);
    let caller = request.extensions().get::<Caller>().filter(|_| call.repeatable == Repeatable::ByAnswer).cloned();
    let (Some(key), Some(caller)) = (key, caller) else { return Ok(next.run(request).await) };
    let (parts, body) = request.into_parts();
    let bytes = collect(&parts.headers, body).await?;
    let what = format!("{} {}", parts.method, parts.uri.path());
    let kind = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let whole = [kind, b"\n", &bytes].concat();
    let claimed = match app.service.claim_call(&caller.account, &what, &key, &whole).await? {
        Repetition::Answered(answer) => return Ok(replayed(answer)),
        Repetition::New(claimed) => claimed,
    };
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    Ok(keep(&app, claimed, response).await)
}

async fn keep(app: &App, claimed: ClaimedCall, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    if !parts.status.is_success() {
        app.service.free_call(claimed).await;
        return Response::from_parts(parts, body);
    }
    // An answer of ours is in memory and cannot fail.
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let kept = |name: &HeaderName| {
        let value = parts.headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    };
    let answer = KeptAnswer {
        status: parts.status.as_u16(),
        headers: KEPT_HEADERS.iter().filter_map(kept).collect(),
        body: String::from_utf8_lossy(&bytes).into_owned(),
    };
    app.service.keep_answer(claimed, &answer).await;
    Response::from_parts(parts, Body::from(bytes))
}

fn replayed(answer: KeptAnswer) -> Response {
    let mut response = answer.body.into_response();
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_is_one_short_line() {
        let key = |text: &str| {
            let headers = HeaderMap::from_iter([(IDEMPOTENCY_KEY, text.parse().unwrap())]);
            idempotency_key(&headers).map(|key| key.map(str::to_owned)).ok()
        };
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), None);
        assert_eq!(key("6f2e1aa7"), Some(Some("6f2e1aa7".to_owned())));
        for text in ["", " ", "ü", &"x".repeat(256)] {
            assert_eq!(key(text), None, "{text:?}");
        }
    }
}
