//! What a job shows of its newest backups is what they are, whatever happens to them, and costs the job nothing.

use futures::future::join_all;
use holdfast_tests::history::{add_server, import_backups};
use holdfast_tests::installation::id;
use holdfast_tests::table::RawTable;
use holdfast_tests::{Installation, Setup};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// An installation without a worker, with a job.
async fn installation() -> (Installation, String) {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let server = add_server(&installation.api, "127.0.0.1").await;
    let job = installation.add_job_with(server, json!({"path_template": "{job}/{yyyy}"})).await;
    (installation, job)
}

/// Asserts that a job shows the first three of its list, by itself and in the list of jobs; answers them.
async fn check(installation: &Installation, job: &str) -> Vec<Value> {
    let listed = installation.api.get(&format!("/v1/jobs/{job}/backups?page_size=15")).await.expect(200).data();
    let brief = |backup: &Value| {
        let names = ["id", "job_id", "status", "created_at", "started_at", "completed_at", "s3_directory"];
        names.map(|name| backup[name].clone())
    };
    let expected: Vec<_> = listed.as_array().unwrap().iter().take(3).map(brief).collect();
    let shown = installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data();
    let jobs = installation.api.get("/v1/jobs").await.expect(200).data();
    let in_list = jobs.as_array().unwrap().iter().find(|one| one["id"] == job).unwrap();
    for last in [&shown["last_backups"], &in_list["last_backups"]] {
        let last: Vec<_> = last.as_array().unwrap().iter().map(brief).collect();
        assert_eq!(last, expected);
    }
    shown["last_backups"].as_array().unwrap().clone()
}

async fn start(installation: &Installation, job: &str) -> String {
    installation.advance(SignedDuration::from_secs(1));
    installation.start_backup(job).await
}

/// The names of what the job's tally holds of backups in short.
async fn in_short(installation: &Installation, job: &str) -> Vec<String> {
    let tally = RawTable::of(installation).item("", &format!("#BACKUPS_OF#{job}")).await;
    tally.into_keys().filter(|name| name.starts_with("last_")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_shows_each_change_of_its_newest_backups() {
    let (installation, job) = installation().await;
    assert!(check(&installation, &job).await.is_empty());
    let (service, account) = (installation.service(), installation.account());
    let mut backups = Vec::new();
    for _ in 0..5 {
        backups.push(start(&installation, &job).await);
        check(&installation, &job).await;
        assert!(in_short(&installation, &job).await.len() <= 3, "older ones are dropped");
    }
    // The newest runs and ends, the one before it is cancelled, and so is one that is not shown any more.
    let claim = match service.claim(&account, id(&job), id(&backups[4])).await.unwrap() {
        holdfast_shared::service::ClaimOutcome::Run(claim) => claim,
        other => panic!("{other:?}"),
    };
    assert_eq!(check(&installation, &job).await[0]["status"], "running");
    installation.advance(SignedDuration::from_secs(1));
    service.cancelled(&claim).await.unwrap();
    for number in [3, 0] {
        service.cancel_backup(&account, id(&job), id(&backups[number])).await.unwrap();
    }
    let last = check(&installation, &job).await;
    let statuses: Vec<_> = last.iter().map(|backup| backup["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["cancelled", "cancelled", "pending"]);
    assert_eq!(in_short(&installation, &job).await.len(), 3, "of one that is not shown nothing is kept");
    // One of them is deleted, and one more is made.
    let gone = service.backup(&account, id(&backups[3])).await.unwrap();
    assert!(service.forget_backup(&gone).await.unwrap().is_yes());
    assert_eq!(check(&installation, &job).await.len(), 3);
    start(&installation, &job).await;
    check(&installation, &job).await;
    assert!(in_short(&installation, &job).await.len() <= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_once_leave_nothing_behind() {
    let (installation, job) = installation().await;
    for _ in 0..3 {
        start(&installation, &job).await;
    }
    for _ in 0..4 {
        let last = check(&installation, &job).await;
        let (service, account) = (installation.service(), installation.account());
        let cancel = last.iter().filter(|backup| backup["status"] == "pending").map(|backup| {
            let (account, backup) = (&account, id(backup["id"].as_str().unwrap()));
            let job = id(&job);
            async move { service.cancel_backup(account, job, backup).await.unwrap() }
        });
        installation.advance(SignedDuration::from_secs(1));
        let starts = (0..2).map(|_| async { drop(installation.start_backup(&job).await) });
        tokio::join!(join_all(cancel.collect::<Vec<_>>()), join_all(starts));
    }
    start(&installation, &job).await;
    check(&installation, &job).await;
    assert!(in_short(&installation, &job).await.len() <= 4, "what a late writer left is dropped with the next backup");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_recorded_without_them_is_still_shown() {
    let (installation, job) = installation().await;
    let mut backups = Vec::new();
    for _ in 0..3 {
        backups.push(start(&installation, &job).await);
    }
    let table = RawTable::of(&installation);
    let mut tally = table.item("", &format!("#BACKUPS_OF#{job}")).await;
    tally.retain(|name, _| !name.starts_with("last_"));
    table.put(tally).await;
    assert_eq!(check(&installation, &job).await.len(), 3);
    // What happens from now on is kept, beside what was not.
    installation.service().cancel_backup(&installation.account(), id(&job), id(&backups[1])).await.unwrap();
    assert_eq!(check(&installation, &job).await[1]["status"], "cancelled");
    assert_eq!(in_short(&installation, &job).await.len(), 1);
    start(&installation, &job).await;
    check(&installation, &job).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_records_cost_few_requests() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let mut jobs = Vec::new();
    for number in 0..15 {
        let server = add_server(&installation.api, &format!("127.0.0.{}", number % 3 + 1)).await;
        let job = installation.add_job_with(server, json!({})).await;
        import_backups(&installation.stack, id(&job), 5).await;
        jobs.push(job);
    }
    let backups = installation.api.get(&format!("/v1/jobs/{}/backups", jobs[0])).await.expect(200).data();
    let backup = backups[0]["id"].as_str().unwrap();
    // Requests, and items: the jobs, their tallies and servers with a key each, the storage, the count of jobs. Token and
    // account are read besides, by one request each.
    let costs = [
        ("/v1/jobs".to_owned(), 2, 15 + 15 + 2 * 15 + 2),
        (format!("/v1/jobs/{}", jobs[0]), 1, 5),
        (format!("/v1/jobs/{}/backups", jobs[0]), 2, 2 + 5),
        (format!("/v1/backups/{backup}"), 1, 3),
    ];
    for (path, requests, items) in costs {
        // The first time shows what leads where.
        installation.api.get(&path).await.expect(200);
        // By then a process has forgotten what it knows of a token.
        installation.advance(SignedDuration::from_secs(4));
        let before = installation.stack.aws().table_consumed();
        installation.api.get(&path).await.expect(200);
        let read = installation.stack.aws().table_consumed() - before;
        assert_eq!((read.requests, read.items), (requests + 2, items + 2), "{path}");
    }
}
