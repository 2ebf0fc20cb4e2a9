//! Audit events: a partition per account and year, by time. They are added and never changed.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Condition, Cursor, Order, Page, Query, SortBy, Table, Write, Written, keys};
use crate::domain::account::AccountId;
use crate::domain::audit_event::AuditEvent;
use crate::error::Result;

/// Which audit events a listing answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only what this token did.
    pub token_id: Option<u64>,
    /// Only this action.
    pub action: Option<String>,
    /// Only what was done to this path, or below it.
    pub subject: Option<String>,
    /// Only what was done at this instant or later.
    pub since: Option<Timestamp>,
    /// Only what was done before this instant.
    pub until: Option<Timestamp>,
}

impl AuditFilter {
    fn passes(&self, event: &AuditEvent) -> bool {
        let below = |subject: &String| {
            let rest = event.subject.strip_prefix(subject.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.token_id.is_none_or(|id| event.actor.token_id == id)
            && self.action.as_ref().is_none_or(|action| event.action == *action)
            && self.subject.as_ref().is_none_or(below)
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
    }
}

impl Table {
    /// Adds an event; `No` when it is there, as after a try whose answer was lost.
    pub(crate) async fn add_audit_event(&self, event: &AuditEvent) -> Result<Written> {
        let key = keys::audit_event(&event.account, year(event.at), event.at, event.id);
        self.put(Write::put(&key, event, [])?.only_if(Condition::Absent)).await
    }

    /// One page of a year's events, the newest first: those of the year of `from` that pass. The page can be short and
    /// still have a next one; see [`Table::find`].
    pub(crate) async fn find_audit_events(
        &self,
        account: &AccountId,
        year: i16,
        filter: &AuditFilter,
        size: i32,
        after: Option<&Cursor>,
    ) -> Result<Page<AuditEvent>> {
        let order = Order { by: SortBy::Id, descending: true };
        let query = Query { order, after, ..Query::of(keys::audit_events(account, year)) };
        let place = |event: &AuditEvent| (keys::audit_event(account, year, event.at, event.id), Vec::new());
        self.find(query, size, |event| filter.passes(event), place).await
    }
}

/// The year of an instant, UTC: a partition holds so many events.
pub(crate) fn year(at: Timestamp) -> i16 {
    at.to_zoned(TimeZone::UTC).year()
}
