//! Cronly's wire: crontabs that servers send of their users, kept as snapshots (<https://cronly.app>, "Back-ups").
//!
//! Answers have no envelope; failures are `{"error": …}`.

mod backups;
mod content;
mod error;
mod servers;

use axum::Router;
use holdfast_shared::service::Service;

use super::Dialect;
use crate::http::operation::{Operation, routes};
use crate::http::schema::Schema;
use crate::http::{App, safe_for_browsers, surface};

/// What others need to know of it.
pub const DIALECT: Dialect = Dialect {
    name: "cronly",
    title: "Holdfast as Cronly",
    document: "/v1/openapi/cronly.json",
    paths: &["/api/backups", "/api/servers"],
    operations,
    schemas,
    router,
};

/// Every call.
pub fn operations() -> Vec<Operation> {
    backups::operations().into_iter().chain(servers::operations()).collect()
}

/// The forms of what its answers show, by name.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    let all = [backups::schemas(), servers::schemas(), vec![("Failure", error::schema())]];
    all.into_iter().flatten().collect()
}

/// The surface.
pub fn router(service: Service) -> Router {
    let config = service.config.clone();
    safe_for_browsers(surface(routes(operations(), App::new(service), |answer| answer), error::failure), &config)
}
