//! How long a request's line and headers may be.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::error::HttpError;

/// How long path and query may be, bytes.
pub const MAX_URL_BYTES: usize = 8 * 1024;
/// How long the names and values of all headers may be together, bytes.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// How many headers there may be.
pub const MAX_HEADERS: usize = 100;

/// Refuses what is longer: 414 and 431.
pub(super) async fn check(request: Request, next: Next) -> Response {
    match fault(&request) {
        Some(failure) => failure.into_response(),
        None => next.run(request).await,
    }
}

fn fault(request: &Request) -> Option<HttpError> {
    let url = request.uri().path_and_query().map_or(0, |whole| whole.as_str().len());
    if url > MAX_URL_BYTES {
        let message = format!("the URL is longer than {MAX_URL_BYTES} bytes");
        return Some(HttpError::with_status(StatusCode::URI_TOO_LONG, message));
    }
    let headers = request.headers();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        let message =
            format!("there are more than {MAX_HEADERS} headers, or more than {MAX_HEADER_BYTES} bytes of them");
        return Some(HttpError::with_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message));
    }
    None
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn status(path: &str, headers: usize, bytes: usize) -> Option<u16> {
        let mut request = Request::get(path);
        for number in 0..headers {
            request = request.header(format!("x-{number}"), "a".repeat(bytes));
        }
        fault(&request.body(Body::empty()).unwrap()).map(|failure| failure.status.as_u16())
    }

    #[test]
    fn what_is_too_long_is_refused() {
        assert_eq!(status(&format!("/{}", "a".repeat(MAX_URL_BYTES - 1)), 1, 1), None);
        assert_eq!(status(&format!("/{}", "a".repeat(MAX_URL_BYTES)), 1, 1), Some(414));
        assert_eq!(status(&format!("/?{}", "a".repeat(MAX_URL_BYTES)), 1, 1), Some(414));
        assert_eq!(status("/", MAX_HEADERS, 1), None);
        assert_eq!(status("/", MAX_HEADERS + 1, 1), Some(431));
        assert_eq!(status("/", 1, MAX_HEADER_BYTES), Some(431));
    }
}
