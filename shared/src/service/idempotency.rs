//! `Idempotency-Key`: a call that is sent again is answered as it was, and not carried out again.
//!
//! A call is claimed before it is carried out and its answer kept, sealed, for 24 hours. A process that dies in between
//! leaves the claim, which lapses; whether the call took place its sender must look up then.

use aws_lc_rs::digest::{SHA256, digest};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::Service;
use super::conflict::TRIES;
use super::resealing::{KeptCall, Renewal, Sealing};
use crate::aws::table::{AnsweredCall, Condition, Update, keys};
use crate::domain::account::AccountId;
use crate::domain::sealed::Secret;
use crate::error::{Error, Result};

/// How long an answer is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// How long a call can take before it is taken to have died.
const CLAIM: SignedDuration = SignedDuration::from_secs(60);

/// An answer as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// Its HTTP status.
    pub status: u16,
    /// Its headers, by name.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

/// What is known of a call that came with a key.
#[derive(Debug)]
pub enum Repetition {
    /// Nothing: carry it out, then [`Service::keep_answer`] or [`Service::free_call`].
    New(ClaimedCall),
    /// It was carried out: answer the same.
    Answered(KeptAnswer),
}

/// A call that this request may carry out.
#[derive(Debug)]
pub struct ClaimedCall {
    account: AccountId,
    key_sha256: String,
    call: AnsweredCall,
}

impl Service {
    /// Claims a key for the call `what` with this request. A key that was sent with another request is an invalid field
    /// `Idempotency-Key`, one whose first request is still under way a conflict.
    pub async fn claim_call(&self, account: &AccountId, what: &str, key: &str, request: &[u8]) -> Result<Repetition> {
        let key_sha256 = sha256_hex(format!("{what}\n{key}").as_bytes());
        for _ in 0..TRIES {
            let now = self.clock.now();
            let call = AnsweredCall {
                // The client's key is random and not stored: without it, a short secret in the request cannot be guessed.
                request_sha256: sha256_hex(&[key.as_bytes(), b"\n", request].concat()),
                claimed_until: now + CLAIM,
                answer: None,
                ttl: (now + KEPT).as_second(),
            };
            if self.aws.table.claim_call(account, &key_sha256, &call, now).await?.is_yes() {
                return Ok(Repetition::New(ClaimedCall { account: account.clone(), key_sha256, call }));
            }
            let Some(found) = self.aws.table.answered_call(account, &key_sha256).await? else { continue };
            if found.request_sha256 != call.request_sha256 {
                return Err(Error::invalid("Idempotency-Key", "was sent with another request; send another key"));
            }
            let Some(answer) = found.answer else {
                return Err(Error::conflict("a request with this idempotency key is under way; wait for its answer"));
            };
            let answer = self.sealer.open(account, &name(&key_sha256), &answer)?;
            return Ok(Repetition::Answered(serde_json::from_str(answer.expose()).map_err(Error::internal)?));
        }
        Err(super::conflict::contended())
    }

    /// Keeps the answer of a call that was carried out. What it made is there, so a table that does not take the answer
    /// is only told to the log: the call's next repetition would then be refused until the claim has lapsed.
    pub async fn keep_answer(&self, claimed: ClaimedCall, answer: &KeptAnswer) {
        if let Err(error) = self.try_keep(claimed, answer).await {
            tracing::error!(error = error.chain(), "the answer of a call with an idempotency key could not be kept");
        }
    }

    async fn try_keep(&self, claimed: ClaimedCall, answer: &KeptAnswer) -> Result<()> {
        let ClaimedCall { account, key_sha256, call } = claimed;
        let text = Secret::new(serde_json::to_string(answer).map_err(Error::internal)?);
        let sealed = self.sealer.seal(&account, &name(&key_sha256), &text)?;
        let call = AnsweredCall { answer: Some(sealed), ..call };
        // Refused means that the call took so long that another request has claimed the key.
        let _ = self.aws.table.put_answered_call(&account, &key_sha256, &call).await?;
        Ok(())
    }

    /// Frees the key of a call that came to nothing, so that it can be sent again with the fault mended.
    pub async fn free_call(&self, claimed: ClaimedCall) {
        let ClaimedCall { account, key_sha256, call } = claimed;
        if let Err(error) = self.aws.table.free_call(&account, &key_sha256, &call).await {
            tracing::warn!(error = error.chain(), "an idempotency key stays claimed for a minute");
        }
    }
}

fn name(key_sha256: &str) -> String {
    format!("answered_call/{key_sha256}")
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

impl Sealing for KeptCall {
    fn renew(&mut self, renewal: &mut Renewal<'_>) {
        if let Some(answer) = &mut self.answer {
            renewal.secret(&name(&self.sk), answer);
        }
    }

    fn rewrite(&self, account: &AccountId, seen: &Self) -> Update {
        let update = Update::of(keys::answered_call(account, &self.sk)).set("answer", &self.answer);
        update.only_if(Condition::equals("answer", &seen.answer))
    }
}
