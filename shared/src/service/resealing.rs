//! Re-sealing: what was sealed under an older key is sealed anew under the newest one, so that the older one can go.
//!
//! Maintenance walks all records that hold secrets, a bounded number each pass, for as long as there is an older key. A
//! record is written only as it was read, so that no edit is lost. An edit that had read the record before can put the
//! older text back: therefore the walk begins again until it finds nothing to do, and then once a day.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Service;
use crate::aws::table::{Cursor, DeletedJob, Place, Query, Resealing, SealedKind, Update, keys};
use crate::aws::{Sealer, number_of};
use crate::domain::account::AccountId;
use crate::domain::crontab::{Crontab, Snapshot};
use crate::domain::crontab_server::{Alert, CrontabServer};
use crate::domain::job::Job;
use crate::domain::notification_stream::NotificationStream;
use crate::domain::sealed::Sealed;
use crate::domain::ssh_key::SshKey;
use crate::domain::stack::Stack;
use crate::domain::storage::Storage;
use crate::error::{Error, Result};

/// How many pages of records a pass of maintenance reads.
const STEPS: usize = 20;
/// How many records are a page. A crontab's text has several rows, of up to 400 KB, for each snapshot.
const PAGE: i32 = 25;
const SNAPSHOTS: i32 = 5;
/// How long the walk rests once it found nothing to do.
const REST: SignedDuration = SignedDuration::from_hours(24);

/// A record that holds secrets.
pub(super) trait Sealing: Clone {
    /// Hands over each of its secrets, with the name that it is sealed for.
    fn renew(&mut self, renewal: &mut Renewal<'_>);

    /// Writes its secrets and nothing else, provided that the record is still as `seen`.
    fn rewrite(&self, account: &AccountId, seen: &Self) -> Update;
}

/// Renews the secrets of one record.
pub(super) struct Renewal<'a> {
    sealer: &'a Sealer,
    account: &'a AccountId,
    /// Under which keys they were sealed.
    found: BTreeSet<u32>,
    is_changed: bool,
    failed: Option<Error>,
}

impl Renewal<'_> {
    /// Seals one secret under the newest key, unless it is.
    pub fn secret(&mut self, name: &str, sealed: &mut Sealed) {
        self.found.extend(number_of(sealed));
        match self.sealer.renew(self.account, name, sealed) {
            Ok(Some(renewed)) => {
                *sealed = renewed;
                self.is_changed = true;
            }
            Ok(None) => {}
            Err(error) => self.failed = Some(error),
        }
    }
}

/// A record that was read.
struct Found {
    /// Under which keys its secrets are sealed.
    keys: BTreeSet<u32>,
    /// What to write so that they are under the newest; `None` where they are.
    rewrite: Result<Option<Update>>,
}

/// A part of a crontab's text, as it is stored.
#[derive(Debug, Clone)]
pub(super) struct SnapshotPart {
    pub crontab: u64,
    pub snapshot: u64,
    pub part: u32,
    pub text: Sealed,
}

/// An alert and the crontab server that it lies under.
#[derive(Debug, Clone)]
pub(super) struct AlertOf {
    pub server: u64,
    pub alert: Alert,
}

/// The answer of a call with an `Idempotency-Key`, which lies under that key's SHA-256.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct KeptCall {
    pub sk: String,
    pub answer: Option<Sealed>,
}

/// How much is sealed under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealingKeyUse {
    /// The key's number.
    pub number: u32,
    /// Whether it seals what is new.
    pub is_newest: bool,
    /// Whether the installation has it: what is sealed under one that it lacks cannot be opened.
    pub is_known: bool,
    /// How many records hold secrets sealed under it.
    pub records: u64,
}

