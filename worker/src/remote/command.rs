//! A command on a machine: its input fed, its errors collected line by line, its end told truly.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openssh::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::task::JoinHandle;

use super::{Machine, RemoteError};

/// How long a command may run unless told otherwise.
const DEFAULT_LIMIT: Duration = Duration::from_secs(24 * 3_600);
/// From the first signal to the one that cannot be caught, seconds.
const KILL_AFTER_SECS: u64 = 30;
/// How much of what a command prints as errors is kept: the end of it.
const STDERR_BYTES: usize = 64 << 10;
/// The longest line of errors that is told whole.
const STDERR_LINE_BYTES: u64 = 8 << 10;
/// The most that [`Session::output`] takes in.
const OUTPUT_BYTES: u64 = 64 << 10;
/// The pipe from ssh: the most that Linux gives without privileges, so that fewer wake-ups move more.
const PIPE_BYTES: usize = 1 << 20;

/// `timeout`'s own exit code ([coreutils](https://www.gnu.org/software/coreutils/manual/html_node/timeout-invocation.html)).
const EXIT_TIMED_OUT: i32 = 124;

/// Says whose child it is before it becomes the command: `timeout` leads a process group of its own number, with all that
/// the command starts in it.
const TELL_GROUP: &str = r#"echo "holdfast: group $PPID" >&2; exec "$@""#;
/// How that line begins.
const GROUP_WORDS: &str = "holdfast: group ";
/// Turns the end of a command that was killed into an exit code: `timeout` dies of the signal that its child died of, and to
/// ssh that looks like a lost connection.
const TELL_END: &str = r#""$@"; exit $?"#;
/// How long killing a group may take.
const KILL_LIMIT: Duration = Duration::from_secs(3);

/// What to run: a program and its arguments, each passed on as it is, whatever it holds.
///
/// No shell of ours interprets them. That an argument is not taken for an option is for the caller to see to. Nothing
/// secret belongs among the words: everyone on the machine can read them. What it is fed is not shown by Debug.
#[derive(Clone)]
pub struct RemoteCommand {
    words: Vec<String>,
    stdin: Vec<u8>,
    limit: Duration,
    is_killed: bool,
}

impl RemoteCommand {
    /// The program, found by the server's `PATH`.
    pub fn new(program: &str) -> Self {
        Self { words: vec![program.to_owned()], stdin: Vec::new(), limit: DEFAULT_LIMIT, is_killed: false }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.words.extend(args.into_iter().map(Into::into));
        self
    }

    /// What it reads on its standard input; nothing unless given.
    #[must_use]
    pub fn stdin(mut self, bytes: Vec<u8>) -> Self {
        self.stdin = bytes;
        self
    }

    /// How long it may run before it is stopped.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// How long it may run before it is killed with all that it started, none of which can catch that. Its exit code is
    /// then 137.
    #[must_use]
    pub fn kill_after(mut self, limit: Duration) -> Self {
        self.is_killed = true;
        self.limit(limit)
    }

    /// The words that are sent: the command, guarded by `timeout`, with messages in English.
    fn guarded(&self, wrap: &[String]) -> Vec<String> {
        let (after, secs) = (KILL_AFTER_SECS.to_string(), self.limit.as_secs().to_string());
        // Whoever kills a group is in it: somebody outside is left to tell what happened.
        let outer = (self.limit.as_secs() + KILL_AFTER_SECS).to_string();
        let guard: &[&str] = match self.is_killed {
            false => &["timeout", "-k", &after, &secs],
            true => &["timeout", "-k", &after, &outer, "sh", "-c", TELL_END, "sh", "timeout", "-s", "KILL", &secs],
        };
        let told = ["LC_ALL=C"].iter().chain(guard).chain(&["sh", "-c", TELL_GROUP, "sh"]);
        told.map(|word| (*word).to_owned()).chain(wrap.iter().chain(&self.words).cloned()).collect()
    }
}

impl fmt::Debug for RemoteCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteCommand").field("words", &self.words).field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code; 127 where the program was not found.
    pub code: i32,
    /// The last 64 KiB that it printed as errors.
    pub stderr: String,
}

/// What a short command printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// At most 64 KiB of its output.
    pub stdout: String,
}

/// What a command prints.
pub type Bytes = Box<dyn AsyncRead + Send + Unpin>;

/// The processes of a command, once its machine has told their number.
#[derive(Debug, Clone, Default)]
pub struct Group(Arc<OnceLock<i32>>);

/// A command that runs. Dropping it disconnects from it: it then ends at its next write, or at its time limit.
pub struct Running {
    child: Child,
    stdout: Option<Bytes>,
    stderr: JoinHandle<String>,
    limit: Duration,
    group: Group,
}

enum Child {
    Server(openssh::Child<Arc<openssh::Session>>),
    Worker(tokio::process::Child),
}

