//! Whether the installation's parts answer.

use super::Service;

impl Service {
    /// Names of the parts that do not answer; empty when the service is ready.
    pub async fn parts_not_ready(&self) -> Vec<&'static str> {
        let (table, queue) = tokio::join!(self.aws.table.is_ready(), self.aws.queue.is_ready());
        [("table", table), ("queue", queue)].into_iter().filter(|(_, ready)| !ready).map(|(name, _)| name).collect()
    }
}
