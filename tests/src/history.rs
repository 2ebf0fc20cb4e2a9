//! Long lists: jobs and backups that nobody ran, written in bulk.
//!
//! The newest of them is a minute older than `END`, the one before it two minutes, and so on; each started 5 s and
//! ended 20 s after it was recorded. A third of the backups was started by hand, the others are daily; a third failed.

use holdfast_local::stack::Stack;
use holdfast_shared::aws::table::{backups_as_json, jobs_as_json};
use holdfast_shared::domain::backup::Backup;
use holdfast_shared::domain::job::{Compute, Job};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use crate::Client;

/// When it all ends, in seconds since 1970: 2026-01-01.
const END: i64 = 1_767_225_600;
/// How many records are made at once.
const CHUNK: u64 = 10_000;

/// A time from which on exactly the newest `count` were changed, were started, or ended.
pub fn since_last(count: u64) -> Timestamp {
    at(count, 0)
}

/// Seconds after the moment that is so many minutes before the end.
fn at(minutes: u64, secs: i64) -> Timestamp {
    let minutes = i64::try_from(minutes).unwrap();
    Timestamp::from_second(END - minutes * 60 + secs).unwrap()
}

/// Random below, and above in the order in which they are written: what is loaded in order is loaded several times faster.
fn ordered_id(n: u64) -> Uuid {
    let random = Uuid::new_v4().as_u128() & u128::from(u64::MAX);
    Uuid::from_u128(u128::from(n) << 64 | random)
}

/// A server that nobody reaches; answers its id.
pub async fn add_server(api: &Client, host: &str) -> u64 {
    let key = api.post("/v1/ssh-keys", json!({"name": "history"})).await.expect(201).data();
    let server = json!({"name": host, "host": host, "user": "nobody", "ssh_key": key["id"]});
    api.post("/v1/servers", server).await.expect(201).data()["id"].as_u64().unwrap()
}

/// Writes `count` jobs, in turn on each of `servers`, that are otherwise like `model`.
pub async fn import_jobs(stack: &Stack, model: &Job, servers: &[u64], count: u64) {
    let job = |n: u64| Job {
        id: ordered_id(n),
        number: 1_000_000 + n,
        name: format!("job {n:07}"),
        compute: Compute::Server { server_id: servers[(n % servers.len() as u64) as usize] },
        last_ran_at: Some(at(count - n, 5)),
        created_at: at(count - n, 0),
        updated_at: at(count - n, 0),
        ..model.clone()
    };
    for first in (0..count).step_by(CHUNK as usize) {
        let jobs: Vec<_> = (first..count.min(first + CHUNK)).map(job).collect();
        stack.aws().import(jobs_as_json(&jobs).unwrap()).await.unwrap();
        stack.service().aws.table.count_imported_jobs(&jobs).await.unwrap();
    }
}

/// Writes `count` backups of a job.
pub async fn import_backups(stack: &Stack, job: Uuid, count: u64) {
    let account = &stack.aws().data().keys().account;
    let backup = |n: u64| -> Backup {
        let created = at(count - n, 0);
        let after = |secs| created + SignedDuration::from_secs(secs);
        let backup = json!({
            "id": ordered_id(n), "number": 1_000_000 + n, "account": account, "job": job, "name": "history",
            "tags": {"manual": n.is_multiple_of(3), "daily": !n.is_multiple_of(3)},
            "status": if n % 3 == 2 { "failed" } else { "completed" },
            "attempt": 1, "created_at": created, "started_at": after(5), "completed_at": after(20),
        });
        serde_json::from_value(backup).unwrap()
    };
    for first in (0..count).step_by(CHUNK as usize) {
        let backups: Vec<_> = (first..count.min(first + CHUNK)).map(backup).collect();
        stack.aws().import(backups_as_json(&backups).unwrap()).await.unwrap();
        stack.service().aws.table.count_imported_backups(&backups).await.unwrap();
    }
}
