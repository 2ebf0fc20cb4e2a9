//! `/v1/openapi.json` and `/docs`: the surface as a program and as a person reads it.

use axum::Json;
use axum::extract::State;
use axum::response::{Html, IntoResponse};
use holdfast_shared::service::Service;
use http::StatusCode;
use http::header::CONTENT_SECURITY_POLICY;
use serde_json::Value;

use crate::dialects;
use crate::http::Operation;
use crate::http::schema::{anything, map_of};
use crate::openapi::{self, Surface};

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let document = Operation::get("/v1/openapi.json", document)
        .summary("This documentation, as OpenAPI 3.1")
        .open()
        .answers(StatusCode::OK, map_of(anything()));
    let page = Operation::get("/docs", page).summary("This documentation, as a page").open().answers_text("text/html");
    let dialects = dialects::ALL.iter().map(|dialect| {
        let document = async move |State(service): State<Service>| {
            Json(openapi::document(&dialect.surface(&service.config.public_url)))
        };
        Operation::get(dialect.document, document)
            .summary("The documentation of another surface of the same account, as OpenAPI 3.1")
            .open()
            .answers(StatusCode::OK, map_of(anything()))
    });
    [document, page].into_iter().chain(dialects).collect()
}

async fn document(State(service): State<Service>) -> Json<Value> {
    Json(openapi::document(&surface(&service.config.public_url)))
}

async fn page(State(service): State<Service>) -> impl IntoResponse {
    let policy = [(CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'")];
    (policy, Html(openapi::page(&surface(&service.config.public_url))))
}

fn surface(url: &str) -> Surface<'_> {
    let calls = super::operations().into_iter().map(|operation| operation.call).collect();
    Surface { title: "Holdfast", about: openapi::ABOUT, url, calls, schemas: super::schemas() }
}
