//! What to do when a conditional write is refused: look again, try again, or say who stands in the way.

pub(super) use super::runs::{contended, pause};

use super::Service;
use crate::aws::table::{Order, SortBy};
use crate::domain::account::AccountId;
use crate::domain::job::Job;
use crate::error::{Error, Result};

/// How often a write that lost to another one is tried again.
pub(super) const TRIES: u32 = 10;
/// How many users of a thing a conflict names.
pub(super) const MAX_NAMED: usize = 5;

/// A thing that cannot go or change because others use it.
pub(super) fn in_use(what: &str, user: &str, names: &[String]) -> Error {
    in_use_by(what, &[(user, names)])
}

/// The same where users can be of several kinds; a kind without names is passed over.
pub(super) fn in_use_by(what: &str, users: &[(&str, &[String])]) -> Error {
    let users = users.iter().filter(|(_, names)| !names.is_empty());
    let users: Vec<_> = users.map(|(kind, names)| format!("the {}", named(kind, names))).collect();
    Error::conflict(format!("the {what} is used by {}", users.join(" and ")))
}

fn named(kind: &str, names: &[String]) -> String {
    let kind = match (names.len(), kind.strip_suffix('y')) {
        (1, _) => kind.to_owned(),
        (_, Some(stem)) => format!("{stem}ies"),
        (_, None) => format!("{kind}s"),
    };
    let mut shown: Vec<&str> = names.iter().take(MAX_NAMED).map(String::as_str).collect();
    if names.len() > MAX_NAMED {
        shown.push("others");
    }
    format!("{kind} {}", shown.join(", "))
}

/// A thing that no visible job uses, but that the objects of a deleted one still hold.
pub(super) fn still_held(what: &str) -> Error {
    Error::conflict(format!("the {what} is held by a job that is being deleted; try again in a few minutes"))
}

impl Service {
    /// Names of the account's jobs that pass, at most [`MAX_NAMED`] + 1 of them.
    pub(super) async fn jobs_where(&self, account: &AccountId, passes: impl Fn(&Job) -> bool) -> Result<Vec<String>> {
        let order = Order { by: SortBy::Id, descending: false };
        let page = self.aws.table.find_jobs(account, order, MAX_NAMED as i32 + 1, None, passes).await?;
        Ok(page.records.into_iter().map(|job| job.name).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_name_who_stands_in_the_way() {
        let names = |count: usize| (1..=count).map(|n| format!("job {n}")).collect::<Vec<_>>();
        assert_eq!(in_use("server", "job", &names(1)).message, "the server is used by the job job 1");
        assert_eq!(in_use("server", "job", &names(2)).message, "the server is used by the jobs job 1, job 2");
        assert!(in_use("server", "job", &names(6)).message.ends_with("job 5, others"));
        let both = in_use_by("SSH key", &[("server", &names(1)), ("proxy", &names(2))]).message;
        assert_eq!(both, "the SSH key is used by the server job 1 and the proxies job 1, job 2");
        let one = in_use_by("SSH key", &[("server", &[]), ("proxy", &names(1))]).message;
        assert_eq!(one, "the SSH key is used by the proxy job 1");
    }
}
