//! The id that a request carries through log and answer.

use axum::extract::Request;
use http::{Extensions, HeaderName, HeaderValue};
use lambda_http::Context;
use lambda_http::request::RequestContext;
use uuid::Uuid;

/// The header that every answer carries it in.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Identifies one request: API Gateway's id, else the Lambda's, else a new UUID. Never what the client sent.
#[derive(Debug, Clone)]
pub struct RequestId(pub HeaderValue);

impl RequestId {
    /// The id of `request`.
    pub fn of(request: &Request) -> Self {
        let given = gateway_id(request.extensions()).and_then(|id| HeaderValue::from_str(&id).ok());
        Self(given.unwrap_or_else(new_id))
    }
}

impl RequestId {
    /// The id as text, where [`super::surface()`] has noted it.
    pub fn text(extensions: &Extensions) -> String {
        let id = extensions.get::<Self>().and_then(|id| id.0.to_str().ok());
        id.unwrap_or_default().to_owned()
    }
}

fn gateway_id(extensions: &Extensions) -> Option<String> {
    match extensions.get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(gateway)) if gateway.request_id.is_some() => gateway.request_id.clone(),
        _ => extensions.get::<Context>().map(|context| context.request_id.clone()),
    }
}

fn new_id() -> HeaderValue {
    // A UUID's text is always a valid header value.
    HeaderValue::from_str(&Uuid::new_v4().to_string()).unwrap_or_else(|_| HeaderValue::from_static("-"))
}
