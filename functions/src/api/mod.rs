//! The native surface, `/v1`: every route of it on one screen.

pub(crate) mod answers;
mod backups;
mod health;
mod jobs;
mod recipes;
mod schedules;
pub mod servers;
pub mod ssh_keys;
mod storages;

use axum::Router;
use axum::routing::{get, patch, post};
use holdfast_shared::service::Service;

use crate::http::rate_limit::RateLimit;
use crate::http::{App, surface};

/// The native surface.
pub fn router(service: Service) -> Router {
    let rate_limit = RateLimit::new(service.config.requests_per_second);
    // Abilities of its own come with a resource for tokens; until then it is for tokens that may do everything.
    let app = App { service, rate_limit, ability: Some("*") };
    let ssh_key = get(ssh_keys::show).delete(ssh_keys::delete);
    let server = get(servers::show).patch(servers::update).post(servers::update).delete(servers::delete);
    let storage = get(storages::show).patch(storages::update).post(storages::update).delete(storages::delete);
    let job = get(jobs::show).patch(jobs::update).post(jobs::update).delete(jobs::delete);
    let routes = Router::new()
        .route("/healthz", get(health::show))
        .route("/v1/ssh-keys", get(ssh_keys::list).post(ssh_keys::create))
        .route("/v1/ssh-keys/{id}", ssh_key)
        .route("/v1/servers", get(servers::list).post(servers::create))
        .route("/v1/servers/{id}", server)
        .route("/v1/servers/{id}/check", post(servers::check))
        .route("/v1/servers/{id}/host-key", post(servers::accept_host_key))
        .route("/v1/storages", get(storages::list).post(storages::create))
        .route("/v1/storages/{id}", storage.clone())
        .route("/v1/storages/{id}/check", post(storages::check))
        .route("/v1/storage", get(storages::list).post(storages::create))
        .route("/v1/storage/{id}", storage)
        .route("/v1/storage/{id}/check", post(storages::check))
        .route("/v1/recipes", get(recipes::list))
        .route("/v1/jobs", get(jobs::list).post(jobs::create))
        .route("/v1/jobs/{id}", job)
        .route("/v1/jobs/{id}/pause", post(jobs::pause))
        .route("/v1/jobs/{id}/resume", post(jobs::resume))
        .route("/v1/jobs/{id}/storage", patch(jobs::update_storage).post(jobs::update_storage))
        .route("/v1/jobs/{id}/schedules/{schedule}", patch(schedules::update).post(schedules::update))
        .route("/v1/jobs/{id}/backups", get(backups::list))
        .route("/v1/jobs/{id}/backups/start", post(backups::start))
        .route("/v1/backups/{id}", get(backups::show))
        .route("/v1/backups/{id}/log", get(backups::log));
    surface(routes.with_state(app), answers::failure)
}
