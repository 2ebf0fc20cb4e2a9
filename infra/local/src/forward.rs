//! Download links on the public listener: presigned reads are handed to the embedded object store, which is not
//! reachable by itself.
//!
//! Only reads that are presigned pass, so the store's own check of the signature decides. It was made for the store's
//! own authority, hence the request goes on under that one.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderName};
use axum::http::uri::{Authority, PathAndQuery, Uri};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// The path below which presigned links are answered.
pub const PREFIX: &str = "/objects";

/// What a reader may say about the bytes that it wants; nothing else of its request goes on.
const PASSED_ON: [HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// The way to the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Forward {
    client: Client<HttpConnector, Body>,
    store: Arc<Authority>,
}

impl Forward {
    /// To the store at `endpoint`, `http://host:port`; `None` if that is no such address.
    pub fn new(endpoint: &str) -> Option<Self> {
        let store = Arc::new(endpoint.parse::<Uri>().ok()?.into_parts().authority?);
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Some(Self { client: Client::builder(TokioExecutor::new()).build(connector), store })
    }

    fn rewritten(&self, request: &Request) -> Option<Request> {
        let query = request.uri().query()?;
        query.split('&').any(|part| part.starts_with("X-Amz-Signature=")).then_some(())?;
        let path = request.uri().path_and_query()?.as_str().strip_prefix(PREFIX)?;
        let path = PathAndQuery::try_from(path).ok()?;
        let uri = Uri::builder().scheme("http").authority((*self.store).clone()).path_and_query(path).build().ok()?;
        let mut forwarded = Request::builder().method(request.method()).uri(uri).body(Body::empty()).ok()?;
        for name in PASSED_ON {
            if let Some(value) = request.headers().get(&name) {
                forwarded.headers_mut().insert(name, value.clone());
            }
        }
        Some(forwarded)
    }
}

/// Answers one presigned read; everything else below the prefix does not exist.
pub async fn forward(State(forward): State<Forward>, request: Request) -> Response {
    let Some(request) = forward.rewritten(&request) else {
        return (StatusCode::NOT_FOUND, "not found\n").into_response();
    };
    match forward.client.request(request).await {
        Ok(response) => {
            let (mut parts, body) = response.into_parts();
            // These are about the connection behind; the one in front has its own.
            parts.headers.remove(header::CONNECTION);
            parts.headers.remove(header::TRANSFER_ENCODING);
            Response::from_parts(parts, Body::new(body))
        }
        Err(error) => {
            tracing::error!(%error, "the object store did not answer a download");
            (StatusCode::BAD_GATEWAY, "the object store did not answer; try again shortly\n").into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(uri: &str) -> Option<Request> {
        let request = Request::builder().uri(uri).header("range", "bytes=0-1").header("authorization", "x");
        Forward::new("http://127.0.0.1:9").unwrap().rewritten(&request.body(Body::empty()).unwrap())
    }

    #[test]
    fn a_presigned_link_goes_on_as_it_was_signed() {
        let request = rewrite("/objects/holdfast/a%20b%2Fc//d?x=1&X-Amz-Signature=ab").unwrap();
        assert_eq!(request.uri(), "http://127.0.0.1:9/holdfast/a%20b%2Fc//d?x=1&X-Amz-Signature=ab");
        assert_eq!(request.headers().keys().collect::<Vec<_>>(), ["range"]);
    }

    #[test]
    fn what_is_not_presigned_goes_nowhere() {
        for uri in
            ["/objects/holdfast/a", "/objects/holdfast?list-type=2", "/objects/a?y=X-Amz-Signature=1", "/objects"]
        {
            assert!(rewrite(uri).is_none(), "{uri}");
        }
    }
}
