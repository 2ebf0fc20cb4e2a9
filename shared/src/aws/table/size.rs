//! The largest records that can be stored, against DynamoDB's limit on an item.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use uuid::Uuid;

use super::backups::put_backup;
use super::jobs::put_job;
use super::{DeletedJob, Item, Write, record_item};
use crate::domain::account::AccountId;
use crate::domain::backup::{Backup, Copy, Failure, File, MAX_FILES, MAX_SOURCE_ERRORS, Outcome, SkipReason, Status};
use crate::domain::job::{Job, JobInput};
use crate::domain::object_key::{BackupDirectory, FileName};
use crate::domain::schedule::Schedule;

/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-items>
const MAX_ITEM_BYTES: usize = 400 * 1024;

/// The size of an item as DynamoDB counts it.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
fn bytes_of(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + bytes_of_value(value)).sum()
}

fn bytes_of_value(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        // At most 38 digits take 21 bytes.
        AttributeValue::N(_) => 21,
        AttributeValue::L(values) => 3 + values.iter().map(|value| 1 + bytes_of_value(value)).sum::<usize>(),
        AttributeValue::M(item) => 3 + item.len() + bytes_of(item),
        _ => 1,
    }
}

fn item_of(write: Write) -> Item {
    match write {
        Write::Put { item, .. } => item,
        other => panic!("{other:?}"),
    }
}

/// Lines of a list, as many and as long as its bytes allow.
fn lines(count: usize, bytes: usize) -> String {
    let length = bytes / count - 2;
    (0..count).map(|line| format!("/{line:0length$}\n")).collect()
}

fn largest_job() -> Job {
    let wide = "\u{1F4BE}".repeat(255);
    let schedule = |hour: u32| {
        json!({
            "schedule_name": wide, "cron": format!("{hour} {hour} {hour} */2 MON-FRI"),
            "timezone": "America/Argentina/ComodRivadavia",
            "order": 9999, "retention_hourly": 9999, "retention_daily": 9999, "retention_weekly": 9999,
            "retention_monthly": 9999,
        })
    };
    let input: JobInput = serde_json::from_value(json!({
        "name": wide, "recipe_id": 1,
        "config": {"root_path": lines(100, 64 * 1024), "exclude": lines(1_000, 64 * 1024), "compression_level": 19},
        "compute": {"type": "server", "server_id": 9_007_199_254_740_991_u64},
        "storage": (1..=5).map(|id| json!({"storage_id": id, "priority": 100})).collect::<Vec<_>>(),
        "schedules": (1..=10).map(schedule).collect::<Vec<_>>(),
    }))
    .unwrap();
    let change = input.read_new();
    let faults: Vec<_> = change.faults.iter().collect();
    assert!(faults.is_empty(), "{faults:?}");
    let storages = change.storages_by_priority().unwrap();
    let at = "2026-01-01T00:00:00.123456789Z";
    let schedules = change.schedules.unwrap().into_iter().map(|schedule| Schedule { id: u64::MAX, ..schedule });
    let job = json!({
        "id": Uuid::max(), "number": u64::MAX, "account": "a".repeat(32), "name": change.name,
        "recipe": change.recipe, "compute": change.compute, "storages": storages,
        "schedules": schedules.collect::<Vec<_>>(), "paused_at": at, "last_ran_at": at, "created_at": at,
        "updated_at": at, "revision": u64::MAX,
    });
    serde_json::from_value(job).unwrap()
}

fn largest_backup() -> Backup {
    let name = FileName::new(format!("{}.tar.zst", "x".repeat(119))).map(|name| name.as_str().to_owned());
    let name = name.expect("the longest name");
    let file = |id| File {
        id,
        name: name.clone(),
        plain_bytes: u64::MAX,
        stored_bytes: u64::MAX,
        plain_sha256: "f".repeat(64),
        stored_sha256: "f".repeat(64),
    };
    let keys = |files: usize| vec!["k".repeat(400); files];
    let outcome = Outcome {
        status: Status::CompletedWithErrors,
        files: (1..=u32::try_from(MAX_FILES).unwrap()).map(file).collect(),
        copies: (1..=5).map(|storage_id| Copy { storage_id, keys: keys(MAX_FILES) }).collect(),
        source_errors: vec!["e".repeat(1 << 20); MAX_SOURCE_ERRORS * 2],
    };
    let Outcome { status, files, copies, source_errors } = outcome.clipped().expect("as many files as fit");
    let at = "2026-01-01T00:00:00.123456789Z";
    let backup = json!({
        "id": Uuid::max(), "number": u64::MAX, "account": "a".repeat(32), "job": Uuid::max(),
        "name": "\u{1F4BE}".repeat(255), "schedule": u64::MAX, "slot": at, "tags": {}, "status": status,
        "attempt": 5, "lease_until": at, "heartbeat_at": at, "retry_at": at, "cancel_requested": true,
        "created_at": at, "started_at": at, "completed_at": at, "files": files, "copies": copies,
        "source_errors": source_errors,
        "failure": Failure { kind: "lost_worker".to_owned(), message: "m".repeat(1 << 20) }.clipped(),
        "skip_reason": SkipReason::JobRunning,
    });
    serde_json::from_value(backup).unwrap()
}

#[test]
fn the_largest_job_fits_into_an_item() {
    let job = largest_job();
    let item = item_of(put_job(&job).unwrap());
    assert!(bytes_of(&item) > 128 * 1024, "it holds two full lists: {}", bytes_of(&item));
    assert!(bytes_of(&item) < MAX_ITEM_BYTES, "{}", bytes_of(&item));
    let deleted = record_item(&DeletedJob { deleted_at: job.created_at, job }).unwrap();
    assert!(bytes_of(&deleted) + 1_024 < MAX_ITEM_BYTES, "{}", bytes_of(&deleted));
}

#[test]
fn the_largest_backup_fits_into_an_item() {
    let backup = largest_backup();
    assert!(backup.copies[0].keys[0].len() >= longest_key(), "keys are not longer than that");
    let item = item_of(put_backup(&backup).unwrap());
    assert!(bytes_of(&item) > 256 * 1024, "it is near the limit: {}", bytes_of(&item));
    assert!(bytes_of(&item) + 1_024 < MAX_ITEM_BYTES, "{}", bytes_of(&item));
}

#[test]
fn one_more_file_is_refused() {
    let Backup { status, mut files, copies, source_errors, .. } = largest_backup();
    files.push(files[0].clone());
    assert_eq!(Outcome { status, files, copies, source_errors }.clipped(), None);
}

/// The longest key of an object that is ours.
fn longest_key() -> usize {
    let account = AccountId::parse(&"a".repeat(32)).unwrap();
    let date = "2026-12-31".parse().unwrap();
    let directory = BackupDirectory { account, job: Uuid::max(), date, backup: Uuid::max() };
    directory.object(u32::MAX, FileName::new("x".repeat(128)).unwrap()).to_string().len()
}
