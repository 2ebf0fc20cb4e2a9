//! The one table from kinds of errors to HTTP, and the answer that carries a failure until its surface words it.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use holdfast_shared::{Error, ErrorKind};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

/// When to try again what failed because a part did not answer, seconds.
const UNAVAILABLE_SECS: u32 = 5;

/// A request that failed: the status, and the error that a surface puts in its own envelope.
///
/// As a response it has no body yet: it travels in the response's extensions up to [`super::surface()`], which logs it
/// once and lets the surface render it. So extractors, fallbacks and handlers all fail in the surface's own words.
#[derive(Debug)]
pub struct HttpError {
    /// The status that tells the class.
    pub status: StatusCode,
    /// What went wrong; its message and fields may be shown.
    pub error: Error,
}

/// What a handler answers with.
pub type Answer<T> = std::result::Result<T, HttpError>;

impl HttpError {
    /// A refusal that only HTTP knows of: 405, 413, 415.
    pub fn with_status(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, error: Error::new(ErrorKind::Malformed, message) }
    }

    /// Adds the headers that the status asks for.
    pub(crate) fn add_headers(&self, response: &mut Response) {
        let headers = response.headers_mut();
        match self.error.kind {
            ErrorKind::Unauthenticated => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ErrorKind::Throttled { retry_after_secs } => {
                headers.insert(RETRY_AFTER, retry_after_secs.into());
            }
            ErrorKind::Unavailable => {
                headers.insert(RETRY_AFTER, UNAVAILABLE_SECS.into());
            }
            _ => {}
        }
    }

    /// Writes the failure to the log: ours as an error with its causes, a client's for debugging only.
    pub(crate) fn log(&self) {
        let status = self.status.as_u16();
        if self.status.is_server_error() {
            tracing::error!(status, error = %self.error.chain(), "request failed");
        } else {
            tracing::debug!(status, error = %self.error.chain(), "request refused");
        }
    }
}

impl From<Error> for HttpError {
    fn from(error: Error) -> Self {
        Self { status: status_of(&error.kind), error }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// The status of each kind.
fn status_of(kind: &ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Malformed => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Outdated => StatusCode::PRECONDITION_FAILED,
        ErrorKind::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
