use holdfast_shared::clock::Clock;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::store::{self, Listing, Put};
use super::*;
use crate::queue::queue_arn;
use crate::queue::tests::{act, make, receive};
use crate::set_clock::SetClock;

struct Bench {
    dir: tempfile::TempDir,
    clock: Arc<SetClock>,
    queues: QueueStore,
    scheduler: SchedulerStore,
}

impl Bench {
    async fn at(now: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = SetClock::at(now);
        let queues = QueueStore::open(dir.path(), clock.clone()).unwrap();
        make(&queues, "work", json!({})).await;
        Self { dir, clock, scheduler: SchedulerStore::new(&queues), queues }
    }

    async fn create(&self, name: &str, more: Value) -> Result<Value, Fault> {
        let (name, put) = (name.to_owned(), put(more)?);
        self.queues.transact(move |db, now| store::create(db, now, &name, put)).await
    }

    async fn update(&self, name: &str, more: Value) -> Result<Value, Fault> {
        let (name, put) = (name.to_owned(), put(more)?);
        self.queues.transact(move |db, now| store::update(db, now, &name, put)).await
    }

    /// Moves the clock, fires, and tells what arrived.
    async fn fired_by(&self, now: &str) -> Vec<String> {
        self.clock.set(now);
        self.scheduler.tick().await.unwrap();
        let messages = receive(&self.queues, "work").await;
        for message in &messages {
            let request = json!({"QueueUrl": "work", "ReceiptHandle": message["ReceiptHandle"]});
            act(&self.queues, "DeleteMessage", request).await.unwrap();
        }
        messages.iter().map(|message| message["Body"].as_str().unwrap().to_owned()).collect()
    }
}

/// A daily schedule at noon, UTC, that sends its slot; with `more` laid over it.
fn put(more: Value) -> Result<Put, Fault> {
    let mut all = json!({
        "ScheduleExpression": "cron(0 12 * * ? *)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": queue_arn("work"), "RoleArn": "role", "Input": "<aws.scheduler.scheduled-time>"},
    });
    for (key, value) in more.as_object().unwrap() {
        all[key] = value.clone();
    }
    serde_json::from_value(all).map_err(|error| validation(error.to_string()))
}

fn message<T: std::fmt::Debug>(answer: Result<T, Fault>) -> String {
    answer.unwrap_err().to_string()
}

#[tokio::test]
async fn fires_each_slot_once_with_its_true_time() {
    let bench = Bench::at("2026-03-27T11:59:59Z").await;
    bench.create("noon", json!({})).await.unwrap();
    assert!(bench.fired_by("2026-03-27T11:59:59.999Z").await.is_empty());
    assert_eq!(bench.fired_by("2026-03-27T12:00:00.7Z").await, ["2026-03-27T12:00:00Z"]);
    assert!(bench.fired_by("2026-03-27T12:00:30Z").await.is_empty());
    assert_eq!(bench.fired_by("2026-03-28T12:00:00Z").await, ["2026-03-28T12:00:00Z"]);
}

#[tokio::test]
async fn tells_when_something_is_due_next() {
    let bench = Bench::at("2026-03-27T11:59:59Z").await;
    assert_eq!(bench.scheduler.tick().await.unwrap(), None);
    bench.create("noon", json!({})).await.unwrap();
    bench.create("later", json!({"ScheduleExpression": "at(2026-05-01T00:00:00)"})).await.unwrap();
    assert_eq!(bench.scheduler.tick().await.unwrap(), Some("2026-03-27T12:00:00Z".parse().unwrap()));
}

#[tokio::test]
async fn follows_its_zone_through_the_spring_gap() {
    let bench = Bench::at("2026-03-27T12:00:00Z").await;
    let night = json!({"ScheduleExpression": "cron(30 2 * * ? *)", "ScheduleExpressionTimezone": "Europe/Berlin"});
    bench.create("night", night).await.unwrap();
    assert_eq!(bench.fired_by("2026-03-28T02:00:00Z").await, ["2026-03-28T01:30:00Z"]);
    assert!(bench.fired_by("2026-03-29T12:00:00Z").await.is_empty());
    assert_eq!(bench.fired_by("2026-03-30T00:30:00Z").await, ["2026-03-30T00:30:00Z"]);
}

