//! `/v1/jobs`: what to back up, from where, when and to where.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::aws::table::{JobFilter, Order, SortBy};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::compression::CompressionMethod;
use holdfast_shared::domain::encryption::{MAX_PASSWORD_CHARS, MIN_PASSWORD_CHARS};
use holdfast_shared::domain::hooks::Hook;
use holdfast_shared::domain::job::{Compute, Job, JobInput};
use holdfast_shared::domain::path_template::{MAX_TEMPLATE_CHARS, PathTemplate};
use holdfast_shared::domain::recipe::Recipe;
use holdfast_shared::domain::schedule::Schedule;
use holdfast_shared::domain::storage::Storage;
use holdfast_shared::service::{JobDetail, Service};
use holdfast_shared::{Error, ErrorKind, Result};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::answers::{data, one, page_of, paging};
use super::{backups, limits, retention, schedules, scripts, servers};
use crate::http::fields::MAX_NAME_CHARS;
use crate::http::operation::also_post;
use crate::http::paging::{Paging, SortKeys};
use crate::http::schema::{
    self, Member, Schema, anything, boolean, id, integer, integer_in, line, map_of, named, object, one_of, optional,
    or_null, required, secret, secret_mark, text, time, uuid,
};
use crate::http::timestamp::parse_time;
use crate::http::{Answer, Body, Caller, Fields, IfMatch, Operation, Params, Query, etag, rfc3339};

const SORT_KEYS: SortKeys = &[
    ("id", SortBy::Id),
    ("name", SortBy::Name),
    ("last_ran_at", SortBy::Ran),
    ("created_at", SortBy::Created),
    ("updated_at", SortBy::Changed),
];
const OLDEST_FIRST: Order = Order { by: SortBy::Created, descending: false };
/// How many next runs can be asked for, and how many are told unasked.
const MAX_NEXT_RUNS: i64 = 100;
const DEFAULT_NEXT_RUNS: i64 = 10;
/// How long a host to filter by may be: longer than any that exists.
const MAX_HOST_CHARS: usize = 255;

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let (read, write) = (Ability::Read(Resource::Jobs), Ability::Write(Resource::Jobs));
    let job = || one(named("Job"));
    let filters = [
        optional("host", line(MAX_HOST_CHARS).described("only jobs of servers with this host")),
        optional(
            "modified_since",
            time().described("sorted by anything but updated_at a page can be short: follow next"),
        ),
    ];
    let list = Operation::get("/v1/jobs", list)
        .summary("List jobs")
        .needs(read)
        .query(paging(SORT_KEYS))
        .query(filters)
        .answers(StatusCode::OK, page_of(named("Job")));
    let create = Operation::post("/v1/jobs", create)
        .summary("Make a job")
        .needs(write)
        .body(members(required, schedules::members()))
        .answers(StatusCode::CREATED, job())
        .answers_what_it_made()
        .creates();
    let show = Operation::get("/v1/jobs/{id}", show).summary("Show a job").needs(read).answers(StatusCode::OK, job());
    let update = also_post("/v1/jobs/{id}", update, |operation| {
        let own_id = optional("id", id().described("of a schedule that stays: it keeps what is not sent"));
        let schedules = [own_id].into_iter().chain(schedules::members()).collect();
        operation.summary("Change a job").needs(write).body(members(optional, schedules)).answers_nothing().edits()
    });
    let update_storage = also_post("/v1/jobs/{id}/storage", update_storage, |operation| {
        let storage = required("storage", storages_schema());
        operation.summary("Replace a job's storages").needs(write).body([storage]).answers_nothing().edits()
    });
    let delete = Operation::delete("/v1/jobs/{id}", delete)
        .summary("Delete a job, and in the background all that it stored")
        .needs(write)
        .answers_nothing()
        .edits();
    let pause = Operation::post("/v1/jobs/{id}/pause", pause)
        .summary("Stop a job's schedules from firing")
        .needs(write)
        .answers(StatusCode::OK, job());
    let resume = Operation::post("/v1/jobs/{id}/resume", resume)
        .summary("Let a job's schedules fire again")
        .needs(write)
        .answers(StatusCode::OK, job());
    let encryption_key = "/v1/jobs/{id}/encryption-key";
    let encrypt = Operation::post(encryption_key, encrypt)
        .summary("Encrypt a job's backups to a public key from now on")
        .body([required("encryption_key_id", id())]);
    let encrypt_not =
        Operation::delete(encryption_key, encrypt_not).summary("Store a job's backups in the clear from now on");
    let proxy = Operation::post("/v1/jobs/{id}/proxy", go_through_proxy)
        .summary("Connect through a jump host from now on")
        .body([required("proxy_id", id())]);
    let proxy_not =
        Operation::delete("/v1/jobs/{id}/proxy", go_straight).summary("Connect without a jump host from now on");
    let links = [encrypt, encrypt_not, proxy, proxy_not];
    let links = links.map(|operation| operation.needs(write).answers_nothing().edits());
    let clone = Operation::post("/v1/jobs/{id}/clone", clone)
        .summary("Make a paused job like another one, with schedules of its own")
        .needs(write)
        .body([optional("name", line(MAX_NAME_CHARS).described("without one: Copy of and the other's name"))])
        .answers(StatusCode::CREATED, job())
        .leaves_its_subject()
        .creates();
    let run = object([required("at", time()), required("schedule_id", id()), required("schedule_name", text())]);
    let next_runs = Operation::get("/v1/jobs/{id}/runs/next", next_runs)
        .summary("Tell the next runs over all schedules of a job; none while it is paused")
        .needs(read)
        .query([optional("count", integer_in(1..=MAX_NEXT_RUNS).default(DEFAULT_NEXT_RUNS))])
        .answers(StatusCode::OK, one(schema::list(run)));
    let own = [list, create, show, delete, pause, resume, clone, next_runs];
    own.into_iter().chain(update).chain(update_storage).chain(links).collect()
}

