//! A backup's log and progress: rows of their own, so that no backup outgrows its item.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Cursor, Page, Query, Table, Write, Written, keys};
use crate::domain::account::AccountId;
use crate::domain::backup::Progress;
use crate::error::Result;

/// Some lines of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogChunk {
    /// The attempt that wrote them.
    pub attempt: u32,
    /// Counts the chunks of that attempt, from 1.
    pub sequence: u32,
    /// Whole lines, each with its line feed.
    pub text: String,
}

impl Table {
    /// Adds a chunk; one with the same numbers is replaced by the same text.
    pub(crate) async fn put_log(&self, account: &AccountId, backup: Uuid, chunk: &LogChunk) -> Result<Written> {
        let key = keys::log_chunk(account, backup, chunk.attempt, chunk.sequence);
        self.write(Write::put(&key, chunk, [])?).await
    }

    /// Chunks after (attempt, sequence), oldest first, at most 100 at a time.
    pub(crate) async fn log_after(
        &self,
        account: &AccountId,
        backup: Uuid,
        after: (u32, u32),
    ) -> Result<Page<LogChunk>> {
        let from = keys::log_chunk(account, backup, after.0, after.1.saturating_add(1));
        let query = Query { between: Some(("sk", from.sk, "LOG#~".to_owned())), ..Query::of(from.pk) };
        self.page(query).await
    }

    /// Writes how far an attempt is.
    pub(crate) async fn put_progress(&self, account: &AccountId, backup: Uuid, progress: &Progress) -> Result<Written> {
        self.write(Write::put(&keys::progress(account, backup), progress, [])?).await
    }

    /// How far a backup is; `None` before its first report.
    pub(crate) async fn progress(&self, account: &AccountId, backup: Uuid) -> Result<Option<Progress>> {
        self.get(&keys::progress(account, backup)).await
    }

    /// Deletes progress and log of a backup.
    pub(crate) async fn delete_what_hangs_on(&self, account: &AccountId, backup: Uuid) -> Result<()> {
        #[derive(Deserialize)]
        struct SortKey {
            sk: String,
        }
        let (pk, job_of_backup) = (keys::of_backup(account, backup), keys::job_of_backup(account, backup));
        let mut after: Option<Cursor> = None;
        loop {
            let page = self.page::<SortKey>(Query { after: after.as_ref(), ..Query::of(pk.clone()) }).await?;
            // The way from the id to the job goes with the record.
            let keys = page.records.into_iter().map(|row| super::Key { pk: pk.clone(), sk: row.sk });
            let deletes: Vec<_> = keys.filter(|key| *key != job_of_backup).map(Write::delete).collect();
            if !deletes.is_empty() {
                let _ = self.transact(deletes).await?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }
}
