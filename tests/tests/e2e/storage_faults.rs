//! What S3 can do to an upload.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Request;
use holdfast_tests::installation::Host;
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::tree::{assert_same, noise};
use holdfast_tests::{Installation, leftovers};
use serde_json::{Value, json};

fn is_part(request: &Request) -> bool {
    request.method() == "PUT" && request.uri().query().is_some_and(|query| query.contains("partNumber"))
}

fn is_complete(request: &Request) -> bool {
    request.method() == "POST" && request.uri().query().is_some_and(|query| query.contains("uploadId"))
}

/// Runs a backup of 40 MiB through the proxy and answers it once it ended.
async fn run_through(proxy: &Proxy) -> (Host, Installation, Value) {
    let host = Host::start().await;
    host.write("large", noise(40 << 20, 3));
    let installation = Installation::start_behind(proxy).await;
    let job = installation.add_job(&host).await;
    let backup = installation.run(&job).await;
    (host, installation, backup)
}

async fn assert_completed(proxy: &Proxy, host: &Host, installation: &Installation, backup: &Value) {
    assert!(proxy.harmed() > 0, "nothing was harmed");
    assert_eq!((&backup["status"], &backup["attempt"]), (&json!("completed"), &json!(1)), "{backup}");
    assert_same(&installation.download(backup).await, &host.site());
    leftovers::assert_none(installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_while_of_503_is_ridden_out() {
    let proxy =
        Proxy::start(|request, seen| if is_part(request) && seen < 8 { Harm::Unavailable } else { Harm::None }).await;
    let (host, installation, backup) = run_through(&proxy).await;
    assert_completed(&proxy, &host, &installation, &backup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_while_of_resets_is_ridden_out() {
    let proxy = Proxy::start(|request, seen| if is_part(request) && seen < 8 { Harm::Reset } else { Harm::None }).await;
    let (host, installation, backup) = run_through(&proxy).await;
    assert_completed(&proxy, &host, &installation, &backup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_complete_is_looked_up() {
    let lost = AtomicBool::new(false);
    let proxy = Proxy::start(move |request, _| {
        let first = is_complete(request) && !lost.swap(is_complete(request), Ordering::SeqCst);
        if first { Harm::LoseAnswer } else { Harm::None }
    })
    .await;
    let (host, installation, backup) = run_through(&proxy).await;
    assert_completed(&proxy, &host, &installation, &backup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_at_the_store_fails_the_attempt_and_not_the_backup() {
    let full = Arc::new(AtomicBool::new(true));
    let seen = full.clone();
    let decide = move |request: &Request, _| {
        if is_part(request) && seen.load(Ordering::SeqCst) { Harm::Full } else { Harm::None }
    };
    let proxy = Proxy::start(decide).await;
    let host = Host::start().await;
    host.write("large", noise(20 << 20, 3));
    let installation = Installation::start_behind(&proxy).await;
    let job = installation.add_job(&host).await;
    let backup = installation.start_backup(&job).await;

    let waiting =
        installation.backup_when(&backup, |backup| backup["status"] == "pending" && backup["attempt"] == 1).await;
    assert_eq!(waiting["failure"]["kind"], "storage", "{waiting}");
    leftovers::assert_only_named_objects(&installation).await;

    full.store(false, Ordering::SeqCst);
    installation.advance(jiff::SignedDuration::from_secs(60));
    let ended = installation.ended(&backup).await;
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(2)), "{ended}");
    assert_same(&installation.download(&ended).await, &host.site());
    leftovers::assert_none(&installation).await;
}
