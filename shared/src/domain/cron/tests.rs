use proptest::prelude::*;

use super::*;

fn expressions(text: &str, offset_minutes: u32) -> Result<Vec<String>, String> {
    Crontab::parse(text).and_then(|crontab| crontab.expressions(offset_minutes))
}

/// What `text` becomes for Scheduler, one expression per line, or the message.
fn told(text: &str, offset_minutes: u32) -> String {
    expressions(text, offset_minutes).map(|all| all.join("\n")).unwrap_or_else(|message| message)
}

#[test]
fn scheduler_is_told_the_same() {
    let table = [
        ("* * * * *", "cron(* * * * ? *)"),
        ("0 * * * *", "cron(0 * * * ? *)"),
        ("*/15 * * * *", "cron(0,15,30,45 * * * ? *)"),
        ("5-20/5,50 9-11 * * *", "cron(5,10,15,20,50 9,10,11 * * ? *)"),
        ("0 0 * * MON", "cron(0 0 ? * MON *)"),
        ("0 0 * * 0", "cron(0 0 ? * SUN *)"),
        ("0 0 * * 7", "cron(0 0 ? * SUN *)"),
        ("0 0 * * 5-7", "cron(0 0 ? * SUN,FRI,SAT *)"),
        ("0 0 * * mon-Fri", "cron(0 0 ? * MON,TUE,WED,THU,FRI *)"),
        ("0 0 1,15 jan-MAR *", "cron(0 0 1,15 1,2,3 ? *)"),
        ("0 0 */10 * *", "cron(0 0 1,11,21,31 * ? *)"),
        ("0 0 29 2 *", "cron(0 0 29 2 ? *)"),
        ("@hourly", "cron(0 * * * ? *)"),
        ("@daily", "cron(0 0 * * ? *)"),
        ("@midnight", "cron(0 0 * * ? *)"),
        ("@weekly", "cron(0 0 ? * SUN *)"),
        ("@monthly", "cron(0 0 1 * ? *)"),
        ("@yearly", "cron(0 0 1 1 ? *)"),
        ("@annually", "cron(0 0 1 1 ? *)"),
    ];
    for (text, expected) in table {
        assert_eq!(told(text, 0), expected, "{text}");
    }
}

#[test]
fn both_day_fields_restricted_run_on_either() {
    assert_eq!(told("0 4 1 * MON", 0), "cron(0 4 1 * ? *)\ncron(0 4 ? * MON *)");
    // Every day of the month or a Monday is every day.
    assert_eq!(told("0 4 1-31 * MON", 0), "cron(0 4 * * ? *)");
    // The half that no month has is left out.
    assert_eq!(told("0 4 31 2 MON", 0), "cron(0 4 ? 2 MON *)");
}

#[test]
fn a_star_in_a_day_field_asks_for_both() {
    assert_eq!(told("0 4 */2 * *", 0), told("0 4 1-31/2 * *", 0));
    assert_eq!(told("0 4 * * */2", 0), "cron(0 4 ? * SUN,TUE,THU,SAT *)");
    assert_eq!(told("0 4 */1 * MON", 0), "cron(0 4 ? * MON *)");
    assert!(told("0 4 */2 * MON", 0).contains("match both"));
    assert!(told("0 4 1-7 * */7", 0).contains("match both"));
}

#[test]
fn what_is_wrong_is_told() {
    let table = [
        ("", "a cron expression has 5 fields: minute hour day-of-month month day-of-week; this one has 0"),
        ("* * * *", "a cron expression has 5 fields: minute hour day-of-month month day-of-week; this one has 4"),
        (
            "0 * * * * * *",
            "a cron expression has 5 fields: minute hour day-of-month month day-of-week \
             (seconds and years are not supported); this one has 7",
        ),
        ("*/0 * * * *", "minute `*/0`: a step is a whole number from 1 to 60"),
        ("*/61 * * * *", "minute `*/61`: a step is a whole number from 1 to 60"),
        ("*/x * * * *", "minute `*/x`: a step is a whole number from 1 to 60"),
        ("*/ * * * *", "minute `*/`: a step is a whole number from 1 to 60"),
        ("5/15 * * * *", "minute `5/15`: a step needs a range before it; write `5-59/15`"),
        ("60 * * * *", "minute `60` is out of range; use 0 to 59"),
        ("0 24 * * *", "hour `24` is out of range; use 0 to 23"),
        ("0 0 0 * *", "day of month `0` is out of range; use 1 to 31"),
        ("0 0 1 13 *", "month `13` is out of range; use 1 to 12"),
        ("0 0 * * 8", "day of week `8` is out of range; use 0 to 7"),
        ("0 0 * * 99999", "day of week `99999` is out of range; use 0 to 7"),
        ("30-10 * * * *", "minute range `30-10` runs backwards; write it as two parts joined by a comma"),
        ("0 0 * * fri-sun", "day of week range `fri-sun` runs backwards; write it as two parts joined by a comma"),
        ("0 0 * mars *", "month `mars` is not known; use 1 to 12, jan to dec, or `*`"),
        ("0 0 L * *", "day of month `L` is not known; use 1 to 31, or `*`"),
        ("0 0 ? * *", "day of month `?` is not known; use 1 to 31, or `*`"),
        ("+5 * * * *", "minute `+5` is not known; use 0 to 59, or `*`"),
        ("1,,2 * * * *", "minute `` is not known; use 0 to 59, or `*`"),
        ("0 0 31 2 *", "this never runs: its months have at most 29 days; choose an earlier day of month"),
        ("0 0 30 2 *", "this never runs: its months have at most 29 days; choose an earlier day of month"),
        ("0 0 31 4,6,9,11 *", "this never runs: its months have at most 30 days; choose an earlier day of month"),
        ("@reboot", "`@reboot` is not known; use @hourly, @daily, @weekly, @monthly, @yearly, or five fields"),
    ];
    for (text, message) in table {
        assert_eq!(Crontab::parse(text).unwrap_err(), message, "{text}");
    }
    assert!(Crontab::parse(&format!("{} * * * *", "1,".repeat(200))).unwrap_err().contains("at most 256"));
}

