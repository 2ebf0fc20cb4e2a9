//! `/v1/jobs/{id}/preview`: what a job would take. A worker finds it out, as only workers log in to servers.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::preview::{Entry, EntryKind, Listing, Preview};
use holdfast_shared::service::Service;
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answers::{data, one};
use crate::http::schema::{Schema, boolean, integer, list, named, object, one_of, or_null, required, text, time, uuid};
use crate::http::{Answer, Caller, Operation, Params, rfc3339};

const PATH: &str = "/v1/jobs/{id}/preview";

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let ask = Operation::post(PATH, ask)
        .summary("Have a worker look what a job with file-backups would take, without reading any of it")
        .needs(Ability::RunBackups)
        .answers(StatusCode::ACCEPTED, one(named("Preview")));
    let show = Operation::get(PATH, show)
        .summary("Show what a job would take, as the last look found it; null where none was asked for in a week")
        .needs(Ability::Read(Resource::Backups))
        .answers(StatusCode::OK, one(or_null(named("Preview"))));
    vec![ask, show]
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let kinds = EntryKind::ALL.map(EntryKind::as_str);
    let entry = object([
        required("path", text()),
        required("kind", one_of(&kinds)),
        required("bytes", integer().described("0 for what is no file; a hard link counts with its first name")),
        required("target", or_null(text()).described("where a link leads")),
    ]);
    let count = |name| required(name, integer());
    let totals = object([
        count("files"),
        count("folders"),
        count("symlinks"),
        count("hard_links"),
        required("others", integer().described("devices and named pipes")),
        required("bytes", integer().described("of all files, holes included")),
    ]);
    let preview = object([
        required("id", uuid()),
        required("status", text().described("pending, success or failed")),
        required("requested_at", time()),
        required("finished_at", or_null(time())),
        required("failed_step", or_null(text())),
        required("message", or_null(text())),
        required("totals", or_null(totals)),
        required("complete", boolean().described("false: time was up, and there is more than the totals say")),
        required("entries", list(entry).described("the first ones, in the order in which they would be taken")),
        required("truncated", boolean().described("whether there are entries beyond those that are listed")),
        required("remarks", list(text()).described("what cannot be taken, or not wholly")),
    ]);
    vec![("Preview", preview)]
}

pub(super) async fn ask(
    caller: Caller,
    State(service): State<Service>,
    Params(job): Params<Uuid>,
) -> Answer<impl IntoResponse> {
    let preview = service.ask_preview(&caller.account, job).await?;
    Ok((StatusCode::ACCEPTED, data(view(&preview))))
}

pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(job): Params<Uuid>,
) -> Answer<Json<Value>> {
    Ok(data(service.preview(&caller.account, job).await?.as_ref().map(view)))
}

fn view(preview: &Preview) -> Value {
    let listing = preview.listing.as_ref();
    json!({
        "id": preview.id,
        "status": preview.status,
        "requested_at": rfc3339(preview.requested_at),
        "finished_at": preview.finished_at.map(rfc3339),
        "failed_step": preview.failed_step,
        "message": preview.message,
        "totals": listing.map(|listing| listing.totals),
        "complete": listing.is_some_and(|listing| listing.is_complete),
        "entries": listing.map_or(Vec::new(), |listing| listing.entries.iter().map(entry).collect()),
        "truncated": listing.is_some_and(Listing::leaves_out),
        "remarks": listing.map(|listing| &listing.remarks[..]).unwrap_or_default(),
    })
}

fn entry(entry: &Entry) -> Value {
    json!({ "path": entry.path, "kind": entry.kind, "bytes": entry.bytes, "target": entry.target })
}
