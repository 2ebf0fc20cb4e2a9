//! Recipes: how each kind of source is dumped, and how its end is told from its being cut off. A folder or file per source.
//!
//! A recipe first looks at its source and [`plan`]s: one [`Dump`] for each file that the backup will have. Each is then
//! started, read to its end, and judged by its own [`Judge`].

pub mod files;
pub mod laravel_forge;
pub mod mysql;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_shared::domain::job::{Compute, Job};
use holdfast_shared::domain::object_key::FileName;
use holdfast_shared::domain::recipe::Recipe;
use holdfast_shared::domain::retry::Retry;
use holdfast_shared::domain::sealed::{Sealed, Secret};
use holdfast_shared::service::Service;

use crate::remote::{Bytes, Machine, RemoteCommand, RemoteError, Running};

/// A dump could not be taken, or not whole. Display is safe to show to the job's owner.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The server.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// One of our own records.
    #[error(transparent)]
    Service(#[from] holdfast_shared::Error),
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
            Self::Service(_) | Self::Broken(_) => Retry::Later,
        }
    }
}

/// What keeps this version from carrying out a job: told before anything is connected to or stored.
pub fn check_built(job: &Job) -> Result<(), SourceError> {
    match (&job.recipe, &job.compute) {
        (_, Compute::Serverless { .. }) => Err(not_built("a job without a server")),
        (Recipe::FileBackups(_) | Recipe::LaravelForgeBackups(_) | Recipe::MysqlBackups(_), Compute::Server { .. }) => {
            Ok(())
        }
        (other, Compute::Server { .. }) => Err(not_built(other.slug())),
    }
}

/// Trying again does not help: only another version does.
fn not_built(what: &str) -> SourceError {
    SourceError::Refused(format!("{what} is not carried out by this version yet"))
}

/// What a recipe is carried out with.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Where its tools run.
    pub machine: &'a Machine,
    /// Whose recipe it is.
    pub job: &'a Job,
    /// What opens its secrets.
    pub service: &'a Service,
}

impl Asked<'_> {
    /// A secret of the job's config in the open, by its field's key.
    pub fn secret(&self, key: &str, sealed: &Sealed) -> Result<Secret, SourceError> {
        Ok(self.service.open_config_secret(self.job, key, sealed)?)
    }
}

/// Looks at the source and tells what will be dumped: at least one dump, in the order of the backup's files.
pub async fn plan(asked: &Asked<'_>) -> Result<Vec<Dump>, SourceError> {
    match &asked.job.recipe {
        Recipe::FileBackups(config) => files::plan(asked.machine, config).await,
        Recipe::LaravelForgeBackups(config) => laravel_forge::plan(asked.machine, config).await,
        Recipe::MysqlBackups(config) => mysql::plan(asked, config).await,
        other => Err(not_built(other.slug())),
    }
}

/// What a whole dump says of itself: what it could not read, one line each; empty where it read everything.
pub type SourceErrors = Vec<String>;

/// Hears what a dump prints as errors, and tells in the end whether it is whole.
pub trait Judge: fmt::Debug + Send {
    /// Takes in a line that the dump printed as an error.
    fn hear(&mut self, line: &str);

    /// Tells whether the dump is whole, once its bytes were read to their end and its tool ended with `code`; `tail` is
    /// the end of the bytes, at most 4 KiB.
    ///
    /// Only the exit code, the format's own end mark and what was printed decide. That the bytes ended says nothing.
    fn judge(&self, code: i32, tail: &[u8]) -> Result<SourceErrors, SourceError>;
}

/// A dump that can be started: it becomes one file of the backup.
#[derive(Debug)]
pub struct Dump {
    /// The file's name without what compression and encryption add to it, such as `shop.sql`.
    pub name: FileName,
    /// What the log tells of it before it starts.
    pub notes: Vec<String>,
    command: RemoteCommand,
    judge: Box<dyn Judge>,
}

impl Dump {
    /// What a command prints, judged by `judge`.
    pub fn of_command(name: FileName, command: RemoteCommand, judge: impl Judge + 'static) -> Self {
        Self { name, notes: Vec::new(), command, judge: Box::new(judge) }
    }

    /// Adds to what the log tells of it.
    #[must_use]
    pub fn noting(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// Starts it. What it prints as errors is told to `on_line` too, as it comes.
    pub async fn start(
        self,
        machine: &Machine,
        mut on_line: impl FnMut(&str) + Send + 'static,
    ) -> Result<Source, SourceError> {
        let judge = SharedJudge(Arc::new(Mutex::new(self.judge)));
        let hearing = judge.clone();
        let running = machine
            .spawn(self.command, move |line| {
                hearing.lock().hear(line);
                on_line(line);
            })
            .await?;
        Ok(Source { running, judge })
    }
}

/// A judge that hears while others wait for its verdict.
#[derive(Debug, Clone)]
struct SharedJudge(Arc<Mutex<Box<dyn Judge>>>);

impl SharedJudge {
    fn lock(&self) -> MutexGuard<'_, Box<dyn Judge>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A dump that runs.
#[derive(Debug)]
pub struct Source {
    running: Running,
    judge: SharedJudge,
}

impl Source {
    /// The dump's bytes; once.
    pub fn take_bytes(&mut self) -> Result<Bytes, SourceError> {
        self.running.take_stdout().ok_or_else(|| SourceError::Broken("the dump has no output".to_owned()))
    }

    /// Tells whether the dump is whole; see [`Judge::judge`].
    pub async fn finish(self, tail: &[u8]) -> Result<SourceErrors, SourceError> {
        let exit = self.running.wait().await?;
        self.judge.lock().judge(exit.code, tail)
    }
}
