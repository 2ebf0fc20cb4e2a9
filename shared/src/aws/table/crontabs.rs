//! Crontabs, their snapshots and texts; they are users of crontab servers.
//!
//! A text is cut into parts, each an item of its own: an item holds 400 KB, a text a mebibyte, and sealing makes a third
//! more of it. A snapshot is written in one transaction with all of its parts, so none is ever seen without.

use serde::{Deserialize, Serialize};

use super::counters::count;
use super::keys::{self, sortable, sorted_by};
use super::{Condition, Cursor, Noun, Order, Page, Query, Table, Update, Write, Written, count_user};
use crate::domain::account::AccountId;
use crate::domain::crontab::{Crontab, Snapshot};
use crate::domain::sealed::Sealed;
use crate::error::Result;

/// A row under a server and a user.
#[derive(Serialize, Deserialize)]
struct CrontabId {
    id: u64,
}

/// A part of a text.
#[derive(Serialize, Deserialize)]
struct Part {
    text: Sealed,
}

/// A snapshot and the parts of its text.
#[derive(Debug)]
pub(crate) struct SealedSnapshot {
    pub snapshot: Snapshot,
    pub parts: Vec<Sealed>,
}

impl Table {
    /// One crontab.
    pub(crate) async fn crontab(&self, account: &AccountId, id: u64) -> Result<Option<Crontab>> {
        self.get(&keys::crontab(account, id)).await
    }

