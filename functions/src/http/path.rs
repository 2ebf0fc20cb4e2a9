//! Paths: what is tolerated in them, and the parameters that a route takes from them.

use axum::extract::{FromRequestParts, Path, Request};
use holdfast_shared::Error;
use http::request::Parts;
use http::uri::PathAndQuery;
use serde::de::DeserializeOwned;

use super::error::{Answer, HttpError};

/// A route's parameters. What does not read as `T` names nothing that could exist: 404.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Params<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(params)) => Ok(Self(params)),
            Err(_) => Err(Error::not_found("resource").into()),
        }
    }
}

/// A path in order: without doubled slashes, a slash at its end, or a `.json` suffix.
pub fn in_order(uri: &http::Uri) -> String {
    normalised(uri).as_ref().unwrap_or(uri).path().to_owned()
}

/// Puts a request's path in order before it is routed: doubled slashes, a trailing slash and a `.json` suffix go.
pub(super) fn normalise(mut request: Request) -> Request {
    if let Some(uri) = normalised(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

/// The URI in order; `None` if it already is.
fn normalised(uri: &http::Uri) -> Option<http::Uri> {
    let segments: Vec<&str> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
    let path = format!("/{}", segments.join("/"));
    let path = path.strip_suffix(".json").unwrap_or(&path);
    if path == uri.path() {
        return None;
    }
    let whole = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(whole).ok()?);
    http::Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerates_slashes_and_a_json_suffix() {
        let cases = [
            ("/", None),
            ("/v1/jobs", None),
            ("/v1/jobs?a=//b", None),
            ("/v1/jobs.json", Some("/v1/jobs")),
            ("//v1///jobs/", Some("/v1/jobs")),
            ("/v1/jobs.json/?a=b.json", Some("/v1/jobs?a=b.json")),
            ("http://host/v1//jobs.json?x", Some("http://host/v1/jobs?x")),
            ("//", Some("/")),
        ];
        for (given, expected) in cases {
            let answer = normalised(&given.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(answer.as_deref(), expected, "{given}");
        }
    }
}
