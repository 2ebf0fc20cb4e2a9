//! `/v1/jobs/{id}/backups` and `/v1/backups`: runs of a job, and what they stored.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::aws::table::{BackupFilter, Order, SortBy};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::backup::{Backup, Copy, CopyStatus, File, Progress, Status};
use holdfast_shared::domain::backup_summary::BackupSummary;
use holdfast_shared::domain::slot::Tags;
use holdfast_shared::service::{BackupDetail, Idempotency, Listing, LogPosition, Service};
use holdfast_shared::{Error, Result};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::answers::{data, one, page_of, paging};
use crate::http::idempotency::idempotency_key;
use crate::http::paging::{Paging, SortKeys};
use crate::http::schema::{
    self, Schema, anything, boolean, id, integer, map_of, named, object, one_of, optional, or_null, required, text,
    time, uuid,
};
use crate::http::timestamp::parse_time;
use crate::http::{Answer, Body, Caller, Fields, Operation, Params, Query, rfc3339};

const SORT_KEYS: SortKeys = &[
    ("id", SortBy::Id),
    ("name", SortBy::Name),
    ("created_at", SortBy::Created),
    ("started_at", SortBy::Ran),
    ("completed_at", SortBy::Changed),
];
const NEWEST_FIRST: Order = Order { by: SortBy::Created, descending: true };
const TAGS: [&str; 5] = ["manual", "hourly", "daily", "weekly", "monthly"];

