//! A run: one attempt at a backup, from its claim to its record.
//!
//! The order of writes is the safety: every byte is stored and read back, then one conditional write makes the backup
//! `completed`. What was stored without that write is deleted here, or by whoever comes next.

mod connect;
mod execute;
mod hooks;
mod keeper;
mod limits;
mod log;
mod manifest;
mod targets;

use holdfast_shared::domain::backup::{Failure, Outcome};
use holdfast_shared::domain::hooks::Hook;
use holdfast_shared::domain::login::Login;
use holdfast_shared::domain::retry::Retry;
use holdfast_shared::service::{AfterFailure, Claim, Service};
use tokio_util::sync::CancellationToken;

use crate::delete;
use crate::recipe::SourceError;
use crate::remote::RemoteError;
use execute::{Finished, RunError};
use keeper::{Keeper, Kept, StopCause};

/// Runs a claimed backup to its record, and then what follows from it. Cancelling `shutdown` gives it back instead.
///
/// An error means that its end could not be recorded: the lease then runs out and another attempt follows.
pub async fn run(service: &Service, claim: Claim, shutdown: &CancellationToken) -> holdfast_shared::Result<()> {
    let kept = Kept::new(service, claim, shutdown);
    let keeper = Keeper::start(&kept);
    begin_log(&kept);
    let recorded = match execute::execute(&kept).await {
        Ok(finished) => commit(&kept, finished).await,
        Err(error) => not_stored(&kept, error).await,
    };
    keeper.end().await;
    let stored = recorded?;
    if stored {
        delete::expire(service, &kept.claim.backup.account, kept.claim.backup.job).await;
    }
    Ok(())
}

fn begin_log(kept: &Kept) {
    let Claim { backup, job, server, storages } = &*kept.claim;
    let storages: Vec<&str> = storages.iter().map(|storage| storage.name.as_str()).collect();
    let what = job.recipe.slug();
    kept.log.line(format!("attempt {}: {what} of job {} ({})", backup.attempt, job.name, job.id));
    let source = match server.as_ref().map(|server| &server.login) {
        Some(Login { host, port, user, .. }) => format!("{user}@{host} port {port}"),
        None => job.compute.kind().to_owned(),
    };
    kept.log.line(format!("from {source}, to {}", storages.join(", ")));
    if let Some(failure) = &backup.failure {
        kept.log.line(format!("the attempt before failed: {}", failure.message));
    }
}

/// Makes the backup `completed`; answers whether it is. Where that is refused, what was stored is deleted again.
async fn commit(kept: &Kept, finished: Finished) -> holdfast_shared::Result<bool> {
    let Finished { outcome, targets } = finished;
    let Outcome { status, files, source_errors, .. } = &outcome;
    let words = format!(
        "{}: {} bytes read, {} bytes stored, {} source errors",
        status.as_str(),
        files.iter().map(|file| file.plain_bytes).sum::<u64>(),
        files.iter().map(|file| file.stored_bytes).sum::<u64>(),
        source_errors.len(),
    );
    let status = *status;
    targets.discard_lost(&execute::prefix_of(kept)).await;
    kept.close_log(words).await;
    if kept.service.commit(&kept.claim, outcome).await? {
        tracing::info!(backup = %kept.claim.backup.id, job = kept.claim.job.name, status = status.as_str(), "run ended");
        return Ok(true);
    }
    kept.log.last_line("the lease was lost before the end: what was stored is deleted, another attempt counts");
    tracing::warn!(backup = %kept.claim.backup.id, "a late commit was refused");
    targets.discard(&execute::prefix_of(kept)).await;
    Ok(false)
}

/// Records an attempt that stored nothing; everything of it was deleted already.
async fn not_stored(kept: &Kept, error: RunError) -> holdfast_shared::Result<bool> {
    let id = kept.claim.backup.id;
    match kept.stop_cause() {
        Some(StopCause::Cancelled) => {
            kept.close_log("cancelled").await;
            kept.service.cancelled(&kept.claim).await?;
            tracing::info!(backup = %id, job = kept.claim.job.name, status = "cancelled", "run ended");
        }
        Some(StopCause::LeaseLost) => {
            kept.log.last_line("the lease was lost: stopped, another attempt counts");
            tracing::warn!(backup = %id, "a lease was lost; the run was stopped");
        }
        Some(StopCause::Shutdown) => {
            kept.log.last_line("this worker is stopping: given back, another attempt follows at once");
            kept.service.release(&kept.claim).await?;
            tracing::info!(backup = %id, "run given back");
        }
        Some(StopCause::Limit) | None => fail(kept, &error).await?,
    }
    Ok(false)
}

async fn fail(kept: &Kept, error: &RunError) -> holdfast_shared::Result<()> {
    let failure = Failure { kind: error.kind().to_owned(), message: error.to_string() };
    let retry = error.retry();
    let helpless = if retry == Retry::Never { "; trying again would not help" } else { "" };
    kept.close_log(format!("failed: {}{helpless}", failure.message)).await;
    let after = kept.service.fail(&kept.claim, failure, retry).await?;
    let next = match after {
        AfterFailure::Retry { delay_secs } => format!("the next attempt follows in {delay_secs} s"),
        AfterFailure::Ended => "that was the last attempt".to_owned(),
        AfterFailure::Lost => "the lease was lost meanwhile, another attempt counts".to_owned(),
    };
    if after != AfterFailure::Ended {
        kept.log.last_line(&next);
    }
    let (id, job, attempt) = (kept.claim.backup.id, &kept.claim.job.name, kept.claim.backup.attempt);
    tracing::warn!(backup = %id, job, attempt, error = error.chain(), next, "run failed");
    Ok(())
}

impl RunError {
    /// A stable word for [`Failure::kind`].
    fn kind(&self) -> &'static str {
        match self {
            Self::Source(SourceError::Remote(error)) => remote_kind(error),
            Self::Source(_) => "source",
            Self::Storage { .. } => "storage",
            Self::Refused(_) => "config",
            Self::PreScript(_) => Hook::Pre.field(),
            Self::Limit(exceeded) => exceeded.kind(),
            Self::Service(_) | Self::Internal(_) => "internal",
            Self::Stopped => "stopped",
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Source(error) => error.retry(),
            Self::Storage { retry, .. } => *retry,
            Self::Refused(_) | Self::PreScript(_) => Retry::Never,
            Self::Limit(exceeded) => exceeded.retry(),
            Self::Service(_) | Self::Internal(_) | Self::Stopped => Retry::Later,
        }
    }

    /// Display of it and of each source below, for one log line.
    fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }
}

fn remote_kind(error: &RemoteError) -> &'static str {
    match error.step() {
        "command" => "source",
        step => step,
    }
}
