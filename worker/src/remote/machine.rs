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
    /// Runs each command from now on by another one, such as `nice`; on the worker itself none.
    pub fn run_by(&mut self, words: &[&str]) {
        if let Self::Server(session) = self {
            session.wrap = words.iter().map(|word| (*word).to_owned()).collect();
        }
    }

    /// The words before those of each command.
    pub(super) fn wrap(&self) -> &[String] {
        match self {
            Self::Server(session) => &session.wrap,
            Self::Worker => &[],
        }
    }

    /// Disconnects, where there is a connection. Commands that still run on a server lose theirs.
    pub async fn close(self) {
        match self {
            Self::Server(session) => session.close().await,
            Self::Worker => {}
        }
    }
}