/// What to send as `after` to read on.
const LOG_NEXT: HeaderName = HeaderName::from_static("x-log-next");
/// `true` once nothing will follow.
const LOG_COMPLETE: HeaderName = HeaderName::from_static("x-log-complete");

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let read = Ability::Read(Resource::Backups);
    let status = one_of(&Status::ALL.map(Status::as_str));
    let tags = TAGS.map(|tag| optional(tag, boolean()));
    let filters = [
        optional("status", status),
        optional("tags", object(tags).described("tags[manual]=1")),
        optional("started_since", time().described("sorted by id or name a page can be short: follow next")),
        optional("completed_since", time().described("sorted by id or name a page can be short: follow next")),
    ];
    let list = Operation::get("/v1/jobs/{id}/backups", list)
        .summary("List a job's backups, the newest first")
        .needs(read)
        .query(paging(SORT_KEYS))
        .query(filters)
        .answers(StatusCode::OK, page_of(named("Backup")));
    let tags = || ["is_manual", "is_hourly", "is_daily", "is_weekly", "is_monthly"];
    let started = object([
        required("status", one_of(&["starting"])),
        required("backup_id", uuid()),
        required("url", text()),
        required("config", schema::list(anything())),
        required("tags", object(tags().map(|tag| required(tag, boolean())))),
    ]);
    let start = Operation::post("/v1/jobs/{id}/backups/start", start)
        .summary("Start a backup of a job")
        .needs(Ability::RunBackups)
        .body(tags().map(|tag| optional(tag, boolean())))
        .answers(StatusCode::ACCEPTED, started)
        .leaves_its_subject()
        .creates_once();
    let show = Operation::get("/v1/backups/{id}", show)
        .summary("Show a backup and how far it is")
        .needs(read)
        .answers(StatusCode::OK, one(named("Backup")));
    let write = Ability::Write(Resource::Backups);
    let delete_all = Operation::delete("/v1/jobs/{id}/backups", delete_all)
        .summary("Delete all backups of a job in the background, but those that start later")
        .needs(write)
        .answers(StatusCode::OK, object([required("message", text().described("165 backups scheduled for deletion"))]));
    let delete = Operation::delete("/v1/backups/{id}", delete)
        .summary("Delete a backup that has ended, in the background: its objects and then its record")
        .needs(write)
        .answers_nothing();
    let cancel = Operation::post("/v1/backups/{id}/cancel", cancel)
        .summary("Cancel a backup that waits, or have one that runs stopped")
        .needs(Ability::RunBackups)
        .answers(StatusCode::OK, one(named("Backup")))
        .answers(StatusCode::ACCEPTED, one(named("Backup")));
    let download = Operation::post("/v1/backups/{id}/download", download)
        .summary("Make links to a backup's files, by their names, that work with a plain GET for an hour")
        .needs(Ability::Download)
        .leaves_its_subject()
        .answers(StatusCode::OK, one(map_of(text())));
    let files = Operation::get("/v1/backups/{id}/files", files)
        .summary("List the files of a backup")
        .needs(read)
        .answers(StatusCode::OK, one(schema::list(named("File"))));
    let log = Operation::get("/v1/backups/{id}/log", log)
        .summary("Read a backup's log; X-Log-Next says what to send as after to read on")
        .needs(read)
        .query([optional("after", text())])
        .answers_text("text/plain");
    vec![list, start, delete_all, show, delete, cancel, download, files, log]
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let summary = |tag: fn() -> Schema| {
        vec![
            required("id", uuid()),
            required("job_id", uuid()),
            required("tags", object(TAGS.map(|name| required(name, tag())))),
            required("s3_directory", text()),
            required("created_at", time()),
            required("started_at", or_null(time())),
            required("completed_at", or_null(time())),
            required("status", one_of(&Status::ALL.map(Status::as_str))),
            required("monitoring_available", boolean()),
        ]
    };
    let file = object([
        required("id", text()),
        required("name", text()),
        required("size", text().described("such as 19023 bytes")),
        required(
            "url",
            or_null(text()).described("works with a plain GET for an hour; null without the ability download"),
        ),
        required("plain_bytes", integer()),
        required("stored_bytes", integer()),
        required("plain_sha256", text()),
        required("stored_sha256", text()),
    ]);
    let copy = object([
        required("storage_id", id()),
        required(
            "status",
            one_of(&CopyStatus::NAMES).described("a missing copy is made later, from one that is stored"),
        ),
        required("error", or_null(text())),
    ]);
    let more = [
        required("number", integer()),
        required("name", text()),
        required("schedule_id", or_null(id())),
        required("slot", or_null(time())),
        required("attempt", integer()),
        required("heartbeat_at", or_null(time())),
        required("cancel_requested", boolean()),
        required(
            "deletion_requested_at",
            or_null(time()).described("since when it is being deleted; it goes once its objects are gone"),
        ),
        required("progress", anything()),
        required("failure", anything()),
        required("skip_reason", anything()),
        required("source_errors", schema::list(text())),
        required("encryption_key", or_null(text().described("the first of encryption_keys"))),
        required(
            "encryption_keys",
            schema::list(text()).described(
                "fingerprints of the keys whose private halves open the files, each alone; or: a passphrase",
            ),
        ),
        required("copies", schema::list(copy)),
        required("files", schema::list(named("File"))),
    ];
    let backup = object(summary(boolean).into_iter().chain(more));
    vec![("BackupSummary", object(summary(integer))), ("Backup", backup), ("File", file)]
}

pub(super) async fn start(
    caller: Caller,
    State(service): State<Service>,
    Params(job): Params<Uuid>,
    headers: HeaderMap,
    body: Body,
) -> Answer<impl IntoResponse> {
    let mut fields = body.fields();
    let tags = TAGS.map(|tag| fields.optional_boolean(&format!("is_{tag}")));
    let [manual, hourly, daily, weekly, monthly] = fields.finish(|| Some(tags))?;
    let tags = Tags::of_start(manual, hourly, daily, weekly, monthly);
    let text = Value::Object(body.0.0).to_string();
    let idempotency = idempotency_key(&headers)?.map(|key| Idempotency { key, body: &text });
    let backup = service.start_backup(&caller.account, job, tags, idempotency).await?;
    Ok((StatusCode::ACCEPTED, Json(started(&backup, &service.config.public_url))))
}

