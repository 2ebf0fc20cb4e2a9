//! Long lists: jobs and backups that nobody ran, written in bulk.
//!
//! The newest of them is a minute older than `END`, the one before it two minutes, and so on; each started 5 s and
//! ended 20 s after it was recorded. A third of the backups was started by hand, the others are daily; a third failed.

use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::backup::Backup;
use holdfast_shared::domain::job::{Compute, Job};
use holdfast_shared::service::Service;
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

/// A server that nobody reaches; answers its id.
pub async fn add_server(api: &Client, host: &str) -> u64 {
    let key = api.post("/v1/ssh-keys", json!({"name": "history"})).await.expect(201).data();
    let server = json!({"name": host, "host": host, "user": "nobody", "ssh_key": key["id"]});
    api.post("/v1/servers", server).await.expect(201).data()["id"].as_u64().unwrap()
}

/// Writes `count` jobs, in turn on each of `servers`, that are otherwise like `model`.
pub async fn import_jobs(service: &Service, model: &Job, servers: &[u64], count: u64) {
    let job = |n: u64| Job {
        id: Uuid::new_v4(),
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
        service.aws.table.import_jobs(&jobs).await.unwrap();
    }
}

/// Writes `count` backups of a job.
pub async fn import_backups(service: &Service, account: &AccountId, job: Uuid, count: u64) {
    let backup = |n: u64| -> Backup {
        let created = at(count - n, 0);
        let after = |secs| created + SignedDuration::from_secs(secs);
        let backup = json!({
            "id": Uuid::new_v4(), "number": 1_000_000 + n, "account": account, "job": job, "name": "history",
            "tags": {"manual": n.is_multiple_of(3), "daily": !n.is_multiple_of(3)},
            "status": if n % 3 == 2 { "failed" } else { "completed" },
            "attempt": 1, "created_at": created, "started_at": after(5), "completed_at": after(20),
        });
        serde_json::from_value(backup).unwrap()
    };
    for first in (0..count).step_by(CHUNK as usize) {
        let backups: Vec<_> = (first..count.min(first + CHUNK)).map(backup).collect();
        service.aws.table.import_backups(&backups).await.unwrap();
    }
}
