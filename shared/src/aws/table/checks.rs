//! Checks: the attribute `check` of whatever a worker can look at.

use serde::Deserialize;

use super::{Condition, Key, Table, Update, Written};
use crate::domain::check::Check;
use crate::error::Result;

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    check: Option<Check>,
}

impl Table {
    /// The last check of a record; the outer `None` where there is no such record.
    pub(crate) async fn last_check(&self, key: &Key) -> Result<Option<Option<Check>>> {
        Ok(self.get::<Asked>(key).await?.map(|asked| asked.check))
    }

    /// Replaces the last check; `No` when another one came in between, or when the record is gone.
    pub(crate) async fn put_check(&self, key: Key, seen: Option<&Check>, next: &Check) -> Result<Written> {
        let same = Condition::All(vec![Condition::Exists, Condition::unchanged("check", seen)]);
        self.write(Update::of(key).set("check", next).only_if(same).into()).await
    }
}
