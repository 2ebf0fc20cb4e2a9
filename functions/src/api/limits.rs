//! The forms of a job's limits.

use holdfast_shared::domain::limits::{self, Limits};

use crate::http::schema::{Schema, boolean, integer, integer_in, object, optional, or_null, required};

/// As they are sent.
pub(super) fn sent() -> Schema {
    let seconds = || integer_in(1..=limits::MAX_SECONDS.cast_signed());
    let bandwidth = integer_in(limits::MIN_BANDWIDTH.cast_signed()..=limits::MAX_BANDWIDTH.cast_signed());
    let size = integer_in(1..=limits::MAX_SIZE.cast_signed());
    let default = Limits::default();
    object([
        optional("run_seconds", or_null(seconds().default(default.run_seconds)).described("how long a run may take")),
        optional(
            "stall_seconds",
            or_null(seconds().default(default.stall_seconds)).described("how long a run may wait for a byte"),
        ),
        optional("bandwidth_limit", or_null(bandwidth).described("bytes per second read from the source, on average")),
        optional("max_bytes", or_null(size).described("bytes of the source, uncompressed; a run fails beyond it")),
        optional(
            "nice",
            or_null(boolean()).described("leave others on the host precedence: nice, and ionice if there"),
        ),
    ])
    .described("members that are missing keep what they were; null is the default")
}

/// As answers show them.
pub(super) fn shown() -> Schema {
    object([
        required("run_seconds", integer()),
        required("stall_seconds", integer()),
        required("bandwidth_limit", or_null(integer())),
        required("max_bytes", or_null(integer())),
        required("nice", boolean()),
    ])
}
