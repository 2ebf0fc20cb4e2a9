//! What an embedded AWS service answers when it refuses or fails.

use axum::Json;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error as the SDKs read it: the service's own code and words.
///
/// It is written in every place where a protocol looks for it: `x-amzn-errortype` (REST-JSON), `__type` (AWS JSON) and
/// `x-amzn-query-error` (services that once spoke the query protocol, from which the SQS SDK takes its codes).
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Fault {
    /// HTTP status; 400 for what the client can mend.
    pub status: StatusCode,
    /// The code that an SDK maps to its error type.
    pub code: &'static str,
    /// For people, in the service's words where they are known.
    pub message: String,
    source: Option<rusqlite::Error>,
}

impl Fault {
    /// The client's mistake.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into(), source: None }
    }

    /// The same under another status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// A failure of ours; trying again may help.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new("InternalFailure", message).with_status(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Whether the service failed, rather than the client.
    pub fn is_internal(&self) -> bool {
        self.status.is_server_error()
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(source: rusqlite::Error) -> Self {
        Self { source: Some(source), ..Self::internal("the store could not be read or written") }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        if self.is_internal() {
            tracing::error!(code = self.code, source = ?self.source, "{}", self.message);
        }
        // Both spellings of `message` are in use, one per service.
        let body = Json(json!({"__type": self.code, "message": self.message, "Message": self.message}));
        let side = if self.is_internal() { "Receiver" } else { "Sender" };
        let mut response = (self.status, [("x-amzn-errortype", self.code)], body).into_response();
        if let Ok(value) = HeaderValue::try_from(format!("{};{side}", self.code)) {
            response.headers_mut().insert("x-amzn-query-error", value);
        }
        response
    }
}
