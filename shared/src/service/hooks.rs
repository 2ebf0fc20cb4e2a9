//! Hooks: the scripts of a job, each sealed for its job and its field.

use uuid::Uuid;

use super::Service;
use super::resealing::Renewal;
use crate::domain::account::AccountId;
use crate::domain::hooks::{Hook, Hooks, HooksChange};
use crate::domain::job::Job;
use crate::domain::sealed::Secret;
use crate::error::Result;

impl Service {
    /// The scripts of a job after a change, with the new ones sealed.
    pub(super) fn sealed_hooks(
        &self,
        account: &AccountId,
        job: Uuid,
        change: &HooksChange,
        before: Hooks,
    ) -> Result<Hooks> {
        let after = |hook, before| match change.get(hook) {
            None => Ok(before),
            Some(None) => Ok(None),
            Some(Some(script)) => self.sealer.seal(account, &secret_name(job, hook), script).map(Some),
        };
        Ok(Hooks {
            pre_script: after(Hook::Pre, before.pre_script)?,
            post_script: after(Hook::Post, before.post_script)?,
        })
    }

    /// The scripts of the job `from`, sealed for the job `to` of the same account.
    pub(super) fn resealed_hooks(&self, account: &AccountId, hooks: &Hooks, from: Uuid, to: Uuid) -> Result<Hooks> {
        hooks.try_map(|hook, sealed| {
            let script = self.sealer.open(account, &secret_name(from, hook), sealed)?;
            self.sealer.seal(account, &secret_name(to, hook), &script)
        })
    }

    /// The scripts of a job in the open; an internal error if one was altered or is another's.
    pub fn open_hooks(&self, job: &Job) -> Result<Hooks<Secret>> {
        job.hooks.try_map(|hook, sealed| self.sealer.open(&job.account, &secret_name(job.id, hook), sealed))
    }
}

/// Hands over the scripts of a job, to be sealed anew.
pub(super) fn renew_hooks(job: &mut Job, renewal: &mut Renewal<'_>) {
    let id = job.id;
    let Hooks { pre_script, post_script } = &mut job.hooks;
    for (hook, script) in [(Hook::Pre, pre_script), (Hook::Post, post_script)] {
        if let Some(sealed) = script {
            renewal.secret(&secret_name(id, hook), sealed);
        }
    }
}

/// What a script is sealed for: it opens for no other job and no other field.
fn secret_name(job: Uuid, hook: Hook) -> String {
    format!("job/{job}/{}", hook.field())
}
