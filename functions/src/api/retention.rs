//! `/v1/jobs/{id}/retention`: what would go after the next run of a job, and why the rest stays.

use axum::Json;
use axum::extract::State;
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::backup::Backup;
use holdfast_shared::domain::retention::{Keeper, Lost, MAX_KEPT, Verdict};
use holdfast_shared::service::{Outlook, Service};
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answers::{data, one};
use crate::http::schema::{
    Member, Schema, boolean, id, integer, integer_in, list, named, object, one_of, or_null, required, text, time, uuid,
};
use crate::http::{Answer, Caller, Operation, Params, rfc3339};

/// How many backups an answer tells of at most: first what would go.
const MOST: usize = 1_000;

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let show = Operation::get("/v1/jobs/{id}/retention", show)
        .summary(
            "Tell which backups would go after the next run of a job, and what keeps the others; nothing is changed",
        )
        .needs(Ability::Read(Resource::Backups))
        .answers(StatusCode::OK, one(named("Retention")));
    vec![show]
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let tags = ["manual", "hourly", "daily", "weekly", "monthly"];
    let keepers = Keeper::ALL.map(Keeper::as_str);
    let backup = object([
        required("id", uuid()),
        required("schedule_id", or_null(id()).described("null for one that was started by hand")),
        required("at", time().described("when it was due or asked for")),
        required("status", text()),
        required("tags", object(tags.map(|tag| required(tag, boolean())))),
        required("goes", boolean()),
        required("kept_by", list(one_of(&keepers))),
        required("reasons", list(text()).described("why nothing keeps it; empty for one that stays")),
    ]);
    let retention = object([
        required("goes", integer().described("how many would go")),
        required("stays", integer().described("how many would stay")),
        required("backups", list(backup).described("what would go, oldest first, then the rest; at most 1,000")),
    ]);
    vec![("Retention", retention)]
}

/// The rule for backups that were started by hand.
pub(super) fn manual_schema(demanded: fn(&'static str, Schema) -> Member) -> Schema {
    let keep = || integer_in(0..=i64::from(MAX_KEPT));
    let words = "how many of the backups to keep that were started by hand; both 0 keeps all";
    object([demanded("keep_last", keep()), demanded("days", keep())]).described(words)
}

pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(job): Params<Uuid>,
) -> Answer<Json<Value>> {
    let Outlook { goes, stays } = service.retention_outlook(&caller.account, job).await?;
    let told = goes.iter().chain(&stays).take(MOST).map(|(backup, verdict)| view(backup, verdict));
    Ok(data(json!({ "goes": goes.len(), "stays": stays.len(), "backups": told.collect::<Vec<_>>() })))
}

fn view(backup: &Backup, verdict: &Verdict) -> Value {
    json!({
        "id": backup.id,
        "schedule_id": backup.schedule,
        "at": rfc3339(backup.slot.unwrap_or(backup.created_at)),
        "status": backup.status,
        "tags": backup.tags,
        "goes": verdict.goes(),
        "kept_by": verdict.kept_by,
        "reasons": verdict.lost.iter().map(Lost::to_string).collect::<Vec<_>>(),
    })
}
