//! Limits: how long a run may take or wait, how fast it reads, how much, and how politely.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use holdfast_shared::domain::limits::Limits;
use holdfast_shared::domain::retry::Retry;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf, Take};
use tokio::time::{Instant, Sleep, sleep_until};

use super::execute::RunError;
use super::keeper::{Kept, StopCause};
use crate::remote::{Machine, RemoteCommand};

/// How often a run is looked at: a tenth of what it may wait, within these.
const MIN_LOOK: Duration = Duration::from_millis(100);
const MAX_LOOK: Duration = Duration::from_secs(5);
/// How many reads a second a bandwidth is cut into.
const READS_PER_SECOND: u64 = 20;
/// How much time that was not used for reading may be made up for.
const BURST: Duration = Duration::from_millis(250);
/// How much of what the source says it waits for is told.
const MAX_TOLD_CHARS: usize = 500;
/// How long looking for `ionice` may take, or asking what the source waits for.
const LOOK_LIMIT: Duration = Duration::from_secs(20);

/// Which limit of its job a run has come to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Exceeded {
    /// It took too long.
    #[error("the run was stopped after {0} s; raise limits.run_seconds, or split the job")]
    Time(u32),
    /// Nothing came and nothing went.
    #[error("no byte was read or stored for {secs} s: waited for {what}; the run was stopped (limits.stall_seconds)")]
    Stalled {
        /// For so long.
        secs: u32,
        /// What was waited for.
        what: String,
    },
    /// The source is too large.
    #[error("the source has more than {0} bytes, the job's limit; raise limits.max_bytes, or exclude something")]
    Size(u64),
}

impl Exceeded {
    /// A stable word for the failure's kind.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Stalled { .. } => "stall",
            Self::Time(_) | Self::Size(_) => "limit",
        }
    }

    /// Whether trying again can help.
    pub(super) fn retry(&self) -> Retry {
        match self {
            Self::Stalled { .. } => Retry::Later,
            Self::Time(_) | Self::Size(_) => Retry::Never,
        }
    }

    /// The limit that made reading fail, if one did.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().cloned()
    }
}

/// The limits of a run, and how close it is to them.
#[derive(Debug)]
pub(super) struct RunLimits {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The storages that owe an answer, once for each.
    owing: Vec<String>,
    /// Bytes read from the source, over all files.
    taken: u64,
    /// When the next bytes may be read.
    next_read: Instant,
    /// What tells what the source waits for.
    question: Option<RemoteCommand>,
}

/// Something that a storage owes an answer to, until it is dropped.
pub(super) struct Owing<'a> {
    limits: &'a RunLimits,
    storage: &'a str,
}

impl RunLimits {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: Mutex::new(State { owing: Vec::new(), taken: 0, next_read: Instant::now(), question: None }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a storage was asked, until the answer is dropped.
    pub(super) fn owing<'a>(&'a self, storage: &'a str) -> Owing<'a> {
        self.state().owing.push(storage.to_owned());
        Owing { limits: self, storage }
    }

    /// Notes what can be run to tell what the source waits for, from now on.
    pub(super) fn ask_by(&self, question: Option<RemoteCommand>) {
        self.state().question = question;
    }

    /// Storages that are waited for; empty where it is the source.
    fn owed_by(&self) -> Vec<String> {
        let mut owing = self.state().owing.clone();
        owing.sort_unstable();
        owing.dedup();
        owing
    }

    /// What is waited for, as far as storages and source can tell.
    async fn waited_for(&self, machine: &Machine) -> String {
        let owing = self.owed_by();
        if !owing.is_empty() {
            return format!("storage {}", owing.join(", "));
        }
        let question = self.state().question.clone();
        let Some(question) = question else { return "the source".to_owned() };
        let asked = tokio::time::timeout(LOOK_LIMIT, machine.output(question.limit(LOOK_LIMIT))).await;
        let told = asked.ok().and_then(Result::ok).filter(|told| told.exit.code == 0).map(|told| told.stdout);
        let lines: Vec<String> = told.iter().flat_map(|told| told.lines()).map(|line| line.trim().to_owned()).collect();
        match lines.iter().find(|line| !line.is_empty()) {
            Some(line) => line.chars().take(MAX_TOLD_CHARS).collect(),
            None => "the source".to_owned(),
        }
    }

    /// The most to read at once.
    fn step(&self) -> u64 {
        self.limits.bandwidth_limit.map_or(u64::MAX, |rate| (rate / READS_PER_SECOND).max(1))
    }

    /// Counts bytes that were read at `now`.
    fn took(&self, bytes: u64, now: Instant) -> Result<(), Exceeded> {
        let mut state = self.state();
        state.taken += bytes;
        if let Some(rate) = self.limits.bandwidth_limit {
            let from = now.checked_sub(BURST).map_or(state.next_read, |earliest| earliest.max(state.next_read));
            state.next_read = from + Duration::from_secs_f64(bytes as f64 / rate as f64);
        }
        match self.limits.max_bytes {
            Some(most) if state.taken > most => Err(Exceeded::Size(most)),
            _ => Ok(()),
        }
    }
}

impl Drop for Owing<'_> {
    fn drop(&mut self) {
        let mut state = self.limits.state();
        if let Some(place) = state.owing.iter().position(|owing| owing == self.storage) {
            state.owing.swap_remove(place);
        }
    }
}

