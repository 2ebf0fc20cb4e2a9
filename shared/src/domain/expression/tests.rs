use jiff::civil::date;
use proptest::prelude::*;

use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn parse(text: &str) -> Expression {
    Expression::parse(text).unwrap()
}

/// The next few due times in the zone's own wall clock.
fn next(text: &str, tz: &str, after: &str, count: usize) -> Vec<String> {
    let tz = zone(tz);
    let format = |due: Timestamp| due.to_zoned(tz.clone()).strftime("%Y-%m-%d %H:%M %:z").to_string();
    parse(text).upcoming(at(after), &tz, None).take(count).map(format).collect()
}

#[test]
fn documented_examples_and_wildcards() {
    for (expression, expected) in [
        ("cron(0 10 * * ? *)", ["2026-01-01 10:00", "2026-01-02 10:00"]),
        ("cron(15 12 ? * * *)", ["2026-01-01 12:15", "2026-01-02 12:15"]),
        ("cron(0 18 ? * MON-FRI *)", ["2026-01-01 18:00", "2026-01-02 18:00"]),
        ("cron(0 8 1 * ? *)", ["2026-01-01 08:00", "2026-02-01 08:00"]),
        ("cron(0/10 * ? * MON-FRI *)", ["2026-01-01 00:10", "2026-01-01 00:20"]),
        ("cron(0/5 8-17 ? * MON-FRI *)", ["2026-01-01 08:00", "2026-01-01 08:05"]),
        ("cron(15 10 ? * 6L 2026-2027)", ["2026-01-30 10:15", "2026-02-27 10:15"]),
        ("cron(0 9 ? * 3#2 *)", ["2026-01-13 09:00", "2026-02-10 09:00"]),
        ("cron(0 9 ? * tue#5 *)", ["2026-03-31 09:00", "2026-06-30 09:00"]),
        ("cron(0 9 ? * L *)", ["2026-01-03 09:00", "2026-01-10 09:00"]),
        ("cron(0 9 ? * FRIL *)", ["2026-01-30 09:00", "2026-02-27 09:00"]),
        ("cron(0 0 L * ? *)", ["2026-01-31 00:00", "2026-02-28 00:00"]),
        ("cron(0 0 29 FEB ? *)", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        // Saturday 2026-08-01 may not leave its month; Sunday 2026-02-01 moves on.
        ("cron(0 0 1W 2,8 ? *)", ["2026-02-02 00:00", "2026-08-03 00:00"]),
        ("cron(0 0 31W 1,5 ? *)", ["2026-01-30 00:00", "2026-05-29 00:00"]),
        ("cron(30-30 1-1 ? * 1,7 *)", ["2026-01-03 01:30", "2026-01-04 01:30"]),
        ("cron(5,3,3 0 1-31/30 * ? *)", ["2026-01-01 00:03", "2026-01-01 00:05"]),
        ("cron(0 0 1 1 ? 2030/10)", ["2030-01-01 00:00", "2040-01-01 00:00"]),
    ] {
        let found = next(expression, "UTC", "2026-01-01T00:00:00Z", 2);
        let expected: Vec<String> = expected.iter().map(|due| format!("{due} +00:00")).collect();
        assert_eq!(found, expected, "{expression}");
    }
}

#[test]
fn spring_gap_is_skipped_and_autumn_repeat_runs_once() {
    for (tz, expression, after, expected) in [
        (
            "Europe/Berlin",
            "cron(30 2 * * ? *)",
            "2026-03-27T12:00:00Z",
            ["2026-03-28 02:30 +01:00", "2026-03-30 02:30 +02:00"],
        ),
        (
            "Europe/Berlin",
            "cron(30 2 * * ? *)",
            "2026-10-24T12:00:00Z",
            ["2026-10-25 02:30 +02:00", "2026-10-26 02:30 +01:00"],
        ),
        (
            "America/New_York",
            "cron(0 2 * * ? *)",
            "2026-03-07T12:00:00Z",
            ["2026-03-09 02:00 -04:00", "2026-03-10 02:00 -04:00"],
        ),
        (
            "America/New_York",
            "cron(30 1 * * ? *)",
            "2026-11-01T05:00:00Z",
            ["2026-11-01 01:30 -04:00", "2026-11-02 01:30 -05:00"],
        ),
        // Asked inside the repeated hour, after its first pass.
        (
            "America/New_York",
            "cron(30 1 * * ? *)",
            "2026-11-01T05:45:00Z",
            ["2026-11-02 01:30 -05:00", "2026-11-03 01:30 -05:00"],
        ),
        (
            "America/New_York",
            "cron(0/30 * * * ? *)",
            "2026-11-01T05:15:00Z",
            ["2026-11-01 01:30 -04:00", "2026-11-01 02:00 -05:00"],
        ),
        // Half an hour: 02:00 becomes 02:30, and back.
        (
            "Australia/Lord_Howe",
            "cron(15 2 * * ? *)",
            "2026-10-02T16:00:00Z",
            ["2026-10-05 02:15 +11:00", "2026-10-06 02:15 +11:00"],
        ),
        (
            "Australia/Lord_Howe",
            "cron(30 2 * * ? *)",
            "2026-10-03T00:00:00Z",
            ["2026-10-04 02:30 +11:00", "2026-10-05 02:30 +11:00"],
        ),
        (
            "Australia/Lord_Howe",
            "cron(45 1 * * ? *)",
            "2026-04-04T00:00:00Z",
            ["2026-04-05 01:45 +11:00", "2026-04-06 01:45 +10:30"],
        ),
    ] {
        assert_eq!(next(expression, tz, after, 2), expected, "{tz} {expression} after {after}");
    }
}

#[test]
fn rate_counts_elapsed_time_from_its_start() {
    let (tz, start) = (zone("Europe/Berlin"), at("2026-03-28T09:00:00Z"));
    let daily = parse("rate(1 day)");
    assert_eq!(daily.next_after(at("2026-01-01T00:00:00Z"), &tz, Some(start)), Some(start));
    // Across the spring change the wall clock moves by 25 hours.
    assert_eq!(daily.next_after(start, &tz, Some(start)), Some(at("2026-03-29T09:00:00Z")));
    let due = parse("rate(5 minutes)").next_after(at("2026-03-28T09:07:00.5Z"), &tz, Some(start));
    assert_eq!(due, Some(at("2026-03-28T09:10:00Z")));
}

#[test]
fn once_means_once() {
    let once = parse("at(2026-11-20T13:00:00)");
    assert_eq!(once, Expression::At(date(2026, 11, 20).at(13, 0, 0, 0)));
    let tz = zone("Asia/Tokyo");
    let due = at("2026-11-20T04:00:00Z");
    assert_eq!(once.next_after(at("2026-01-01T00:00:00Z"), &tz, None), Some(due));
    assert_eq!(once.next_after(due, &tz, None), None);
    assert_eq!(parse("at(2026-03-29T02:30:00)").next_after(due, &zone("Europe/Berlin"), None), None);
}

#[test]
fn start_is_inclusive_for_cron() {
    let tz = TimeZone::UTC;
    let start = at("2026-06-01T12:00:00Z");
    let due = parse("cron(0 12 * * ? *)").next_after(at("2026-01-01T00:00:00Z"), &tz, Some(start));
    assert_eq!(due, Some(start));
}

#[test]
fn what_never_comes_ends_the_search() {
    for expression in ["cron(0 0 31 2 ? *)", "cron(0 0 1 1 ? 2020)", "cron(0 0 30W FEB ? *)"] {
        assert_eq!(
            parse(expression).next_after(at("2026-01-01T00:00:00Z"), &TimeZone::UTC, None),
            None,
            "{expression}"
        );
    }
    let last = parse("cron(59 23 31 12 ? 2199)").next_after(at("2026-01-01T00:00:00Z"), &TimeZone::UTC, None);
    assert_eq!(last, Some(at("2199-12-31T23:59:00Z")));
}

#[test]
fn latest_is_the_newest_one_missed() {
    let (tz, after) = (zone("Europe/Berlin"), at("2026-01-01T00:00:00Z"));
    let latest = |text: &str, until: &str| parse(text).latest(after, at(until), &tz, None);
    assert_eq!(latest("cron(0/5 * * * ? *)", "2026-07-01T09:07:00Z"), Some(at("2026-07-01T09:05:00Z")));
    assert_eq!(latest("cron(0/5 * * * ? *)", "2026-07-01T09:05:00Z"), Some(at("2026-07-01T09:05:00Z")));
    assert_eq!(latest("cron(0 0 29 2 ? *)", "2031-07-01T09:05:00Z"), Some(at("2028-02-28T23:00:00Z")));
    assert_eq!(latest("cron(0 0 29 2 ? *)", "2027-07-01T09:05:00Z"), None);
    assert_eq!(latest("cron(0 12 * * ? *)", "2025-07-01T09:05:00Z"), None);
}

#[test]
fn refuses_what_aws_does_not_document() {
    for text in [
        "",
        "cron",
        "cron()",
        "cron(* * * * *)",
        "cron(* * * * * * *)",
        "cron(* * * * * *)",
        "cron(* * ? * ? *)",
        "cron(60 * * * ? *)",
        "cron(*/0 * * * ? *)",
        "cron(* 24 * * ? *)",
        "cron(* * 0 * ? *)",
        "cron(* * 32 * ? *)",
        "cron(* * * 13 ? *)",
        "cron(* * ? * 0 *)",
        "cron(* * ? * 8 *)",
        "cron(* * ? * 2#6 *)",
        "cron(* * ? * 2#0 *)",
        "cron(* * ? * 2/2 *)",
        "cron(* * * * ? 1969)",
        "cron(* * * * ? 2200)",
        "cron(+1 * * * ? *)",
        "cron(,1 * * * ? *)",
        "cron(5-1 * * * ? *)",
        "cron(* * L-3 * ? *)",
        "cron(* * W * ? *)",
        "cron(* * 32W * ? *)",
        "cron(1 * * * ? *",
        "rate(0 minutes)",
        "rate(-1 minutes)",
        "rate(1.5 hours)",
        "rate(5 seconds)",
        "rate(5)",
        "rate(99999999999 days)",
        "at(2026-13-01T00:00:00)",
        "at(2026-01-01)",
        "at(2026-01-01T00:00)",
        "at(2026-01-01T00:00:00Z)",
        "at(2026-01-01T00:00:00.5)",
        "at(2026-01-01 00:00:00)",
        "every(1 day)",
    ] {
        assert!(Expression::parse(text).is_err(), "{text}");
    }
}

#[test]
fn errors_name_the_field_and_what_it_takes() {
    let error = Expression::parse("cron(0 25 * * ? *)").unwrap_err();
    assert_eq!(error.to_string(), "hours cannot be `25`: 0-23 with , - * /");
}

/// The definition, minute by minute, to hold the search against.
fn matches(minute: u32, hour: u32, weekdays: &[u32], civil: DateTime) -> bool {
    civil.minute() as u32 == minute
        && civil.hour() as u32 == hour
        && weekdays.contains(&(civil.weekday().to_sunday_one_offset() as u32))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No matching minute lies between `after` and the answer, and the answer matches.
    #[test]
    fn next_is_the_first_match(
        minute in 0u32..60, hour in 0u32..24, first in 1u32..=7, second in 1u32..=7, seconds in 0i64..86_400 * 365,
        tz in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    ) {
        let tz = zone(tz);
        let after = at("2026-01-01T00:00:00Z") + SignedDuration::from_secs(seconds);
        let due = parse(&format!("cron({minute} {hour} ? * {first},{second} *)")).next_after(after, &tz, None).unwrap();
        let weekdays = [first, second];
        let mut probe = Timestamp::from_second(after.as_second().div_euclid(60) * 60 + 60).unwrap();
        while probe < due {
            let civil = tz.to_datetime(probe);
            let repeated = instant(&tz, civil) != Some(probe);
            prop_assert!(repeated || !matches(minute, hour, &weekdays, civil), "missed {probe}");
            probe += SignedDuration::from_mins(1);
        }
        prop_assert!(due > after && matches(minute, hour, &weekdays, tz.to_datetime(due)));
    }

    /// Looking back finds what walking forward ends at.
    #[test]
    fn latest_agrees_with_upcoming(
        expression in prop::sample::select(vec![
            "cron(0/7 * * * ? *)", "cron(30 2 * * ? *)", "cron(0 0 L * ? *)", "rate(11 hours)", "at(2026-04-01T00:00:00)",
        ]),
        hours in 0i64..2_000,
    ) {
        let (tz, after) = (zone("Europe/Berlin"), at("2026-01-01T00:00:00Z"));
        let until = after + SignedDuration::from_hours(hours);
        let expression = parse(expression);
        let walked = expression.upcoming(after, &tz, None).take_while(|due| *due <= until).last();
        prop_assert_eq!(expression.latest(after, until, &tz, None), walked);
    }

    /// No text makes the parser panic.
    #[test]
    fn parsing_never_panics(text in "(cron|rate|at)\\([0-9A-Z*,#/?LW -]{0,24}\\)|.{0,20}") {
        let _ = Expression::parse(&text);
    }
}
