//! Targets: the storages of a run. Each step is done at all of them at once, and one that fails or falls behind is left to
//! itself: it gets its copy later, from one that holds.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use holdfast_shared::aws::objects::{Objects, ObjectsError};
use holdfast_shared::domain::retry::Retry;
use holdfast_shared::domain::storage::Storage;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::execute::RunError;
use super::log::RunLog;

/// How much longer a storage may take for a step than the first that is done. A call rides out a failing store for about
/// a minute, so one that is only throttled for a while stays.
const LAG_LIMIT: Duration = Duration::from_secs(90);
/// How much more it may take to send so many bytes: below this rate it does not keep up.
const SLOWEST_BYTES_PER_SECOND: u64 = 1 << 20;
/// How much longer it may take to make an object of its parts: thousands of them take a store minutes.
pub(super) const COMPLETE_LAG: Duration = Duration::from_secs(600);
/// How long the run waits for a storage that it gave up on to take back what it began.
const DISCARD_LIMIT: Duration = Duration::from_secs(15);

/// A storage of the run and its bucket.
pub(super) struct Target {
    pub storage: Storage,
    pub objects: Objects,
    lost: Mutex<Option<Lost>>,
    /// Ends whatever is under way there once it is lost.
    gone: CancellationToken,
}

/// Why a storage has no copy.
#[derive(Debug, Clone)]
struct Lost {
    message: String,
    retry: Retry,
}

impl Target {
    pub(super) fn new(storage: Storage, objects: Objects) -> Self {
        Self { storage, objects, lost: Mutex::default(), gone: CancellationToken::new() }
    }

    /// Why it has no copy; `None` while it has all of it.
    pub(super) fn lost(&self) -> Option<String> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|lost| lost.message.clone())
    }

    /// Deletes what was stored there below `prefix`, as far as the store lets it: what stays is swept later.
    async fn discard(&self, prefix: &str) {
        if let Err(error) = self.objects.sweep_prefix(prefix, |_| false).await {
            tracing::warn!(storage = self.storage.id, prefix, %error, "objects stay behind until they are swept");
        }
    }
}

/// All storages of a run, by priority.
pub(super) struct Targets {
    all: Vec<Arc<Target>>,
    log: Arc<RunLog>,
}

impl Targets {
    pub(super) fn new(all: Vec<Target>, log: Arc<RunLog>) -> Self {
        Self { all: all.into_iter().map(Arc::new).collect(), log }
    }

    pub(super) fn all(&self) -> &[Arc<Target>] {
        &self.all
    }

    /// Does `work`, told by the storage's place, at every storage that is not lost, at once; answers what each of them
    /// made of it. Fails when none is left. Who fails is lost, and so is who takes much longer than the first that is done.
    pub(super) async fn everywhere<T, F>(
        &self,
        work: impl Fn(usize, Arc<Target>) -> F,
    ) -> Result<Vec<Option<T>>, RunError>
    where
        F: Future<Output = Result<T, ObjectsError>>,
    {
        self.everywhere_within(LAG_LIMIT, work).await
    }

    /// The same, for sending so many bytes.
    pub(super) async fn send_everywhere<F>(
        &self,
        bytes: usize,
        work: impl Fn(usize, Arc<Target>) -> F,
    ) -> Result<(), RunError>
    where
        F: Future<Output = Result<(), ObjectsError>>,
    {
        let lag = LAG_LIMIT + Duration::from_secs(bytes as u64 / SLOWEST_BYTES_PER_SECOND);
        self.everywhere_within(lag, work).await.map(drop)
    }

    /// The same with `lag` as the time that a storage may take longer than the first that is done.
    pub(super) async fn everywhere_within<T, F>(
        &self,
        lag: Duration,
        work: impl Fn(usize, Arc<Target>) -> F,
    ) -> Result<Vec<Option<T>>, RunError>
    where
        F: Future<Output = Result<T, ObjectsError>>,
    {
        let mut results: Vec<Option<T>> = self.all.iter().map(|_| None).collect();
        let mut waiting: Vec<usize> = Vec::with_capacity(self.all.len());
        let mut under_way = FuturesUnordered::new();
        for (place, target) in self.all.iter().enumerate().filter(|(_, target)| !target.gone.is_cancelled()) {
            let done = work(place, target.clone());
            waiting.push(place);
            under_way.push(async move {
                tokio::select! {
                    biased;
                    // Lost by another step that ran beside this one.
                    () = target.gone.cancelled() => (place, None),
                    done = done => (place, Some(done)),
                }
            });
        }
        let mut until = None;
        loop {
            let next = match until {
                None => Ok(under_way.next().await),
                Some(until) => timeout_at(until, under_way.next()).await,
            };
            match next {
                Ok(None) => break,
                Ok(Some((place, done))) => {
                    waiting.retain(|other| *other != place);
                    match done {
                        None => {}
                        Some(Ok(done)) => {
                            results[place] = Some(done);
                            until.get_or_insert_with(|| Instant::now() + lag);
                        }
                        Some(Err(error)) => self.lose(place, error.to_string(), error.retry()),
                    }
                }
                Err(_) => {
                    let words = format!("it fell {} s behind the other storages", lag.as_secs());
                    waiting.drain(..).for_each(|place| self.lose(place, words.clone(), Retry::Later));
                    break;
                }
            }
        }
        self.check_any()?;
        Ok(results)
    }

    /// Leaves a storage to itself.
    pub(super) fn lose(&self, place: usize, message: String, retry: Retry) {
        let target = &self.all[place];
        self.log.line(format!("storage {}: {message}", target.storage.name));
        tracing::warn!(storage = target.storage.id, error = message, "a storage of a run is left behind");
        let lost = Lost { message, retry };
        target.lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(lost);
        target.gone.cancel();
    }

    /// Fails when no storage is left, with what each of them said.
    pub(super) fn check_any(&self) -> Result<(), RunError> {
        let lost = |target: &Arc<Target>| {
            let lost = target.lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
            lost.map(|lost| (format!("storage {}: {}", target.storage.name, lost.message), lost.retry))
        };
        let lost: Vec<_> = self.all.iter().filter_map(lost).collect();
        if lost.len() < self.all.len() {
            return Ok(());
        }
        // Trying again helps if it helps any of them.
        let later = lost.iter().any(|(_, retry)| *retry == Retry::Later);
        let message = lost.into_iter().map(|(message, _)| message).collect::<Vec<_>>().join("; ");
        Err(RunError::Storage { message, retry: if later { Retry::Later } else { Retry::Never } })
    }

    /// Deletes what was stored below `prefix` in all of them.
    pub(super) async fn discard(&self, prefix: &str) {
        let kept = self.all.iter().filter(|target| !target.gone.is_cancelled());
        tokio::join!(join_all(kept.map(|target| target.discard(prefix))), self.discard_lost(prefix));
    }

    /// The same where it did not come to its end; who does not answer is left to whoever copies there.
    pub(super) async fn discard_lost(&self, prefix: &str) {
        let lost = self.all.iter().filter(|target| target.gone.is_cancelled());
        join_all(lost.map(|target| timeout(DISCARD_LIMIT, target.discard(prefix)))).await;
    }
}
