//! A session: what stands for a token that somebody logged in with, until it has rested for an hour.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::account::AccountId;

/// Starts every session's text, so that secret scanners can find one that leaked.
pub const SESSION_PREFIX: &str = "hfss_";
/// How long a session may rest.
pub const IDLE: SignedDuration = SignedDuration::from_hours(1);
/// How long the secret at a text's end is: 256 bits in base64 without padding.
const SECRET_CHARS: usize = 43;
/// How long a use may stay unwritten.
const NOTED_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// A session as it is kept, under the SHA-256 of its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The token that it stands for.
    pub token: u64,
    /// When it was last used, give or take a minute.
    pub used_at: Timestamp,
}

impl Session {
    /// Whether it works at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        now.duration_since(self.used_at) <= IDLE
    }

    /// Whether a use at `now` is to be written.
    pub fn use_is_news(&self, now: Timestamp) -> bool {
        now.duration_since(self.used_at) >= NOTED_EVERY
    }
}

/// The text of a session of that account with this secret: `hfss_ACCOUNT_SECRET`.
pub fn write(account: &AccountId, secret: &str) -> String {
    format!("{SESSION_PREFIX}{account}_{secret}")
}

/// Whose session a text is; `None` for any other text.
pub fn account_of(text: &str) -> Option<AccountId> {
    let (account, secret) = text.strip_prefix(SESSION_PREFIX)?.split_once('_')?;
    AccountId::parse(account).filter(|_| secret.len() == SECRET_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_back() {
        let account = AccountId::parse("acme").unwrap();
        let text = write(&account, &"x".repeat(SECRET_CHARS));
        assert_eq!(account_of(&text), Some(account));
        for text in ["", "hfss_acme", "hfss_acme_x", "hfst_acme_1_x", &format!("{text}y"), &text.replace("acme", "A B")]
        {
            assert_eq!(account_of(text), None, "{text}");
        }
    }

    #[test]
    fn it_ends_after_an_idle_hour() {
        let at = |minutes: i64| Timestamp::from_second(minutes * 60).unwrap();
        let session = Session { token: 1, used_at: at(0) };
        assert!(session.is_open(at(60)) && !session.is_open(at(61)));
        assert!(session.use_is_news(at(1)) && !session.use_is_news(at(0)));
    }
}
