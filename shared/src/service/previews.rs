//! Previews: asked for by owners, made by workers, which alone may log in to servers.

use uuid::Uuid;

use super::Service;
use crate::aws::table::Written;
use crate::domain::account::AccountId;
use crate::domain::check::CheckFailure;
use crate::domain::job::Job;
use crate::domain::message::{Message, Task};
use crate::domain::preview::{Listing, Preview};
use crate::domain::recipe::Recipe;
use crate::error::{Error, Result};

impl Service {
    /// Asks a worker what a job would take; [`Service::preview`] shows the answer. Only of jobs that take files.
    pub async fn ask_preview(&self, account: &AccountId, job: Uuid) -> Result<Preview> {
        let job: Job = self.job(account, job).await?;
        if !matches!(job.recipe, Recipe::FileBackups(_)) {
            let message =
                format!("is {}: only jobs with file-backups can tell beforehand what they take", job.recipe.slug());
            return Err(Error::invalid("recipe", message));
        }
        let preview = Preview::pending(Uuid::new_v4(), self.clock.now());
        // It goes over whichever was there.
        let _ = self.aws.table.put_preview(account, job.id, &preview).await?;
        let task = Task::Preview { account: account.clone(), job: job.id, preview: preview.id };
        self.aws.queue.send(&Message::new(task), 0).await?;
        Ok(preview)
    }

    /// The last preview of a job, if one was asked for in the last days.
    pub async fn preview(&self, account: &AccountId, job: Uuid) -> Result<Option<Preview>> {
        let job = self.job(account, job).await?;
        self.aws.table.preview(account, job.id).await
    }

    /// Records what a preview found; `No` when another one was asked for meanwhile.
    pub async fn finish_preview(
        &self,
        account: &AccountId,
        job: Uuid,
        preview: Preview,
        outcome: std::result::Result<Listing, CheckFailure>,
    ) -> Result<Written> {
        self.aws.table.answer_preview(account, job, &preview.finished(outcome, self.clock.now())).await
    }
}
