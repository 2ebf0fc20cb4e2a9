//! Deletion of backups: of one, of all of a job, whatever dies on the way. Nothing stays behind, and nothing else goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use holdfast_shared::domain::backup::{Backup, Copy, File, Status};
use holdfast_shared::domain::message::{Message, Task};
use holdfast_shared::domain::object_key::FileName;
use holdfast_shared::domain::slot::{Slot, Tags};
use holdfast_tests::installation::{Host, id};
use holdfast_tests::process::Worker;
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::{Installation, Setup, eventually, leftovers};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

const WORKER: &str = env!("CARGO_BIN_EXE_worker-process");
/// Longer than it takes until maintenance asks again for a deletion that it heard nothing of.
const PAST_ASKING: SignedDuration = SignedDuration::from_mins(11);

async fn without_worker(proxy: Option<&Proxy>) -> Installation {
    Installation::start_with(Setup { no_worker: true, s3_proxy: proxy.cloned(), ..Setup::default() }).await
}

/// A job on a server that nothing connects to.
async fn add_job(installation: &Installation) -> String {
    let key = installation.api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201).data()["id"].clone();
    let server = json!({"name": "far", "host": "10.0.0.1", "user": "root", "ssh_key": key});
    let server = installation.api.post("/v1/servers", server).await.expect(201).data()["id"].as_u64().unwrap();
    installation.add_job_with(server, json!({})).await
}

/// Gives a job `count` completed backups, each with an object of its own; answers their ids, the oldest first.
async fn add_backups(installation: &Installation, job: &str, count: u32) -> Vec<String> {
    let (service, account) = (installation.service(), installation.account());
    let now = service.clock.now();
    let storage = service.storage(&account, 1).await.unwrap();
    let bucket = service.objects(&account, &storage).unwrap();
    let mut backups = Vec::new();
    for number in 0..count {
        let at = now - SignedDuration::from_mins(i64::from(count - number));
        let mut backup = completed(&account, id(job), u64::from(number), at);
        let key = backup.directory().object(1, FileName::new("a.tar").unwrap()).to_string();
        bucket.put(&key, Bytes::from_static(b"stored")).await.unwrap();
        backup.copies = vec![Copy::stored(1, vec![key])];
        backups.push(backup);
    }
    service.aws.table.import_backups(&backups).await.unwrap();
    backups.iter().map(|backup| backup.id.to_string()).collect()
}

fn completed(account: &holdfast_shared::domain::account::AccountId, job: Uuid, number: u64, at: Timestamp) -> Backup {
    let file = File {
        id: 1,
        name: "a.tar".to_owned(),
        plain_bytes: 6,
        stored_bytes: 6,
        plain_sha256: "aa".to_owned(),
        stored_sha256: "aa".to_owned(),
    };
    Backup {
        id: Uuid::new_v4(),
        number,
        account: account.clone(),
        job,
        name: "test".to_owned(),
        path: None,
        schedule: None,
        slot: None,
        tags: Tags::default(),
        status: Status::Completed,
        attempt: 1,
        lease_until: None,
        heartbeat_at: None,
        retry_at: None,
        cancel_requested: false,
        deletion_requested_at: None,
        created_at: at,
        started_at: Some(at),
        completed_at: Some(at),
        files: vec![file],
        copies: Vec::new(),
        encrypted_to: Vec::new(),
        source_errors: Vec::new(),
        failure: None,
        skip_reason: None,
    }
}

async fn delete_all(installation: &Installation, job: &str) -> String {
    let answer = installation.api.delete(&format!("/v1/jobs/{job}/backups")).await.expect(200).json();
    answer["message"].as_str().unwrap().to_owned()
}

async fn listed(installation: &Installation, job: &str) -> Vec<Value> {
    let path = format!("/v1/jobs/{job}/backups?page_size=100");
    installation.api.get(&path).await.expect(200).data().as_array().unwrap().clone()
}

