//! Takes up what `holdfast key` does to `DATA/key` while this process runs.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_shared::aws::Sealer;
use tokio_util::sync::CancellationToken;

use crate::data::announce;
use crate::key_file::{self, Keys};
use crate::running::Running;

/// How often it looks whether the file is another one.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Has `sealer` seal under the keys of the file in `dir` until `closing`, and says in `running` which ones those are.
pub(crate) async fn follow(dir: PathBuf, sealer: Arc<Sealer>, mut running: Running, closing: CancellationToken) {
    let mut seen = None;
    while closing.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        let found = stamp(&dir);
        if found == seen {
            continue;
        }
        seen = found;
        match take_up(&dir, &sealer, &mut running) {
            Ok(false) => {}
            Ok(true) => tracing::info!(sealing_keys = ?running.sealing_keys, "the sealing keys were changed"),
            Err(error) => tracing::error!(error, "the changed keys cannot be taken up; the former ones are kept"),
        }
    }
}

/// What tells one file from the next.
fn stamp(dir: &Path) -> Option<(u64, i64, i64)> {
    let found = std::fs::metadata(dir.join(key_file::NAME)).ok()?;
    Some((found.ino(), found.mtime(), found.mtime_nsec()))
}

/// Answers whether there was anything to take up.
fn take_up(dir: &Path, sealer: &Sealer, running: &mut Running) -> Result<bool, String> {
    let keys = Keys::read(dir).map_err(|error| error.to_string())?.sealing;
    let numbers = keys.numbers();
    if numbers == running.sealing_keys {
        return Ok(false);
    }
    sealer.replace(keys).map_err(|error| error.chain())?;
    running.sealing_keys = numbers;
    announce(dir, running).map_err(|error| error.to_string())?;
    Ok(true)
}
