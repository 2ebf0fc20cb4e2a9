//! Recipes: how each kind of source is dumped, and how its end is told from its being cut off.

pub mod files;

use holdfast_shared::domain::job::{Compute, Job};
use holdfast_shared::domain::recipe::Recipe;
use holdfast_shared::domain::retry::Retry;
use openssh::ChildStdout;

use crate::remote::{RemoteError, Running, Session};

/// A dump could not be taken, or not whole. Display is safe to show to the job's owner.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The server.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// What was asked for cannot be dumped until somebody changes something.
    #[error("{0}")]
    Refused(String),
    /// The dump is not whole.
    #[error("{0}")]
    Broken(String),
}

impl SourceError {
    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Remote(error) => error.retry(),
            Self::Refused(_) => Retry::Never,
            Self::Broken(_) => Retry::Later,
        }
    }
}

/// What keeps this version from carrying out a job: told before anything is connected to or stored.
pub fn check_built(job: &Job) -> Result<(), SourceError> {
    match (&job.recipe, &job.compute) {
        (_, Compute::Serverless { .. }) => Err(not_built("a job without a server")),
        (Recipe::FileBackups(_), Compute::Server { .. }) => Ok(()),
        (other, Compute::Server { .. }) => Err(not_built(other.slug())),
    }
}

/// Trying again does not help: only another version does.
fn not_built(what: &str) -> SourceError {
    SourceError::Refused(format!("{what} is not carried out by this version yet"))
}

/// A dump that runs.
#[derive(Debug)]
pub struct Source {
    running: Running,
    report: files::SharedReport,
}

/// What a whole dump says of itself: what it could not read, one line each; empty where it read everything.
pub type SourceErrors = Vec<String>;

impl Source {
    /// Starts the dump. What it prints as errors is told to `on_line` as it comes.
    pub async fn start(
        session: &Session,
        recipe: &Recipe,
        on_line: impl FnMut(&str) + Send + 'static,
    ) -> Result<Self, SourceError> {
        match recipe {
            Recipe::FileBackups(config) => files::start(session, config, on_line).await,
            other => Err(not_built(other.slug())),
        }
    }

    /// The dump's bytes; once.
    pub fn take_stdout(&mut self) -> Result<ChildStdout, SourceError> {
        self.running.take_stdout().ok_or_else(|| SourceError::Broken("the dump has no output".to_owned()))
    }

    /// Tells whether the dump is whole, once its bytes were read to their end; `tail` is the end of them.
    ///
    /// Only the exit code, the format's own end mark and what was printed decide. That the bytes ended says nothing.
    pub async fn finish(self, tail: &[u8]) -> Result<SourceErrors, SourceError> {
        let exit = self.running.wait().await?;
        files::judge(exit.code, tail, &self.report.take())
    }
}
