//! The tokens that act for accounts.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;

use super::listing::{Listing, check_cursor};
use super::{Service, conflict};
use crate::aws::table::{Cursor, Noun, Order, keys};
use crate::domain::account::{Account, AccountId};
use crate::domain::revision::Expected;
use crate::domain::sealed::Secret;
use crate::domain::session;
use crate::domain::token::{NewToken, Token, TokenEdit, TokenText};
use crate::error::{Error, ErrorKind, Result};

impl Service {
    /// Makes a token that never expires, as the operator of an installation may: see [`Service::issue_token`].
    pub async fn create_token(
        &self,
        account: &AccountId,
        name: &str,
        abilities: Vec<String>,
    ) -> Result<(Token, Secret)> {
        self.issue_token(account, NewToken { name: name.to_owned(), abilities, expires_at: None }).await
    }

    /// Makes a token and answers its text, which is shown this once and kept nowhere.
    ///
    /// Whether the caller may give such a token is the caller's business: [`Token::may_give`].
    pub async fn issue_token(&self, account: &AccountId, new: NewToken) -> Result<(Token, Secret)> {
        let now = self.clock.now();
        if new.expires_at.is_some_and(|expiry| expiry <= now) {
            return Err(Error::invalid("expires_at", "must be in the future"));
        }
        let random: [u8; 32] = rand::rng().random();
        let secret = URL_SAFE_NO_PAD.encode(random);
        let id = self.aws.table.next_number(account, Noun::Token).await?;
        let text = TokenText::write(account, id, &secret);
        let token = Token {
            id,
            account: account.clone(),
            name: new.name,
            prefix: TokenText::prefix(account, id, &secret),
            sha256: sha256_hex(&text),
            abilities: new.abilities,
            expires_at: new.expires_at,
            created_at: now,
            revision: 1,
            last_used_at: None,
        };
        match self.aws.table.create_token(&token).await?.is_yes() {
            true => Ok((token, Secret::new(text))),
            false => Err(conflict::contended()),
        }
    }

    /// The token whose text this is, or that a session of this text stands for, while it works: [`ErrorKind::Unauthenticated`] for any other text, for a token that
    /// expired, and for one whose account is disabled.
    pub async fn authenticate(&self, text: &str) -> Result<Token> {
        let unknown = || refused("this token is not known; it may have been deleted");
        if let Some(account) = session::account_of(text) {
            let over = || refused("this session is over or was never open; log in again");
            let id = self.token_of_session(&account, text).await?.ok_or_else(over)?;
            let (token, account) = tokio::join!(self.aws.table.token(&account, id), self.aws.table.account(&account));
            return self.working(token?.ok_or_else(over)?, &account?.ok_or_else(over)?);
        }
        let place = TokenText::parse(text).ok_or_else(unknown)?;
        let id = place.account().ok_or_else(unknown)?;
        let (token, account) = tokio::join!(self.aws.table.token(&id, place.id()), self.aws.table.account(&id));
        let (token, account) = (token?.ok_or_else(unknown)?, account?.ok_or_else(unknown)?);
        verify_slices_are_equal(token.sha256.as_bytes(), sha256_hex(text).as_bytes()).map_err(|_| unknown())?;
        self.working(token, &account)
    }

    /// The token, if it works: only whoever has its secret is told that it does not.
    fn working(&self, token: Token, account: &Account) -> Result<Token> {
        if token.has_expired(self.clock.now()) {
            return Err(refused("this token has expired; make another one"));
        }
        if account.is_disabled() {
            return Err(refused("the account of this token is disabled; ask whoever runs this installation"));
        }
        Ok(token)
    }

    /// Notes that a token is in use, unless that is already known of the last minute.
    pub async fn note_use(&self, token: &Token) -> Result<()> {
        let now = self.clock.now();
        if token.use_is_news(now) {
            self.aws.table.token_used(token, now).await?;
        }
        Ok(())
    }

    /// One token.
    pub async fn token(&self, account: &AccountId, id: u64) -> Result<Token> {
        self.aws.table.token(account, id).await?.ok_or_else(|| Error::not_found("token"))
    }

    /// The account's tokens, page by page.
    pub async fn list_tokens(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Listing<Token>> {
        check_cursor(after, &keys::tokens(account))?;
        let page = self.aws.table.list_tokens(account, order, limit, after).await?;
        Ok(Listing::of(page, self.aws.table.total_of(account, Noun::Token).await?))
    }

    /// Changes a token as its owner says, with `by`, which may give only what it has.
    pub async fn update_token(&self, by: &Token, id: u64, edit: TokenEdit, expected: &Expected) -> Result<Token> {
        for _ in 0..conflict::TRIES {
            let seen = self.token(&by.account, id).await?;
            expected.check(seen.revision)?;
            if let Some(abilities) = &edit.abilities {
                by.may_give(seen.without_own(abilities), seen.expires_at)?;
            }
            let next = seen.edited(edit.clone());
            if self.aws.table.update_token(&seen, &next).await?.is_yes() {
                return Ok(next);
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// Revokes a token: it is refused within seconds.
    pub async fn delete_token(&self, account: &AccountId, id: u64, expected: &Expected) -> Result<()> {
        for _ in 0..conflict::TRIES {
            let seen = self.token(account, id).await?;
            expected.check(seen.revision)?;
            if self.aws.table.delete_token(&seen).await?.is_yes() {
                return Ok(());
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }
}

fn refused(message: &str) -> Error {
    Error::new(ErrorKind::Unauthenticated, message)
}

/// SHA-256 of a text, lowercase hex: how tokens are kept and recognised.
pub fn sha256_hex(text: &str) -> String {
    hex::encode(digest(&SHA256, text.as_bytes()))
}