#[tokio::test]
async fn after_downtime_only_the_newest_missed_slot_fires() {
    let bench = Bench::at("2026-03-27T11:00:00Z").await;
    bench.create("often", json!({"ScheduleExpression": "cron(0/5 * * * ? *)"})).await.unwrap();
    bench.create("daily", json!({})).await.unwrap();
    let Bench { dir, clock, queues, scheduler } = bench;
    drop((queues, scheduler));
    let queues = QueueStore::open(dir.path(), clock.clone()).unwrap();
    let bench = Bench { dir, clock, scheduler: SchedulerStore::new(&queues), queues };
    let mut fired = bench.fired_by("2026-04-27T11:02:00Z").await;
    fired.sort();
    assert_eq!(fired, ["2026-04-26T12:00:00Z", "2026-04-27T11:00:00Z"]);
    assert_eq!(bench.fired_by("2026-04-27T11:05:00Z").await, ["2026-04-27T11:05:00Z"]);
}

#[tokio::test]
async fn a_change_fires_nothing_from_before_it() {
    let bench = Bench::at("2026-03-27T11:00:00Z").await;
    bench.create("noon", json!({"State": "DISABLED"})).await.unwrap();
    assert!(bench.fired_by("2026-03-27T12:30:00Z").await.is_empty());
    bench.update("noon", json!({})).await.unwrap();
    assert!(bench.fired_by("2026-03-27T13:00:00Z").await.is_empty());
    // Due, but changed before the timer came to it.
    bench.clock.set("2026-03-28T12:00:01Z");
    bench.update("noon", json!({"ScheduleExpression": "cron(0 0/1 * * ? *)"})).await.unwrap();
    assert_eq!(bench.fired_by("2026-03-28T13:00:00Z").await, ["2026-03-28T13:00:00Z"]);
    bench.update("noon", json!({"State": "DISABLED"})).await.unwrap();
    assert!(bench.fired_by("2026-03-29T13:00:00Z").await.is_empty());
}

#[tokio::test]
async fn an_update_of_anything_but_its_times_leaves_a_missed_slot_due() {
    let bench = Bench::at("2026-03-27T11:00:00Z").await;
    bench.create("noon", json!({})).await.unwrap();
    bench.clock.set("2026-03-27T12:30:00Z");
    bench.update("noon", json!({"Description": "written again at the start"})).await.unwrap();
    assert_eq!(bench.fired_by("2026-03-27T12:30:00Z").await, ["2026-03-27T12:00:00Z"]);
    assert!(bench.fired_by("2026-03-27T13:00:00Z").await.is_empty());
}

#[tokio::test]
async fn a_rate_counts_from_its_creation_through_updates() {
    let bench = Bench::at("2026-03-27T11:00:00.4Z").await;
    let rate = json!({"ScheduleExpression": "rate(10 minutes)"});
    bench.create("rate", rate.clone()).await.unwrap();
    assert_eq!(bench.fired_by("2026-03-27T11:00:01Z").await, ["2026-03-27T11:00:01Z"]);
    bench.update("rate", rate).await.unwrap();
    assert!(bench.fired_by("2026-03-27T11:10:00Z").await.is_empty());
    assert_eq!(bench.fired_by("2026-03-27T11:10:01Z").await, ["2026-03-27T11:10:01Z"]);
}

#[tokio::test]
async fn once_then_gone_if_asked() {
    let bench = Bench::at("2026-03-27T11:00:00Z").await;
    for (name, action) in [("gone", "DELETE"), ("stays", "NONE")] {
        let once = json!({"ScheduleExpression": "at(2026-03-27T12:00:00)", "ActionAfterCompletion": action});
        bench.create(name, once).await.unwrap();
    }
    assert_eq!(bench.fired_by("2026-03-27T12:00:00Z").await.len(), 2);
    assert!(bench.fired_by("2027-03-27T12:00:00Z").await.is_empty());
    let get = |name: &'static str| bench.queues.transact(move |db, _| store::get(db, "default", name));
    assert_eq!(message(get("gone").await), "ResourceNotFoundException: Schedule gone does not exist.");
    assert_eq!(get("stays").await.unwrap()["State"], "ENABLED");
}

#[tokio::test]
async fn stays_within_start_and_end() {
    let bench = Bench::at("2026-03-27T11:00:00Z").await;
    let date = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
    let bounds = json!({"StartDate": date("2026-03-28T12:00:00Z"), "EndDate": date("2026-03-29T12:00:00Z")});
    bench.create("noon", bounds).await.unwrap();
    assert!(bench.fired_by("2026-03-27T12:00:00Z").await.is_empty());
    assert_eq!(bench.fired_by("2026-03-28T12:00:00Z").await, ["2026-03-28T12:00:00Z"]);
    // Down over the end: the newest slot before it still fires.
    assert_eq!(bench.fired_by("2026-04-28T12:00:00Z").await, ["2026-03-29T12:00:00Z"]);
    assert!(bench.fired_by("2026-05-28T12:00:00Z").await.is_empty());
}

