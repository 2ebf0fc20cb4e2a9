//! The only speller of keys. The account stands first in every one, so that no key can reach another account.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use uuid::Uuid;

use super::Item;
use crate::domain::account::AccountId;
use crate::domain::check::Checked;
use crate::domain::login::SshHost;

/// The sparse index over everything that maintenance looks for: `due_kind`, `due_at`.
pub(crate) const DUE_INDEX: &str = "due";

/// The local index by the sort key itself: what walks a list by id without reading its records.
pub(crate) const ID_INDEX: &str = "by_id";

/// A primary key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Partition.
    pub pk: String,
    /// Place in it.
    pub sk: String,
}

impl Key {
    pub(super) fn new(pk: String, sk: impl Into<String>) -> Self {
        Self { pk, sk: sk.into() }
    }

    pub(super) fn attributes(&self) -> Item {
        let text = |text: &String| AttributeValue::S(text.clone());
        Item::from([("pk".to_owned(), text(&self.pk)), ("sk".to_owned(), text(&self.sk))])
    }
}

/// A time as index attributes hold it: fixed width, so that text order is time order.
pub(crate) fn sortable(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// A sort attribute made of `first` and, to be unique and stable, the id.
pub(crate) fn sorted_by(first: &str, id: impl std::fmt::Display) -> String {
    // What has no value yet sorts before everything that has one.
    let first = if first.is_empty() { "-" } else { first };
    format!("{first}#{id}")
}

fn number(id: u64) -> String {
    format!("{id:012}")
}

/// Where nothing ever stands: to ask whether the table answers.
pub(crate) fn nothing() -> Key {
    Key::new("NOTHING".to_owned(), "NOTHING")
}

/// The account's own record.
pub(crate) fn account(account: &AccountId) -> Key {
    Key::new(format!("A#{account}"), "ACCOUNT")
}

/// How far the walk is that seals secrets anew, over all accounts.
pub(crate) fn resealing() -> Key {
    Key::new("RESEALING".to_owned(), "RESEALING")
}

/// The directory of all accounts, which belongs to the installation and to no account.
pub(crate) const ACCOUNTS: &str = "ACCOUNTS";

/// An account's row in the directory.
pub(crate) fn listed_account(account: &AccountId) -> Key {
    Key::new(ACCOUNTS.to_owned(), account.as_str())
}

/// How many requests the account made in the window that begins at `window`, epoch seconds.
pub(crate) fn rate(account: &AccountId, window: i64) -> Key {
    Key::new(format!("A#{account}#RATE#{window}"), "RATE")
}

/// A counter of the account: `last` numbers its nouns, `total` counts them.
pub(crate) fn counter(account: &AccountId, noun: &str) -> Key {
    Key::new(format!("A#{account}"), format!("COUNTER#{noun}"))
}

/// The partition of tokens.
pub(crate) fn tokens(account: &AccountId) -> String {
    format!("A#{account}#TOKENS")
}

/// One token.
pub(crate) fn token(account: &AccountId, id: u64) -> Key {
    Key::new(tokens(account), number(id))
}

/// The partition of SSH keys.
pub(crate) fn ssh_keys(account: &AccountId) -> String {
    format!("A#{account}#SSH_KEYS")
}

/// One SSH key.
pub(crate) fn ssh_key(account: &AccountId, id: u64) -> Key {
    Key::new(ssh_keys(account), number(id))
}

/// The partition of servers.
pub(crate) fn servers(account: &AccountId) -> String {
    format!("A#{account}#SERVERS")
}

/// One server.
pub(crate) fn server(account: &AccountId, id: u64) -> Key {
    Key::new(servers(account), number(id))
}

/// The partition of narrow rows for the servers with one host.
pub(crate) fn servers_of_host(account: &AccountId, host: &str) -> String {
    format!("A#{account}#SERVERS#HOST#{host}")
}

/// A server's row under its host.
pub(crate) fn server_of_host(account: &AccountId, host: &str, id: u64) -> Key {
    Key::new(servers_of_host(account, host), number(id))
}

/// The partition of proxies.
pub(crate) fn proxies(account: &AccountId) -> String {
    format!("A#{account}#PROXIES")
}

/// One proxy.
pub(crate) fn proxy(account: &AccountId, id: u64) -> Key {
    Key::new(proxies(account), number(id))
}

/// The record that a login belongs to.
pub(crate) fn ssh_host(account: &AccountId, host: SshHost) -> Key {
    match host {
        SshHost::Server(id) => server(account, id),
        SshHost::Proxy(id) => proxy(account, id),
    }
}

/// The record that is checked.
pub(crate) fn checked(account: &AccountId, what: Checked) -> Key {
    match what {
        Checked::Server(id) => server(account, id),
        Checked::Proxy(id) => proxy(account, id),
        Checked::Storage(id) => storage(account, id),
    }
}

/// The partition of encryption keys.
pub(crate) fn encryption_keys(account: &AccountId) -> String {
    format!("A#{account}#ENCRYPTION_KEYS")
}

/// One encryption key.
pub(crate) fn encryption_key(account: &AccountId, id: u64) -> Key {
    Key::new(encryption_keys(account), number(id))
}

/// The partition of stacks.
pub(crate) fn stacks(account: &AccountId) -> String {
    format!("A#{account}#STACKS")
}

/// One stack.
pub(crate) fn stack(account: &AccountId, id: u64) -> Key {
    Key::new(stacks(account), number(id))
}

/// Tells which stack has a uid.
pub(crate) fn stack_of_uid(account: &AccountId, uid: Uuid) -> Key {
    Key::new(format!("A#{account}#STACKS#UID"), uid.simple().to_string())
}

/// The partition of crontab servers.
pub(crate) fn crontab_servers(account: &AccountId) -> String {
    format!("A#{account}#CRONTAB_SERVERS")
}

/// One crontab server.
pub(crate) fn crontab_server(account: &AccountId, id: u64) -> Key {
    Key::new(crontab_servers(account), number(id))
}

/// Tells which crontab server has an identifier.
pub(crate) fn crontab_server_of_identifier(account: &AccountId, identifier: &str) -> Key {
    Key::new(format!("A#{account}#CRONTAB_SERVERS#IDENTIFIER"), identifier)
}

/// The partition of a crontab server's alerts.
pub(crate) fn crontab_alerts(account: &AccountId, server: u64) -> String {
    format!("A#{account}#CRONTAB_SERVER#{}#ALERTS", number(server))
}

/// One alert of a crontab server.
pub(crate) fn crontab_alert(account: &AccountId, server: u64, id: u64) -> Key {
    Key::new(crontab_alerts(account, server), number(id))
}

/// The partition of crontabs.
pub(crate) fn crontabs(account: &AccountId) -> String {
    format!("A#{account}#CRONTABS")
}

/// One crontab.
pub(crate) fn crontab(account: &AccountId, id: u64) -> Key {
    Key::new(crontabs(account), number(id))
}

/// Tells which crontab is a user's on a crontab server.
pub(crate) fn crontab_of_user(account: &AccountId, server: u64, username: &str) -> Key {
    Key::new(format!("A#{account}#CRONTABS#USER"), format!("{}#{username}", number(server)))
}

/// The partition of a crontab's snapshots.
pub(crate) fn snapshots(account: &AccountId, crontab: u64) -> String {
    format!("A#{account}#CRONTAB#{}#SNAPSHOTS", number(crontab))
}

/// One snapshot of a crontab.
pub(crate) fn snapshot(account: &AccountId, crontab: u64, snapshot: u64) -> Key {
    Key::new(snapshots(account, crontab), number(snapshot))
}

/// The partition of a snapshot's text.
pub(crate) fn snapshot_text(account: &AccountId, crontab: u64, snapshot: u64) -> String {
    format!("A#{account}#CRONTAB#{}#SNAPSHOT#{}", number(crontab), number(snapshot))
}

/// A part of a snapshot's text.
pub(crate) fn snapshot_part(account: &AccountId, crontab: u64, snapshot: u64, part: u32) -> Key {
    Key::new(snapshot_text(account, crontab, snapshot), format!("{part:04}"))
}

/// The partition of notification streams.
pub(crate) fn notification_streams(account: &AccountId) -> String {
    format!("A#{account}#NOTIFICATION_STREAMS")
}

/// One notification stream.
pub(crate) fn notification_stream(account: &AccountId, id: u64) -> Key {
    Key::new(notification_streams(account), number(id))
}

/// The partition of storages.
pub(crate) fn storages(account: &AccountId) -> String {
    format!("A#{account}#STORAGES")
}

/// One storage.
pub(crate) fn storage(account: &AccountId, id: u64) -> Key {
    Key::new(storages(account), number(id))
}

/// The partition of jobs, with the local indexes of listings.
pub(crate) fn jobs(account: &AccountId) -> String {
    format!("A#{account}#JOBS")
}

/// One job.
pub(crate) fn job(account: &AccountId, id: Uuid) -> Key {
    Key::new(jobs(account), id.to_string())
}

/// Tells which job has a number.
pub(crate) fn job_of_number(account: &AccountId, job: u64) -> Key {
    Key::new(format!("A#{account}#JOBS#NUMBER"), number(job))
}

/// Tells which job has a schedule.
pub(crate) fn job_of_schedule(account: &AccountId, schedule: u64) -> Key {
    Key::new(format!("A#{account}#SCHEDULES#NUMBER"), number(schedule))
}

/// A session, by the SHA-256 of its text.
pub(crate) fn session(account: &AccountId, sha256: &str) -> Key {
    Key::new(format!("A#{account}#SESSIONS"), sha256)
}

/// Tells which backup has a number.
pub(crate) fn backup_of_number(account: &AccountId, backup: u64) -> Key {
    Key::new(format!("A#{account}#BACKUPS#NUMBER"), number(backup))
}

/// The partition of narrow rows for the jobs of one server, with the local indexes of listings.
pub(crate) fn jobs_of_server(account: &AccountId, server: u64) -> String {
    format!("A#{account}#JOBS#SERVER#{}", number(server))
}

/// A job's row under its server.
pub(crate) fn job_of_server(account: &AccountId, server: u64, job: Uuid) -> Key {
    Key::new(jobs_of_server(account, server), job.to_string())
}

/// Counts the jobs of the account.
pub(crate) fn jobs_counter(account: &AccountId) -> Key {
    counter(account, "JOB")
}

/// Counts the jobs of a server.
pub(crate) fn jobs_of_server_counter(account: &AccountId, server: u64) -> Key {
    counter(account, &format!("JOBS_OF_SERVER#{}", number(server)))
}

/// The partition of jobs whose objects are still being deleted.
pub(crate) fn deleted_jobs(account: &AccountId) -> String {
    format!("A#{account}#DELETED_JOBS")
}

/// A job whose objects are still being deleted.
pub(crate) fn deleted_job(account: &AccountId, id: Uuid) -> Key {
    Key::new(deleted_jobs(account), id.to_string())
}

/// The partition of a job's backups, with the local indexes of listings.
pub(crate) fn backups(account: &AccountId, job: Uuid) -> String {
    format!("A#{account}#JOB#{job}#BACKUPS")
}

/// One backup.
pub(crate) fn backup(account: &AccountId, job: Uuid, id: Uuid) -> Key {
    Key::new(backups(account, job), id.to_string())
}

/// The partition of narrow rows for the backups of one facet, with the local indexes of listings.
pub(crate) fn backups_of_facet(account: &AccountId, job: Uuid, facet: &str) -> String {
    format!("A#{account}#JOB#{job}#BACKUPS#{facet}")
}

/// The partition of narrow rows for the backups that have objects.
pub(crate) fn stored_backups(account: &AccountId, job: Uuid) -> String {
    format!("A#{account}#JOB#{job}#STORED")
}

/// A backup's row among those that have objects.
pub(crate) fn stored_backup(account: &AccountId, job: Uuid, id: Uuid) -> Key {
    Key::new(stored_backups(account, job), id.to_string())
}

/// What is known of all backups of a job at once.
pub(crate) fn backup_tally(account: &AccountId, job: Uuid) -> Key {
    counter(account, &format!("BACKUPS_OF#{job}"))
}

/// The partition of what hangs on a backup: its job's id, progress, log.
pub(crate) fn of_backup(account: &AccountId, backup: Uuid) -> String {
    format!("A#{account}#BACKUP#{backup}")
}

/// Tells which job a backup belongs to.
pub(crate) fn job_of_backup(account: &AccountId, backup: Uuid) -> Key {
    Key::new(of_backup(account, backup), "JOB")
}

/// How far a backup is.
pub(crate) fn progress(account: &AccountId, backup: Uuid) -> Key {
    Key::new(of_backup(account, backup), "PROGRESS")
}

/// A chunk of a backup's log.
pub(crate) fn log_chunk(account: &AccountId, backup: Uuid, attempt: u32, sequence: u32) -> Key {
    Key::new(of_backup(account, backup), format!("LOG#{attempt:04}#{sequence:06}"))
}

/// Who runs on a job (`JOB#id`: one at a time).
pub(crate) fn job_seats(account: &AccountId, job: Uuid) -> Key {
    Key::new(format!("A#{account}#SEATS"), format!("JOB#{job}"))
}

/// Who runs on a server (`SERVER#id`: `max_parallel` at a time).
pub(crate) fn server_seats(account: &AccountId, server: u64) -> Key {
    Key::new(format!("A#{account}#SEATS"), format!("SERVER#{}", number(server)))
}

/// A schedule whose Scheduler entries may not match the table yet.
pub(crate) fn outbox(account: &AccountId, job: Uuid, schedule: u64) -> Key {
    Key::new(format!("A#{account}#OUTBOX"), format!("{job}#{}", number(schedule)))
}

/// A wish to delete all backups of a job until an instant.
pub(crate) fn purge(account: &AccountId, job: Uuid) -> Key {
    Key::new(format!("A#{account}#PURGES"), job.to_string())
}

/// What a job would take, as it was last looked at.
pub(crate) fn preview(account: &AccountId, job: Uuid) -> Key {
    Key::new(format!("A#{account}#PREVIEWS"), job.to_string())
}

/// When a storage is next walked.
pub(crate) fn sweep(account: &AccountId, storage: u64) -> Key {
    Key::new(format!("A#{account}#SWEEPS"), number(storage))
}

/// A schedule's watch for slots that made no backup.
pub(crate) fn watch(account: &AccountId, job: Uuid, schedule: u64) -> Key {
    Key::new(format!("A#{account}#WATCHES"), format!("{job}#{}", number(schedule)))
}

/// The partition of what was done in a year.
pub(crate) fn audit_events(account: &AccountId, year: i16) -> String {
    format!("A#{account}#AUDIT#{year}")
}

/// One thing that was done.
pub(crate) fn audit_event(account: &AccountId, year: i16, at: Timestamp, id: Uuid) -> Key {
    Key::new(audit_events(account, year), format!("{}#{id}", sortable(at)))
}

/// The partition of what calls with an `Idempotency-Key` answered.
pub(crate) fn answered_calls(account: &AccountId) -> String {
    format!("A#{account}#ANSWERED")
}

/// What a call with an `Idempotency-Key` once answered.
pub(crate) fn answered_call(account: &AccountId, key_sha256: &str) -> Key {
    Key::new(answered_calls(account), key_sha256)
}

/// What an `Idempotency-Key` once started.
pub(crate) fn idempotency(account: &AccountId, job: Uuid, key_sha256: &str) -> Key {
    Key::new(format!("A#{account}#IDEMPOTENCY"), format!("{job}#{key_sha256}"))
}
