//! Recipes: the secrets of a job's config, each sealed for its job and its field.

use std::convert::Infallible;

use uuid::Uuid;

use super::Service;
use super::encryption_passwords::renew_password;
use super::hooks::renew_hooks;
use super::resealing::{Renewal, Sealing};
use crate::aws::table::{Condition, DeletedJob, Update, keys};
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

impl Sealing for Job {
    fn renew(&mut self, renewal: &mut Renewal<'_>) {
        let renewed = |key: &str, sealed: &Sealed| {
            let mut sealed = sealed.clone();
            renewal.secret(&secret_name(self.id, key), &mut sealed);
            Ok::<_, Infallible>(sealed)
        };
        let Ok(recipe) = self.recipe.clone().resealed(renewed);
        self.recipe = recipe;
        renew_hooks(self, renewal);
        renew_password(self, renewal);
    }

    fn rewrite(&self, account: &AccountId, seen: &Self) -> Update {
        let update = Update::of(keys::job(account, self.id)).set("recipe", &self.recipe).set("hooks", &self.hooks);
        let update = update.set("encryption_password", &self.encryption_password);
        update.only_if(Condition::equals("revision", seen.revision))
    }
}

impl Sealing for DeletedJob {
    fn renew(&mut self, renewal: &mut Renewal<'_>) {
        self.job.renew(renewal);
    }

    /// Nobody edits a deleted job.
    fn rewrite(&self, account: &AccountId, _: &Self) -> Update {
        Update::of(keys::deleted_job(account, self.job.id)).set("job", &self.job).only_if(Condition::Exists)
    }
}
