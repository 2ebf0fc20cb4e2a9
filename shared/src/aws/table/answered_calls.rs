//! Calls that came with an `Idempotency-Key`: which request it was, and what was answered.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Condition, Table, Write, Written, keys, value};
use crate::domain::account::AccountId;
use crate::domain::sealed::Sealed;
use crate::error::Result;

/// A call as it is kept for its repetitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AnsweredCall {
    /// SHA-256 of the request, lowercase hex: another request under the same key is refused.
    pub request_sha256: String,
    /// Until when the first request is taken to be under way, unless it was answered.
    pub claimed_until: Timestamp,
    /// The answer; `None` while the first request is under way.
    pub answer: Option<Sealed>,
    /// Epoch seconds after which DynamoDB removes the row, late as it does.
    pub ttl: i64,
}

impl Table {
    /// Keeps a key for a request that is about to be carried out; `No` when it is kept for one already.
    pub(crate) async fn claim_call(
        &self,
        account: &AccountId,
        key_sha256: &str,
        call: &AnsweredCall,
        now: Timestamp,
    ) -> Result<Written> {
        let forgotten = Condition::Below("ttl", value(now.as_second()));
        let abandoned = Condition::All(vec![
            Condition::unchanged::<Sealed>("answer", None),
            Condition::Below("claimed_until", value(now)),
        ]);
        let free = Condition::Any(vec![Condition::Absent, forgotten, abandoned]);
        self.write(Write::put(&keys::answered_call(account, key_sha256), call, [])?.only_if(free)).await
    }

    /// Replaces what this request claimed, by its answer.
    pub(crate) async fn put_answered_call(
        &self,
        account: &AccountId,
        key_sha256: &str,
        call: &AnsweredCall,
    ) -> Result<Written> {
        let own = Condition::equals("claimed_until", call.claimed_until);
        self.write(Write::put(&keys::answered_call(account, key_sha256), call, [])?.only_if(own)).await
    }

    /// Frees a key whose request came to nothing.
    pub(crate) async fn free_call(
        &self,
        account: &AccountId,
        key_sha256: &str,
        call: &AnsweredCall,
    ) -> Result<Written> {
        let own = Condition::equals("claimed_until", call.claimed_until);
        self.write(Write::delete(keys::answered_call(account, key_sha256)).only_if(own)).await
    }

    /// What is kept under a key.
    pub(crate) async fn answered_call(&self, account: &AccountId, key_sha256: &str) -> Result<Option<AnsweredCall>> {
        self.get(&keys::answered_call(account, key_sha256)).await
    }
}