pub(super) async fn list(
    caller: Caller,
    State(service): State<Service>,
    Params(job): Params<Uuid>,
    query: Query,
) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging::read(&mut fields, SORT_KEYS, NEWEST_FIRST);
    let filter = filter(&mut fields);
    let paging = fields.finish(|| Some(paging))?;
    let listed = service.list_backups(&caller.account, job, &filter, paging.order, &paging.window()).await?;
    let Listing { records, next, total } = listed;
    let url_of = url_for(&caller, &service);
    let records = records.iter().map(|detail| view(detail, &url_of)).collect::<Result<Vec<_>>>()?;
    let listing = Listing { records, next, total };
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, |view| view)))
}

pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
) -> Answer<Json<Value>> {
    let detail = service.backup_detail(&caller.account, id).await?;
    Ok(data(view(&detail, url_for(&caller, &service))?))
}

/// Makes links to files that still exist, for those who may have the bytes.
fn url_for(caller: &Caller, service: &Service) -> impl Fn(&Backup, &File) -> Result<Option<String>> {
    let (may, token) = (caller.token.may(Ability::Download), caller.token.id);
    move |backup, file| {
        let links = may && backup.status.is_stored();
        links.then(|| service.download_url(token, backup, file)).transpose()
    }
}

/// Says how many there are, which their worker then deletes.
pub(super) async fn delete_all(
    caller: Caller,
    State(service): State<Service>,
    Params(job): Params<Uuid>,
) -> Answer<Json<Value>> {
    let count = service.delete_backups(&caller.account, job).await?;
    let backups = if count == 1 { "backup" } else { "backups" };
    Ok(Json(json!({ "message": format!("{count} {backups} scheduled for deletion") })))
}

pub(super) async fn delete(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
) -> Answer<StatusCode> {
    service.delete_backup(&caller.account, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// 200 once it is cancelled, 202 while its worker still has to stop it.
pub(super) async fn cancel(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
) -> Answer<impl IntoResponse> {
    let detail = service.cancel(&caller.account, id).await?;
    let status = if detail.backup.status.has_ended() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, data(view(&detail, url_for(&caller, &service))?)))
}

pub(super) async fn download(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
) -> Answer<Json<Value>> {
    let backup = service.backup(&caller.account, id).await?;
    if !backup.status.is_stored() {
        return Err(Error::conflict(format!("the backup is {}: it has no files", backup.status.as_str())).into());
    }
    let link =
        |file: &File| Ok((file.name.clone(), Value::from(service.download_url(caller.token.id, &backup, file)?)));
    Ok(data(backup.files.iter().map(link).collect::<Result<Map<_, _>>>()?))
}

pub(super) async fn files(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
) -> Answer<Json<Value>> {
    let backup = service.backup(&caller.account, id).await?;
    Ok(data(files_view(&backup, url_for(&caller, &service))?))
}

/// The log after `after`, as text; the headers tell how to read on.
pub(super) async fn log(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
    query: Query,
) -> Answer<impl IntoResponse> {
    let mut fields = query.fields();
    let after = fields.optional("after", |text| LogPosition::parse(text).ok_or("must be what X-Log-Next said"));
    let after = fields.finish(|| Some(after))?.unwrap_or_default();
    let log = service.log_after(&caller.account, id, after).await?;
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (LOG_NEXT, log.next.to_string()),
        (LOG_COMPLETE, log.is_complete.to_string()),
    ];
    Ok((headers, log.text))
}

fn filter(fields: &mut Fields<'_>) -> BackupFilter {
    let status = |word: &str| {
        let words = || Status::ALL.map(Status::as_str).join(", ");
        Status::parse(word).ok_or_else(|| format!("must be one of {}", words()))
    };
    let tags = fields.object("tags", |tags| {
        let given = TAGS.map(|tag| tags.optional_boolean(tag).map(|wanted| (tag.to_owned(), wanted)));
        Some(given.into_iter().flatten().collect())
    });
    BackupFilter {
        status: fields.optional("status", status),
        tags: tags.unwrap_or_default(),
        started_since: fields.optional("started_since", parse_time),
        completed_since: fields.optional("completed_since", parse_time),
    }
}

