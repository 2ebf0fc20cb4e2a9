//! What a token may do. A call names the one ability that it needs.

use std::fmt;

/// Lets a token do everything in its account.
pub const EVERYTHING: &str = "*";

/// A kind of record, as abilities name it: in the plural, as in paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// The account itself.
    Account,
    /// Tokens of the account.
    Tokens,
    /// What was done, by whom.
    AuditEvents,
    /// SSH keys.
    SshKeys,
    /// Servers.
    Servers,
    /// Jump hosts.
    Proxies,
    /// Storages.
    Storages,
    /// Public keys that backups are encrypted to.
    EncryptionKeys,
    /// Jobs and their schedules.
    Jobs,
    /// Backups and their logs; not their bytes.
    Backups,
    /// Stacks.
    Stacks,
    /// Crontabs and their snapshots.
    Crontabs,
    /// Notification streams.
    NotificationStreams,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Account,
        Self::Tokens,
        Self::AuditEvents,
        Self::SshKeys,
        Self::Servers,
        Self::Proxies,
        Self::Storages,
        Self::EncryptionKeys,
        Self::Jobs,
        Self::Backups,
        Self::Stacks,
        Self::Crontabs,
        Self::NotificationStreams,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Tokens => "tokens",
            Self::AuditEvents => "audit-events",
            Self::SshKeys => "ssh-keys",
            Self::Servers => "servers",
            Self::Proxies => "proxies",
            Self::Storages => "storages",
            Self::EncryptionKeys => "encryption-keys",
            Self::Jobs => "jobs",
            Self::Backups => "backups",
            Self::Stacks => "stacks",
            Self::Crontabs => "crontabs",
            Self::NotificationStreams => "notification-streams",
        }
    }
}

/// One thing that a token may do. Displays as tokens name it: `read-jobs`, `run-backups`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// List and show.
    Read(Resource),
    /// Make, change and delete.
    Write(Resource),
    /// Start backups, and cancel them.
    RunBackups,
    /// Get the bytes of backups: links to files are shown only to tokens that may.
    Download,
    /// Set the scripts that run on a job's server before and after each run, and read them.
    Scripts,
}

impl Ability {
    /// All of them, in the order in which they are documented.
    pub fn all() -> impl Iterator<Item = Self> {
        let of_records = Resource::ALL.into_iter().flat_map(|resource| [Self::Read(resource), Self::Write(resource)]);
        // Nobody writes the record of what was done.
        let of_records = of_records.filter(|ability| *ability != Self::Write(Resource::AuditEvents));
        of_records.chain([Self::RunBackups, Self::Download, Self::Scripts])
    }

    /// Reads what Display wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::all().find(|ability| ability.to_string() == text)
    }
}

/// The names that another service's tokens have for what they may do, and what they stand for here.
///
/// | there | here |
/// |---|---|
/// | `view-backup-tasks` | `read-jobs`, `read-backups` |
/// | `create-`, `update-`, `delete-backup-tasks` | `write-jobs` |
/// | `run-backup-tasks` | `run-backups` |
/// | `view-remote-servers` | `read-servers` |
/// | `create-`, `update-`, `delete-remote-servers` | `write-servers` |
/// | `view-backup-destinations` | `read-storages` |
/// | `create-`, `update-`, `delete-backup-destinations` | `write-storages` |
/// | `view-notification-streams` | `read-notification-streams` |
/// | `create-`, `update-`, `delete-notification-streams` | `write-notification-streams` |
/// | `manage-tags` | nothing: no call needs it |
///
/// Writing is one ability here, so a name that lets make also lets change and delete.
fn alias(name: &str) -> Option<Vec<Ability>> {
    let (verb, noun) = name.split_once('-')?;
    let resource = match noun {
        "backup-tasks" => Resource::Jobs,
        "remote-servers" => Resource::Servers,
        "backup-destinations" => Resource::Storages,
        "notification-streams" => Resource::NotificationStreams,
        "tags" if verb == "manage" => return Some(Vec::new()),
        _ => return None,
    };
    match verb {
        // The logs of a task are seen with the task.
        "view" if resource == Resource::Jobs => Some(vec![Ability::Read(resource), Ability::Read(Resource::Backups)]),
        "view" => Some(vec![Ability::Read(resource)]),
        "create" | "update" | "delete" => Some(vec![Ability::Write(resource)]),
        "run" if resource == Resource::Jobs => Some(vec![Ability::RunBackups]),
        _ => None,
    }
}

/// What a name stands for, in our own names; `None` for one that nobody knows.
pub fn granted_by(name: &str) -> Option<Vec<String>> {
    if name == EVERYTHING || Ability::parse(name).is_some() {
        return Some(vec![name.to_owned()]);
    }
    alias(name).map(|abilities| abilities.iter().map(Ability::to_string).collect())
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(resource) => write!(f, "read-{}", resource.as_str()),
            Self::Write(resource) => write!(f, "write-{}", resource.as_str()),
            Self::RunBackups => f.write_str("run-backups"),
            Self::Download => f.write_str("download"),
            Self::Scripts => f.write_str("scripts"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ability_is_read_as_it_is_written() {
        for ability in Ability::all() {
            assert_eq!(Ability::parse(&ability.to_string()), Some(ability));
        }
        assert_eq!(Ability::all().count(), 2 * Resource::ALL.len() + 2);
        for unknown in ["", "*", "read-", "read-job", "write-audit-events", "Read-jobs"] {
            assert_eq!(Ability::parse(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn the_names_of_others_stand_for_ours() {
        let stands_for = |name: &str| granted_by(name).map(|all| all.join(" "));
        for nouns in [
            ("backup-tasks", "read-jobs read-backups", "write-jobs"),
            ("remote-servers", "read-servers", "write-servers"),
            ("backup-destinations", "read-storages", "write-storages"),
            ("notification-streams", "read-notification-streams", "write-notification-streams"),
        ] {
            let (noun, read, write) = nouns;
            assert_eq!(stands_for(&format!("view-{noun}")).as_deref(), Some(read));
            for verb in ["create", "update", "delete"] {
                assert_eq!(stands_for(&format!("{verb}-{noun}")).as_deref(), Some(write), "{verb}-{noun}");
            }
        }
        assert_eq!(stands_for("run-backup-tasks").as_deref(), Some("run-backups"));
        assert_eq!(stands_for("manage-tags").as_deref(), Some(""));
        assert_eq!(stands_for("*").as_deref(), Some("*"));
        assert_eq!(stands_for("read-jobs").as_deref(), Some("read-jobs"));
        for unknown in ["", "run-remote-servers", "view-tags", "view-jobs", "view-backup-task", "READ-JOBS", "**"] {
            assert_eq!(stands_for(unknown), None, "{unknown}");
        }
    }
}
