//! Recipes: how each kind of source is dumped, and how its end is told from its being cut off. A folder or file per source.
//!
//! A recipe first looks at its source and [`plan`]s: one [`Dump`] for each file that the backup will have. Each is then
//! started, read to its end, and judged by its own [`Judge`].

mod complaints;
pub mod files;
pub mod laravel_forge;
pub mod mongodb;
pub mod mysql;
pub mod postgresql;
pub mod redis;
pub mod sqlite;
mod tls;
mod url;
mod watched;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_shared::domain::job::Job;
use holdfast_shared::domain::object_key::FileName;
use holdfast_shared::domain::recipe::{Access, Recipe, Tls};
use holdfast_shared::domain::retry::Retry;
use holdfast_shared::domain::sealed::{Sealed, Secret};
use holdfast_shared::service::Service;
use tokio::io::AsyncRead;

use crate::remote::{Bytes, Group, Machine, Relay, RemoteCommand, RemoteError, Road, Running, Wire};
use watched::Watched;

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

/// What a recipe is carried out with.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Where its tools run.
    pub machine: &'a Machine,
    /// Whose recipe it is.
    pub job: &'a Job,
    /// What opens its secrets.
    pub service: &'a Service,
    /// How tools that run on the worker reach the source; `None` where they run on a server, and find their own way.
    pub road: Option<&'a Arc<Road>>,
}

/// Where a tool finds the server of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// What to connect to; `None` for the machine on which the tool runs.
    pub host: Option<String>,
    /// Its port.
    pub port: u16,
    /// The host as the job names it, also where `host` and `port` are only what leads there; a certificate has to name it.
    pub name: Option<String>,
    /// Whether `host` and `port` are a port of ours that leads there.
    pub is_ours: bool,
    /// Whether that speaks TLS in place of the tool.
    pub is_relayed: bool,
}

/// TLS that is asked for of a connection, and how its protocol begins.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// What the job asks for.
    pub tls: &'a Tls,
    /// The field of the job that does.
    pub field: &'static str,
    /// How the protocol begins.
    pub wire: Wire,
}

impl Asked<'_> {
    /// A secret of the job's config in the open, by its field's key.
    pub fn secret(&self, key: &str, sealed: &Sealed) -> Result<Secret, SourceError> {
        Ok(self.service.open_config_secret(self.job, key, sealed)?)
    }

    /// Where a tool of this job finds its database server. A tool on the worker gets a local port that leads there: the
    /// address that the guard judged, or what the job's proxy connects to, and nothing else. There `asking` is seen to by
    /// a relay; elsewhere, and without it, by the tool.
    pub async fn reach(&self, access: &Access, asking: Option<Asking<'_>>) -> Result<Reach, SourceError> {
        let name = access.host.as_ref().map(ToString::to_string);
        let Some(road) = self.road else {
            return Ok(Reach { host: name.clone(), port: access.port, name, is_ours: false, is_relayed: false });
        };
        let Some(host) = &access.host else {
            let message = "without a server the job has to name the database's host; set it";
            return Err(SourceError::Refused(message.to_owned()));
        };
        let relay = asking.map(|Asking { tls, field, wire }| Relay::new(wire, tls, host, access.port, field));
        let relay = relay.transpose()?.flatten();
        let is_relayed = relay.is_some();
        let address = road.relayed_port(host, access.port, relay).await?;
        Ok(Reach { host: Some(address.ip().to_string()), port: address.port(), name, is_ours: true, is_relayed })
    }
}

/// Looks at the source and tells what will be dumped: at least one dump, in the order of the backup's files.
pub async fn plan(asked: &Asked<'_>) -> Result<Vec<Dump>, SourceError> {
    match &asked.job.recipe {
        Recipe::FileBackups(config) => files::plan(asked.machine, config).await,
        Recipe::UrlBackups(config) => url::plan(asked, config).await,
        Recipe::MongodbBackups(config) => mongodb::plan(asked, config).await,
        Recipe::PostgresqlBackups(config) => postgresql::plan(asked, config).await,
        Recipe::RedisBackups(config) => redis::plan(asked, config).await,
        Recipe::SqliteBackups(config) => sqlite::plan(config),
        Recipe::LaravelForgeBackups(config) => laravel_forge::plan(asked, config).await,
        Recipe::MysqlBackups(config) => mysql::plan(asked, config).await,
    }
}

