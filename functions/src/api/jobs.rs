//! `/v1/jobs`: what to back up, from where, when and to where.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::aws::table::{JobFilter, Order, SortBy};
use holdfast_shared::domain::job::{Compute, JobInput};
use holdfast_shared::domain::recipe::Recipe;
use holdfast_shared::domain::storage::Storage;
use holdfast_shared::service::{JobDetail, Listing, Service};
use holdfast_shared::{Error, ErrorKind, Result};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::answers::data;
use super::{backups, schedules, servers};
use crate::http::paging::{Paging, SortKeys};
use crate::http::timestamp::parse_time;
use crate::http::{Answer, Body, Caller, Fields, Params, Query, rfc3339};

const SORT_KEYS: SortKeys = &[
    ("id", SortBy::Id),
    ("name", SortBy::Name),
    ("last_ran_at", SortBy::Ran),
    ("created_at", SortBy::Created),
    ("updated_at", SortBy::Changed),
];
const OLDEST_FIRST: Order = Order { by: SortBy::Created, descending: false };
/// How long a host to filter by may be: longer than any that exists.
const MAX_HOST_CHARS: usize = 255;

pub(super) async fn create(caller: Caller, State(service): State<Service>, body: Body) -> Answer<impl IntoResponse> {
    let job = service.create_job(&caller.account, &input(body)?).await?;
    let detail = service.job_detail(job).await?;
    Ok((StatusCode::CREATED, data(view(&detail, service.clock.now()))))
}

pub(super) async fn list(caller: Caller, State(service): State<Service>, query: Query) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging::read(&mut fields, SORT_KEYS, OLDEST_FIRST);
    let filter = filter(&mut fields);
    let paging = fields.finish(|| Some(paging))?;
    let listed = service.list_jobs(&caller.account, &filter, paging.order, &paging.window()).await?;
    let Listing { records, next, total } = listed;
    let records = service.job_details(records).await?;
    let now = service.clock.now();
    let listing = Listing { records, next, total };
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, |detail| view(&detail, now))))
}

pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
) -> Answer<Json<Value>> {
    let detail = service.job_detail(service.job(&caller.account, id).await?).await?;
    Ok(data(view(&detail, service.clock.now())))
}

pub(super) async fn update(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
    body: Body,
) -> Answer<StatusCode> {
    service.update_job(&caller.account, id, &input(body)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces the storages; whatever else the body says is not meant for this route.
pub(super) async fn update_storage(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
    body: Body,
) -> Answer<StatusCode> {
    let storage = input(body)?.storage.filter(|storage| !storage.is_null());
    let storage = storage.ok_or_else(|| Error::invalid("storage", "is required"))?;
    let input = JobInput { storage: Some(storage), ..JobInput::default() };
    service.update_job(&caller.account, id, &input).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn delete(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
) -> Answer<StatusCode> {
    service.delete_job(&caller.account, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
) -> Answer<Json<Value>> {
    let detail = service.job_detail(service.pause_job(&caller.account, id).await?).await?;
    Ok(data(view(&detail, service.clock.now())))
}

pub(super) async fn resume(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
) -> Answer<Json<Value>> {
    let detail = service.job_detail(service.resume_job(&caller.account, id).await?).await?;
    Ok(data(view(&detail, service.clock.now())))
}

fn input(body: Body) -> Result<JobInput> {
    // Every member takes any value; only one that comes under two names cannot be read.
    JobInput::deserialize(Value::Object(body.0.0))
        .map_err(|_| Error::new(ErrorKind::Malformed, "storage and storages are the same field; send one of them"))
}

fn filter(fields: &mut Fields<'_>) -> JobFilter {
    JobFilter {
        host: fields.optional_text("host", MAX_HOST_CHARS),
        modified_since: fields.optional("modified_since", parse_time),
    }
}

/// A job as every answer shows it; `now` is where its next runs are counted from.
fn view(detail: &JobDetail, now: Timestamp) -> Value {
    let JobDetail { job, storages, last_backups, .. } = detail;
    json!({
        "id": job.id,
        "number": job.number,
        "name": job.name,
        "recipe": job.recipe.slug(),
        "compute_type": "server",
        "compute": compute(detail),
        "config": config(&job.recipe),
        "last_ran_at": job.last_ran_at.map(rfc3339),
        "paused_at": job.paused_at.map(rfc3339),
        "created_at": rfc3339(job.created_at),
        "updated_at": rfc3339(job.updated_at),
        "schedule": job.schedules.iter().map(|schedule| schedules::view(job, schedule, now)).collect::<Vec<_>>(),
        "storage": storages.iter().map(|(found, priority)| storage(found, *priority)).collect::<Vec<_>>(),
        "last_backups": last_backups.iter().map(backups::summary).collect::<Vec<_>>(),
    })
}

fn compute(detail: &JobDetail) -> Value {
    let Compute::Server { server_id } = detail.job.compute;
    let server = detail.server.as_ref();
    json!({
        "type": "server",
        "name": server.map(|(server, _)| &server.name),
        "server_id": server_id,
        "server": server.map(|(server, key)| servers::view(server, key)),
    })
}

fn config(recipe: &Recipe) -> Map<String, Value> {
    let settings = recipe.settings().into_iter();
    let printed = settings.map(|(field, value)| {
        (field.key.to_owned(), json!({ "value": value.to_json(), "label": field.label, "type": field.kind }))
    });
    printed.collect()
}

fn storage(storage: &Storage, priority: u32) -> Value {
    json!({
        "id": storage.id,
        "name": storage.name,
        "provider": storage.provider,
        "region": storage.region,
        "bucket": storage.bucket,
        "endpoint": storage.endpoint,
        "estimated_size": 0,
        "priority": priority,
    })
}

#[cfg(test)]
mod tests;
