//! Schedules: each is part of its job, and changes with it.

use uuid::Uuid;

use super::Service;
use super::conflict::TRIES;
use super::jobs::changed_meanwhile;
use crate::aws::table::Watch;
use crate::domain::account::AccountId;
use crate::domain::job::Job;
use crate::domain::revision::Expected;
use crate::domain::schedule::ScheduleInput;
use crate::error::{Error, Result};

impl Service {
    /// Changes what the input names of one schedule. Fails with all offending fields at once.
    pub async fn update_schedule(
        &self,
        account: &AccountId,
        job: Uuid,
        schedule: u64,
        input: &ScheduleInput,
        expected: &Expected,
    ) -> Result<Job> {
        for _ in 0..TRIES {
            let seen = self.job(account, job).await?;
            expected.check(seen.revision)?;
            let mut next = seen.clone();
            let found = next.schedules.iter_mut().find(|found| found.id == schedule);
            let found = found.ok_or_else(|| Error::not_found("schedule"))?;
            *found = found.apply(input)?;
            if let Some(job) = self.replace_job(&seen, next).await? {
                return Ok(job);
            }
        }
        Err(changed_meanwhile())
    }

    /// For each schedule of `next` that fires: the slot that should next have made a backup.
    ///
    /// A schedule that fired before and whose timing stays keeps the slot that it was watched for: an edit in the middle of
    /// an outage must not hide the slots that were missed in it.
    pub(super) async fn watches_of(&self, seen: Option<&Job>, next: &Job) -> Result<Vec<Watch>> {
        let now = self.clock.now();
        let mut watches = Vec::new();
        for schedule in next.schedules.iter().filter_map(|schedule| next.active_schedule(schedule.id)) {
            let before = seen.and_then(|seen| seen.active_schedule(schedule.id));
            let kept = match before {
                Some(before) if before.timing == schedule.timing => {
                    self.aws.table.watch(&next.account, next.id, schedule.id).await?.map(|watch| watch.next_slot)
                }
                _ => None,
            };
            let next_slot = kept.or_else(|| schedule.next_runs(now, 1).first().copied());
            let (account, job, schedule) = (next.account.clone(), next.id, schedule.id);
            watches.extend(next_slot.map(|next_slot| Watch { account, job, schedule, next_slot }));
        }
        Ok(watches)
    }
}