impl Machine {
    /// Starts a command under `timeout`, with messages in English so that they can be read. Each line that it prints as
    /// an error is told to `on_line` as it comes.
    pub async fn spawn(
        &self,
        command: RemoteCommand,
        on_line: impl FnMut(&str) + Send + 'static,
    ) -> Result<Running, RemoteError> {
        let words = command.guarded(self.wrap());
        let RemoteCommand { stdin, limit, .. } = command;
        match self {
            Self::Server(session) => {
                let mut remote = session.master.clone().arc_command("env");
                remote.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                let mut child = remote.spawn().await.map_err(|error| RemoteError::Local(io::Error::other(error)))?;
                let pipes = (child.stdin().take(), child.stdout().take(), child.stderr().take());
                Ok(Running::start(Child::Server(child), pipes, stdin, limit, on_line))
            }
            Self::Worker => {
                let mut local = tokio::process::Command::new("env");
                local.args(words).kill_on_drop(true);
                local.stdin(std::process::Stdio::piped());
                local.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
                let mut child = local.spawn().map_err(RemoteError::Local)?;
                let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
                Ok(Running::start(Child::Worker(child), pipes, stdin, limit, on_line))
            }
        }
    }

    /// Kills all processes of a command, as far as that is possible: what runs as another user lives on until it writes.
    /// To be asked only while the command may still run.
    pub async fn kill(&self, group: &Group) {
        let Some(number) = group.0.get() else { return };
        match self {
            Self::Server(_) => {
                let words = ["-c", r#"kill -s KILL -- "-$1""#, "sh", &number.to_string()].map(str::to_owned);
                let kill = self.output(RemoteCommand::new("sh").args(words).limit(KILL_LIMIT));
                // A server that cannot be reached any more has ended its side of the connection too.
                let _ = tokio::time::timeout(KILL_LIMIT, kill).await;
            }
            Self::Worker => {
                if let Some(pid) = rustix::process::Pid::from_raw(*number) {
                    // One that has ended needs no killing.
                    let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
                }
            }
        }
    }

    /// Runs a short command to its end.
    pub async fn output(&self, command: RemoteCommand) -> Result<Output, RemoteError> {
        let mut running = self.spawn(command, |_| ()).await?;
        let mut stdout = Vec::new();
        if let Some(mut pipe) = running.take_stdout() {
            (&mut pipe).take(OUTPUT_BYTES).read_to_end(&mut stdout).await.map_err(RemoteError::Local)?;
        }
        let exit = running.wait().await?;
        Ok(Output { exit, stdout: String::from_utf8_lossy(&stdout).into_owned() })
    }
}

impl Running {
    fn start<I, O, E>(
        child: Child,
        (input, output, errors): (Option<I>, Option<O>, Option<E>),
        stdin: Vec<u8>,
        limit: Duration,
        on_line: impl FnMut(&str) + Send + 'static,
    ) -> Self
    where
        I: AsyncWrite + Send + Unpin + 'static,
        O: AsyncRead + AsFd + Send + Unpin + 'static,
        E: AsyncRead + Send + Unpin + 'static,
    {
        if let Some(pipe) = input {
            tokio::spawn(feed(pipe, stdin));
        }
        if let Some(pipe) = &output {
            // A smaller pipe works as well.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
        }
        let group = Group::default();
        let stderr = tokio::spawn(collect(errors, group.clone(), on_line));
        Self { child, stdout: output.map(|pipe| Box::new(pipe) as Bytes), stderr, limit, group }
    }

    /// What it prints; once.
    pub fn take_stdout(&mut self) -> Option<Bytes> {
        self.stdout.take()
    }

    /// Its processes, for [`Machine::kill`].
    pub fn group(&self) -> Group {
        self.group.clone()
    }

    /// Waits for its end, after its output was read to the end: an end of output alone means nothing, since a connection
    /// that breaks looks the same. ssh's own exit code 255 counts as a lost connection, whoever it came from.
    pub async fn wait(self) -> Result<Exit, RemoteError> {
        drop(self.stdout);
        let stderr = self.stderr.await.unwrap_or_default();
        match self.child.wait().await {
            Some(EXIT_TIMED_OUT) => Err(RemoteError::TimedOut { hours: self.limit.as_secs() / 3_600 }),
            Some(code) => Ok(Exit { code, stderr }),
            None => Err(RemoteError::Lost),
        }
    }
}

impl Child {
    /// Its exit code; `None` where nobody knows.
    async fn wait(self) -> Option<i32> {
        match self {
            Self::Server(child) => match child.wait().await {
                Ok(status) => status.code(),
                // The crate's word for 127.
                Err(openssh::Error::Remote(error)) if error.kind() == io::ErrorKind::NotFound => Some(127),
                Err(_) => None,
            },
            Self::Worker(mut child) => child.wait().await.ok().as_ref().and_then(ExitStatus::code),
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Writes all input and closes it. A command that does not read it to the end says so by its exit code.
async fn feed(mut pipe: impl AsyncWrite + Unpin, bytes: Vec<u8>) {
    let _ = pipe.write_all(&bytes).await;
    let _ = pipe.shutdown().await;
}

/// Tells each line and keeps the last ones.
async fn collect(pipe: Option<impl AsyncRead + Unpin>, group: Group, mut on_line: impl FnMut(&str)) -> String {
    let Some(pipe) = pipe else { return String::new() };
    let (mut reader, mut kept, mut kept_bytes) = (BufReader::new(pipe), VecDeque::new(), 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(STDERR_LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if let Some(Ok(number)) = text.strip_prefix(GROUP_WORDS).map(str::parse)
            && group.0.set(number).is_ok()
        {
            continue;
        }
        on_line(&text);
        kept_bytes += text.len() + 1;
        kept.push_back(text);
        while kept_bytes > STDERR_BYTES {
            kept_bytes -= kept.pop_front().map_or(kept_bytes, |first: String| first.len() + 1);
        }
    }
    Vec::from(kept).join("\n")
}
