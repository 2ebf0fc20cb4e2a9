//! `/v1/jobs/{id}/schedules`: when a job runs by itself.

use axum::extract::State;
use holdfast_shared::domain::job::Job;
use holdfast_shared::domain::schedule::{Schedule, ScheduleInput};
use holdfast_shared::service::Service;
use holdfast_shared::{Error, ErrorKind};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::{Answer, Body, Caller, Params, rfc3339};

/// How many of its next runs a schedule shows.
const NEXT_RUNS: usize = 5;

pub(super) async fn update(
    caller: Caller,
    State(service): State<Service>,
    Params((job, schedule)): Params<(Uuid, u64)>,
    body: Body,
) -> Answer<StatusCode> {
    let input = ScheduleInput::deserialize(Value::Object(body.0.0))
        .map_err(|_| Error::new(ErrorKind::Malformed, "the body names a field in two ways; leave one out"))?;
    service.update_schedule(&caller.account, job, schedule, &input).await?;
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
        },
        "next_runs": next_runs.into_iter().map(rfc3339).collect::<Vec<_>>(),
        "resource_type": "BackupJob",
        "resource_id": job.id,
    })
}
