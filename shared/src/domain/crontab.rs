//! A crontab: the versioned text of one user's crontab on one server.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::host::LoginName;
use super::sealed::{Sealed, Secret};

/// How long a crontab's text may be, bytes.
pub const MAX_CONTENT_BYTES: usize = 1024 * 1024;

/// One user's crontab on one server, with its newest snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Crontab {
    /// Integer id, counted per account.
    pub id: u64,
    /// The crontab server that it is of.
    pub server_id: u64,
    /// That server's identifier, which never changes.
    pub server: String,
    /// Whose crontab.
    pub username: LoginName,
    /// How many snapshots are kept.
    pub snapshots: u64,
    /// The number of the newest one.
    pub newest: u64,
    /// How long the newest one is, bytes.
    pub size_bytes: u64,
    /// SHA-256 of the newest one's text in lowercase hexadecimal digits, sealed. In the open, whoever reads the table could
    /// find a short secret in a text that is otherwise known, by hashing guesses.
    pub sha256: Sealed,
    /// When it was first sent.
    pub created_at: Timestamp,
    /// When its text last changed.
    pub updated_at: Timestamp,
    /// Counts its changes, from 1: each one states the revision that it read, and loses to one in between.
    pub revision: u64,
}

/// The text of a crontab as it was from some moment on. The text itself is in rows of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Counts the crontab's snapshots, from 1.
    pub number: u64,
    /// How long the text is, bytes.
    pub size_bytes: u64,
    /// Over how many rows the text lies.
    pub parts: u32,
    /// When it was first sent.
    pub created_at: Timestamp,
}

/// A snapshot with its text in the open.
#[derive(Debug, Clone, PartialEq)]
pub struct PlainSnapshot {
    /// What is stored of it.
    pub snapshot: Snapshot,
    /// The text.
    pub content: Secret,
}

/// What a server sends of a user's crontab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentCrontab {
    /// The server's identifier.
    pub server: String,
    /// Whose crontab.
    pub username: LoginName,
    /// Its text.
    pub content: Secret,
}

/// Takes the text of a crontab, as it is.
pub fn content(text: &str) -> Result<Secret, String> {
    match text.len() > MAX_CONTENT_BYTES {
        true => Err(format!("must not be longer than {MAX_CONTENT_BYTES} bytes")),
        false => Ok(Secret::new(text)),
    }
}

/// Cuts a text into parts of at most `max_bytes`, none within a character; an empty text is one empty part.
pub fn chunks(text: &str, max_bytes: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > max_bytes {
        let (part, more) = rest.split_at(rest.floor_char_boundary(max_bytes));
        parts.push(part);
        rest = more;
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_can_have_a_mebibyte() {
        let text = "x".repeat(MAX_CONTENT_BYTES);
        assert_eq!(content(&text).unwrap().expose().len(), MAX_CONTENT_BYTES);
        assert_eq!(content("").unwrap().expose(), "");
        assert!(content(&format!("{text}x")).is_err());
    }

    #[test]
    fn a_text_is_cut_between_characters_and_nothing_is_lost() {
        assert_eq!(chunks("", 4), [""]);
        assert_eq!(chunks("abcd", 4), ["abcd"]);
        assert_eq!(chunks("abcde", 4), ["abcd", "e"]);
        assert_eq!(chunks("abc€d", 4), ["abc", "€d"]);
        let text = "0 * * * * é🕐\n".repeat(99);
        let parts = chunks(&text, 7);
        assert!(parts.iter().all(|part| part.len() <= 7));
        assert_eq!(parts.concat(), text);
    }
}
