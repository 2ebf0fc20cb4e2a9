//! `/v1/jobs/{id}/schedules`: when a job runs by itself.

use axum::extract::State;
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::job::Job;
use holdfast_shared::domain::schedule::{Schedule, ScheduleInput};
use holdfast_shared::service::Service;
use holdfast_shared::{Error, ErrorKind};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::operation::also_post;
use crate::http::schema::{
    Member, Schema, id, integer, integer_in, line, list, object, one_of, optional, or_null, required, text, time, uuid,
};
use crate::http::{Answer, Body, Caller, IfMatch, Operation, Params, rfc3339};

/// How many of its next runs a schedule shows.
const NEXT_RUNS: usize = 5;

/// What a retention has numbers for.
const CLASSES: [&str; 6] = ["hourly", "daily", "weekly", "monthly", "keep_last", "days"];

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let update = also_post("/v1/jobs/{id}/schedules/{schedule}", update, |operation| {
        operation
            .summary("Change one schedule of a job")
            .needs(Ability::Write(Resource::Jobs))
            .body(members())
            .answers_nothing()
            .edits()
    });
    update.into()
}

/// What a schedule is sent as.
pub(super) fn members() -> Vec<Member> {
    let keep = || integer_in(0..=9_999);
    let retention = CLASSES.map(|class| optional(class, keep()));
    vec![
        optional("schedule_name", line(255)),
        optional("cron", line(256).described("five fields; instead of frequency")),
        optional("frequency", text().described("h24 to h1 or m30 to m5; or a number, with frequency_mode")),
        optional("frequency_mode", one_of(&["hour", "minute"])),
        optional("timezone", line(64).described("a name of the IANA database").default("UTC")),
        optional("run_offset", integer().described("minutes; hours where the frequency is in hours")),
        optional("order", integer_in(0..=9_999)),
        optional("retention_hourly", keep()),
        optional("retention_daily", keep()),
        optional("retention_weekly", keep()),
        optional("retention_monthly", keep()),
        optional("retention_keep_last", keep().described("how many of the newest to keep, whatever their class")),
        optional("retention_days", keep().described("for how many days to keep them, whatever their class")),
        optional("retention", object(retention).described("as answers show it; each retention_… goes before it")),
    ]
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let retention = CLASSES.map(|class| required(class, integer()));
    let schedule = object([
        required("id", id()),
        required("schedule_name", text()),
        required("schedule_order", integer()),
        required("status", text()),
        required("frequency", or_null(integer())),
        required("frequency_mode", or_null(text())),
        required("cron", text()),
        required("timezone", text()),
        required("run_offset", integer()),
        required("retention", object(retention)),
        required("next_runs", list(time())),
        required("resource_type", text()),
        required("resource_id", uuid()),
    ]);
    vec![("Schedule", schedule)]
}

pub(super) async fn update(
    caller: Caller,
    State(service): State<Service>,
    Params((job, schedule)): Params<(Uuid, u64)>,
    IfMatch(expected): IfMatch,
    body: Body,
) -> Answer<StatusCode> {
    let input = ScheduleInput::deserialize(Value::Object(body.0.0))
        .map_err(|_| Error::new(ErrorKind::Malformed, "the body names a field in two ways; leave one out"))?;
    service.update_schedule(&caller.account, job, schedule, &input, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A schedule as a job shows it. One that does not fire has no next runs.
pub(super) fn view(job: &Job, schedule: &Schedule, now: Timestamp) -> Value {
    let active = job.active_schedule(schedule.id);
    let next_runs = active.map(|schedule| schedule.next_runs(now, NEXT_RUNS)).unwrap_or_default();
    let retention = &schedule.retention;
    json!({
        "id": schedule.id,
        "schedule_name": schedule.name,
        "schedule_order": schedule.order,
        "status": schedule.status,
        "frequency": schedule.frequency(),
        "frequency_mode": schedule.frequency_mode(),
        "cron": schedule.cron(),
        "timezone": schedule.timezone().as_str(),
        "run_offset": schedule.run_offset(),
        "retention": {
            "hourly": retention.hourly,
            "daily": retention.daily,
            "weekly": retention.weekly,
            "monthly": retention.monthly,
            "keep_last": retention.keep_last,
            "days": retention.days,
        },
        "next_runs": next_runs.into_iter().map(rfc3339).collect::<Vec<_>>(),
        "resource_type": "BackupJob",
        "resource_id": job.id,
    })
}
