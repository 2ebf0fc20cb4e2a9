//! Who asks: `Authorization: Bearer TOKEN`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::FromRequestParts;
use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::token::Token;
use holdfast_shared::{Error, ErrorKind, Result};
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::error::{Answer, HttpError};
use super::operation::{Access, Call};
use super::surface::App;

/// The account and token that a request was made with. Having one means: known, within its rate, able to make this call.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose resources the request acts on.
    pub account: AccountId,
    /// The token.
    pub token: Token,
}

impl FromRequestParts<App> for Caller {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        let token = app.service.authenticate(bearer(parts)?).await?;
        app.rate_limit.take(&token.account, token.id, Instant::now())?;
        let call =
            parts.extensions.get::<Arc<Call>>().ok_or_else(|| Error::internal("a route without an operation"))?;
        if let Access::Needs(ability) = call.access {
            token.demand(ability)?;
        }
        Ok(Self { account: token.account.clone(), token })
    }
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
