//! Limits: how long, how much, how fast and how politely a run may work.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::field::FieldReader;

/// The longest that a run can be allowed, seconds: 24 hours.
pub const MAX_SECONDS: u64 = 24 * 3_600;
/// How long a run may take unless its job says otherwise, seconds: 11 hours, so that a daily one has ended by the next.
const DEFAULT_RUN_SECONDS: u32 = 11 * 3_600;
/// How long a run may wait for a byte unless its job says otherwise, seconds.
const DEFAULT_STALL_SECONDS: u32 = 15 * 60;
/// The slowest that a run can be made, bytes per second.
pub const MIN_BANDWIDTH: u64 = 1 << 10;
/// The fastest that can be said, bytes per second.
pub const MAX_BANDWIDTH: u64 = 1 << 40;
/// The most bytes that can be said.
pub const MAX_SIZE: u64 = 1 << 50;

/// What a run of a job may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// How long a run may take from its first connection to its last byte, without its scripts; it fails for good beyond it.
    pub run_seconds: u32,
    /// How long a run may wait without a byte being read or stored; it fails beyond it and is tried again.
    pub stall_seconds: u32,
    /// How many bytes per second may be read from the source, on average; `None` is as fast as it goes.
    pub bandwidth_limit: Option<u64>,
    /// How many bytes the source may have, before compression and over all files; a run fails for good beyond it.
    pub max_bytes: Option<u64>,
    /// Whether the dump leaves others on the host precedence (`nice -n 10`, and `ionice -c 3` where the host has it).
    pub nice: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            run_seconds: DEFAULT_RUN_SECONDS,
            stall_seconds: DEFAULT_STALL_SECONDS,
            bandwidth_limit: None,
            max_bytes: None,
            nice: false,
        }
    }
}

impl Limits {
    /// Reads what a client writes: members that are missing keep what they were, and null is the default.
    pub(super) fn read(fields: &mut FieldReader, value: Option<&Value>, before: Self) -> Option<Self> {
        const MEMBERS: [&str; 5] = ["run_seconds", "stall_seconds", "bandwidth_limit", "max_bytes", "nice"];
        let members = fields.object("limits", value)?;
        fields.known("limits", members, &MEMBERS);
        let default = Self::default();
        let mut seconds = |name: &str, before: u32, default: u32| match members.get(name) {
            Some(Value::Null) => default,
            given => {
                let given = fields.integer(&format!("limits.{name}"), given, 1..=MAX_SECONDS);
                given.and_then(|given| u32::try_from(given).ok()).unwrap_or(before)
            }
        };
        let run_seconds = seconds("run_seconds", before.run_seconds, default.run_seconds);
        let stall_seconds = seconds("stall_seconds", before.stall_seconds, default.stall_seconds);
        let mut bytes = |name: &str, before: Option<u64>, range| match members.get(name) {
            Some(Value::Null) => None,
            given => fields.integer(&format!("limits.{name}"), given, range).or(before),
        };
        let bandwidth_limit = bytes("bandwidth_limit", before.bandwidth_limit, MIN_BANDWIDTH..=MAX_BANDWIDTH);
        let max_bytes = bytes("max_bytes", before.max_bytes, 1..=MAX_SIZE);
        let nice = match members.get("nice") {
            Some(Value::Null) => default.nice,
            given => fields.flag("limits.nice", given).unwrap_or(before.nice),
        };
        Some(Self { run_seconds, stall_seconds, bandwidth_limit, max_bytes, nice })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value, before: Limits) -> (Option<Limits>, Vec<String>) {
        let mut fields = FieldReader::default();
        let limits = Limits::read(&mut fields, Some(&value), before);
        (limits, fields.faults.iter().map(|(name, _)| name.to_owned()).collect())
    }

    #[test]
    fn members_change_one_by_one_and_null_takes_back() {
        let before = Limits { max_bytes: Some(9), nice: true, stall_seconds: 5, ..Limits::default() };
        let (limits, faults) = read(json!({"run_seconds": "60", "bandwidth_limit": 4096}), before);
        assert_eq!(limits, Some(Limits { run_seconds: 60, bandwidth_limit: Some(4_096), ..before }));
        assert!(faults.is_empty());
        let all = json!({"stall_seconds": null, "max_bytes": null, "nice": null});
        assert_eq!(read(all, before), (Some(Limits::default()), vec![]));
        assert_eq!(read(Value::Null, before), (None, vec![]));
    }

    #[test]
    fn what_is_out_of_bounds_is_told() {
        let bad = json!({
            "run_seconds": 86_401, "stall_seconds": 0, "bandwidth_limit": 1_023, "max_bytes": 0, "nice": "very", "x": 1,
        });
        let fields = ["bandwidth_limit", "max_bytes", "nice", "run_seconds", "stall_seconds", "x"];
        assert_eq!(read(bad, Limits::default()).1, fields.map(|name| format!("limits.{name}")));
    }

    #[test]
    fn records_without_limits_have_the_default_ones() {
        assert_eq!(serde_json::from_value::<Limits>(json!({})).unwrap(), Limits::default());
        assert_eq!((Limits::default().run_seconds, Limits::default().stall_seconds), (39_600, 900));
    }
}
