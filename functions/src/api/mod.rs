//! The native surface, `/v1`: one file per resource, and in each the list of its calls.

mod account;
pub(crate) mod answers;
mod audit_events;
mod backups;
mod crontab_servers;
mod crontabs;
mod documentation;
mod encryption_keys;
mod health;
mod jobs;
mod limits;
mod logins;
mod notification_streams;
mod previews;
mod proxies;
mod recipes;
mod retention;
mod schedules;
mod scripts;
pub mod servers;
pub mod ssh_keys;
mod stacks;
mod storage_options;
mod storages;
pub(crate) mod tokens;

use axum::Router;
use holdfast_shared::service::Service;

use crate::http::operation::{Operation, routes};
use crate::http::schema::Schema;
use crate::http::{App, safe_for_browsers, surface};

/// Every call of the surface.
pub fn operations() -> Vec<Operation> {
    let all = [
        health::operations(),
        account::operations(),
        tokens::operations(),
        ssh_keys::operations(),
        servers::operations(),
        proxies::operations(),
        storages::operations(),
        stacks::operations(),
        crontab_servers::operations(),
        crontabs::operations(),
        notification_streams::operations(),
        encryption_keys::operations(),
        recipes::operations(),
        jobs::operations(),
        schedules::operations(),
        previews::operations(),
        retention::operations(),
        scripts::operations(),
        backups::operations(),
        audit_events::operations(),
        documentation::operations(),
    ];
    all.into_iter().flatten().collect()
}

/// The forms of what its answers show, by name.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    let all = [
        account::schemas(),
        tokens::schemas(),
        ssh_keys::schemas(),
        servers::schemas(),
        proxies::schemas(),
        storages::schemas(),
        stacks::schemas(),
        crontab_servers::schemas(),
        crontabs::schemas(),
        notification_streams::schemas(),
        encryption_keys::schemas(),
        recipes::schemas(),
        jobs::schemas(),
        schedules::schemas(),
        previews::schemas(),
        retention::schemas(),
        backups::schemas(),
        audit_events::schemas(),
    ];
    all.into_iter().flatten().chain([("Failure", answers::failure_schema())]).collect()
}

/// The native surface.
pub fn router(service: Service) -> Router {
    let config = service.config.clone();
    safe_for_browsers(
        surface(routes(operations(), App::new(service), |answer| &answer["data"]), answers::failure),
        &config,
    )
}
