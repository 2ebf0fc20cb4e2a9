//! A machine: where the tools that dump a source run.

use super::Session;

/// Where the tools that dump a source run.
#[derive(Debug)]
pub enum Machine {
    /// A server, over SSH.
    Server(Session),
    /// The worker's own: the source is then reached over the network.
    Worker,
}

impl Machine {
    /// Disconnects, where there is a connection. Commands that still run on a server lose theirs.
    pub async fn close(self) {
        match self {
            Self::Server(session) => session.close().await,
            Self::Worker => {}
        }
    }
}