/// The members of a body, where those that a job cannot do without are `demanded`.
fn members(demanded: fn(&'static str, Schema) -> Member, schedule: Vec<Member>) -> Vec<Member> {
    let compute = object([
        optional("type", text().described("server, or ss_serverless (also serverless)").default("server")),
        optional("server_id", id().described("required for server, passed over for ss_serverless")),
        optional(
            "region",
            text().described("required for ss_serverless: EU or US, in any case; passed over for server"),
        ),
    ]);
    vec![
        demanded("name", line(MAX_NAME_CHARS)),
        optional("recipe_id", integer().described("a recipe by its number; goes before recipe")),
        optional("recipe", text().described("a recipe by its name or number")),
        optional("config", map_of(anything()).described("what the recipe needs to know; see GET /v1/recipes")),
        demanded("compute", compute),
        demanded("storage", storages_schema()),
        optional("schedules", schema::list(object(schedule))),
        optional("compression", one_of(&CompressionMethod::NAMES).described("at the level in config")),
        optional("encryption_key_id", or_null(id()).described("the public key to encrypt to; null takes it away")),
        optional(
            "encryption_key_ids",
            or_null(schema::list(id())).described("several public keys to encrypt to, any of which opens the backups"),
        ),
        optional(
            "encryption_password",
            or_null(secret(MAX_PASSWORD_CHARS).at_least(MIN_PASSWORD_CHARS).described(
                "the passphrase to encrypt with, instead of keys; whoever loses it loses the backups. null takes it away",
            )),
        ),
        optional(
            "path_template",
            or_null(line(MAX_TEMPLATE_CHARS).described(
                "the readable part of keys from now on: folders of letters, digits, ._- and {job}, {recipe}, {yyyy}, \
                 {mm}, {dd}, {hh}, {min} (UTC); null is the default",
            )),
        ),
        optional("accept_key_loss", boolean().described("required to be true where encryption_key_ids names one key")),
        optional("proxy_id", or_null(id()).described("the jump host to go through; null takes it away")),
        optional("manual_retention", retention::manual_schema(optional)),
        optional("limits", limits::sent()),
        optional(
            "pre_script",
            or_null(scripts::sent("runs on the server before each run, which fails where it fails")),
        ),
        optional("post_script", or_null(scripts::sent("runs on the server after each run, whatever came of it"))),
    ]
}

fn storages_schema() -> Schema {
    schema::list(object([required("storage_id", id()), optional("priority", integer_in(1..=100))]))
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let compute = object([
        required("type", text()),
        required("name", or_null(text())),
        optional("region", text()),
        optional("server_id", id()),
        optional("server", or_null(named("Server"))),
    ]);
    let setting = object([required("value", anything()), required("label", text()), required("type", text())]);
    let storage = object([
        required("id", id()),
        required("name", text()),
        required("provider", text()),
        required("region", text()),
        required("bucket", text()),
        required("endpoint", or_null(text())),
        required(
            "estimated_size",
            integer().described("bytes that the last good backup stored there; 0 before the first"),
        ),
        required("priority", integer()),
    ]);
    let job = object([
        required("id", uuid()),
        required("number", integer()),
        required("name", text()),
        required("recipe", text()),
        required("compute_type", text()),
        required("compute", compute),
        required("config", map_of(setting)),
        required("compression", one_of(&CompressionMethod::NAMES)),
        required("encryption_key_id", or_null(id().described("the first of encryption_key_ids"))),
        required("encryption_key_ids", schema::list(id())),
        required("encryption_password", secret_mark()),
        required("path_template", or_null(text())),
        required("proxy_id", or_null(id())),
        required("manual_retention", retention::manual_schema(required)),
        required("limits", limits::shown()),
        required("pre_script", secret_mark()),
        required("post_script", secret_mark()),
        required("last_ran_at", or_null(time())),
        required("paused_at", or_null(time())),
        required("created_at", time()),
        required("updated_at", time()),
        required("schedule", schema::list(named("Schedule"))),
        required("storage", schema::list(storage)),
        required("last_backups", schema::list(named("BackupSummary"))),
    ]);
    vec![("Job", job)]
}

fn answer(service: &Service, detail: &JobDetail) -> impl IntoResponse + use<> {
    (etag(detail.job.revision), data(view(detail, service.clock.now())))
}

pub(super) async fn create(caller: Caller, State(service): State<Service>, body: Body) -> Answer<impl IntoResponse> {
    let detail = service.create_job(&caller.account, &input(&caller, body)?).await?;
    Ok((StatusCode::CREATED, answer(&service, &detail)))
}

pub(super) async fn list(caller: Caller, State(service): State<Service>, query: Query) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging::read(&mut fields, SORT_KEYS, OLDEST_FIRST);
    let filter = filter(&mut fields);
    let paging = fields.finish(|| Some(paging))?;
    let listing = service.list_jobs(&caller.account, &filter, paging.order, &paging.window()).await?;
    let now = service.clock.now();
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, |detail| view(&detail, now))))
}

pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
) -> Answer<impl IntoResponse> {
    let detail = service.show_job(&caller.account, id).await?;
    Ok(answer(&service, &detail))
}

pub(super) async fn update(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
    IfMatch(expected): IfMatch,
    body: Body,
) -> Answer<StatusCode> {
    service.update_job(&caller.account, id, &input(&caller, body)?, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces the storages, and nothing else.
pub(super) async fn update_storage(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
    IfMatch(expected): IfMatch,
    body: Body,
) -> Answer<StatusCode> {
    let mut fields = body.fields().alias("storage", "storages");
    if !fields.has("storage") {
        fields.fault("storage", "is required");
        fields.finish(|| Some(()))?;
    }
    let mut others = body.0.0.clone();
    others.retain(|name, _| !matches!(name.as_str(), "storage" | "storages"));
    let input = JobInput { storage: input(&caller, body)?.storage, others, ..JobInput::default() };
    service.update_job(&caller.account, id, &input, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn delete(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
    IfMatch(expected): IfMatch,
) -> Answer<StatusCode> {
    service.delete_job(&caller.account, id, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
) -> Answer<impl IntoResponse> {
    let detail = service.job_detail(service.pause_job(&caller.account, id).await?).await?;
    Ok(answer(&service, &detail))
}

pub(super) async fn resume(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
) -> Answer<impl IntoResponse> {
    let detail = service.job_detail(service.resume_job(&caller.account, id).await?).await?;
    Ok(answer(&service, &detail))
}

pub(super) async fn encrypt(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
    IfMatch(expected): IfMatch,
    body: Body,
) -> Answer<StatusCode> {
    let mut fields = body.fields();
    let key = fields.required_id("encryption_key_id");
    let input = JobInput { encryption_key_id: Some(json!(fields.finish(|| key)?)), ..JobInput::default() };
    service.update_job(&caller.account, id, &input, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn encrypt_not(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
    IfMatch(expected): IfMatch,
) -> Answer<StatusCode> {
    let none = || Some(Value::Null);
    let input = JobInput { encryption_key_id: none(), encryption_password: none(), ..JobInput::default() };
    service.update_job(&caller.account, id, &input, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn go_through_proxy(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
    IfMatch(expected): IfMatch,
    body: Body,
) -> Answer<StatusCode> {
    let mut fields = body.fields();
    let proxy = fields.required_id("proxy_id");
    let input = JobInput { proxy_id: Some(json!(fields.finish(|| proxy)?)), ..JobInput::default() };
    service.update_job(&caller.account, id, &input, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn go_straight(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
    IfMatch(expected): IfMatch,
) -> Answer<StatusCode> {
    let input = JobInput { proxy_id: Some(Value::Null), ..JobInput::default() };
    service.update_job(&caller.account, id, &input, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn clone(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
    body: Body,
) -> Answer<impl IntoResponse> {
    let mut fields = body.fields();
    let name = fields.optional_text("name", MAX_NAME_CHARS);
    let name = fields.finish(|| Some(name))?.map(|name| name.trim().to_owned());
    let detail = service.job_detail(service.clone_job(&caller.account, id, name).await?).await?;
    Ok((StatusCode::CREATED, answer(&service, &detail)))
}

pub(super) async fn next_runs(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
    query: Query,
) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let count = fields.optional_integer("count", 1..=MAX_NEXT_RUNS);
    let count = fields.finish(|| Some(count))?.unwrap_or(DEFAULT_NEXT_RUNS);
    let job = service.job(&caller.account, id).await?;
    let runs = job.next_runs(service.clock.now(), usize::try_from(count).map_err(Error::internal)?);
    let view = |(at, schedule): (Timestamp, &Schedule)| json!({ "at": rfc3339(at), "schedule_id": schedule.id, "schedule_name": schedule.name });
    Ok(data(runs.into_iter().map(view).collect::<Vec<_>>()))
}

fn input(caller: &Caller, body: Body) -> Result<JobInput> {
    // Every member takes any value; only one that comes under two names cannot be read.
    let input = JobInput::deserialize(Value::Object(body.0.0))
        .map_err(|_| Error::new(ErrorKind::Malformed, "storage and storages are the same field; send one of them"))?;
    Ok(JobInput { may_script: caller.token.may(Ability::Scripts), ..input })
}

fn filter(fields: &mut Fields<'_>) -> JobFilter {
    JobFilter {
        server: None,
        host: fields.optional_text("host", MAX_HOST_CHARS),
        modified_since: fields.optional("modified_since", parse_time),
    }
}

/// A job as every answer shows it; `now` is where its next runs are counted from.
fn view(detail: &JobDetail, now: Timestamp) -> Value {
    let JobDetail { job, storages, last_backups, .. } = detail;
    let mut view = json!({
        "id": job.id,
        "number": job.number,
        "name": job.name,
        "recipe": job.recipe.slug(),
        "compute_type": job.compute.kind(),
        "compression": job.compression,
        "encryption_key_id": job.encryption_key_ids.first(),
        "encryption_key_ids": job.encryption_key_ids,
        "encryption_password": scripts::mark(job.encryption_password.as_ref()),
        "path_template": job.path_template.as_ref().map(PathTemplate::as_str),
        "proxy_id": job.proxy_id,
        "manual_retention": job.manual_retention,
        "limits": job.limits,
        "pre_script": scripts::mark(job.hooks.get(Hook::Pre)),
        "post_script": scripts::mark(job.hooks.get(Hook::Post)),
        "last_ran_at": job.last_ran_at.map(rfc3339),
        "paused_at": job.paused_at.map(rfc3339),
        "created_at": rfc3339(job.created_at),
        "updated_at": rfc3339(job.updated_at),
    });
    // Moved: `json!` would copy each of them, at every level anew.
    view["compute"] = compute(detail);
    view["config"] = Value::Object(config(&job.recipe));
    view["schedule"] = job.schedules.iter().map(|schedule| schedules::view(job, schedule, now)).collect();
    view["storage"] = storages.iter().map(|(found, priority)| storage(job, found, *priority)).collect();
    let last = last_backups.iter().map(|backup| backups::summary(&job.account, job.id, backup));
    view["last_backups"] = last.collect();
    view
}

fn compute(detail: &JobDetail) -> Value {
    let kind = detail.job.compute.kind();
    match &detail.job.compute {
        Compute::Server { server_id } => {
            let server = detail.server.as_ref();
            let name = server.map(|(server, _)| &server.name);
            let mut compute = json!({ "type": kind, "name": name, "server_id": server_id });
            compute["server"] = server.map(|(server, key)| servers::view(server, key)).into();
            compute
        }
        Compute::Serverless { region } => {
            let name = format!("Serverless {}", region.to_string().to_uppercase());
            json!({ "type": kind, "name": name, "region": region })
        }
    }
}

fn config(recipe: &Recipe) -> Map<String, Value> {
    let settings = recipe.settings().into_iter();
    let printed = settings.map(|(field, value)| {
        (field.key.to_owned(), json!({ "value": value.to_json(), "label": field.label, "type": field.kind.as_str() }))
    });
    printed.collect()
}

fn storage(job: &Job, storage: &Storage, priority: u32) -> Value {
    json!({
        "id": storage.id,
        "name": storage.name,
        "provider": storage.provider,
        "region": storage.region,
        "bucket": storage.bucket,
        "endpoint": storage.endpoint,
        "estimated_size": job.last_stored_bytes.unwrap_or(0),
        "priority": priority,
    })
}

#[cfg(test)]
mod tests;