/// What a whole dump says of itself: what it could not read, one line each; empty where it read everything.
pub type SourceErrors = Vec<String>;

/// Hears what a dump prints as errors, and tells in the end whether it is whole.
pub trait Judge: fmt::Debug + Send {
    /// Takes in a line that the dump printed as an error.
    fn hear(&mut self, line: &str);

    /// Takes in the bytes of the dump in their order, each once, before they go on: for formats of which the end alone
    /// does not prove the whole. It is called for each read, so it must be quick and keep no more than it needs.
    fn see(&mut self, _bytes: &[u8]) {}

    /// How many of the last bytes are kept back until the tool has closed its output; see [`Judge::leave_out`].
    fn keeps_back(&self) -> usize {
        0
    }

    /// Tells how many bytes at the end of `end`, the last ones that the tool printed, are not the dump's: they are neither
    /// stored nor shown to [`Judge::see`]. At most [`Judge::keeps_back`].
    fn leave_out(&self, _end: &[u8]) -> usize {
        0
    }

    /// What the log says of a whole dump that its owner should know and that is no fault.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

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
    /// What tells on its output what the source waits for, should the dump stand still.
    pub question: Option<RemoteCommand>,
    origin: Origin,
    judge: Box<dyn Judge>,
}

/// Where a dump's bytes come from.
enum Origin {
    /// A command prints them.
    Command(RemoteCommand),
    /// The worker reads them by itself.
    Bytes(Bytes),
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => f.debug_tuple("Command").field(command).finish(),
            Self::Bytes(_) => f.write_str("Bytes(…)"),
        }
    }
}

impl Dump {
    /// What a command prints, judged by `judge`.
    pub fn of_command(name: FileName, command: RemoteCommand, judge: impl Judge + 'static) -> Self {
        Self::new(name, Origin::Command(command), judge)
    }

    /// What the worker reads by itself, judged by `judge`, which hears nothing and is told of exit 0. A read that fails
    /// ends the dump.
    pub fn of_bytes(
        name: FileName,
        bytes: impl AsyncRead + Send + Unpin + 'static,
        judge: impl Judge + 'static,
    ) -> Self {
        Self::new(name, Origin::Bytes(Box::new(bytes)), judge)
    }

    fn new(name: FileName, origin: Origin, judge: impl Judge + 'static) -> Self {
        Self { name, notes: Vec::new(), question: None, origin, judge: Box::new(judge) }
    }

    /// Has `question` run where the dump stands still; what it prints tells what the source waits for.
    #[must_use]
    pub fn asking(self, question: RemoteCommand) -> Self {
        Self { question: Some(question), ..self }
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
        let command = match self.origin {
            Origin::Command(command) => command,
            Origin::Bytes(bytes) => return Ok(Source { bytes: Some(bytes), running: None, judge }),
        };
        let hearing = judge.clone();
        let mut running = machine
            .spawn(command, move |line| {
                hearing.lock().hear(line);
                on_line(line);
            })
            .await?;
        Ok(Source { bytes: running.take_stdout(), running: Some(running), judge })
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
pub struct Source {
    bytes: Option<Bytes>,
    /// The command that prints them, if one does.
    running: Option<Running>,
    judge: SharedJudge,
}

impl Source {
    /// The dump's bytes; once.
    pub fn take_bytes(&mut self) -> Result<Bytes, SourceError> {
        let bytes = self.bytes.take().ok_or_else(|| SourceError::Broken("the dump has no output".to_owned()))?;
        Ok(Box::new(Watched::new(bytes, self.judge.clone())))
    }

    /// The processes that make it.
    pub fn group(&self) -> Group {
        self.running.as_ref().map(Running::group).unwrap_or_default()
    }

    /// Tells whether the dump is whole; see [`Judge::judge`]. What else there is to say of it is told to `on_remark`.
    pub async fn finish(self, tail: &[u8], on_remark: impl FnMut(String)) -> Result<SourceErrors, SourceError> {
        drop(self.bytes);
        let code = match self.running {
            Some(running) => running.wait().await?.code,
            None => 0,
        };
        let judge = self.judge.lock();
        let errors = judge.judge(code, tail)?;
        judge.remarks().into_iter().for_each(on_remark);
        Ok(errors)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("running", &self.running).field("judge", &self.judge).finish_non_exhaustive()
    }
}
