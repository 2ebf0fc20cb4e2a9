//! A bearer token and what it may do.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ability::{Ability, EVERYTHING};
use super::account::AccountId;
use crate::error::{Error, ErrorKind, Result};

/// Starts every token's text, so that secret scanners can find one that leaked.
///
/// A whole text matches `hfst_[a-z0-9]{1,32}_[0-9]{1,20}_[A-Za-z0-9_-]{43}`.
pub const TOKEN_PREFIX: &str = "hfst_";
/// How long the secret at a text's end is: 256 bits in base64 without padding.
const SECRET_CHARS: usize = 43;
/// How much of the secret is shown for recognition; 232 bits stay unknown.
const SHOWN_CHARS: usize = 4;
/// How long a use may stay unwritten, seconds.
pub const USE_NOTED_EVERY_SECS: i64 = 60;

/// A token as it is kept: its text is shown once and never stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Integer id, counted per account.
    pub id: u64,
    /// Whose it is.
    pub account: AccountId,
    /// What its owner calls it.
    pub name: String,
    /// How its text begins: enough to recognise it, too little to guess it.
    pub prefix: String,
    /// SHA-256 of the whole text, lowercase hex.
    pub sha256: String,
    /// What it may do; `*` is everything.
    pub abilities: Vec<String>,
    /// When it stops working; `None` for never.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Counts its owner's edits, from 1.
    pub revision: u64,
    /// When it was last used, give or take [`USE_NOTED_EVERY_SECS`].
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
}

/// What is said of a new token.
#[derive(Debug, Clone, PartialEq)]
pub struct NewToken {
    /// What to call it.
    pub name: String,
    /// What it may do, in our own names.
    pub abilities: Vec<String>,
    /// When it stops working; `None` for never.
    pub expires_at: Option<Timestamp>,
}

/// What its owner changes of a token; `None` leaves a part as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenEdit {
    /// What to call it.
    pub name: Option<String>,
    /// What it may do, in our own names.
    pub abilities: Option<Vec<String>>,
}

/// A token's text: `hfst_ACCOUNT_ID_SECRET`. Account and id are its place in the table; only the secret is secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenText<'a> {
    account: &'a str,
    id: u64,
}

impl<'a> TokenText<'a> {
    /// Takes a text apart; `None` for any other shape.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (account, rest) = text.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
        let (id, secret) = rest.split_once('_')?;
        let id = id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.parse().ok())??;
        (secret.len() == SECRET_CHARS).then_some(Self { account, id })
    }

    /// Whose token it is; `None` where no account can be called that.
    pub fn account(&self) -> Option<AccountId> {
        AccountId::parse(self.account)
    }

    /// The token's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The text of a token with this secret.
    pub fn write(account: &AccountId, id: u64, secret: &str) -> String {
        format!("{TOKEN_PREFIX}{account}_{id}_{secret}")
    }

    /// How that text begins.
    pub fn prefix(account: &AccountId, id: u64, secret: &str) -> String {
        let shown: String = secret.chars().take(SHOWN_CHARS).collect();
        Self::write(account, id, &shown)
    }
}

impl Token {
    /// Whether the token may do what `ability` names.
    pub fn may(&self, ability: Ability) -> bool {
        self.has(&ability.to_string())
    }

    fn has(&self, name: &str) -> bool {
        self.abilities.iter().any(|own| own == EVERYTHING || own == name)
    }

    /// Fails with [`ErrorKind::Forbidden`], naming the ability, unless the token has it.
    pub fn demand(&self, ability: Ability) -> Result<()> {
        match self.may(ability) {
            true => Ok(()),
            false => Err(lacks(ability)),
        }
    }

