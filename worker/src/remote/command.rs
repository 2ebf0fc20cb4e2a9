//! A command on a server: its input fed, its errors collected line by line, its end told truly.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use openssh::{ChildStderr, ChildStdin, ChildStdout, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::task::JoinHandle;

use super::{RemoteError, Session};

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

/// What to run: a program and its arguments, each passed on as it is, whatever it holds.
///
/// No shell of ours interprets them. That an argument is not taken for an option is for the caller to see to. Nothing
/// secret belongs here: everyone on the server can read it.
#[derive(Debug, Clone)]
pub struct RemoteCommand {
    words: Vec<String>,
    stdin: Vec<u8>,
    limit: Duration,
}

impl RemoteCommand {
    /// The program, found by the server's `PATH`.
    pub fn new(program: &str) -> Self {
        Self { words: vec![program.to_owned()], stdin: Vec::new(), limit: DEFAULT_LIMIT }
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

/// A command that runs. Dropping it disconnects from it: it then ends at its next write, or at its time limit.
#[derive(Debug)]
pub struct Running {
    child: openssh::Child<Arc<openssh::Session>>,
    stdout: Option<ChildStdout>,
    stderr: JoinHandle<String>,
    limit: Duration,
}

impl Session {
    /// Starts a command under `timeout`, with messages in English so that they can be read. Each line that it prints as
    /// an error is told to `on_line` as it comes.
    pub async fn spawn(
        &self,
        command: RemoteCommand,
        on_line: impl FnMut(&str) + Send + 'static,
    ) -> Result<Running, RemoteError> {
        let RemoteCommand { words, stdin, limit } = command;
        let mut remote = self.master.clone().arc_command("env");
        remote.arg("LC_ALL=C").arg("timeout").arg("-k").arg(KILL_AFTER_SECS.to_string());
        remote.arg(limit.as_secs().to_string()).args(&words);
        remote.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = remote.spawn().await.map_err(|error| RemoteError::Local(std::io::Error::other(error)))?;
        if let Some(pipe) = child.stdin().take() {
            tokio::spawn(feed(pipe, stdin));
        }
        let stdout = child.stdout().take();
        if let Some(pipe) = &stdout {
            // A smaller pipe works as well.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
        }
        let stderr = tokio::spawn(collect(child.stderr().take(), on_line));
        Ok(Running { child, stdout, stderr, limit })
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
    /// What it prints; once.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.stdout.take()
    }

    /// Waits for its end, after its output was read to the end: an end of output alone means nothing, since a connection
    /// that breaks looks the same. ssh's own exit code 255 counts as a lost connection, whoever it came from.
    pub async fn wait(self) -> Result<Exit, RemoteError> {
        drop(self.stdout);
        let stderr = self.stderr.await.unwrap_or_default();
        let code = match self.child.wait().await {
            Ok(status) => status.code(),
            // The crate's word for 127.
            Err(openssh::Error::Remote(error)) if error.kind() == std::io::ErrorKind::NotFound => Some(127),
            Err(_) => None,
        };
        match code {
            Some(EXIT_TIMED_OUT) => Err(RemoteError::TimedOut { hours: self.limit.as_secs() / 3_600 }),
            Some(code) => Ok(Exit { code, stderr }),
            None => Err(RemoteError::Lost),
        }
    }
}

/// Writes all input and closes it. A command that does not read it to the end says so by its exit code.
async fn feed(mut pipe: ChildStdin, bytes: Vec<u8>) {
    let _ = pipe.write_all(&bytes).await;
    let _ = pipe.shutdown().await;
}

/// Tells each line and keeps the last ones.
async fn collect(pipe: Option<ChildStderr>, mut on_line: impl FnMut(&str)) -> String {
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
        on_line(&text);
        kept_bytes += text.len() + 1;
        kept.push_back(text);
        while kept_bytes > STDERR_BYTES {
            kept_bytes -= kept.pop_front().map_or(kept_bytes, |first: String| first.len() + 1);
        }
    }
    Vec::from(kept).join("\n")
}
