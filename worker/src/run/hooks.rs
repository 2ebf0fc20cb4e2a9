//! Hooks: the scripts of a job's owner, on its server, before and after the run.
//!
//! A script is fed to a shell over its input, so that no list of processes shows it, and kept in a variable of that shell:
//! what the script itself runs has no input. What it prints goes to the run's log.

use std::time::Duration;

use holdfast_shared::domain::backup::Status;
use holdfast_shared::domain::hooks::{Hook, Hooks};
use holdfast_shared::domain::sealed::Secret;
use tokio::time::Instant;

use super::execute::{Finished, RunError};
use super::keeper::{Kept, StopCause};
use crate::recipe::SourceError;
use crate::remote::{Exit, Group, Machine, RemoteCommand, RemoteError};

/// How long a script may take; less where the run as a whole may not take as long.
const LIMIT: Duration = Duration::from_secs(5 * 60);
/// How much longer its connection is listened to.
const GRACE: Duration = Duration::from_secs(10);
/// How long the last script may take when this worker is stopping.
const HURRIED: Duration = Duration::from_secs(5);
/// Reads the script and becomes it.
const LAUNCH: &str = r#"script=$(cat) && exec </dev/null >&2 && eval "$script""#;
/// The exit code of a shell, or `timeout`, whose child was killed.
const EXIT_KILLED: i32 = 137;

/// Runs the first script, if there is one. Where it fails nothing may be read.
pub(super) async fn before(kept: &Kept, machine: &Machine, scripts: &Hooks<Secret>) -> Result<(), RunError> {
    let Some(script) = scripts.get(Hook::Pre) else { return Ok(()) };
    let mut script = Script::start(kept, machine, Hook::Pre, script, "running").await?;
    let ended = tokio::select! {
        biased;
        () = kept.stop.cancelled() => Err(RunError::Stopped),
        ended = script.end() => ended,
    };
    if !matches!(ended, Ok(None)) {
        machine.kill(&script.group).await;
    }
    match ended? {
        None => Ok(()),
        Some(why) => Err(RunError::PreScript(why)),
    }
}

/// Runs the last script, if there is one, whatever came of the run; where it fails, a whole run is one with errors.
///
/// A run whose lease is lost leaves it out: another attempt has begun.
pub(super) async fn after(
    kept: &Kept,
    machine: &Machine,
    scripts: &Hooks<Secret>,
    finished: Result<Finished, RunError>,
) -> Result<Finished, RunError> {
    let Some(script) = scripts.get(Hook::Post) else { return finished };
    let status = match &finished {
        Ok(finished) => finished.outcome.status.as_str(),
        Err(RunError::Stopped) => "stopped",
        Err(_) => Status::Failed.as_str(),
    };
    let Some(why) = run_last(kept, machine, script, status).await else { return finished };
    kept.log.line(format!("post_script {why}"));
    let mut finished = finished?;
    finished.outcome.status = Status::CompletedWithErrors;
    finished.outcome.source_errors.push(format!("post_script {why}"));
    Ok(finished)
}

/// Why it failed, if it did.
async fn run_last(kept: &Kept, machine: &Machine, script: &Secret, status: &str) -> Option<String> {
    if kept.stop_cause() == Some(StopCause::LeaseLost) {
        return Some("was not run: the lease was lost".to_owned());
    }
    let mut script = match Script::start(kept, machine, Hook::Post, script, status).await {
        Ok(script) => script,
        Err(error) => return Some(format!("could not be started: {error}")),
    };
    let ended = tokio::select! {
        ended = script.end() => ended,
        () = hurry(kept) => Ok(Some("was stopped, as this worker is stopping".to_owned())),
    };
    if !matches!(ended, Ok(None)) {
        machine.kill(&script.group).await;
    }
    ended.unwrap_or_else(|error| Some(format!("failed: {error}")))
}

/// Ends when the last script may take no longer: what its owner stopped may be put in order.
async fn hurry(kept: &Kept) {
    kept.stop.cancelled().await;
    match kept.stop_cause() {
        Some(StopCause::LeaseLost) => {}
        Some(StopCause::Shutdown) => tokio::time::sleep(HURRIED).await,
        Some(StopCause::Cancelled | StopCause::Limit) | None => std::future::pending().await,
    }
}

/// A script that runs.
struct Script {
    group: Group,
    waiting: tokio::task::JoinHandle<Result<Exit, RemoteError>>,
    limit: Duration,
    started: Instant,
}

impl Script {
    async fn start(
        kept: &Kept,
        machine: &Machine,
        hook: Hook,
        script: &Secret,
        status: &str,
    ) -> Result<Self, RunError> {
        let field = hook.field();
        if matches!(machine, Machine::Worker) {
            return Err(SourceError::Refused(format!("the job has a {field} and no server to run it on")).into());
        }
        let run_seconds = Duration::from_secs(u64::from(kept.claim.job.limits.run_seconds));
        let limit = LIMIT.min(run_seconds);
        let backup = &kept.claim.backup;
        let known = [
            format!("HOLDFAST_JOB={}", backup.job),
            format!("HOLDFAST_BACKUP={}", backup.id),
            format!("HOLDFAST_STATUS={status}"),
        ];
        let command = RemoteCommand::new("env").args(known).args(["sh", "-c", LAUNCH]);
        let command = command.stdin(script.expose().as_bytes().to_vec()).kill_after(limit);
        kept.log.line(format!("{field} started"));
        let log = kept.log.clone();
        let running = machine.spawn(command, move |line| log.line(format!("{field}: {line}"))).await?;
        let group = running.group();
        Ok(Self { group, waiting: tokio::spawn(running.wait()), limit, started: Instant::now() })
    }

    /// Why it failed, if it did; an error where nobody knows how it ended.
    async fn end(&mut self) -> Result<Option<String>, RunError> {
        let limit = self.limit.as_secs();
        let Ok(ended) = tokio::time::timeout(self.limit + GRACE, &mut self.waiting).await else {
            return Ok(Some(format!(
                "kept its output open for {limit} s; what it leaves running must not write there (>/dev/null 2>&1)"
            )));
        };
        let exit = match ended.map_err(|error| RunError::Internal(error.to_string()))? {
            // Its own exit code, which `timeout` happens to use too.
            Err(RemoteError::TimedOut { .. }) => return Ok(Some("ended with exit code 124".to_owned())),
            exit => exit?,
        };
        Ok(match exit.code {
            0 => None,
            EXIT_KILLED if self.started.elapsed() >= self.limit => {
                Some(format!("was still running after {limit} s and was killed, with what it had started"))
            }
            code => Some(format!("ended with exit code {code}{}", last_words(&exit.stderr))),
        })
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.waiting.abort();
    }
}

/// The last thing that it printed.
fn last_words(printed: &str) -> String {
    let last = printed.lines().map(str::trim).rfind(|line| !line.is_empty());
    last.map_or(String::new(), |line| format!("; the last it printed: {line}"))
}
