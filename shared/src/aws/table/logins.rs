//! What servers and proxies have in common: a login, a user of an SSH key.
//!
//! Owner and worker write different attributes, so that neither puts back what the other one changed meanwhile.

use jiff::Timestamp;
use serde::Serialize;

use super::keys;
use super::{Condition, Key, Table, Update, Write, Written, count_user};
use crate::domain::account::AccountId;
use crate::domain::login::{HostKey, Login, LoginStatus};
use crate::error::Result;

/// What the worker writes; an owner's edit leaves it alone.
const WORKERS: [&str; 4] = ["status", "last_used_at", "check", "host_key"];

impl Table {
    /// The login of a record.
    pub(crate) async fn login(&self, key: &Key) -> Result<Option<Login>> {
        self.get(key).await
    }

    /// Pins a key, provided that none is pinned and that it is still the same machine as when it was read.
    pub(crate) async fn pin_host_key(&self, key: Key, seen: &Login, host_key: &HostKey) -> Result<Written> {
        let update = Update::of(key).set("host_key", host_key).only_if(Condition::All(vec![
            Condition::equals("host", &seen.host),
            Condition::equals("port", seen.port),
            Condition::unchanged::<HostKey>("host_key", None),
        ]));
        self.write(update.into()).await
    }

    /// Notes what came of a connection; `No` when the record is gone.
    pub(crate) async fn login_used(&self, key: Key, status: LoginStatus, at: Timestamp) -> Result<Written> {
        let update = Update::of(key).set("status", status).set("last_used_at", at);
        self.write(update.only_if(Condition::Exists).into()).await
    }
}

/// Replaces what its owner may change of a record, which was of revision `revision` and reached by `seen`, and is reached
/// by `login` from now on. Refused when it was edited or pinned meanwhile, or when the SSH key that it newly names is gone.
pub(super) fn update_with_login<T: Serialize>(
    account: &AccountId,
    key: Key,
    (revision, seen): (u64, &Login),
    (next, login): (&T, &Login),
    by_name: String,
) -> Result<Vec<Write>> {
    let mut update = Update::of(key).set_record(next, &WORKERS)?.set("by_name", by_name);
    if login.host_key != seen.host_key {
        update = update.set("host_key", &login.host_key);
    }
    let unedited = Condition::equals("revision", revision);
    let unpinned = Condition::unchanged("host_key", seen.host_key.as_ref());
    let mut writes = vec![update.only_if(Condition::All(vec![unedited, unpinned])).into()];
    if login.ssh_key_id != seen.ssh_key_id {
        writes.push(count_user(keys::ssh_key(account, seen.ssh_key_id), -1));
        writes.push(count_user(keys::ssh_key(account, login.ssh_key_id), 1));
    }
    Ok(writes)
}
