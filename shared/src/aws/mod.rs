//! One concrete struct per AWS resource. SDK types stop here: nothing above this module names one.

mod endpoints;
mod kms;
pub mod objects;
mod outside;
mod queue;
mod scheduler;
mod sealer;
pub mod table;

use std::sync::Arc;

pub use endpoints::Endpoints;
pub use kms::KmsError;
pub use objects::Objects;
pub use outside::Outside;
pub use queue::{Queue, Received};
pub use scheduler::{ScheduleEntry, Scheduler};
pub use sealer::Sealer;
pub(crate) use sealer::number_of;
pub use table::Table;

use crate::config::Config;
use crate::guard::Guard;

/// Every resource of an installation; cheap to clone.
#[derive(Debug, Clone)]
pub struct Aws {
    /// Records.
    pub table: Table,
    /// Work for the worker.
    pub queue: Queue,
    /// Messages that no worker could handle.
    pub dead_letters: Queue,
    /// Due slots.
    pub scheduler: Scheduler,
    /// The SDK's configuration, from which object clients are made.
    pub sdk: Arc<aws_config::SdkConfig>,
    /// How stores that users name are reached.
    pub outside: Outside,
}

impl Aws {
    /// The resources that `config` names, reached as `sdk` says.
    pub fn new(sdk: aws_config::SdkConfig, config: &Config) -> Self {
        let queues = aws_sdk_sqs::Client::new(&sdk);
        Self {
            table: Table::new(aws_sdk_dynamodb::Client::new(&sdk), config.table.clone()),
            queue: Queue::new(queues.clone(), config.queue_url.clone()),
            dead_letters: Queue::new(queues, config.dead_letter_queue_url.clone()),
            scheduler: Scheduler::new(aws_sdk_scheduler::Client::new(&sdk), config),
            sdk: Arc::new(sdk),
            outside: Outside::new(Guard::new(config.allow_networks.clone())),
        }
    }

    /// The resources that `config` names, with region, credentials and endpoints from the environment.
    pub async fn from_env(config: &Config) -> Self {
        Self::new(aws_config::defaults(aws_config::BehaviorVersion::latest()).load().await, config)
    }
}
