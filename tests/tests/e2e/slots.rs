//! Slots: delivered often, while another runs, or to a server that is full.

use holdfast_shared::domain::message::{Message, Task};
use holdfast_shared::service::ClaimOutcome;
use holdfast_tests::installation::{Host, id};
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::{Installation, leftovers};
use holdfast_worker::consumer::{ConsumerOptions, consume};
use jiff::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;

const SLOT: &str = "2026-03-01T02:30:00Z";

/// A job with one schedule, and the message of a slot of it.
async fn job_with_slot(installation: &Installation, host: &Host) -> (String, Message) {
    let server = installation.add_server(host).await;
    let schedules = json!([{"cron": "30 2 * * *", "retention_daily": 7}]);
    let more = json!({"config": {"root_path": host.site(), "compression_level": 0}, "schedules": schedules});
    let job = installation.add_job_with(server, more).await;
    let shown = installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data();
    let schedule = shown["schedule"][0]["id"].as_u64().unwrap();
    let slot: Timestamp = SLOT.parse().unwrap();
    let task = Task::Slot { account: installation.account(), job: id(&job), schedule, slot };
    (job, Message::new(task))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_delivered_50_times_to_4_consumers_is_one_backup_and_one_object() {
    let host = Host::start().await;
    host.write("a", "a");
    let installation = Installation::start().await;
    let (job, message) = job_with_slot(&installation, &host).await;
    let stop = CancellationToken::new();
    for _ in 1..4 {
        tokio::spawn(consume(installation.service().clone(), ConsumerOptions::default(), stop.clone()));
    }
    for _ in 0..50 {
        installation.service().aws.queue.send(&message, 0).await.unwrap();
    }

    leftovers::assert_none(&installation).await;
    stop.cancel();
    let backups = installation.api.get(&format!("/v1/jobs/{job}/backups")).await.expect(200).data();
    assert_eq!(backups.as_array().unwrap().len(), 1, "{backups}");
    assert_eq!((&backups[0]["status"], &backups[0]["attempt"]), (&json!("completed"), &json!(1)));
    let objects = leftovers::objects(&installation).await;
    let (manifests, files): (Vec<_>, Vec<_>) = objects.iter().partition(|key| key.ends_with("/manifest.json"));
    assert_eq!((files.len(), manifests.len()), (1, 1), "{objects:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_finds_its_job_running_is_skipped_and_says_so() {
    let host = Host::start().await;
    host.write("a", "a");
    let proxy = Proxy::start(|request, _| if request.method() == "PUT" { Harm::Hold } else { Harm::None }).await;
    let installation = Installation::start_behind(&proxy).await;
    let (job, message) = job_with_slot(&installation, &host).await;
    let first = installation.start_backup(&job).await;
    installation.backup_when(&first, |backup| backup["status"] == "running").await;

    installation.service().aws.queue.send(&message, 0).await.unwrap();
    let skipped = installation.listed_when(&job, |backup| backup["status"] == "skipped").await;
    assert_eq!(skipped["skip_reason"], "job_running");
    let again = installation.api.post(&format!("/v1/jobs/{job}/backups/start"), json!({})).await;
    assert_eq!(again.status, 409, "{}", again.text());

    proxy.release();
    assert_eq!(installation.ended(&first).await["status"], "completed");
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_runs_no_more_backups_than_it_may() {
    let host = Host::start().await;
    host.write("a", "a");
    let proxy = Proxy::start(|request, _| if request.method() == "PUT" { Harm::Hold } else { Harm::None }).await;
    let installation = Installation::start_behind(&proxy).await;
    let server = installation.add_server(&host).await;
    installation.api.patch(&format!("/v1/servers/{server}"), json!({"max_parallel": 1})).await;
    let config = json!({"config": {"root_path": host.site()}});
    let (one, two) =
        (installation.add_job_with(server, config.clone()).await, installation.add_job_with(server, config).await);

    let first = installation.start_backup(&one).await;
    installation.backup_when(&first, |backup| backup["status"] == "running").await;
    let second = installation.start_backup(&two).await;
    // Once a consumer has seen that the server is full, the message went back with a delay.
    let claimed = installation.service().claim(&installation.account(), id(&two), id(&second)).await.unwrap();
    assert!(matches!(claimed, ClaimOutcome::Busy { .. }), "{claimed:?}");
    assert_eq!(installation.backup_when(&second, |_| true).await["status"], "pending");

    proxy.release();
    installation.ended(&first).await;
    installation.advance(jiff::SignedDuration::from_secs(20));
    assert_eq!(installation.ended(&second).await["status"], "completed");
    leftovers::assert_none(&installation).await;
}
