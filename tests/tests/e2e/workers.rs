//! What can happen to a worker: killed, stopped and woken up, told to end.

use holdfast_tests::installation::Host;
use holdfast_tests::process::Worker;
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::tree::{assert_same, noise};
use holdfast_tests::{Installation, Setup, leftovers};
use jiff::SignedDuration;
use rustix::process::Signal;
use serde_json::json;

const WORKER: &str = env!("CARGO_BIN_EXE_worker-process");
/// Longer than a lease, its grace, and the visibility of a message.
const PAST_THE_LEASE: SignedDuration = SignedDuration::from_secs(140);

async fn without_worker(proxy: Option<&Proxy>) -> Installation {
    Installation::start_with(Setup { no_worker: true, s3_proxy: proxy.cloned(), ..Setup::default() }).await
}

/// Kills a worker at each of these instants, milliseconds after it was started on a backup, each time on a new backup.
async fn kill_at(instants_ms: [u64; 5]) {
    let host = Host::start().await;
    host.write("large", noise(48 << 20, 5));
    let installation = without_worker(None).await;
    let server = installation.add_server(&host).await;
    let config = json!({"config": {"root_path": host.site(), "compression_level": 1}});
    let job = installation.add_job_with(server, config).await;
    for instant_ms in instants_ms {
        let backup = installation.start_backup(&job).await;
        let doomed = Worker::start(WORKER, &installation);
        // Not a wait for anything: the instant is what this test varies.
        tokio::time::sleep(std::time::Duration::from_millis(instant_ms)).await;
        doomed.kill().await;

        installation.advance(PAST_THE_LEASE);
        installation.maintain().await;
        let heir = Worker::start(WORKER, &installation);
        let ended = installation.ended(&backup).await;
        assert_eq!(ended["status"], "completed", "killed after {instant_ms} ms: {ended}");
        assert_same(&installation.download(&ended).await, &host.site());
        leftovers::assert_none(&installation).await;
        heir.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_is_followed_by_another_attempt_early() {
    kill_at([0, 40, 80, 120, 160]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_is_followed_by_another_attempt_while_connecting() {
    kill_at([200, 250, 300, 350, 400]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_is_followed_by_another_attempt_while_reading() {
    kill_at([460, 520, 600, 680, 760]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_is_followed_by_another_attempt_while_storing() {
    kill_at([850, 950, 1_050, 1_150, 1_300]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_is_followed_by_another_attempt_late() {
    kill_at([1_450, 1_600, 1_800, 2_000, 2_300]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_wakes_up_past_its_lease_changes_nothing() {
    let host = Host::start().await;
    host.write("large", noise(48 << 20, 5));
    // Its parts are held, so that it cannot have finished before it is stopped.
    let proxy = Proxy::start(|request, _| if request.method() == "PUT" { Harm::Hold } else { Harm::None }).await;
    let installation = without_worker(Some(&proxy)).await;
    let job = installation.add_job(&host).await;
    let backup = installation.start_backup(&job).await;
    let sleeper = Worker::start(WORKER, &installation);
    installation.backup_when(&backup, |backup| backup["progress"]["bytes_read"].as_u64() > Some(0)).await;
    sleeper.signal(Signal::STOP);
    proxy.release();

    installation.advance(PAST_THE_LEASE);
    assert_eq!(installation.maintain().await.leases_expired, 1);
    let heir = Worker::start(WORKER, &installation);
    let ended = installation.ended(&backup).await;
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(2)), "{ended}");
    heir.stop().await;

    let before = installation.log(&backup).await.lines().count();
    sleeper.signal(Signal::CONT);
    installation.log_when(&backup, |log| log.lines().count() > before && log.contains("lease")).await;
    let after = installation.backup_when(&backup, |_| true).await;
    for field in ["status", "attempt", "completed_at"] {
        assert_eq!(after[field], ended[field], "{after}");
    }
    assert_same(&installation.download(&ended).await, &host.site());
    leftovers::assert_none(&installation).await;
    sleeper.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_told_to_end_in_mid_upload_gives_its_backup_back() {
    let host = Host::start().await;
    host.write("large", noise(96 << 20, 5));
    let proxy = Proxy::start(|request, _| if request.method() == "PUT" { Harm::Hold } else { Harm::None }).await;
    let installation = without_worker(Some(&proxy)).await;
    let job = installation.add_job(&host).await;
    let backup = installation.start_backup(&job).await;
    let mut leaving = Worker::start(WORKER, &installation);
    installation.backup_when(&backup, |backup| backup["progress"]["bytes_read"].as_u64() > Some(8 << 20)).await;

    leaving.signal(Signal::TERM);
    assert_eq!(leaving.ended().await, Some(0));
    assert_eq!(installation.backup_when(&backup, |_| true).await["status"], "pending");
    leftovers::assert_only_named_objects(&installation).await;

    proxy.release();
    let heir = Worker::start(WORKER, &installation);
    let ended = installation.ended(&backup).await;
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(2)), "{ended}");
    assert_same(&installation.download(&ended).await, &host.site());
    leftovers::assert_none(&installation).await;
    heir.stop().await;
}
