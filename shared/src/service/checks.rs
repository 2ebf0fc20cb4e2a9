//! Checks: asked for by owners, answered by workers, the same way for all that can be checked.

use uuid::Uuid;

use super::{Service, conflict};
use crate::aws::table::keys;
use crate::domain::account::AccountId;
use crate::domain::check::{Check, CheckOutcome, Checked};
use crate::domain::message::{Message, Task};
use crate::error::{Error, Result};

impl Service {
    /// Asks a worker to look; the record's `check` shows the answer.
    pub(super) async fn ask_check(&self, account: &AccountId, what: Checked) -> Result<Check> {
        for _ in 0..conflict::TRIES {
            let key = keys::checked(account, what);
            let seen = self.aws.table.last_check(&key).await?.ok_or_else(|| Error::not_found(noun(what)))?;
            let check = Check::pending(Uuid::new_v4(), self.clock.now());
            if self.aws.table.put_check(key, seen.as_ref(), &check).await?.is_yes() {
                self.aws.queue.send(&Message::new(task(account, what, check.id)), 0).await?;
                return Ok(check);
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// Records what a check found. An answer to an older check, or about what is gone, is dropped.
    pub async fn finish_check(
        &self,
        account: &AccountId,
        what: Checked,
        check: Uuid,
        outcome: CheckOutcome,
    ) -> Result<()> {
        for _ in 0..conflict::TRIES {
            let key = keys::checked(account, what);
            let Some(seen) = self.aws.table.last_check(&key).await? else { return Ok(()) };
            let Some(asked) = seen.as_ref().filter(|asked| asked.id == check) else { return Ok(()) };
            let answered = asked.finished(outcome.clone(), self.clock.now());
            if self.aws.table.put_check(key, seen.as_ref(), &answered).await?.is_yes() {
                return Ok(());
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }
}

fn noun(what: Checked) -> &'static str {
    match what {
        Checked::Server(_) => "server",
        Checked::Proxy(_) => "proxy",
        Checked::Storage(_) => "storage",
    }
}

fn task(account: &AccountId, what: Checked, check: Uuid) -> Task {
    let account = account.clone();
    match what {
        Checked::Server(server) => Task::CheckServer { account, server, check },
        Checked::Proxy(proxy) => Task::CheckProxy { account, proxy, check },
        Checked::Storage(storage) => Task::CheckStorage { account, storage, check },
    }
}
