//! How far the walk is that seals secrets anew under the newest key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Cursor, Table, Write, keys};
use crate::domain::account::AccountId;
use crate::error::Result;

/// A kind of record that holds secrets, in the order of the walk. Jobs come before deleted ones, which they can become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SealedKind {
    SshKeys,
    Storages,
    NotificationStreams,
    Stacks,
    Jobs,
    DeletedJobs,
    Crontabs,
    Snapshots,
    CrontabAlerts,
    AnsweredCalls,
}

impl SealedKind {
    const ALL: [Self; 10] = [
        Self::SshKeys,
        Self::Storages,
        Self::NotificationStreams,
        Self::Stacks,
        Self::Jobs,
        Self::DeletedJobs,
        Self::Crontabs,
        Self::Snapshots,
        Self::CrontabAlerts,
        Self::AnsweredCalls,
    ];

    fn next(self) -> Option<Self> {
        Self::ALL.into_iter().skip_while(|kind| *kind != self).nth(1)
    }
}

/// A place in the walk over all that is sealed: what is read next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Whose records.
    pub account: AccountId,
    /// Where the directory of accounts goes on; `None` when this is the last account.
    pub accounts: Option<Cursor>,
    /// Which records.
    pub kind: SealedKind,
    /// Where their partition goes on; for records that lie under others, the partition of those.
    pub outer: Option<Cursor>,
    /// Where the partition of records that lie under another goes on.
    pub inner: Option<Cursor>,
}

impl Place {
    /// The beginning of an account.
    pub fn first(account: AccountId, accounts: Option<Cursor>) -> Self {
        Self { account, accounts, kind: SealedKind::ALL[0], outer: None, inner: None }
    }

    /// The beginning of the next kind of the same account.
    pub fn next_kind(self) -> Option<Self> {
        let kind = self.kind.next()?;
        Some(Self { kind, outer: None, inner: None, ..self })
    }
}

/// How far the walk is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resealing {
    /// The keys that it goes by, the newest first: with others it begins anew.
    pub keys: Vec<u32>,
    /// Where it goes on; `None` is at the beginning.
    pub place: Option<Place>,
    /// How many records it has sealed anew since the beginning.
    pub renewed: u64,
    /// When it begins again: it found nothing to do.
    pub rests_until: Option<Timestamp>,
}

impl Table {
    /// How far the walk is; `None` before the first.
    pub(crate) async fn resealing(&self) -> Result<Option<Resealing>> {
        self.get(&keys::resealing()).await
    }

    /// Notes how far the walk is. Of two at once the last one stands: what one of them repeats does no harm.
    pub(crate) async fn put_resealing(&self, resealing: &Resealing) -> Result<()> {
        self.write(Write::put(&keys::resealing(), resealing, [])?).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_comes_by_every_kind_once() {
        let mut place = Place::first(AccountId::parse("acme").unwrap(), None);
        let mut kinds = vec![place.kind];
        while let Some(next) = place.next_kind() {
            place = next;
            kinds.push(place.kind);
        }
        assert_eq!(kinds, SealedKind::ALL);
    }
}
