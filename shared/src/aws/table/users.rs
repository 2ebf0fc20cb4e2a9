//! What is in use cannot be deleted: a record counts its users in the attribute `users`, as part of the transactions that
//! make and delete them.

use super::Condition;

/// The record exists and nobody uses it.
pub(super) fn unused() -> Condition {
    let nobody = Condition::Any(vec![Condition::Missing("users"), Condition::equals("users", 0)]);
    Condition::All(vec![Condition::Exists, nobody])
}
