//! The outbox: a process that dies between the table's write and Scheduler's leaves nothing unequal for long.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use holdfast_tests::{Client, Installation, Setup};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast-process");

/// `holdfast serve` as a process, and a client of it.
async fn serve(dir: &TempDir) -> (Child, Client) {
    let mut child = Command::new(HOLDFAST)
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("serve ended before it listened");
        if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http://")) {
            let token = std::fs::read_to_string(dir.path().join("token")).unwrap();
            return (child, Client::new(url, token.trim()));
        }
    }
}

fn job() -> Value {
    json!({
        "name": "test", "recipe": "file-backups", "config": {"root_path": "/srv"},
        "compute": {"type": "server", "server_id": 1}, "storage": [{"storage_id": 1, "priority": 1}],
        // Both day fields: two entries for one schedule.
        "schedules": [{"cron": "0 3 1 * MON"}, {"frequency": "h6"}],
    })
}

/// Kills `serve` at these instants after a job was asked for or changed, and compares table and Scheduler after one pass.
async fn kill_at(instants_ms: std::ops::Range<u64>) {
    let mut dir = TempDir::new().unwrap();
    let (mut child, api) = serve(&dir).await;
    api.post("/v1/ssh-keys", json!({"name": "test"})).await.expect(201);
    let server = json!({"name": "test", "host": "127.0.0.1", "user": "nobody", "ssh_key": 1});
    api.post("/v1/servers", server).await.expect(201);
    child.kill().await.unwrap();

    for instant_ms in instants_ms {
        let (mut child, api) = serve(&dir).await;
        let request = tokio::spawn(async move { api.post("/v1/jobs", job()).await });
        // Not a wait for anything: the instant is what this test varies.
        tokio::time::sleep(Duration::from_millis(instant_ms * 6)).await;
        child.kill().await.unwrap();
        let _ = request.await;

        let setup = Setup { no_worker: true, ..Setup::default() };
        let installation = Installation::reopen(dir, Default::default(), setup).await;
        installation.maintain().await;
        assert_equal(&installation).await;
        dir = installation.stop().await.0;
    }
}

/// Asserts that Scheduler has three entries for each job of the table, and no others.
async fn assert_equal(installation: &Installation) {
    let jobs = installation.api.get("/v1/jobs?page_size=100").await.expect(200).data();
    let ids: BTreeSet<String> =
        jobs.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect();
    let (names, next) = installation.service().aws.scheduler.list(None, None).await.unwrap();
    assert!(next.is_none());
    let scheduled: BTreeSet<String> = names.iter().map(|name| name[..36].to_owned()).collect();
    assert_eq!(scheduled, ids, "jobs in Scheduler, and jobs in the table");
    assert_eq!(names.len(), 3 * ids.len(), "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_early_leaves_table_and_scheduler_equal_after_one_pass() {
    kill_at(0..10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_late_leaves_table_and_scheduler_equal_after_one_pass() {
    kill_at(10..20).await;
}
