//! Tokens that were authenticated a moment ago: for three seconds a process does not ask the table again.
//!
//! So a token that was revoked, or whose account was disabled, is refused everywhere within that time. Texts are kept as
//! their SHA-256 only. What was refused is not kept at all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_shared::domain::token::Token;
use jiff::{SignedDuration, Timestamp};

/// How long an answer is believed.
pub const BELIEVED_FOR: SignedDuration = SignedDuration::from_secs(3);
/// How many tokens are kept.
const MAX_TOKENS: usize = 10_000;

/// Tokens by the SHA-256 of their texts; clones share them.
#[derive(Debug, Clone, Default)]
pub struct KnownTokens(Arc<Mutex<HashMap<String, Known>>>);

#[derive(Debug)]
struct Known {
    token: Arc<Token>,
    since: Timestamp,
}

impl Known {
    fn is_believed(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.since);
        (SignedDuration::ZERO..BELIEVED_FOR).contains(&age) && !self.token.has_expired(now)
    }
}

impl KnownTokens {
    /// The token with that SHA-256, if it was authenticated a moment before `now`.
    pub fn find(&self, sha256: &str, now: Timestamp) -> Option<Arc<Token>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(sha256).filter(|known| known.is_believed(now)).map(|known| known.token.clone())
    }

    /// Remembers a token that was authenticated; `since` is from before the table was asked.
    pub fn remember(&self, token: Arc<Token>, since: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_TOKENS {
            all.retain(|_, known| known.is_believed(since));
        }
        if all.len() >= MAX_TOKENS {
            all.clear();
        }
        all.insert(token.sha256.clone(), Known { token, since });
    }
}

#[cfg(test)]
mod tests {
    use holdfast_shared::domain::account::AccountId;

    use super::*;

    fn token(sha256: impl Into<String>, expires_at: Option<Timestamp>) -> Arc<Token> {
        Arc::new(Token {
            id: 1,
            account: AccountId::parse("acme").unwrap(),
            name: String::new(),
            prefix: String::new(),
            sha256: sha256.into(),
            abilities: Vec::new(),
            expires_at,
            created_at: Timestamp::UNIX_EPOCH,
            revision: 1,
            last_used_at: None,
        })
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    #[test]
    fn an_answer_is_believed_for_three_seconds() {
        let known = KnownTokens::default();
        known.remember(token("a", None), at(1000));
        assert!(known.find("a", at(1000)).is_some() && known.find("a", at(3999)).is_some());
        assert!(known.find("a", at(4000)).is_none() && known.find("a", at(999)).is_none());
        assert!(known.find("b", at(1000)).is_none());
    }

    #[test]
    fn a_token_that_expires_meanwhile_is_not_believed() {
        let known = KnownTokens::default();
        known.remember(token("a", Some(at(2000))), at(1000));
        assert!(known.find("a", at(1999)).is_some() && known.find("a", at(2000)).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let known = KnownTokens::default();
        for number in 0..MAX_TOKENS + 10 {
            known.remember(token(number.to_string(), None), at(0));
        }
        assert!(known.0.lock().unwrap().len() <= MAX_TOKENS);
    }
}