async fn show(installation: &Installation, backup: &str) -> Value {
    installation.api.get(&format!("/v1/backups/{backup}")).await.expect(200).data()
}

/// Waits until none of the backups is there any more, whichever way one looks.
async fn all_gone(installation: &Installation, backups: &[String]) {
    for backup in backups {
        eventually("a backup to go", || async {
            let answer = installation.api.get(&format!("/v1/backups/{backup}")).await;
            if answer.status == 404 { Ok(()) } else { Err(answer.text()) }
        })
        .await;
        installation.api.get(&format!("/v1/backups/{backup}/log")).await.expect(404);
    }
}

/// Takes every message off the queue, as if it had never been sent.
async fn lose_messages(installation: &Installation) {
    let queue = &installation.service().aws.queue;
    while let [message, ..] = queue.receive(1, 0).await.unwrap().as_slice() {
        queue.delete(&message.receipt).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_backups_of_a_job_are_counted_at_once_and_gone_soon_after() {
    let installation = Installation::start().await;
    let (job, other) = (add_job(&installation).await, add_job(&installation).await);
    let backups = add_backups(&installation, &job, 165).await;
    add_backups(&installation, &other, 2).await;

    assert_eq!(delete_all(&installation, &job).await, "165 backups scheduled for deletion");

    all_gone(&installation, &backups).await;
    leftovers::assert_none(&installation).await;
    assert_eq!((listed(&installation, &job).await.len(), listed(&installation, &other).await.len()), (0, 2));
    assert_eq!(leftovers::objects(&installation).await.len(), 2, "another job's objects went along");
    let shown = installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data();
    assert_eq!(shown["last_backups"], json!([]));
    assert_eq!(delete_all(&installation, &job).await, "0 backups scheduled for deletion");
    installation.api.delete(&format!("/v1/jobs/{}/backups", Uuid::nil())).await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_message_is_sent_again_and_what_starts_later_stays() {
    let installation = without_worker(None).await;
    let job = add_job(&installation).await;
    let mut backups = add_backups(&installation, &job, 3).await;
    let waiting = installation.start_backup(&job).await;
    backups.push(waiting);
    installation.advance(SignedDuration::from_secs(1));
    assert_eq!(delete_all(&installation, &job).await, "4 backups scheduled for deletion");
    installation.advance(SignedDuration::from_secs(1));
    let later = installation.start_backup(&job).await;
    let cancelled = installation.api.post(&format!("/v1/backups/{later}/cancel"), json!({})).await.expect(200).data();
    assert_eq!(cancelled["status"], "cancelled");
    lose_messages(&installation).await;
    assert_eq!(installation.maintain().await.deletions_resent, 0, "it was asked for just now");

    installation.advance(PAST_ASKING);
    assert_eq!(installation.maintain().await.deletions_resent, 1);
    let worker = Worker::start(WORKER, &installation);
    all_gone(&installation, &backups).await;
    assert_eq!(show(&installation, &later).await["status"], "cancelled");
    leftovers::assert_none(&installation).await;
    worker.stop().await;
    installation.advance(PAST_ASKING * 6);
    assert_eq!(installation.maintain().await.deletions_resent, 0, "the wish is carried out and stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_backup_is_deleted_and_says_so_meanwhile() {
    let installation = without_worker(None).await;
    let job = add_job(&installation).await;
    let backups = add_backups(&installation, &job, 2).await;
    let (doomed, kept) = (&backups[0], &backups[1]);
    let link = show(&installation, doomed).await["files"][0]["url"].as_str().unwrap().to_owned();
    let path = format!("/v1/backups/{doomed}");

    for _ in 0..2 {
        installation.api.delete(&path).await.expect(204);
        let shown = show(&installation, doomed).await;
        assert!(shown["deletion_requested_at"].is_string(), "{shown}");
        assert_eq!((&shown["status"], &shown["files"][0]["url"]), (&json!("expired"), &Value::Null), "{shown}");
    }
    installation.api.get(&link).await.expect(404);
    installation.api.post(&format!("/v1/backups/{doomed}/download"), json!({})).await.expect(409);
    assert_eq!(leftovers::objects(&installation).await.len(), 2, "nobody works yet");

    lose_messages(&installation).await;
    installation.advance(PAST_ASKING);
    assert_eq!(installation.maintain().await.deletions_resent, 1);
    let worker = Worker::start(WORKER, &installation);
    all_gone(&installation, &backups[..1]).await;
    installation.api.delete(&path).await.expect(404);
    let shown = show(&installation, kept).await;
    assert_eq!((&shown["status"], &shown["deletion_requested_at"]), (&json!("completed"), &Value::Null));
    let left = listed(&installation, &job).await;
    assert_eq!(left.iter().map(|backup| backup["id"].clone()).collect::<Vec<_>>(), [json!(kept)]);
    leftovers::assert_none(&installation).await;
    assert_eq!(leftovers::objects(&installation).await.len(), 1);
    worker.stop().await;
}

/// Kills a worker at its nth request to S3, for many n: whatever it was about to do is then neither done nor forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_at_any_step_leaves_nothing_behind() {
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let seen = left.clone();
    let count = move |left: usize| Some(left.saturating_sub(1));
    let decide = move |_: &_, _| match seen.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) {
        Ok(0) => Harm::Hold,
        _ => Harm::None,
    };
    let proxy = Proxy::start(decide).await;
    let installation = without_worker(Some(&proxy)).await;
    let job = add_job(&installation).await;
    for step in [0, 1, 3, 5, 8, 11, 14, 17] {
        left.store(usize::MAX, Ordering::SeqCst);
        let backups = add_backups(&installation, &job, 5).await;
        assert_eq!(delete_all(&installation, &job).await, "5 backups scheduled for deletion");
        left.store(step, Ordering::SeqCst);
        let harmed = proxy.harmed();
        let doomed = Worker::start(WORKER, &installation);
        eventually("the worker to be at that step", || async {
            if proxy.harmed() > harmed { Ok(()) } else { Err(proxy.harmed()) }
        })
        .await;
        doomed.kill().await;

        left.store(usize::MAX, Ordering::SeqCst);
        for backup in listed(&installation, &job).await {
            let stored = backup["status"] == "completed" && backup["deletion_requested_at"].is_null();
            let doomed = backup["status"] == "expired" && backup["deletion_requested_at"].is_string();
            assert!(stored || doomed, "killed at request {step}: {backup}");
        }
        installation.advance(PAST_ASKING);
        assert!(installation.maintain().await.deletions_resent > 0);
        let heir = Worker::start(WORKER, &installation);
        all_gone(&installation, &backups).await;
        leftovers::assert_none(&installation).await;
        assert_eq!(leftovers::objects(&installation).await, [""; 0], "killed at request {step}");
        heir.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_storage_answers_503_records_stay_until_their_objects_are_gone() {
    let down = Arc::new(AtomicBool::new(true));
    let seen = down.clone();
    let decide = move |request: &axum::extract::Request, _| {
        let harmed = request.method() == Method::DELETE && seen.load(Ordering::SeqCst);
        if harmed { Harm::Unavailable } else { Harm::None }
    };
    let proxy = Proxy::start(decide).await;
    let installation = Installation::start_behind(&proxy).await;
    let job = add_job(&installation).await;
    let backups = add_backups(&installation, &job, 6).await;
    delete_all(&installation, &job).await;
    // Four are deleted at once, each tried twelve times: one more, and the worker has given up on one of them.
    eventually("a worker that gives up", || async { if proxy.harmed() > 48 { Ok(()) } else { Err(proxy.harmed()) } })
        .await;
    assert_eq!(listed(&installation, &job).await.len(), 6, "a record went before its object");
    assert_eq!(leftovers::objects(&installation).await.len(), 6);

    down.store(false, Ordering::SeqCst);
    all_gone(&installation, &backups).await;
    leftovers::assert_none(&installation).await;
    assert_eq!(leftovers::objects(&installation).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_runs_is_stopped_and_then_goes_with_the_others() {
    let proxy = Proxy::start(|request, _| {
        let is_part =
            request.method() == Method::PUT && request.uri().query().is_some_and(|q| q.contains("partNumber"));
        if is_part { Harm::Hold } else { Harm::None }
    })
    .await;
    let host = Host::start().await;
    host.write("a", "a");
    let installation = Installation::start_behind(&proxy).await;
    let job = installation.add_job(&host).await;
    let mut backups = add_backups(&installation, &job, 2).await;
    let running = installation.start_backup(&job).await;
    installation.log_when(&running, |log| log.contains("dump of file-backups")).await;
    let refused = installation.api.delete(&format!("/v1/backups/{running}")).await.expect(409);
    assert!(refused.text().contains("running; cancel it first"), "{}", refused.text());
    backups.push(running);

    assert_eq!(delete_all(&installation, &job).await, "3 backups scheduled for deletion");

    all_gone(&installation, &backups[..2]).await;
    let shown = show(&installation, &backups[2]).await;
    assert_eq!((&shown["status"], &shown["cancel_requested"]), (&json!("running"), &json!(true)), "{shown}");
    // It sees the wish at its next heartbeat.
    all_gone(&installation, &backups).await;
    leftovers::assert_none(&installation).await;
    assert_eq!(leftovers::objects(&installation).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slot_of_a_deleted_backup_makes_no_other_one() {
    let installation = Installation::start().await;
    let job = add_job(&installation).await;
    let schedules = json!({"schedules": [{"cron": "30 2 * * *"}]});
    installation.api.patch(&format!("/v1/jobs/{job}"), schedules).await.expect(204);
    let shown = installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data();
    let schedule = shown["schedule"][0]["id"].as_u64().unwrap();
    let slot: Timestamp = shown["schedule"][0]["next_runs"][0].as_str().unwrap().parse().unwrap();
    let mut backup = completed(&installation.account(), id(&job), 1, slot);
    (backup.id, backup.slot, backup.schedule) =
        (Slot::new(schedule, slot).backup_id(id(&job)), Some(slot), Some(schedule));
    installation.service().aws.table.import_backups(&[backup.clone()]).await.unwrap();

    installation.api.delete(&format!("/v1/backups/{}", backup.id)).await.expect(204);
    all_gone(&installation, &[backup.id.to_string()]).await;

    // Scheduler sends the slot now, then once more, and maintenance looks for what came of it.
    installation.clock.advance(slot.duration_since(installation.service().clock.now()));
    installation.advance(SignedDuration::from_mins(6));
    let task = Task::Slot { account: installation.account(), job: id(&job), schedule, slot };
    installation.service().aws.queue.send(&Message::new(task), 0).await.unwrap();
    assert_eq!(installation.maintain().await.slots_missed, 0);
    leftovers::assert_none(&installation).await;
    assert_eq!(listed(&installation, &job).await, [Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_deleted_in_the_middle_takes_everything_along() {
    let installation = without_worker(None).await;
    let job = add_job(&installation).await;
    let backups = add_backups(&installation, &job, 4).await;
    installation.api.delete(&format!("/v1/backups/{}", backups[0])).await.expect(204);
    delete_all(&installation, &job).await;
    installation.api.delete(&format!("/v1/jobs/{job}")).await.expect(204);
    installation.api.delete("/v1/servers/1").await.expect(409);

    let worker = Worker::start(WORKER, &installation);
    all_gone(&installation, &backups).await;
    leftovers::assert_none(&installation).await;
    assert_eq!(leftovers::objects(&installation).await, [""; 0]);
    eventually("the server to be free", || async {
        let answer = installation.api.delete("/v1/servers/1").await;
        if answer.status == 204 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    worker.stop().await;
    installation.advance(PAST_ASKING * 6);
    assert_eq!(installation.maintain().await.deletions_resent, 0, "something of it is left");
}
