//! Download links: a ticket in, a redirect to the storage's own link out. The only function that reads objects.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use axum::routing::get;
use holdfast_shared::service::{Holder, Reading, Service};
use http::header::{CACHE_CONTROL, LOCATION};
use http::{Method, StatusCode, Uri};

use crate::api::answers;
use crate::http::address::client_address;
use crate::http::request_id::RequestId;
use crate::http::{Answer, safe_for_browsers, surface};

/// `GET /v1/downloads/{ticket}`. The ticket is the authentication.
pub fn router(service: Service) -> Router {
    let config = service.config.clone();
    let routes = Router::new().route("/v1/downloads/{ticket}", get(redirect)).with_state(service);
    safe_for_browsers(surface(routes, answers::failure), &config)
}

async fn redirect(
    State(service): State<Service>,
    method: Method,
    uri: Uri,
    request: Request,
) -> Answer<impl IntoResponse> {
    let (address, request_id) = (client_address(request.extensions()), RequestId::text(request.extensions()));
    // From the path itself: behind another router's route, the parameters of both would be mixed.
    let ticket = uri.path().rsplit('/').next().unwrap_or_default();
    let reading = if method == Method::HEAD { Reading::Head } else { Reading::Get };
    let link = service.redeem(ticket, reading, Holder { address, request_id }).await?;
    Ok((StatusCode::FOUND, [(LOCATION, link.to_string()), (CACHE_CONTROL, "no-store".to_owned())]))
}
