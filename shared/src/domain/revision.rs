//! Revisions: each edit of a record counts one up, and states which one it saw.

use crate::error::{Error, Result};

/// The revisions that a writer is willing to change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Expected {
    /// Whichever there is.
    #[default]
    Any,
    /// One of these.
    OneOf(Vec<u64>),
}

impl Expected {
    /// Fails with [`crate::ErrorKind::Outdated`] unless the writer is willing to change `revision`.
    pub fn check(&self, revision: u64) -> Result<()> {
        match self {
            Self::OneOf(named) if !named.contains(&revision) => Err(Error::outdated()),
            _ => Ok(()),
        }
    }
}