    /// Whether it no longer works at `now`.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expiry| expiry <= now)
    }

    /// Whether a use at `now` is worth a write.
    pub fn use_is_news(&self, now: Timestamp) -> bool {
        self.last_used_at.is_none_or(|last| now.as_second() - last.as_second() >= USE_NOTED_EVERY_SECS)
    }

    /// Fails unless this token may give `abilities` to one that works until `expires_at`.
    ///
    /// A token gives only what it has, and for no longer than it has it: otherwise whoever got hold of a token that may
    /// write tokens and nothing else, or only until tonight, could make one that may do everything for ever.
    pub fn may_give<'a>(
        &self,
        abilities: impl IntoIterator<Item = &'a String>,
        expires_at: Option<Timestamp>,
    ) -> Result<()> {
        let mut gives = false;
        for ability in abilities {
            gives = true;
            if !self.has(ability) {
                let message = format!("this token lacks the ability {ability}, so it cannot give it");
                return Err(Error::new(ErrorKind::Forbidden, message));
            }
        }
        match self.expires_at {
            Some(own) if gives && expires_at.is_none_or(|expiry| expiry > own) => {
                Err(Error::invalid("expires_at", format!("must not be later than this token's own expiry, {own}")))
            }
            _ => Ok(()),
        }
    }

    /// The token after its owner's edit.
    #[must_use]
    pub fn edited(&self, edit: TokenEdit) -> Self {
        let seen = self.clone();
        Self {
            name: edit.name.unwrap_or(seen.name),
            abilities: edit.abilities.unwrap_or(seen.abilities),
            revision: seen.revision + 1,
            ..seen
        }
    }

    /// Those of `abilities` that this token does not have.
    pub fn without_own<'a>(&self, abilities: &'a [String]) -> Vec<&'a String> {
        abilities.iter().filter(|ability| !self.has(ability)).collect()
    }
}

/// What a call is answered with whose token lacks an ability that it needs.
pub fn lacks(ability: Ability) -> Error {
    Error::new(ErrorKind::Forbidden, format!("this token lacks the ability {ability}"))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn token(abilities: &[&str]) -> Token {
        Token {
            id: 7,
            account: AccountId::parse("acme").unwrap(),
            name: "ci".to_owned(),
            prefix: String::new(),
            sha256: String::new(),
            abilities: names(abilities),
            expires_at: None,
            created_at: Timestamp::UNIX_EPOCH,
            revision: 1,
            last_used_at: None,
        }
    }

    fn names(abilities: &[&str]) -> Vec<String> {
        abilities.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn texts_name_their_place() {
        let account = AccountId::parse("acme").unwrap();
        // A secret may hold the character that parts the text.
        let secret = "_".repeat(SECRET_CHARS);
        let text = TokenText::write(&account, 7, &secret);
        let parsed = TokenText::parse(&text).unwrap();
        assert_eq!((parsed.account(), parsed.id()), (Some(account.clone()), 7));
        assert_eq!(TokenText::prefix(&account, 7, &secret), "hfst_acme_7_____");
        for other in [&text[..text.len() - 1], "hfst_", "hfst_acme_x", "", &text.replace("_7_", "_+7_"), &text[1..]] {
            assert_eq!(TokenText::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_token_gives_what_it_has() {
        let limited = token(&["write-tokens", "read-jobs"]);
        assert!(limited.may_give(&names(&["read-jobs"]), None).is_ok());
        let refused = limited.may_give(&names(&["read-jobs", "download"]), None).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Forbidden);
        assert!(refused.message.contains("download"), "{refused}");
        assert!(limited.may_give(&names(&["*"]), None).is_err(), "everything is more than what it has");
        assert!(token(&["*"]).may_give(&names(&["*", "download"]), None).is_ok());
    }

    #[test]
    fn a_token_gives_for_as_long_as_it_has() {
        let expiry = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1);
        let passing = Token { expires_at: Some(expiry), ..token(&["*"]) };
        let one = names(&["download"]);
        assert!(passing.may_give(&one, Some(expiry)).is_ok());
        for later in [None, Some(expiry + SignedDuration::from_secs(1))] {
            assert!(passing.may_give(&one, later).unwrap_err().fields().is_some(), "{later:?}");
        }
        assert!(passing.may_give(&[], None).is_ok(), "taking away is no giving");
        assert!(passing.has_expired(expiry) && !passing.has_expired(Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn uses_are_news_once_a_minute() {
        let at = |secs| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(secs);
        assert!(token(&[]).use_is_news(at(0)));
        let used = Token { last_used_at: Some(at(100)), ..token(&[]) };
        assert!(!used.use_is_news(at(159)) && used.use_is_news(at(160)));
    }
}