impl Service {
    /// How much is sealed under each key. Reads every record that holds secrets.
    pub async fn sealing_key_uses(&self) -> Result<Vec<SealingKeyUse>> {
        let known = self.sealer.numbers();
        let mut records: BTreeMap<u32, u64> = known.iter().map(|number| (*number, 0)).collect();
        let mut place = self.first_place(None).await?;
        while let Some(at) = place {
            let (found, next) = self.step(at).await?;
            for number in found.into_iter().flat_map(|found| found.keys) {
                *records.entry(number).or_default() += 1;
            }
            place = next;
        }
        let of = |(number, records)| SealingKeyUse {
            number,
            is_newest: known.first() == Some(&number),
            is_known: known.contains(&number),
            records,
        };
        Ok(records.into_iter().map(of).collect())
    }

    /// Goes on with the walk that seals secrets under the newest key; answers how many records were written.
    pub(super) async fn reseal(&self) -> Result<usize> {
        let keys = self.sealer.numbers();
        if keys.len() < 2 {
            return Ok(0);
        }
        let now = self.clock.now();
        let kept = self.aws.table.resealing().await?.filter(|kept| kept.keys == keys);
        if kept.as_ref().is_some_and(|kept| kept.rests_until.is_some_and(|until| now < until)) {
            return Ok(0);
        }
        let (place, mut renewed) = kept.map_or((None, 0), |kept| (kept.place, kept.renewed));
        let mut place = match place {
            Some(place) => Some(place),
            None => self.first_place(None).await?,
        };
        let before = renewed;
        for _ in 0..STEPS {
            let Some(at) = place else { break };
            let (found, next) = self.step(at).await?;
            for record in found {
                renewed += u64::from(self.rewrite(record).await?);
            }
            place = next;
        }
        let written = renewed - before;
        let rests_until = (place.is_none() && renewed == 0).then(|| now + REST);
        let renewed = if place.is_none() { 0 } else { renewed };
        self.aws.table.put_resealing(&Resealing { keys, place, renewed, rests_until }).await?;
        usize::try_from(written).map_err(Error::internal)
    }

    /// Whether a record was written. One that was changed meanwhile is left to the next walk.
    async fn rewrite(&self, found: Found) -> Result<bool> {
        match found.rewrite {
            Ok(Some(update)) => Ok(self.aws.table.write(update.into()).await?.is_yes()),
            Ok(None) => Ok(false),
            Err(error) => {
                tracing::error!(error = error.chain(), "a secret cannot be opened to seal it anew; its key is kept");
                Ok(false)
            }
        }
    }

    /// Where the walk begins, or goes on in the directory of accounts.
    async fn first_place(&self, after: Option<&Cursor>) -> Result<Option<Place>> {
        let mut page = self.aws.table.list_accounts(1, after).await?;
        Ok(page.records.pop().map(|account| Place::first(account.id, page.next)))
    }

    /// The records at a place, and what comes after them.
    async fn step(&self, place: Place) -> Result<(Vec<Found>, Option<Place>)> {
        let account = &place.account;
        let (found, next) = match place.kind {
            SealedKind::SshKeys => self.page_of::<SshKey>(&place, keys::ssh_keys(account)).await?,
            SealedKind::Storages => self.page_of::<Storage>(&place, keys::storages(account)).await?,
            SealedKind::NotificationStreams => {
                self.page_of::<NotificationStream>(&place, keys::notification_streams(account)).await?
            }
            SealedKind::Stacks => self.page_of::<Stack>(&place, keys::stacks(account)).await?,
            SealedKind::Jobs => self.page_of::<Job>(&place, keys::jobs(account)).await?,
            SealedKind::DeletedJobs => self.page_of::<DeletedJob>(&place, keys::deleted_jobs(account)).await?,
            SealedKind::Crontabs => self.page_of::<Crontab>(&place, keys::crontabs(account)).await?,
            SealedKind::Snapshots => self.snapshots_at(&place).await?,
            SealedKind::CrontabAlerts => self.alerts_at(&place).await?,
            SealedKind::AnsweredCalls => self.page_of::<KeptCall>(&place, keys::answered_calls(account)).await?,
        };
        let next = match next {
            Some(next) => Some(next),
            None => match (place.accounts.clone(), place.next_kind()) {
                (_, Some(next)) => Some(next),
                (Some(accounts), None) => self.first_place(Some(&accounts)).await?,
                (None, None) => None,
            },
        };
        Ok((found, next))
    }