#[test]
fn kept_as_written() {
    let crontab = Crontab::parse("  0\t3 *  * Mon-fri \n").unwrap();
    assert_eq!(crontab.to_string(), "0 3 * * Mon-fri");
    let stored = serde_json::to_string(&crontab).unwrap();
    assert_eq!(stored, "\"0 3 * * Mon-fri\"");
    assert_eq!(serde_json::from_str::<Crontab>(&stored).unwrap(), crontab);
    assert_eq!(Crontab::parse("@Daily").unwrap().to_string(), "@Daily");
}

#[test]
fn an_offset_moves_minutes_hours_and_days() {
    let table = [
        (("0 * * * *", 10), "cron(10 * * * ? *)"),
        (("50 * * * *", 20), "cron(10 * * * ? *)"),
        (("0 0 * * *", 1439), "cron(59 23 * * ? *)"),
        (("*/15 * * * *", 7), "cron(7,22,37,52 * * * ? *)"),
        (("0 23 * * *", 120), "cron(0 1 * * ? *)"),
        (("0,30 9 * * *", 45), "cron(15 10 * * ? *)\ncron(45 9 * * ? *)"),
        (("0 23 * * MON", 60), "cron(0 0 ? * TUE *)"),
        (("0 23 * * SAT", 61), "cron(1 0 ? * SUN *)"),
        (("0 23 1 * *", 60), "cron(0 0 2 * ? *)"),
        (("0 23 27 2 *", 60), "cron(0 0 28 2 ? *)"),
        (("0 12,23 1 * MON", 60), "cron(0 13 1 * ? *)\ncron(0 0 2 * ? *)\ncron(0 13 ? * MON *)\ncron(0 0 ? * TUE *)"),
    ];
    for ((text, offset), expected) in table {
        assert_eq!(told(text, offset), expected, "{text} by {offset}");
    }
}

#[test]
fn an_offset_that_cannot_be_expressed_is_refused() {
    for text in ["0 23 28 * *", "0 23 31 * *", "0 23 * 1 *", "0 23 * 1 MON"] {
        assert!(expressions(text, 59).is_ok(), "{text}");
        assert!(expressions(text, 60).unwrap_err().contains("past midnight"), "{text}");
    }
    assert!(expressions("* * * * *", 1440).is_err());
}

fn field(min: u8, max: u8) -> impl Strategy<Value = String> {
    let value = (min..=max).prop_map(|value| value.to_string());
    let range = (min..=max, min..=max).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let step = (min..=max, 1..=max.min(7)).prop_map(move |(first, step)| format!("{first}-{max}/{step}"));
    let star_step = (1..=max.min(12)).prop_map(|step| format!("*/{step}"));
    let list = prop::collection::vec(prop_oneof![value, range, step], 1..4).prop_map(|items| items.join(","));
    prop_oneof![2 => Just("*".to_owned()), 4 => list, 1 => star_step]
}

prop_compose! {
    /// Crontabs of every form; some never run or ask for both day fields.
    pub(crate) fn any_crontab()(
        fields in (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)),
    ) -> String {
        let (minute, hour, day_of_month, month, day_of_week) = fields;
        format!("{minute} {hour} {day_of_month} {month} {day_of_week}")
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "[ -~]{0,40}|[*/,0-9a-z@ -]{0,30}") {
        let _ = expressions(&text, 90);
    }

    #[test]
    fn what_parses_is_expressed_within_the_limits(text in any_crontab(), offset in 0_u32..1440) {
        if let Ok(crontab) = Crontab::parse(&text) {
            prop_assert!((1..=2).contains(&crontab.expressions(0).unwrap().len()));
            for expression in [crontab.expressions(0), crontab.expressions(offset)].into_iter().flatten().flatten() {
                prop_assert!(expression.len() <= MAX_EXPRESSION_CHARS, "{expression}");
            }
        }
    }

    #[test]
    fn any_set_of_numbers_fits_scheduler(
        minutes in prop::collection::btree_set(0_u8..60, 1..60),
        hours in prop::collection::btree_set(0_u8..24, 1..24),
        days in prop::collection::btree_set(1_u8..32, 1..31),
        months in prop::collection::btree_set(1_u8..13, 1..12),
    ) {
        let expression = expression(&minutes, &hours, &Days::OfMonth(days), &months);
        prop_assert!(expression.len() <= MAX_EXPRESSION_CHARS, "{expression}");
    }
}