    /// Whose crontabs a crontab server has, at most `limit` of them.
    pub(crate) async fn crontab_users_of(&self, account: &AccountId, server: u64, limit: i32) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct SortKey {
            sk: String,
        }
        let (first, last) = (keys::crontab_of_user(account, server, ""), keys::crontab_of_user(account, server, "~"));
        let between = Some(("sk", first.sk, last.sk));
        let rows: Page<SortKey> = self.page(Query { between, limit, ..Query::of(first.pk) }).await?;
        let username = |row: SortKey| row.sk.split_once('#').map(|(_, username)| username.to_owned());
        Ok(rows.records.into_iter().filter_map(username).collect())
    }

    /// The id of a user's crontab on a crontab server.
    pub(crate) async fn crontab_of_user(
        &self,
        account: &AccountId,
        server: u64,
        username: &str,
    ) -> Result<Option<u64>> {
        let row: Option<CrontabId> = self.get(&keys::crontab_of_user(account, server, username)).await?;
        Ok(row.map(|row| row.id))
    }

    /// Puts a new crontab with its first snapshot; `No` when the user has one there, or when the server is gone.
    pub(crate) async fn create_crontab(
        &self,
        account: &AccountId,
        crontab: &Crontab,
        first: SealedSnapshot,
    ) -> Result<Written> {
        let indexes = [
            ("by_name", sorted_by(&format!("{}#{}", crontab.server, crontab.username), crontab.id)),
            ("by_created", sorted_by(&sortable(crontab.created_at), crontab.id)),
            ("by_changed", sorted_by(&sortable(crontab.updated_at), crontab.id)),
        ];
        let of_user = keys::crontab_of_user(account, crontab.server_id, &crontab.username);
        let mut writes = vec![
            Write::put_new(&keys::crontab(account, crontab.id), crontab, indexes)?,
            Write::put_new(&of_user, &CrontabId { id: crontab.id }, [])?,
            count_user(keys::crontab_server(account, crontab.server_id), 1),
            count(account, Noun::Crontab, 1),
        ];
        writes.extend(put_snapshot(account, crontab.id, first)?);
        self.transact(writes).await
    }

    /// Adds a snapshot; `No` when another one was added meanwhile, or when the crontab is gone.
    pub(crate) async fn add_snapshot(
        &self,
        account: &AccountId,
        seen: &Crontab,
        next: &Crontab,
        added: SealedSnapshot,
    ) -> Result<Written> {
        let update = Update::of(keys::crontab(account, seen.id)).set_record(next, &["snapshots"])?;
        let update = update.set("by_changed", sorted_by(&sortable(next.updated_at), next.id)).add("snapshots", 1);
        let mut writes = vec![update.only_if(Condition::equals("revision", seen.revision)).into()];
        writes.extend(put_snapshot(account, seen.id, added)?);
        self.transact(writes).await
    }

    /// Removes snapshots with their texts, together at most 99 items; `No` when one of them is gone already.
    pub(crate) async fn delete_snapshots(
        &self,
        account: &AccountId,
        crontab: u64,
        snapshots: &[Snapshot],
    ) -> Result<Written> {
        let gone = i64::try_from(snapshots.len()).unwrap_or(i64::MAX);
        let uncount = Update::of(keys::crontab(account, crontab)).add("snapshots", -gone).only_if(Condition::Exists);
        let deletes = snapshots.iter().flat_map(|snapshot| delete_snapshot(account, crontab, snapshot));
        self.transact(deletes.chain([uncount.into()]).collect()).await
    }

    /// Removes a crontab with its last snapshot; `No` when it has more, when one was added meanwhile, or when it is gone.
    pub(crate) async fn delete_crontab(&self, account: &AccountId, seen: &Crontab, last: &Snapshot) -> Result<Written> {
        let alone = vec![Condition::equals("revision", seen.revision), Condition::equals("snapshots", 1)];
        let mut writes = vec![
            Write::delete(keys::crontab(account, seen.id)).only_if(Condition::All(alone)),
            Write::delete(keys::crontab_of_user(account, seen.server_id, &seen.username)),
            count_user(keys::crontab_server(account, seen.server_id), -1),
            count(account, Noun::Crontab, -1),
        ];
        writes.extend(delete_snapshot(account, seen.id, last));
        self.transact(writes).await
    }

    /// One page of the account's crontabs.
    pub(crate) async fn list_crontabs(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Page<Crontab>> {
        self.page(Query { order, limit, after, ..Query::of(keys::crontabs(account)) }).await
    }

    /// One snapshot.
    pub(crate) async fn snapshot(&self, account: &AccountId, crontab: u64, number: u64) -> Result<Option<Snapshot>> {
        self.get(&keys::snapshot(account, crontab, number)).await
    }

    /// The parts of a snapshot's text, in order.
    pub(crate) async fn snapshot_parts(&self, account: &AccountId, crontab: u64, number: u64) -> Result<Vec<Sealed>> {
        let parts: Vec<Part> = self.all(Query::of(keys::snapshot_text(account, crontab, number))).await?;
        Ok(parts.into_iter().map(|part| part.text).collect())
    }

    /// One page of a crontab's snapshots.
    pub(crate) async fn list_snapshots(
        &self,
        account: &AccountId,
        crontab: u64,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Page<Snapshot>> {
        self.page(Query { order, limit, after, ..Query::of(keys::snapshots(account, crontab)) }).await
    }
}

fn put_snapshot(
    account: &AccountId,
    crontab: u64,
    SealedSnapshot { snapshot, parts }: SealedSnapshot,
) -> Result<Vec<Write>> {
    let mut writes = vec![Write::put_new(&keys::snapshot(account, crontab, snapshot.number), &snapshot, [])?];
    for (part, text) in (1..).zip(parts) {
        writes.push(Write::put(&keys::snapshot_part(account, crontab, snapshot.number, part), &Part { text }, [])?);
    }
    Ok(writes)
}

fn delete_snapshot(account: &AccountId, crontab: u64, snapshot: &Snapshot) -> Vec<Write> {
    let record = Write::delete(keys::snapshot(account, crontab, snapshot.number)).only_if(Condition::Exists);
    let parts = (1..=snapshot.parts).map(|part| keys::snapshot_part(account, crontab, snapshot.number, part));
    [record].into_iter().chain(parts.map(Write::delete)).collect()
}
