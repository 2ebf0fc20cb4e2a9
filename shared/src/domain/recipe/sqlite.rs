//! SQLite: one database file of a server, copied by SQLite itself while others write to it.

use serde::{Deserialize, Serialize};

use super::field::{COMPRESSION_LEVEL, DEFAULT_COMPRESSION_LEVEL, FieldDefinition, FieldKind, Need, Setting, USE_SUDO};
use super::reader::{ConfigReader, path};
use super::{Config, Recipe, RecipeDefinition};

/// Settings of a SQLite backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqliteConfig {
    /// The database file; always there.
    pub path: Option<String>,
    /// zstd level 1 to 19; 0 stores the database as it is.
    pub compression_level: u8,
    /// Whether `sqlite3` runs under `sudo -n`.
    #[serde(default)]
    pub use_sudo: bool,
}

pub(super) static DEFINITION: RecipeDefinition = RecipeDefinition {
    id: 1005,
    slug: "sqlite-backups",
    label: "SQLite Backups",
    serverless: false,
    fields: &[
        FieldDefinition::new(FieldKind::Text, "sqlite_path", "Database Path", "the absolute path of the database file")
            .needed(Need::Always),
        COMPRESSION_LEVEL,
        USE_SUDO,
    ],
    blank: || Recipe::SqliteBackups(SqliteConfig::default()),
};

impl Default for SqliteConfig {
    fn default() -> Self {
        Self { path: None, compression_level: DEFAULT_COMPRESSION_LEVEL, use_sudo: false }
    }
}

impl Config for SqliteConfig {
    fn definition(&self) -> &'static RecipeDefinition {
        &DEFINITION
    }

    fn read(&mut self, reader: &mut ConfigReader<'_>) {
        reader.text("sqlite_path", path, &mut self.path);
        reader.compression_level(&mut self.compression_level);
        reader.flag("use_sudo", &mut self.use_sudo);
    }

    fn settings(&self) -> Vec<Setting<'_>> {
        vec![
            Setting::of(self.path.as_deref()),
            Setting::Number(self.compression_level.into()),
            Setting::Flag(self.use_sudo),
        ]
    }

    fn compression_level(&self) -> u8 {
        self.compression_level
    }
}
