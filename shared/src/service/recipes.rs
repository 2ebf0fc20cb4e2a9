//! Recipes: the secrets of a job's config, each sealed for its job and its field.

use uuid::Uuid;

use super::Service;
use crate::domain::account::AccountId;
use crate::domain::job::Job;
use crate::domain::recipe::{Recipe, RecipeDraft};
use crate::domain::sealed::{Sealed, Secret};
use crate::error::Result;

impl Service {
    /// The recipe of a job, with its new secrets sealed for that job.
    pub(super) fn sealed_recipe(&self, account: &AccountId, job: Uuid, draft: RecipeDraft) -> Result<Recipe> {
        draft.seal(|key, secret| self.sealer.seal(account, &secret_name(job, key), secret))
    }

    /// A recipe of the job `from`, with its secrets sealed for the job `to` of the same account.
    pub(super) fn resealed_recipe(&self, account: &AccountId, recipe: Recipe, from: Uuid, to: Uuid) -> Result<Recipe> {
        recipe.resealed(|key, sealed| {
            let secret = self.sealer.open(account, &secret_name(from, key), sealed)?;
            self.sealer.seal(account, &secret_name(to, key), &secret)
        })
    }

    /// A secret of a job's config in the open, by its field's key; an internal error if it was altered or is another's.
    pub fn open_config_secret(&self, job: &Job, key: &str, sealed: &Sealed) -> Result<Secret> {
        self.sealer.open(&job.account, &secret_name(job.id, key), sealed)
    }
}

/// What a secret of a job's config is sealed for: it opens for no other job and no other field.
fn secret_name(job: Uuid, key: &str) -> String {
    format!("job/{job}/config/{key}")
}