fn started(backup: &Backup, public_url: &str) -> Value {
    let Tags { manual, hourly, daily, weekly, monthly } = backup.tags;
    json!({
        "status": "starting",
        "backup_id": backup.id,
        "url": format!("{public_url}/v1/backups/{}", backup.id),
        "config": [],
        "tags": {
            "is_manual": manual, "is_hourly": hourly, "is_daily": daily, "is_weekly": weekly, "is_monthly": monthly,
        },
    })
}

/// A backup as its job shows it; there its tags are 0 and 1.
pub(super) fn summary(account: &AccountId, job: Uuid, backup: &BackupSummary) -> Value {
    let Tags { manual, hourly, daily, weekly, monthly } = backup.tags;
    let [manual, hourly, daily, weekly, monthly] = [manual, hourly, daily, weekly, monthly].map(u8::from);
    json!({
        "id": backup.id,
        "job_id": job,
        "tags": { "manual": manual, "hourly": hourly, "daily": daily, "weekly": weekly, "monthly": monthly },
        "s3_directory": backup.directory(account, job).to_string(),
        "created_at": rfc3339(backup.created_at),
        "started_at": backup.started_at.map(rfc3339),
        "completed_at": backup.completed_at.map(rfc3339),
        "status": backup.status.as_str(),
        "monitoring_available": true,
    })
}

/// A backup as every other answer shows it; `url_of` makes the link to a file.
fn view(detail: &BackupDetail, url_of: impl Fn(&Backup, &File) -> Result<Option<String>>) -> Result<Value> {
    let BackupDetail { backup, progress } = detail;
    let mut view = summary(&backup.account, backup.job, &BackupSummary::of(backup));
    let more = json!({
        "number": backup.number,
        "name": backup.name,
        "tags": backup.tags,
        "schedule_id": backup.schedule,
        "slot": backup.slot.map(rfc3339),
        "attempt": backup.attempt,
        "heartbeat_at": backup.heartbeat_at.map(rfc3339),
        "cancel_requested": backup.cancel_requested,
        "deletion_requested_at": backup.deletion_requested_at.map(rfc3339),
        "failure": backup.failure,
        "skip_reason": backup.skip_reason,
        "source_errors": backup.source_errors,
        "encryption_key": backup.encrypted_to.first(),
        "encryption_keys": backup.encrypted_to,
    });
    if let (Value::Object(view), Value::Object(more)) = (&mut view, more) {
        view.extend(more);
    }
    view["progress"] = progress.as_ref().map(progress_view).into();
    view["copies"] = backup.copies.iter().map(copy_view).collect();
    view["files"] = files_view(backup, url_of)?.into();
    Ok(view)
}

fn copy_view(copy: &Copy) -> Value {
    json!({ "storage_id": copy.storage_id, "status": copy.status, "error": copy.error })
}

fn progress_view(progress: &Progress) -> Value {
    json!({
        "attempt": progress.attempt,
        "bytes_read": progress.bytes_read,
        "bytes_stored": progress.bytes_stored,
        "bytes_per_second": progress.bytes_per_second,
        "at": rfc3339(progress.at),
    })
}

fn files_view(backup: &Backup, url_of: impl Fn(&Backup, &File) -> Result<Option<String>>) -> Result<Vec<Value>> {
    backup.files.iter().map(|file| Ok(file_view(file, url_of(backup, file)?))).collect()
}

fn file_view(file: &File, url: Option<String>) -> Value {
    json!({
        "id": file.id.to_string(),
        "name": file.name,
        "size": format!("{} bytes", file.stored_bytes),
        "url": url,
        "plain_bytes": file.plain_bytes,
        "stored_bytes": file.stored_bytes,
        "plain_sha256": file.plain_sha256,
        "stored_sha256": file.stored_sha256,
    })
}

#[cfg(test)]
mod tests;
