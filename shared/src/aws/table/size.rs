//! The largest records that can be stored, against DynamoDB's limit on an item.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::backups::put_backup;
use super::jobs::put_job;
use super::{DeletedJob, Item, Write, record_item};
use crate::domain::account::AccountId;
use crate::domain::backup::{Backup, Copy, Failure, File, MAX_FILES, MAX_SOURCE_ERRORS, Outcome, SkipReason, Status};
use crate::domain::job::{Job, JobInput};
use crate::domain::object_key::{BackupDirectory, FileName, MAX_READABLE_CHARS, Place, ReadablePath};
use crate::domain::schedule::Schedule;
use crate::domain::sealed::{Sealed, Secret};
use crate::domain::stack::{MAX_DATABASE_NAME_CHARS, MAX_DATABASES, MAX_SERVERS, MAX_USERNAME_CHARS, Stack};

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

/// Names of tables, as many and as long as the list's bytes allow.
fn names() -> String {
    (0..1_000).map(|name| format!("t{name:063}\n")).collect()
}

/// The largest configs of all recipes.
fn largest_configs() -> [(u64, Value); 3] {
    let databases: String = (0..100).map(|name| format!("d{name:063},")).collect();
    let password = "\u{1F4BE}".repeat(1_024);
    let user = "\u{1F4BE}".repeat(128);
    [
        (1, json!({"root_path": lines(100, 64 * 1024), "exclude": lines(1_000, 64 * 1024), "compression_level": 19})),
        (
            28,
            json!({
                "mysql_database": databases, "mysql_excluded_tables": names(), "mysql_password": password,
                "mysql_username": user,
            }),
        ),
        (
            1002,
            json!({
                "postgresql_database": databases, "postgresql_excluded_tables": names(), "postgresql_password": password,
                "postgresql_excluded_table_data": names(), "postgresql_username": user,
            }),
        ),
    ]
}

fn largest_job(recipe: u64, config: &Value) -> Job {
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
        "name": wide, "recipe_id": recipe, "config": config,
        "compute": {"type": "server", "server_id": 9_007_199_254_740_991_u64},
        "encryption_key_ids": (1..=10).collect::<Vec<_>>(),
        "storage": (1..=5).map(|id| json!({"storage_id": id, "priority": 100})).collect::<Vec<_>>(),
        "schedules": (1..=10).map(schedule).collect::<Vec<_>>(),
    }))
    .unwrap();
    let change = input.read_new();
    let faults: Vec<_> = change.faults.iter().collect();
    assert!(faults.is_empty(), "{faults:?}");
    let storages = change.storages_by_priority().unwrap();
    // Base64 of nonce, ciphertext and tag, and more.
    let seal = |_: &str, secret: &Secret| Ok::<_, ()>(Sealed("s".repeat(2 * secret.expose().len() + 128)));
    let recipe = change.recipe.map(|draft| draft.seal(seal).unwrap());
    let at = "2026-01-01T00:00:00.123456789Z";
    let schedules = change.schedules.unwrap().into_iter().map(|schedule| Schedule { id: u64::MAX, ..schedule });
    let job = json!({
        "id": Uuid::max(), "number": u64::MAX, "account": "a".repeat(32), "name": change.name,
        "recipe": recipe, "compute": change.compute, "storages": storages,
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
        copies: (1..=5).map(|storage_id| Copy::missing(storage_id, keys(MAX_FILES), "e".repeat(1 << 20))).collect(),
        source_errors: vec!["e".repeat(1 << 20); MAX_SOURCE_ERRORS * 2],
        encrypted_to: vec!["f".repeat(50); 10],
    };
    let Outcome { status, files, copies, source_errors, encrypted_to } =
        outcome.clipped().expect("as many files as fit");
    let at = "2026-01-01T00:00:00.123456789Z";
    let backup = json!({
        "id": Uuid::max(), "number": u64::MAX, "account": "a".repeat(32), "job": Uuid::max(),
        "name": "\u{1F4BE}".repeat(255), "path": "p".repeat(MAX_READABLE_CHARS), "schedule": u64::MAX, "slot": at, "tags": {}, "status": status,
        "attempt": 5, "lease_until": at, "heartbeat_at": at, "retry_at": at, "cancel_requested": true,
        "created_at": at, "started_at": at, "completed_at": at, "files": files, "copies": copies,
        "source_errors": source_errors, "encrypted_to": encrypted_to,
        "failure": Failure { kind: "lost_worker".to_owned(), message: "m".repeat(1 << 20) }.clipped(),
        "skip_reason": SkipReason::JobRunning,
    });
    serde_json::from_value(backup).unwrap()
}

#[test]
fn the_largest_jobs_fit_into_an_item() {
    for (recipe, config) in largest_configs() {
        let job = largest_job(recipe, &config);
        let item = item_of(put_job(&job).unwrap());
        assert!(bytes_of(&item) > 64 * 1024, "{recipe}: it holds full lists: {}", bytes_of(&item));
        assert!(bytes_of(&item) < MAX_ITEM_BYTES, "{recipe}: {}", bytes_of(&item));
        let deleted = record_item(&DeletedJob { deleted_at: job.created_at, job }).unwrap();
        assert!(bytes_of(&deleted) + 1_024 < MAX_ITEM_BYTES, "{recipe}: {}", bytes_of(&deleted));
    }
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
fn the_largest_stack_fits_into_an_item() {
    let (wide, at) = ("\u{1F4BE}", "2026-01-01T00:00:00.123456789Z");
    // 512 characters, with nonce and tag, in base64.
    let password = "p".repeat((512 * 4 + 28) * 4 / 3 + 8);
    let spec = json!({
        "kind": "postgresql", "server_id": u64::MAX, "replica_server_id": u64::MAX,
        "name": "n".repeat(MAX_DATABASE_NAME_CHARS), "username": wide.repeat(MAX_USERNAME_CHARS),
    });
    let databases: Vec<_> =
        (0..MAX_DATABASES).map(|id| json!({"id": id, "spec": spec, "password": password})).collect();
    let stack: Stack = serde_json::from_value(json!({
        "id": u64::MAX, "uid": Uuid::max(), "name": wide.repeat(255), "servers": vec![u64::MAX; MAX_SERVERS],
        "databases": databases, "created_at": at, "updated_at": at, "revision": u64::MAX, "last_database": u64::MAX,
    }))
    .unwrap();
    let bytes = bytes_of(&record_item(&stack).unwrap());
    assert!(bytes > 200 * 1024 && bytes + 2_048 < MAX_ITEM_BYTES, "{bytes}");
}

#[test]
fn one_more_file_is_refused() {
    let Backup { status, mut files, copies, source_errors, encrypted_to, .. } = largest_backup();
    files.push(files[0].clone());
    assert_eq!(Outcome { status, files, copies, source_errors, encrypted_to }.clipped(), None);
}

/// The longest key of an object that is ours.
fn longest_key() -> usize {
    let account = AccountId::parse(&"a".repeat(32)).unwrap();
    let place = Place::Path(ReadablePath::new("p".repeat(MAX_READABLE_CHARS)).unwrap());
    let directory = BackupDirectory { account, job: Uuid::max(), place, backup: Uuid::max() };
    directory.object(u32::MAX, FileName::new("x".repeat(128)).unwrap()).to_string().len()
}
