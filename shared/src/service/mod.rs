//! Use cases: all that the functions and the worker call. One file per noun, each an `impl Service` block.
//!
//! A use case takes the account first, validates what it is given, and names every offending field at once. What belongs
//! to another account does not exist.

mod accounts;
mod audit_events;
mod backups;
mod checks;
mod conflict;
mod copies;
mod crontab_servers;
mod crontabs;
mod downloads;
mod encryption_keys;
mod encryption_passwords;
mod hooks;
mod idempotency;
mod jobs;
mod listing;
mod logins;
mod maintenance;
mod notification_streams;
mod outbox;
mod previews;
mod proxies;
mod rates;
mod ready;
mod recipes;
mod removal;
mod resealing;
mod retention;
mod runs;
mod schedules;
mod servers;
mod sessions;
mod ssh_keys;
mod stacks;
mod start;
mod storages;
mod tokens;

use std::sync::Arc;

pub use backups::{BackupDetail, Idempotency, LogPosition, LogText};
pub use downloads::{Holder, Reading};
pub use idempotency::{ClaimedCall, KeptAnswer, Repetition};
pub use jobs::JobDetail;
pub use listing::Listing;
pub use maintenance::Report;
pub use rates::{WINDOW_SECS, Window};
pub use removal::{Doomed, Leftover};
pub use resealing::SealingKeyUse;
pub use retention::Outlook;
pub use runs::{AfterFailure, Beat, Claim, ClaimOutcome};
pub use start::StartError;
pub use tokens::sha256_hex;

use crate::aws::{Aws, Sealer};
use crate::clock::SharedClock;
use crate::config::Config;

/// Everything a use case needs; cheap to clone.
#[derive(Debug, Clone)]
pub struct Service {
    /// The installation's resources.
    pub aws: Arc<Aws>,
    /// Seals and opens secrets.
    pub sealer: Arc<Sealer>,
    /// Tells the time.
    pub clock: SharedClock,
    /// Names and addresses.
    pub config: Arc<Config>,
}
