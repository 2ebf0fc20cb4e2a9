//! Who asks: `Authorization: Bearer TOKEN`.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::token::Token;
use holdfast_shared::{Error, ErrorKind, Result};
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::error::{Answer, HttpError};
use super::operation::{Access, Call};
use super::surface::App;

/// The account and token that a request was made with. Having one means: known, and within its rate.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose resources the request acts on.
    pub account: AccountId,
    /// The token.
    pub token: Token,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let known = parts.extensions.get::<Self>().cloned();
        known.ok_or_else(|| Error::internal("a call that is open to everybody has no caller").into())
    }
}

/// Finds out who asks, unless the call is open to everybody, and counts the request.
pub async fn authenticate(
    State(app): State<App>,
    Extension(call): Extension<Arc<Call>>,
    request: Request,
    next: Next,
) -> Answer<Response> {
    if call.access == Access::Open {
        return Ok(next.run(request).await);
    }
    let (mut parts, body) = request.into_parts();
    let token = app.service.authenticate(bearer(&parts)?).await?;
    app.rate_limit.take(&token.account, token.id, Instant::now())?;
    parts.extensions.insert(Caller { account: token.account.clone(), token });
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Refuses a call that the caller's token may not make.
pub async fn authorise(Extension(call): Extension<Arc<Call>>, request: Request, next: Next) -> Answer<Response> {
    if let (Access::Needs(ability), Some(caller)) = (call.access, request.extensions().get::<Caller>()) {
        caller.token.demand(ability)?;
    }
    Ok(next.run(request).await)
}

/// The token's text. The scheme's name is read in any case, as RFC 9110 section 11.1 says.
fn bearer(parts: &Parts) -> Result<&str> {
    let refused = |message: &str| Error::new(ErrorKind::Unauthenticated, message);
    let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
    let header = headers.next().ok_or_else(|| refused("send the header Authorization: Bearer TOKEN"))?;
    if headers.next().is_some() {
        return Err(Error::new(ErrorKind::Malformed, "send one Authorization header, not several"));
    }
    let text = header.to_str().map_err(|_| refused("the Authorization header holds more than visible ASCII"))?;
    match text.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(refused("the Authorization header must be Bearer TOKEN")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer_of(headers: &[&str]) -> Result<String> {
        let mut request = http::Request::get("/");
        for value in headers {
            request = request.header(AUTHORIZATION, *value);
        }
        bearer(&request.body(()).unwrap().into_parts().0).map(str::to_owned)
    }

    #[test]
    fn reads_one_bearer_header() {
        assert_eq!(bearer_of(&["Bearer abc"]).unwrap(), "abc");
        assert_eq!(bearer_of(&["bearer  abc "]).unwrap(), "abc");
    }

    #[test]
    fn refuses_the_rest() {
        for headers in [&[][..], &["Basic abc"], &["abc"], &["Bearer"], &[""]] {
            assert_eq!(bearer_of(headers).unwrap_err().kind, ErrorKind::Unauthenticated, "{headers:?}");
        }
        assert_eq!(bearer_of(&["Bearer a", "Bearer a"]).unwrap_err().kind, ErrorKind::Malformed);
    }
}
