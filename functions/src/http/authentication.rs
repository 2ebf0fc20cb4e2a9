//! Who asks: `Authorization: Bearer TOKEN`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::token::Token;
use holdfast_shared::service::sha256_hex;
use holdfast_shared::{Error, ErrorKind, Result};
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::accept;
use super::address::client_address;
use super::error::{Answer, HttpError};
use super::operation::{Access, Call};
use super::surface::App;

/// The account and token that a request was made with. Having one means: known, and within its rate.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose resources the request acts on.
    pub account: AccountId,
    /// The token.
    pub token: Arc<Token>,
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
    let token = token_of(&parts, &app).await?;
    app.rate_limit.take(&app.service, &token).await?;
    parts.extensions.insert(Caller { account: token.account.clone(), token });
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Refuses a call that the caller's token may not make, or whose answer the caller could not take.
pub async fn authorise(Extension(call): Extension<Arc<Call>>, request: Request, next: Next) -> Answer<Response> {
    if let (Access::Needs(ability), Some(caller)) = (call.access, request.extensions().get::<Caller>()) {
        caller.token.demand(ability)?;
    }
    accept::check(request.headers(), &call)?;
    Ok(next.run(request).await)
}

/// The token that the request was made with, from what this process knows or from the table.
async fn token_of(parts: &Parts, app: &App) -> Result<Arc<Token>> {
    let text = bearer(parts)?;
    let (now, sha256) = (app.service.clock.now(), sha256_hex(text));
    if let Some(token) = app.known_tokens.find(&sha256, now) {
        return Ok(token);
    }
    // Whoever is known is not held up by a neighbour who is not.
    let address = client_address(&parts.extensions);
    address.map_or(Ok(()), |address| app.strangers.check(address, now))?;
    match app.service.authenticate(text).await {
        Ok(token) => {
            let token = Arc::new(token);
            app.known_tokens.remember(token.clone(), now);
            note_use(app, &token);
            Ok(token)
        }
        Err(error) => {
            if let (ErrorKind::Unauthenticated, Some(address)) = (&error.kind, address) {
                app.strangers.failed(address, now);
            }
            Err(error)
        }
    }
}

/// Notes the use beside the request, which does not wait for it. A function that is frozen after its answer does it when
/// it is next called.
fn note_use(app: &App, token: &Arc<Token>) {
    if !token.use_is_news(app.service.clock.now()) {
        return;
    }
    let (service, token) = (app.service.clone(), token.clone());
    tokio::spawn(async move {
        if let Err(error) = service.note_use(&token).await {
            tracing::warn!(token = token.id, error = error.chain(), "the use of a token was not noted");
        }
    });
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
