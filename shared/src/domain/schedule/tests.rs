use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::cron::tests::any_crontab;
use crate::domain::expression::Expression;
use crate::domain::timing::{HOUR_FREQUENCIES, MINUTE_FREQUENCIES};

fn input(json: Value) -> ScheduleInput {
    serde_json::from_value(json).unwrap()
}

fn create(json: Value) -> Schedule {
    Schedule::create(15, &input(json)).unwrap()
}

/// All that is wrong, as `field: message`.
fn refused(result: Result<Schedule, FieldErrors>) -> Vec<String> {
    let errors = result.unwrap_err();
    errors
        .iter()
        .flat_map(|(field, messages)| messages.iter().map(move |message| format!("{field}: {message}")))
        .collect()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn without_a_rule_it_runs_each_midnight() {
    let schedule = create(json!({"order": 1, "timezone": "UTC", "retention_daily": 7}));
    assert_eq!(schedule.expressions(), ["cron(0 0 * * ? *)"]);
    assert_eq!((schedule.id, schedule.name.as_str(), schedule.order), (15, "main", 1));
    assert_eq!(
        (schedule.frequency(), schedule.frequency_mode(), schedule.cron()),
        (Some(24), Some("hour"), "0 * * * *")
    );
    assert_eq!(schedule.retention, Retention { daily: 7, ..Retention::default() });
    assert_eq!(schedule.status, ScheduleStatus::Active);
}

#[test]
fn every_documented_frequency() {
    for number in HOUR_FREQUENCIES {
        let forms = [
            json!({"frequency": format!("h{number}")}),
            json!({"frequency": number, "frequency_mode": "hour"}),
            json!({"frequency": number.to_string(), "frequency_mode": "hour"}),
            json!({"frequency": number}),
        ];
        for form in forms {
            let schedule = create(form);
            assert_eq!((schedule.frequency(), schedule.frequency_mode()), (Some(number), Some("hour")));
            assert_eq!(schedule.next_runs(at("2026-01-01T00:00:00Z"), 48).len(), 48);
        }
    }
    for number in MINUTE_FREQUENCIES {
        for form in
            [json!({"frequency": format!("m{number}")}), json!({"frequency": number, "frequency_mode": "minute"})]
        {
            let schedule = create(form);
            assert_eq!((schedule.frequency(), schedule.frequency_mode()), (Some(number), Some("minute")));
        }
    }
}

#[test]
fn an_offset_moves_the_cycle() {
    let expressions = |json| create(json).expressions().join(" ");
    assert_eq!(expressions(json!({"frequency": "h6", "run_offset": 3})), "cron(0 3,9,15,21 * * ? *)");
    assert_eq!(expressions(json!({"frequency": "h6", "run_offset": 20})), "cron(0 2,8,14,20 * * ? *)");
    assert_eq!(expressions(json!({"frequency": "h24", "run_offset": "23"})), "cron(0 23 * * ? *)");
    assert_eq!(expressions(json!({"frequency": "h1", "run_offset": 5})), "cron(0 * * * ? *)");
    assert_eq!(expressions(json!({"frequency": "m30", "run_offset": 5})), "cron(5,35 * * * ? *)");
    assert_eq!(expressions(json!({"frequency": "m15", "run_offset": 50})), "cron(5,20,35,50 * * * ? *)");
    assert_eq!(expressions(json!({"cron": "0 * * * *", "run_offset": 10})), "cron(10 * * * ? *)");
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let wrong = json!({
        "cron": "* * * *", "timezone": "Mars/Olympus", "run_offset": -1, "order": "first", "schedule_name": "",
        "retention_daily": 10_000, "retention": {"weekly": true},
    });
    assert_eq!(
        refused(Schedule::create(1, &input(wrong))),
        [
            "cron: a cron expression has 5 fields: minute hour day-of-month month day-of-week; this one has 4",
            "order: must be a whole number from 0 to 9999",
            "retention.weekly: must be a whole number from 0 to 9999",
            "retention_daily: must be a whole number from 0 to 9999",
            "run_offset: must be a whole number from 0 to 23",
            "schedule_name: must have 1 to 255 printable characters",
            "timezone: timezone `Mars/Olympus` is not known; use an IANA name such as UTC or Europe/Berlin",
        ]
    );
}

#[test]
fn each_wrong_rule_names_its_field() {
    let table = [
        (
            json!({"frequency": 5}),
            "frequency: 5 is not a frequency in hours; use 24, 12, 6, 4, 3, 2, 1, or a cron expression",
        ),
        (
            json!({"frequency": "m7"}),
            "frequency: 7 is not a frequency in minutes; use 30, 20, 15, 10, 6, 5, or a cron expression",
        ),
        (json!({"frequency": "daily"}), "frequency: must be a number, or one such as h24 or m30"),
        (json!({"frequency": "ü"}), "frequency: must be a number, or one such as h24 or m30"),
        (json!({"frequency": [1]}), "frequency: must be a number, or one such as h24 or m30"),
        (json!({"frequency_mode": "day"}), "frequency_mode: must be hour or minute"),
        (
            json!({"frequency": "h6", "frequency_mode": "minute"}),
            "frequency_mode: contradicts the letter of frequency; leave one of the two out",
        ),
        (
            json!({"cron": "5 * * * *", "frequency": 6}),
            "cron: cannot be sent together with a frequency; send one of the two",
        ),
        (json!({"cron": 5}), "cron: must be text"),
        (
            json!({"cron": "0 0 31 2 *"}),
            "cron: this never runs: its months have at most 29 days; choose an earlier day of month",
        ),
        (json!({"frequency": "h6", "run_offset": 24}), "run_offset: must be a whole number from 0 to 23"),
        (json!({"frequency": "m30", "run_offset": 60}), "run_offset: must be a whole number from 0 to 59"),
        (json!({"cron": "0 * * * *", "run_offset": 1440}), "run_offset: must be a whole number from 0 to 1439"),
        (json!({"timezone": 1}), "timezone: must be text"),
    ];
    for (json, message) in table {
        assert_eq!(refused(Schedule::create(1, &input(json.clone()))), [message], "{json}");
    }
    let carried = refused(Schedule::create(1, &input(json!({"cron": "0 23 31 * *", "run_offset": 60}))));
    assert!(
        carried[0].starts_with("run_offset: an offset of 60 minutes moves `0 23 31 * *` past midnight"),
        "{carried:?}"
    );
}

#[test]
fn a_change_keeps_what_it_does_not_name() {
    let schedule =
        create(json!({"frequency": "m30", "run_offset": 5, "timezone": "Europe/Berlin", "retention_hourly": 7}));
    let paused = Schedule { status: ScheduleStatus::Paused, ..schedule.clone() };
    assert_eq!(paused.apply(&ScheduleInput::default()).unwrap(), paused);

    let moved = schedule.apply(&input(json!({"timezone": "America/Mexico_City", "order": null}))).unwrap();
    assert_eq!(moved.timezone().as_str(), "America/Mexico_City");
    assert_eq!((moved.frequency(), moved.run_offset(), moved.retention.hourly), (Some(30), 5, 7));

    let faster = schedule.apply(&input(json!({"frequency": 10}))).unwrap();
    assert_eq!((faster.frequency(), faster.frequency_mode(), faster.run_offset()), (Some(10), Some("minute"), 5));
}

#[test]
fn cron_replaces_the_frequency_and_the_reverse() {
    let hours = create(json!({"frequency": "h6", "run_offset": 3}));
    let cron = hours.apply(&input(json!({"cron": "0 0 * * MON"}))).unwrap();
    assert_eq!((cron.frequency(), cron.frequency_mode(), cron.cron()), (None, None, "0 0 * * MON"));
    // Three hours do not become three minutes.
    assert_eq!(cron.run_offset(), 0);
    let back = cron.apply(&input(json!({"frequency": "h6"}))).unwrap();
    assert_eq!((back.frequency(), back.cron()), (Some(6), "0 * * * *"));
    let at_once = cron.apply(&input(json!({"frequency": 30, "frequency_mode": "minute", "run_offset": 1}))).unwrap();
    assert_eq!(at_once.expressions(), ["cron(1,31 * * * ? *)"]);
}

#[test]
fn an_answer_sent_back_changes_nothing() {
    for made in [json!({"frequency": "h6", "run_offset": 3}), json!({"cron": "5 4 * * *"}), json!({"frequency": "m30"})]
    {
        let schedule = Schedule { retention: Retention { weekly: 3, ..Retention::default() }, ..create(made) };
        let answer = json!({
            "id": 15, "schedule_name": schedule.name, "schedule_order": schedule.order, "status": "active",
            "frequency": schedule.frequency(), "frequency_mode": schedule.frequency_mode(), "cron": schedule.cron(),
            "timezone": schedule.timezone().as_str(), "run_offset": schedule.run_offset(),
            "retention": schedule.retention, "resource_type": "BackupJob",
        });
        assert_eq!(schedule.apply(&input(answer.clone())).unwrap(), schedule);
        assert_eq!(Schedule::create(15, &input(answer)).unwrap(), schedule);
    }
}

#[test]
fn runs_are_scheduler_s() {
    let schedule = create(json!({"cron": "30 2 * * *", "timezone": "Europe/Berlin"}));
    // 29 March 02:30 does not exist.
    let runs = schedule.next_runs(at("2026-03-28T00:00:00Z"), 3);
    assert_eq!(runs, ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"].map(at));
    // 25 October 02:30 comes twice and runs once; the end belongs to it, the beginning does not.
    let runs = schedule.runs_between(at("2026-10-24T00:30:00Z"), at("2026-10-26T01:30:00Z"), 10);
    assert_eq!(runs, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"].map(at));
    assert_eq!(schedule.runs_between(at("2026-10-24T00:00:00Z"), at("2026-12-24T00:00:00Z"), 4).len(), 4);
}

#[test]
fn two_expressions_at_one_instant_are_one_run() {
    // 1 June 2026 is a Monday.
    let schedule = create(json!({"cron": "0 0 1 * MON"}));
    let runs = schedule.next_runs(at("2026-05-30T00:00:00Z"), 3);
    assert_eq!(runs, ["2026-06-01T00:00:00Z", "2026-06-08T00:00:00Z", "2026-06-15T00:00:00Z"].map(at));
}

#[test]
fn stored_and_read_again() {
    let schedule =
        create(json!({"cron": "0 0 1 * MON", "timezone": "Asia/Tokyo", "run_offset": 90, "retention_monthly": 2}));
    let stored = serde_json::to_value(&schedule).unwrap();
    assert_eq!(
        stored,
        json!({
            "id": 15, "name": "main", "order": 0, "status": "active",
            "timing": {"rule": {"cron": "0 0 1 * MON"}, "timezone": "Asia/Tokyo", "run_offset": 90},
            "retention": {"hourly": 0, "daily": 0, "weekly": 0, "monthly": 2, "keep_last": 0, "days": 0},
        })
    );
    assert_eq!(serde_json::from_value::<Schedule>(stored).unwrap(), schedule);
    let sparse = json!({"id": 1, "timing": {"rule": {"hours": 6}}, "of_a_later_version": true});
    assert_eq!(serde_json::from_value::<Schedule>(sparse).unwrap().expressions(), ["cron(0 0,6,12,18 * * ? *)"]);
    let broken = json!({"id": 1, "timing": {"rule": {"hours": 7}}});
    assert!(serde_json::from_value::<Schedule>(broken).is_err());
}

proptest! {
    #[test]
    fn every_expression_is_one_that_scheduler_takes(text in any_crontab(), offset in 0_u32..1440) {
        if let Ok(schedule) = Schedule::create(1, &input(json!({"cron": text, "run_offset": offset}))) {
            let expressions = schedule.expressions();
            prop_assert!((1..=8).contains(&expressions.len()));
            for text in expressions {
                let expression = Expression::parse(&text).unwrap();
                let next = expression.next_after(at("2026-01-01T00:00:00Z"), &jiff::tz::TimeZone::UTC, None);
                prop_assert!(next.is_some(), "{text}");
            }
        }
    }

    #[test]
    fn an_offset_moves_each_run_by_itself(text in any_crontab(), offset in 0_u32..1440) {
        let [plain, moved] = [0, offset].map(|run_offset| {
            Schedule::create(1, &input(json!({"cron": text, "run_offset": run_offset})))
        });
        if let (Ok(plain), Ok(moved)) = (plain, moved) {
            let by = jiff::SignedDuration::from_mins(offset.into());
            let from = at("2026-01-31T12:34:00Z");
            let expected: Vec<Timestamp> = plain.next_runs(from, 12).into_iter().map(|run| run + by).collect();
            prop_assert_eq!(moved.next_runs(from + by, 12), expected);
        }
    }

    #[test]
    fn reading_input_never_panics(cron in "[ -~ü]{0,20}", frequency in "[hmü0-9]{0,6}", offset in any::<i64>()) {
        let _ = Schedule::create(1, &input(json!({"cron": cron, "run_offset": offset})));
        let _ = Schedule::create(1, &input(json!({"frequency": frequency, "run_offset": offset})));
    }
}
