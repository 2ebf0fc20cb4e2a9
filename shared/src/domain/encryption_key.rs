//! An encryption key: a public key that backups are encrypted to. Its private half stays with its owner.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::public_key::PublicKey;

/// A public key that backups are encrypted to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncryptionKey {
    /// Integer id, counted per account.
    pub id: u64,
    /// What its owner calls it.
    pub name: String,
    /// The key itself; it never changes, since what it encrypted needs its other half.
    #[serde(flatten)]
    pub key: PublicKey,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its owner last renamed it.
    pub updated_at: Timestamp,
    /// Counts its owner's edits, from 1: each one states the revision that it read, and loses to an edit in between.
    pub revision: u64,
}

/// What its owner says of a new encryption key.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEncryptionKey {
    /// What to call it.
    pub name: String,
    /// The key itself.
    pub key: PublicKey,
}
