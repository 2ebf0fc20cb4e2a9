//! What every list of an account's resources answers.

use crate::aws::table::{Cursor, Page};
use crate::error::{Error, Result};

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing<T> {
    /// The records, in the order asked for.
    pub records: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
    /// How many there are on all pages; `None` when the list is filtered by what nobody counts.
    pub total: Option<u64>,
}

impl<T> Listing<T> {
    pub(super) fn of(page: Page<T>, total: u64) -> Self {
        Self { records: page.records, next: page.next, total: Some(total) }
    }
}

/// Refuses a cursor that was not handed out for the partition `pk`.
pub(super) fn check_cursor(after: Option<&Cursor>, pk: &str) -> Result<()> {
    match after {
        Some(cursor) if !cursor.is_in(pk) => Err(Error::invalid("cursor", "is not a cursor of this list")),
        _ => Ok(()),
    }
}
