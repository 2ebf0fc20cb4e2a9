//! Encryption passwords: the passphrase of a job, sealed for it.

use uuid::Uuid;

use super::Service;
use super::resealing::Renewal;
use crate::domain::account::AccountId;
use crate::domain::job::Job;
use crate::domain::sealed::{Sealed, Secret};
use crate::error::Result;

impl Service {
    /// The passphrase of a job after a change, with a new one sealed.
    pub(super) fn sealed_password(
        &self,
        account: &AccountId,
        job: Uuid,
        change: Option<&Option<Secret>>,
        before: Option<Sealed>,
    ) -> Result<Option<Sealed>> {
        match change {
            None => Ok(before),
            Some(None) => Ok(None),
            Some(Some(password)) => self.sealer.seal(account, &secret_name(job), password).map(Some),
        }
    }

    /// The passphrase of the job `from`, sealed for the job `to` of the same account.
    pub(super) fn resealed_password(
        &self,
        account: &AccountId,
        password: Option<&Sealed>,
        from: Uuid,
        to: Uuid,
    ) -> Result<Option<Sealed>> {
        let Some(sealed) = password else { return Ok(None) };
        let password = self.sealer.open(account, &secret_name(from), sealed)?;
        self.sealer.seal(account, &secret_name(to), &password).map(Some)
    }

    /// The passphrase of a job in the open; an internal error if it was altered or is another's.
    pub fn open_encryption_password(&self, job: &Job) -> Result<Option<Secret>> {
        let sealed = job.encryption_password.as_ref();
        sealed.map(|sealed| self.sealer.open(&job.account, &secret_name(job.id), sealed)).transpose()
    }
}

/// Hands over the passphrase of a job, to be sealed anew.
pub(super) fn renew_password(job: &mut Job, renewal: &mut Renewal<'_>) {
    if let Some(sealed) = &mut job.encryption_password {
        renewal.secret(&secret_name(job.id), sealed);
    }
}

/// What the passphrase is sealed for: it opens for no other job and no other field.
fn secret_name(job: Uuid) -> String {
    format!("job/{job}/encryption_password")
}