    /// A page of a partition.
    async fn page_of<T>(&self, place: &Place, pk: String) -> Result<(Vec<Found>, Option<Place>)>
    where
        T: Sealing + DeserializeOwned,
    {
        let query = Query { limit: PAGE, after: place.outer.as_ref(), ..Query::of(pk) };
        let page = self.aws.table.page::<T>(query).await?;
        let found = page.records.into_iter().map(|record| self.found(&place.account, record)).collect();
        Ok((found, page.next.map(|next| Place { outer: Some(next), ..place.clone() })))
    }

    async fn snapshots_at(&self, place: &Place) -> Result<(Vec<Found>, Option<Place>)> {
        let account = &place.account;
        let pk = keys::crontabs(account);
        let Some((crontab, next)) = self.one_of::<Crontab>(place, pk).await? else { return Ok((Vec::new(), None)) };
        let pk = keys::snapshots(account, crontab.id);
        let query = Query { limit: SNAPSHOTS, after: inner_in(place, &pk), ..Query::of(pk.clone()) };
        let page = self.aws.table.page::<Snapshot>(query).await?;
        let mut found = Vec::new();
        for snapshot in page.records.iter().map(|snapshot| snapshot.number) {
            let parts = self.aws.table.snapshot_parts(account, crontab.id, snapshot).await?;
            let part = |(part, text)| SnapshotPart { crontab: crontab.id, snapshot, part, text };
            found.extend((1..).zip(parts).map(|numbered| self.found(account, part(numbered))));
        }
        Ok((found, inner_or(place, page.next, next)))
    }

    async fn alerts_at(&self, place: &Place) -> Result<(Vec<Found>, Option<Place>)> {
        let account = &place.account;
        let pk = keys::crontab_servers(account);
        let Some((server, next)) = self.one_of::<CrontabServer>(place, pk).await? else {
            return Ok((Vec::new(), None));
        };
        let pk = keys::crontab_alerts(account, server.id);
        let query = Query { limit: PAGE, after: inner_in(place, &pk), ..Query::of(pk.clone()) };
        let page = self.aws.table.page::<Alert>(query).await?;
        let of = |alert| self.found(account, AlertOf { server: server.id, alert });
        Ok((page.records.into_iter().map(of).collect(), inner_or(place, page.next, next)))
    }

    /// The record that those at a place lie under, and where its partition goes on.
    async fn one_of<T: DeserializeOwned>(&self, place: &Place, pk: String) -> Result<Option<(T, Option<Cursor>)>> {
        let query = Query { limit: 1, after: place.outer.as_ref(), ..Query::of(pk) };
        let mut page = self.aws.table.page::<T>(query).await?;
        Ok(page.records.pop().map(|record| (record, page.next)))
    }

    fn found<T: Sealing>(&self, account: &AccountId, seen: T) -> Found {
        let (found, is_changed) = (BTreeSet::new(), false);
        let mut renewal = Renewal { sealer: &self.sealer, account, found, is_changed, failed: None };
        let mut next = seen.clone();
        next.renew(&mut renewal);
        let rewrite = match renewal.failed {
            Some(error) => Err(error),
            None => Ok(renewal.is_changed.then(|| next.rewrite(account, &seen))),
        };
        Found { keys: renewal.found, rewrite }
    }
}

/// Where the partition goes on that lies under another record; at its beginning where that record is another one by now.
fn inner_in<'a>(place: &'a Place, pk: &str) -> Option<&'a Cursor> {
    place.inner.as_ref().filter(|inner| inner.is_in(pk))
}

/// Where the walk goes on among records that lie under others: in the same partition, else in that of the next one.
fn inner_or(place: &Place, inner: Option<Cursor>, outer: Option<Cursor>) -> Option<Place> {
    match (inner, outer) {
        (Some(inner), _) => Some(Place { inner: Some(inner), ..place.clone() }),
        (None, Some(outer)) => Some(Place { outer: Some(outer), inner: None, ..place.clone() }),
        (None, None) => None,
    }
}