/// Does the work of a run within its time and without standing still. Where it does not stay within them it is stopped, and
/// may still delete what it stored.
pub(super) async fn within<T>(
    kept: &Kept,
    machine: &Machine,
    work: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    let mut work = std::pin::pin!(work);
    let exceeded = tokio::select! {
        done = &mut work => return done,
        exceeded = watch(kept, machine) => exceeded,
    };
    kept.stop_because(StopCause::Limit);
    match work.await {
        Err(RunError::Stopped) if kept.stop_cause() == Some(StopCause::Limit) => Err(exceeded.into()),
        done => done,
    }
}

/// Ends when a limit of time is exceeded.
async fn watch(kept: &Kept, machine: &Machine) -> Exceeded {
    let Limits { run_seconds, stall_seconds, .. } = kept.limits.limits;
    let (end, stall) = (Instant::now() + secs(run_seconds), secs(stall_seconds));
    let look = (stall / 10).clamp(MIN_LOOK, MAX_LOOK);
    let bytes = || (kept.meter.bytes_read(), kept.meter.bytes_stored());
    let (mut seen, mut looked_at, mut waited) = (bytes(), Instant::now(), Duration::ZERO);
    loop {
        sleep_until(end.min(looked_at + look)).await;
        let (now, before) = (Instant::now(), looked_at);
        looked_at = now;
        if now >= end {
            return Exceeded::Time(run_seconds);
        }
        // A worker that was itself put to sleep has not waited for anybody.
        waited += now.duration_since(before).min(2 * look);
        if seen != bytes() {
            (seen, waited) = (bytes(), Duration::ZERO);
        }
        if waited >= stall {
            return Exceeded::Stalled { secs: stall_seconds, what: kept.limits.waited_for(machine).await };
        }
    }
}

fn secs(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

/// Has the dump leave others precedence, if its job wants so.
pub(super) async fn be_polite(kept: &Kept, machine: &mut Machine) {
    if !kept.limits.limits.nice {
        return;
    }
    let ionice = machine.output(RemoteCommand::new("ionice").args(["-c3", "true"]).limit(LOOK_LIMIT)).await;
    let words: &[&str] = match ionice.is_ok_and(|tried| tried.exit.code == 0) {
        true => &["nice", "-n", "10", "ionice", "-c3"],
        false => &["nice", "-n", "10"],
    };
    kept.log.line(format!("the dump runs by {}", words.join(" ")));
    machine.run_by(words);
}

/// Bytes of the source, no faster and no more than the job allows.
pub(super) struct Limited<R> {
    source: Take<R>,
    limits: Arc<RunLimits>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<R: AsyncRead> Limited<R> {
    pub(super) fn new(source: R, limits: Arc<RunLimits>) -> Self {
        Self { source: source.take(0), limits, pause: None }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Limited<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            let next_read = this.limits.state().next_read;
            if next_read <= Instant::now() {
                break;
            }
            this.pause = Some(Box::pin(sleep_until(next_read)));
        }
        this.source.set_limit(this.limits.step());
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.source).poll_read(cx, buf))?;
        let bytes = (buf.filled().len() - before) as u64;
        let within = this.limits.took(bytes, Instant::now());
        if within.is_err() {
            // A read that fails has read nothing.
            buf.set_filled(before);
        }
        Poll::Ready(within.map_err(io::Error::other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    async fn read(limits: Limits, source: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limits = Arc::new(RunLimits::new(limits));
        Limited::new(source, limits).read_to_end(&mut bytes).await.map(|_| bytes)
    }

    #[tokio::test]
    async fn a_source_may_have_its_limit_and_no_byte_more() {
        let source = [7; 1_000];
        let limit = |most| Limits { max_bytes: Some(most), ..Limits::default() };
        assert_eq!(read(limit(1_000), &source).await.unwrap(), source);
        let refused = read(limit(999), &source).await.unwrap_err();
        assert_eq!(Exceeded::of(&refused), Some(Exceeded::Size(999)));
        assert_eq!(Exceeded::of(&io::Error::other("other")), None);
    }

    #[tokio::test]
    async fn the_limit_of_size_holds_over_all_files() {
        let limits = Arc::new(RunLimits::new(Limits { max_bytes: Some(10), ..Limits::default() }));
        let mut bytes = Vec::new();
        Limited::new(&[1; 6][..], limits.clone()).read_to_end(&mut bytes).await.unwrap();
        assert!(Limited::new(&[1; 6][..], limits).read_to_end(&mut bytes).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn bandwidth_is_what_was_asked_for() {
        let source = vec![7; 10 * MIB as usize];
        let started = Instant::now();
        let limits = Limits { bandwidth_limit: Some(MIB), ..Limits::default() };
        assert_eq!(read(limits, &source).await.unwrap(), source);
        let took = started.elapsed().as_secs_f64();
        assert!((9.5..10.5).contains(&took), "{took} s for 10 s worth of bytes");
        let started = Instant::now();
        read(Limits::default(), &source).await.unwrap();
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_read_in_time_is_not_made_up_for() {
        let limits = RunLimits::new(Limits { bandwidth_limit: Some(1_000), ..Limits::default() });
        tokio::time::advance(Duration::from_secs(60)).await;
        let now = Instant::now();
        for _ in 0..10 {
            limits.took(50, now).unwrap();
        }
        assert_eq!(limits.state().next_read - now, Duration::from_millis(250));
    }

    #[test]
    fn waiting_names_each_storage_once_or_the_source() {
        let limits = RunLimits::new(Limits::default());
        assert!(limits.owed_by().is_empty());
        let (first, again, other) = (limits.owing("main"), limits.owing("main"), limits.owing("far"));
        assert_eq!(limits.owed_by(), ["far", "main"]);
        drop((first, other));
        assert_eq!(limits.owed_by(), ["main"]);
        drop(again);
        assert!(limits.owed_by().is_empty());
    }
}
