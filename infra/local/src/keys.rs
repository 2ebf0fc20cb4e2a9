//! `holdfast key`: what the operator does with the sealing keys, beside a running `serve` or without one.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use holdfast_functions::administration::Command;
use holdfast_functions::maintenance::reason;
use holdfast_shared::service::SealingKeyUse;
use serde_json::json;

use crate::administer::{Common, print, run};
use crate::cli::{CANNOT_START, FAILED, end};
use crate::data::{Data, DataError};
use crate::key_file::Keys;
use crate::running::{ReachError, Reached};

/// How often a command looks whether a running installation has taken the keys up, and how often before it gives up.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOKS: u32 = 100;

/// `holdfast key`.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Add a key that seals all secrets from now on, and seal anew what there is; keep a copy of DATA/key afterwards
    Rotate,
    /// List the keys by number, which one is the newest, and how many records are sealed under each
    List,
    /// Take an older key away, once no record is sealed under it
    Remove {
        /// The key's number
        number: u32,
    },
}

/// Why a command came to nothing. Display says what to do.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error("{}", reason(.0))]
    Service(#[from] holdfast_shared::Error),
    #[error("there is no sealing key {0}; see holdfast key list")]
    Unknown(u32),
    #[error("sealing key {0} is the newest; add another one with holdfast key rotate first")]
    Newest(u32),
    #[error("{records} records are sealed under key {number}; holdfast serve seals them anew, see holdfast key list")]
    InUse { number: u32, records: u64 },
    #[error("the running holdfast goes by other keys than DATA/key holds; restart it")]
    NotTakenUp,
}

impl From<DataError> for KeyError {
    fn from(error: DataError) -> Self {
        Self::Reach(error.into())
    }
}

/// Runs `holdfast key`.
pub(crate) async fn key(arguments: KeyArgs) -> ExitCode {
    let KeyArgs { command, common } = arguments;
    let done = match command {
        KeyCommand::List => return run(&common, |_| Command::ListSealingKeys).await,
        KeyCommand::Rotate => rotate(&common.data).await,
        KeyCommand::Remove { number } => remove(&common.data, number).await,
    };
    match done {
        Ok(answer) => print(&answer, common.json),
        Err(error @ KeyError::Reach(_)) => end(CANNOT_START, error),
        Err(error) => end(FAILED, error),
    }
}

async fn rotate(dir: &Path) -> Result<serde_json::Value, KeyError> {
    if !Data::is_at(dir) {
        return Err(ReachError::Nothing(dir.to_owned()).into());
    }
    let number = Keys::rotate(dir)?;
    Ok(json!({ "newest": number, "running": taken_up(dir).await? }))
}

async fn remove(dir: &Path, number: u32) -> Result<serde_json::Value, KeyError> {
    let reached = Reached::at(dir).await?;
    let uses = reached.service.sealing_key_uses().await;
    reached.close().await;
    check_removal(number, &uses?)?;
    // One that still seals under the key would lose what it seals.
    taken_up(dir).await?;
    Keys::remove(dir, number)?;
    Ok(json!({ "removed": number, "running": taken_up(dir).await? }))
}

fn check_removal(number: u32, uses: &[SealingKeyUse]) -> Result<(), KeyError> {
    match uses.iter().find(|key| key.number == number && key.is_known) {
        None => Err(KeyError::Unknown(number)),
        Some(key) if key.is_newest => Err(KeyError::Newest(number)),
        Some(key) if key.records > 0 => Err(KeyError::InUse { number, records: key.records }),
        Some(_) => Ok(()),
    }
}

/// Waits until the installation goes by the keys that are there; answers whether there is one that runs.
async fn taken_up(dir: &Path) -> Result<bool, KeyError> {
    let numbers = Keys::read(dir)?.sealing.numbers();
    for _ in 0..LOOKS {
        if !Data::is_in_use(dir)? {
            return Ok(false);
        }
        if Data::running(dir)?.is_some_and(|running| running.sealing_keys == numbers) {
            return Ok(true);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(KeyError::NotTakenUp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_that_nothing_needs_is_removed() {
        let key = |number, is_newest, records| SealingKeyUse { number, is_newest, is_known: true, records };
        let lost = SealingKeyUse { is_known: false, ..key(1, false, 0) };
        let uses = [lost, key(2, false, 0), key(3, false, 7), key(4, true, 0)];
        check_removal(2, &uses).unwrap();
        for (number, word) in [(1, "no sealing key 1"), (9, "no sealing key 9"), (3, "7 records"), (4, "newest")] {
            let refused = check_removal(number, &uses).unwrap_err().to_string();
            assert!(refused.contains(word), "{refused}");
        }
    }
}