#[tokio::test]
async fn a_flexible_window_shifts_all_slots_alike() {
    let bench = Bench::at("2026-03-27T11:59:00Z").await;
    let window = json!({"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 60});
    let often = json!({"ScheduleExpression": "cron(* * * * ? *)", "FlexibleTimeWindow": window});
    bench.create("often", often).await.unwrap();
    let due = bench.scheduler.tick().await.unwrap().unwrap();
    let offset = due.duration_since("2026-03-27T12:00:00Z".parse().unwrap());
    assert!(offset.as_secs() > 0 && offset.as_mins() < 60, "{offset}");
    for minute in 0..5 {
        let slot: Timestamp = format!("2026-03-27T12:0{minute}:00Z").parse().unwrap();
        assert_eq!(bench.fired_by(&(slot + offset).to_string()).await, [slot.to_string()]);
    }
}

#[tokio::test]
async fn input_is_filled_in_and_the_group_goes_along() {
    let bench = Bench::at("2022-03-22T18:59:00Z").await;
    let input = "<aws.scheduler.schedule-arn> <aws.scheduler.scheduled-time> <aws.scheduler.attempt-number> <other>";
    let target = json!({
        "Arn": queue_arn("work"), "RoleArn": "r", "Input": input, "SqsParameters": {"MessageGroupId": "account-7"},
    });
    bench.create("one", json!({"ScheduleExpression": "at(2022-03-22T18:59:43)", "Target": target})).await.unwrap();
    bench.clock.set("2022-03-22T19:00:00Z");
    bench.scheduler.tick().await.unwrap();
    let messages = receive(&bench.queues, "work").await;
    let expected = "arn:aws:scheduler:us-east-1:000000000000:schedule/default/one 2022-03-22T18:59:43Z 1 <other>";
    assert_eq!(messages[0]["Body"], expected);
    assert_eq!(messages[0]["Attributes"]["MessageGroupId"], "account-7");
}

#[tokio::test]
async fn a_missing_target_is_tried_again_and_then_buried() {
    let bench = Bench::at("2026-03-27T11:00:00Z").await;
    make(&bench.queues, "dead", json!({})).await;
    let target = |retries: i64| {
        json!({
            "Arn": queue_arn("absent"), "RoleArn": "r", "Input": "try <aws.scheduler.attempt-number>",
            "RetryPolicy": {"MaximumRetryAttempts": retries, "MaximumEventAgeInSeconds": 3600},
            "DeadLetterConfig": {"Arn": queue_arn("dead")},
        })
    };
    let once = "at(2026-03-27T12:00:00)";
    bench.create("lost", json!({"ScheduleExpression": once, "Target": target(1)})).await.unwrap();
    bench.create("found", json!({"ScheduleExpression": once, "Target": target(185)})).await.unwrap();
    bench.clock.set("2026-03-27T12:00:00Z");
    bench.scheduler.tick().await.unwrap();
    assert!(receive(&bench.queues, "dead").await.is_empty());
    bench.clock.advance(2);
    bench.scheduler.tick().await.unwrap();
    let dead = receive(&bench.queues, "dead").await;
    assert_eq!((dead.len(), &dead[0]["Body"]), (1, &json!("try 2")));
    let attribute = |name: &str| dead[0]["MessageAttributes"][name]["StringValue"].clone();
    assert_eq!(attribute("ERROR_CODE"), "AWS.SimpleQueueService.NonExistentQueue");
    assert_eq!(attribute("EXHAUSTED_RETRY_CONDITION"), "MaximumRetryAttempts");
    assert_eq!(attribute("RETRY_ATTEMPTS"), "1");
    assert_eq!(attribute("SCHEDULED_TIME"), "2026-03-27T12:00:00Z");

    make(&bench.queues, "absent", json!({})).await;
    bench.clock.advance(4);
    assert_eq!(bench.scheduler.tick().await.unwrap(), None);
    assert_eq!(receive(&bench.queues, "absent").await[0]["Body"], "try 3");
}

#[tokio::test]
async fn the_running_timer_notices_changes_at_once() {
    let bench = Bench::at("2026-03-27T12:00:00Z").await;
    let closing = tokio_util::sync::CancellationToken::new();
    let timer = tokio::spawn({
        let (scheduler, closing) = (bench.scheduler.clone(), closing.clone());
        async move { scheduler.run(closing).await }
    });
    bench.create("noon", json!({"ScheduleExpression": "rate(1 minute)"})).await.unwrap();
    bench.clock.advance(1);
    bench.scheduler.wake();
    let poll = json!({"QueueUrl": "work", "WaitTimeSeconds": 20});
    let answer = act(&bench.queues, "ReceiveMessage", poll).await.unwrap();
    assert_eq!(answer["Messages"][0]["Body"], "2026-03-27T12:00:01Z");
    closing.cancel();
    timer.await.unwrap();
}

#[tokio::test]
async fn bad_schedules_are_refused_as_aws_words_it() {
    let bench = Bench::at("2026-03-27T12:00:00Z").await;
    let now = bench.clock.now().as_second();
    for (more, expected) in [
        (json!({"ScheduleExpression": "cron(0 12 * * *)"}), "Invalid Schedule Expression cron(0 12 * * *)"),
        (json!({"ScheduleExpressionTimezone": "Mars/Olympus"}), "Invalid Schedule Expression Timezone Mars/Olympus."),
        (json!({"StartDate": now - 301}), "The StartDate you specify cannot be earlier than 5 minutes ago."),
        (json!({"EndDate": now}), "The EndDate you specify"),
        (json!({"GroupName": "absent"}), "ResourceNotFoundException: Schedule group absent does not exist."),
        (json!({"Target": {"Arn": "arn:aws:lambda:x:y:function:z", "RoleArn": "r"}}), "is not in correct format"),
        (json!({"Target": {"RoleArn": "r"}}), "missing field `Arn`"),
        (json!({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}), "MaximumWindowInMinutes must be between 1 and 1440"),
    ] {
        let refusal = message(bench.create("bad", more).await);
        assert!(refusal.contains(expected), "{refusal}");
    }
    let refusal = message(bench.create("a/b", json!({})).await);
    assert!(refusal.contains("regular expression pattern: ^[0-9a-zA-Z-_.]+$"), "{refusal}");
}

#[tokio::test]
async fn a_repeated_create_succeeds_only_with_its_token() {
    let bench = Bench::at("2026-03-27T12:00:00Z").await;
    let token = json!({"ClientToken": "t"});
    let first = bench.create("noon", token.clone()).await.unwrap();
    assert_eq!(bench.create("noon", token).await.unwrap(), first);
    let conflict = "ConflictException: Schedule noon already exists.";
    assert_eq!(message(bench.create("noon", json!({"ClientToken": "u"})).await), conflict);
    assert_eq!(message(bench.create("noon", json!({"ClientToken": "t", "Description": "d"})).await), conflict);
    assert_eq!(message(bench.create("noon", json!({})).await), conflict);
}

#[tokio::test]
async fn listing_pages_and_filters() {
    let bench = Bench::at("2026-03-27T12:00:00Z").await;
    bench.queues.transact(|db, now| group::create(db, now, "other")).await.unwrap();
    for name in ["a-1", "a-2", "b-1"] {
        bench.create(name, json!({})).await.unwrap();
        bench.create(name, json!({"GroupName": "other", "State": "DISABLED"})).await.unwrap();
    }
    let list = |listing: Value| {
        let listing: Listing = serde_json::from_value(listing).unwrap();
        bench.queues.transact(move |db, _| store::list(db, &listing))
    };
    let names = |page: &Value| -> Vec<String> {
        let name = |schedule: &Value| format!("{}/{}", schedule["GroupName"], schedule["Name"]).replace('"', "");
        page["Schedules"].as_array().unwrap().iter().map(name).collect()
    };
    let first = list(json!({"MaxResults": 4})).await.unwrap();
    assert_eq!(names(&first), ["default/a-1", "default/a-2", "default/b-1", "other/a-1"]);
    let rest = list(json!({"MaxResults": 4, "NextToken": first["NextToken"]})).await.unwrap();
    assert_eq!(
        (names(&rest), &rest["NextToken"]),
        (vec!["other/a-2".to_owned(), "other/b-1".to_owned()], &Value::Null)
    );
    let other = list(json!({"ScheduleGroup": "other", "NamePrefix": "a-"})).await.unwrap();
    assert_eq!(names(&other), ["other/a-1", "other/a-2"]);
    let default = list(json!({"ScheduleGroup": "default"})).await.unwrap();
    assert_eq!(names(&default).len(), 3);
    assert_eq!(names(&list(json!({"State": "DISABLED"})).await.unwrap()).len(), 3);
    bench.queues.transact(|db, _| group::delete(db, "other")).await.unwrap();
    assert_eq!(names(&list(json!({})).await.unwrap()).len(), 3);
    assert!(message(bench.queues.transact(|db, _| group::delete(db, "default")).await).contains("cannot be deleted"));
}
