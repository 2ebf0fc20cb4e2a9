//! Tokens, by their ids; a token's text names its id.

use jiff::Timestamp;

use super::counters::count;
use super::keys::{self, sortable, sorted_by};
use super::{Condition, Cursor, Noun, Order, Page, Query, Table, Update, Write, Written};
use crate::domain::account::AccountId;
use crate::domain::token::Token;
use crate::error::Result;

/// What a use writes; an owner's edit leaves it alone.
const USES: [&str; 1] = ["last_used_at"];

impl Table {
    /// Puts a new token; `No` when its number is taken.
    pub(crate) async fn create_token(&self, token: &Token) -> Result<Written> {
        let indexes = [
            ("by_name", sorted_by(&token.name, token.id)),
            ("by_created", sorted_by(&sortable(token.created_at), token.id)),
        ];
        self.transact(vec![
            Write::put_new(&keys::token(&token.account, token.id), token, indexes)?,
            count(&token.account, Noun::Token, 1),
        ])
        .await
    }

    /// One token.
    pub(crate) async fn token(&self, account: &AccountId, id: u64) -> Result<Option<Token>> {
        self.get(&keys::token(account, id)).await
    }

    /// Replaces what its owner may change; `No` when it was changed or removed meanwhile.
    pub(crate) async fn update_token(&self, seen: &Token, next: &Token) -> Result<Written> {
        let update = Update::of(keys::token(&seen.account, seen.id)).set_record(next, &USES)?;
        let update = update.set("by_name", sorted_by(&next.name, next.id));
        self.write(update.only_if(Condition::equals("revision", seen.revision)).into()).await
    }

    /// Removes a token; `No` when it was changed meanwhile, or when it is gone.
    pub(crate) async fn delete_token(&self, seen: &Token) -> Result<Written> {
        let unedited = Condition::equals("revision", seen.revision);
        self.transact(vec![
            Write::delete(keys::token(&seen.account, seen.id)).only_if(unedited),
            count(&seen.account, Noun::Token, -1),
        ])
        .await
    }

    /// Notes a use, unless another process noted one since the token was read, or it is gone.
    pub(crate) async fn token_used(&self, seen: &Token, at: Timestamp) -> Result<()> {
        let first = Condition::All(vec![Condition::Exists, Condition::unchanged("last_used_at", seen.last_used_at)]);
        let update = Update::of(keys::token(&seen.account, seen.id)).set("last_used_at", at);
        // No transaction, which would cost twice as much.
        self.update::<Token>(update.only_if(first)).await?;
        Ok(())
    }

    /// One page of the account's tokens.
    pub(crate) async fn list_tokens(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Page<Token>> {
        self.page(Query { order, limit, after, ..Query::of(keys::tokens(account)) }).await
    }
}
