//! A recipe: the kind of source that a job backs up, and what it needs to know.

use serde::{Deserialize, Serialize};

/// What a job backs up, with its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "recipe", rename_all = "kebab-case")]
pub enum Recipe {
    /// Folders and files of a server, as one tar.
    FileBackups(FilesConfig),
}

impl Recipe {
    /// The recipe's number on the wire.
    pub fn id(&self) -> u64 {
        match self {
            Self::FileBackups(_) => 1,
        }
    }

    /// The recipe's name on the wire.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::FileBackups(_) => "file-backups",
        }
    }
}

/// Settings of a file backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesConfig {
    /// Absolute paths to take; at least one, no NUL.
    pub root_paths: Vec<String>,
    /// Patterns to leave out, as `tar --exclude` reads them.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// zstd level 1 to 19; 0 stores the tar as it is.
    pub compression_level: u8,
    /// Whether tar runs under `sudo -n`.
    #[serde(default)]
    pub use_sudo: bool,
}
