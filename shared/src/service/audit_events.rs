//! The audit trail: what was done, by whom, from where.

use super::{Listing, Service};
use crate::aws::table::{AuditFilter, Cursor, audit_year, keys};
use crate::domain::account::AccountId;
use crate::domain::audit_event::AuditEvent;
use crate::error::{Error, Result};

/// How often an event that could not be written is tried again.
const TRIES: u32 = 3;
/// No event is older.
const FIRST_YEAR: i16 = 2026;

impl Service {
    /// Adds an event to the trail. What it tells of has happened already, so a table that does not answer cannot undo
    /// it: after some tries the whole event goes to the log, as an error.
    pub async fn record_audit_event(&self, event: &AuditEvent) {
        for _ in 0..TRIES {
            match self.aws.table.add_audit_event(event).await {
                Ok(_) => return,
                Err(error) => tracing::warn!(error = error.chain(), "an audit event could not be written yet"),
            }
            super::conflict::pause().await;
        }
        let event = serde_json::to_string(event).unwrap_or_default();
        tracing::error!(event, "an audit event is missing from the trail");
    }

    /// One page of the trail, the newest first. With a filter it can be short, or empty, and still have a next page.
    pub async fn list_audit_events(
        &self,
        account: &AccountId,
        filter: &AuditFilter,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Listing<AuditEvent>> {
        let oldest = filter.since.map_or(FIRST_YEAR, |since| audit_year(since).max(FIRST_YEAR));
        let newest = audit_year(filter.until.unwrap_or_else(|| self.clock.now()));
        let is_start = |year: &i16| after.is_none_or(|cursor| cursor.is_in(&keys::audit_events(account, *year)));
        let start = (oldest..=newest).rev().find(is_start);
        let start = start.ok_or_else(|| Error::invalid("cursor", "is not a cursor of this list"))?;
        let mut after = after.cloned();
        let mut records = Vec::new();
        for year in (oldest..=start).rev() {
            let wanted = limit - i32::try_from(records.len()).map_err(Error::internal)?;
            if wanted == 0 {
                return Ok(Listing {
                    records,
                    next: Some(Cursor::at_end_of(keys::audit_events(account, year))),
                    total: None,
                });
            }
            let page = self.aws.table.find_audit_events(account, year, filter, wanted, after.as_ref()).await?;
            records.extend(page.records);
            if page.next.is_some() {
                return Ok(Listing { records, next: page.next, total: None });
            }
            after = None;
        }
        Ok(Listing { records, next: None, total: None })
    }
}
