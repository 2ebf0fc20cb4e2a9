//! Downtime: slots that passed while nothing ran are caught up once, and the others are told.

use holdfast_tests::installation::Host;
use holdfast_tests::{Installation, Setup, leftovers};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_of_downtime_of_a_job_each_5_minutes_is_one_run_and_eleven_missed() {
    let host = Host::start().await;
    host.write("a", "a");
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    let schedules = json!([{"frequency": "m5", "retention_hourly": 24}]);
    let job =
        installation.add_job_with(server, json!({"config": {"root_path": host.site()}, "schedules": schedules})).await;
    let shown = installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data();
    let first: Timestamp = shown["schedule"][0]["next_runs"][0].as_str().unwrap().parse().unwrap();

    let (dir, clock) = installation.stop().await;
    // From just before the first slot to an hour later: twelve slots, the last of them due right now.
    let now = holdfast_shared::clock::Clock::now(&*clock);
    clock.advance(first.duration_since(now) + SignedDuration::from_mins(55) + SignedDuration::from_secs(2));
    let installation = Installation::reopen(dir, clock, Setup::default()).await;

    let caught_up = installation.listed_when(&job, |backup| backup["status"] == "completed").await;
    assert_eq!(slot_of(&caught_up), first + SignedDuration::from_mins(55));
    assert_eq!(installation.maintain().await.slots_missed, 11);
    assert_eq!(installation.maintain().await.slots_missed, 0);

    let backups = installation.api.get(&format!("/v1/jobs/{job}/backups?page_size=100")).await.expect(200).data();
    let (ran, missed): (Vec<_>, Vec<_>) =
        backups.as_array().unwrap().iter().partition(|backup| backup["status"] == "completed");
    assert_eq!((ran.len(), missed.len()), (1, 11), "{backups}");
    let mut slots: Vec<_> = missed.iter().map(|backup| slot_of(backup)).collect();
    slots.sort();
    let expected: Vec<_> = (0..11).map(|number| first + SignedDuration::from_mins(5 * number)).collect();
    assert_eq!(slots, expected);
    for backup in missed {
        assert_eq!((&backup["status"], &backup["skip_reason"]), (&json!("skipped"), &json!("missed")));
    }
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_scheduler_never_sent_is_run_and_its_entry_is_written_again() {
    let host = Host::start().await;
    host.write("a", "a");
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    let schedules = json!([{"frequency": "h24", "retention_daily": 7}]);
    let job =
        installation.add_job_with(server, json!({"config": {"root_path": host.site()}, "schedules": schedules})).await;
    let scheduler = &installation.service().aws.scheduler;
    let (names, _) = scheduler.list(Some(&job), None).await.unwrap();
    scheduler.delete(&names[0]).await.unwrap();
    let shown = installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data();
    let due: Timestamp = shown["schedule"][0]["next_runs"][0].as_str().unwrap().parse().unwrap();

    let now = holdfast_shared::clock::Clock::now(&*installation.clock);
    installation.advance(due.duration_since(now) + SignedDuration::from_mins(6));
    assert_eq!(installation.maintain().await.slots_missed, 1);
    let ran = installation.listed_when(&job, |backup| backup["status"] == "completed").await;
    assert_eq!(slot_of(&ran), due);
    installation.maintain().await;
    assert_eq!(scheduler.list(Some(&job), None).await.unwrap().0, names);
    leftovers::assert_none(&installation).await;
}

fn slot_of(backup: &Value) -> Timestamp {
    backup["slot"].as_str().unwrap().parse().unwrap()
}
