//! Crontabs: what servers send of their users' crontabs, kept as snapshots.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use similar::TextDiff;

use super::listing::{Listing, check_cursor};
use super::resealing::{Renewal, Sealing, SnapshotPart};
use super::{Service, conflict};
use crate::aws::table::{Condition, Cursor, Noun, Order, SealedSnapshot, SortBy, Update, keys};
use crate::domain::account::AccountId;
use crate::domain::crontab::{Crontab, PlainSnapshot, SentCrontab, Snapshot, chunks};
use crate::domain::revision::Expected;
use crate::domain::sealed::Secret;
use crate::error::{Error, Result};

/// How much of a text lies in one row, bytes; sealed it is a third more, and an item holds 400 KB.
const PART_BYTES: usize = 192 * 1024;
/// How many snapshots are deleted at a time: with 7 items each they are one transaction of at most 100.
const DELETED_AT_ONCE: i32 = 12;
/// After how long a diff gives up to be the shortest one.
const DIFF_TIME: Duration = Duration::from_millis(500);

impl Service {
    /// Records what a server sent: a new crontab, a snapshot of one that is known, or nothing where the text is that of
    /// its newest snapshot. Also tells whether anything was recorded.
    pub async fn send_crontab(&self, account: &AccountId, sent: SentCrontab) -> Result<(Crontab, bool)> {
        for _ in 0..conflict::TRIES {
            let server = self.named_crontab_server(account, &sent.server).await?;
            let sha256 = sha256_of(&sent.content);
            let recorded = match self.crontab_of(account, server.id, &sent.username).await? {
                Some(seen) if self.sealer.open(account, &sha256_name(seen.id), &seen.sha256)? == sha256 => {
                    return Ok((seen, false));
                }
                Some(seen) => self.add_snapshot(account, seen, &sent.content, &sha256).await?,
                None => self.create_crontab(account, server.id, &sent, &sha256).await?,
            };
            if let Some(crontab) = recorded {
                return Ok((crontab, true));
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    async fn create_crontab(
        &self,
        account: &AccountId,
        server_id: u64,
        sent: &SentCrontab,
        sha256: &Secret,
    ) -> Result<Option<Crontab>> {
        let id = self.aws.table.next_number(account, Noun::Crontab).await?;
        let first = self.seal_snapshot(account, id, 1, &sent.content)?;
        let crontab = Crontab {
            id,
            server_id,
            server: sent.server.clone(),
            username: sent.username.clone(),
            snapshots: 1,
            newest: 1,
            size_bytes: first.snapshot.size_bytes,
            sha256: self.sealer.seal(account, &sha256_name(id), sha256)?,
            created_at: first.snapshot.created_at,
            updated_at: first.snapshot.created_at,
            revision: 1,
        };
        let written = self.aws.table.create_crontab(account, &crontab, first).await?;
        Ok(written.is_yes().then_some(crontab))
    }

    async fn add_snapshot(
        &self,
        account: &AccountId,
        seen: Crontab,
        content: &Secret,
        sha256: &Secret,
    ) -> Result<Option<Crontab>> {
        let added = self.seal_snapshot(account, seen.id, seen.newest + 1, content)?;
        let next = Crontab {
            snapshots: seen.snapshots + 1,
            newest: added.snapshot.number,
            size_bytes: added.snapshot.size_bytes,
            sha256: self.sealer.seal(account, &sha256_name(seen.id), sha256)?,
            updated_at: added.snapshot.created_at,
            revision: seen.revision + 1,
            ..seen.clone()
        };
        let written = self.aws.table.add_snapshot(account, &seen, &next, added).await?;
        Ok(written.is_yes().then_some(next))
    }

    fn seal_snapshot(
        &self,
        account: &AccountId,
        crontab: u64,
        number: u64,
        content: &Secret,
    ) -> Result<SealedSnapshot> {
        let text = content.expose();
        let seal = |(part, text): (u32, &str)| {
            self.sealer.seal(account, &part_name(crontab, number, part), &Secret::new(text))
        };
        let parts = (1..).zip(chunks(text, PART_BYTES)).map(seal).collect::<Result<Vec<_>>>()?;
        let snapshot = Snapshot {
            number,
            size_bytes: u64::try_from(text.len()).map_err(Error::internal)?,
            parts: u32::try_from(parts.len()).map_err(Error::internal)?,
            created_at: self.clock.now(),
        };
        Ok(SealedSnapshot { snapshot, parts })
    }

    /// One crontab.
    pub async fn crontab(&self, account: &AccountId, id: u64) -> Result<Crontab> {
        self.aws.table.crontab(account, id).await?.ok_or_else(|| Error::not_found("crontab"))
    }

    /// A user's crontab on a crontab server.
    pub async fn crontab_of(&self, account: &AccountId, server: u64, username: &str) -> Result<Option<Crontab>> {
        match self.aws.table.crontab_of_user(account, server, username).await? {
            Some(id) => self.aws.table.crontab(account, id).await,
            None => Ok(None),
        }
    }

    /// The account's crontabs, page by page.
    pub async fn list_crontabs(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Listing<Crontab>> {
        check_cursor(after, &keys::crontabs(account))?;
        let page = self.aws.table.list_crontabs(account, order, limit, after).await?;
        Ok(Listing::of(page, self.aws.table.total_of(account, Noun::Crontab).await?))
    }

    /// A crontab's snapshots, page by page.
    pub async fn list_snapshots(
        &self,
        account: &AccountId,
        crontab: u64,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Listing<Snapshot>> {
        check_cursor(after, &keys::snapshots(account, crontab))?;
        let total = self.crontab(account, crontab).await?.snapshots;
        let page = self.aws.table.list_snapshots(account, crontab, order, limit, after).await?;
        Ok(Listing::of(page, total))
    }

    /// A snapshot with its text.
    pub async fn snapshot(&self, account: &AccountId, crontab: u64, number: u64) -> Result<PlainSnapshot> {
        let found = self.aws.table.snapshot(account, crontab, number).await?;
        let snapshot = found.ok_or_else(|| Error::not_found("snapshot"))?;
        let parts = self.aws.table.snapshot_parts(account, crontab, number).await?;
        let mut text = String::with_capacity(usize::try_from(snapshot.size_bytes).unwrap_or_default());
        for (part, sealed) in (1..).zip(&parts) {
            text.push_str(self.sealer.open(account, &part_name(crontab, number, part), sealed)?.expose());
        }
        if u64::try_from(text.len()).ok() != Some(snapshot.size_bytes) {
            // It was deleted while it was read.
            return Err(Error::not_found("snapshot"));
        }
        Ok(PlainSnapshot { snapshot, content: Secret::new(text) })
    }

    /// The text of a crontab as it was sent last.
    pub async fn crontab_content(&self, account: &AccountId, id: u64) -> Result<Secret> {
        let crontab = self.crontab(account, id).await?;
        Ok(self.snapshot(account, id, crontab.newest).await?.content)
    }

    /// What a snapshot changed of the one before, as a unified diff; the first one added all that it has.
    pub async fn snapshot_diff(&self, account: &AccountId, crontab: u64, number: u64) -> Result<Secret> {
        let after = self.snapshot(account, crontab, number).await?.content;
        let before = match number {
            1 => Secret::new(""),
            _ => self.snapshot(account, crontab, number - 1).await?.content,
        };
        // Long texts without a line in common take a while, in which this thread must serve others.
        tokio::task::spawn_blocking(move || diff(&before, &after, number)).await.map_err(Error::internal)
    }

    /// Removes a crontab with all that it ever held.
    ///
    /// The oldest snapshots go first and the record last, so that what dies in between leaves nothing that cannot be
    /// deleted again.
    pub async fn delete_crontab(&self, account: &AccountId, id: u64, expected: &Expected) -> Result<()> {
        for _ in 0..conflict::TRIES {
            let seen = self.crontab(account, id).await?;
            expected.check(seen.revision)?;
            self.delete_older_snapshots(account, &seen).await?;
            let last = self.aws.table.snapshot(account, id, seen.newest).await?;
            let Some(last) = last else { continue };
            if self.aws.table.delete_crontab(account, &seen, &last).await?.is_yes() {
                return Ok(());
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    async fn delete_older_snapshots(&self, account: &AccountId, seen: &Crontab) -> Result<()> {
        let oldest_first = Order { by: SortBy::Id, descending: false };
        loop {
            let page = self.aws.table.list_snapshots(account, seen.id, oldest_first, DELETED_AT_ONCE, None).await?;
            let older: Vec<_> = page.records.into_iter().filter(|snapshot| snapshot.number < seen.newest).collect();
            // Where somebody else deletes them too, the caller looks again.
            if older.is_empty() || !self.aws.table.delete_snapshots(account, seen.id, &older).await?.is_yes() {
                return Ok(());
            }
        }
    }

    /// Whose crontabs a crontab server has, as a conflict shows them.
    pub(super) async fn crontab_users_of(&self, account: &AccountId, server: u64) -> Result<Vec<String>> {
        let most = i32::try_from(conflict::MAX_NAMED + 1).unwrap_or(i32::MAX);
        self.aws.table.crontab_users_of(account, server, most).await
    }
}

/// A unified diff with three lines of context.
fn diff(before: &Secret, after: &Secret, number: u64) -> Secret {
    let mut how = TextDiff::configure();
    let changes = how.timeout(DIFF_TIME).diff_lines(before.expose(), after.expose());
    let (from, to) = (format!("snapshot {}", number - 1), format!("snapshot {number}"));
    Secret::new(changes.unified_diff().header(&from, &to).to_string())
}

fn sha256_of(content: &Secret) -> Secret {
    Secret::new(hex::encode(digest(&SHA256, content.expose().as_bytes())))
}

fn sha256_name(crontab: u64) -> String {
    format!("crontab/{crontab}/sha256")
}

fn part_name(crontab: u64, snapshot: u64, part: u32) -> String {
    format!("crontab/{crontab}/snapshot/{snapshot}/{part}")
}

impl Sealing for Crontab {
    fn renew(&mut self, renewal: &mut Renewal<'_>) {
        renewal.secret(&sha256_name(self.id), &mut self.sha256);
    }

    fn rewrite(&self, account: &AccountId, seen: &Self) -> Update {
        let update = Update::of(keys::crontab(account, self.id)).set("sha256", &self.sha256);
        update.only_if(Condition::equals("revision", seen.revision))
    }
}

impl Sealing for SnapshotPart {
    fn renew(&mut self, renewal: &mut Renewal<'_>) {
        renewal.secret(&part_name(self.crontab, self.snapshot, self.part), &mut self.text);
    }

    fn rewrite(&self, account: &AccountId, seen: &Self) -> Update {
        let key = keys::snapshot_part(account, self.crontab, self.snapshot, self.part);
        Update::of(key).set("text", &self.text).only_if(Condition::equals("text", &seen.text))
    }
}
