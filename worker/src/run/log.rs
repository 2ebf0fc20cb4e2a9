//! The log of a run: lines for its owner, kept beside the backup in numbered chunks.

use std::sync::{Mutex, PoisonError};

use holdfast_shared::clock::SharedClock;
use holdfast_shared::service::{Claim, Service};

/// How much an attempt may write, bytes.
const MAX_BYTES: usize = 1 << 20;
/// How much one chunk holds at most, bytes: a record of the table holds 400 KB.
const CHUNK_BYTES: usize = 64 << 10;
/// The longest line, bytes.
const LINE_BYTES: usize = 4 << 10;

/// Collects lines; what was collected is written by [`RunLog::flush`]. Nothing secret may be put in.
#[derive(Debug)]
pub(super) struct RunLog {
    clock: SharedClock,
    state: Mutex<State>,
    /// Only one flush at a time, so that chunks keep their order.
    flushing: tokio::sync::Mutex<u32>,
}

#[derive(Debug, Default)]
struct State {
    waiting: String,
    taken_bytes: usize,
    is_full: bool,
}

impl RunLog {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { clock, state: Mutex::default(), flushing: tokio::sync::Mutex::new(0) }
    }

    /// Adds a line with the time before it.
    pub(super) fn line(&self, text: impl AsRef<str>) {
        let text = text.as_ref().replace(['\n', '\r'], " ");
        let text = &text[..text.floor_char_boundary(LINE_BYTES)];
        let line = format!("{:.3} {text}\n", self.clock.now());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.taken_bytes + line.len() <= MAX_BYTES {
            state.taken_bytes += line.len();
            state.waiting.push_str(&line);
        } else if !state.is_full {
            state.is_full = true;
            state.waiting.push_str("… the log is full: further lines of this attempt are left out\n");
        }
    }

    /// Adds a line even to a full log: how it ended.
    pub(super) fn last_line(&self, text: impl AsRef<str>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).taken_bytes = 0;
        self.line(text);
    }

    /// Writes what was collected. What could not be written stays for the next time.
    pub(super) async fn flush(&self, service: &Service, claim: &Claim) -> holdfast_shared::Result<()> {
        let mut sequence = self.flushing.lock().await;
        loop {
            let chunk = self.next_chunk();
            if chunk.is_empty() {
                return Ok(());
            }
            service.append_log(claim, *sequence + 1, &chunk).await?;
            *sequence += 1;
            self.state.lock().unwrap_or_else(PoisonError::into_inner).waiting.drain(..chunk.len());
        }
    }

    /// Whole lines from the front, as many as a chunk holds.
    fn next_chunk(&self) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let most = &state.waiting[..state.waiting.floor_char_boundary(CHUNK_BYTES)];
        most.rfind('\n').map_or(String::new(), |end| most[..=end].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holdfast_shared::clock::SystemClock;

    use super::*;

    fn drained(log: &RunLog) -> Vec<String> {
        let mut chunks = Vec::new();
        loop {
            let chunk = log.next_chunk();
            if chunk.is_empty() {
                return chunks;
            }
            log.state.lock().unwrap().waiting.drain(..chunk.len());
            chunks.push(chunk);
        }
    }

    #[test]
    fn chunks_hold_whole_lines_and_the_log_is_bounded() {
        let log = RunLog::new(Arc::new(SystemClock));
        for n in 0..40_000 {
            log.line(format!("{n} ä\nforged line"));
        }
        log.last_line("failed");
        let chunks = drained(&log);
        assert!(chunks.iter().all(|chunk| chunk.ends_with('\n') && chunk.len() <= CHUNK_BYTES));
        let text = chunks.concat();
        assert!(text.len() < MAX_BYTES + 1_000);
        assert!(text.lines().all(|line| !line.starts_with("forged")));
        let last: Vec<&str> = text.lines().rev().take(2).collect();
        assert!(last[0].ends_with(" failed") && last[1].starts_with("… the log is full"), "{last:?}");
    }
}
