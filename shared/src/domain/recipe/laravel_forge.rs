//! Laravel Forge: a site's folder, its `.env`, and the database that this names.

use serde::{Deserialize, Serialize};

use super::field::{COMPRESSION_LEVEL, DEFAULT_COMPRESSION_LEVEL, FieldDefinition, FieldKind, Setting, USE_SUDO};
use super::reader::{ConfigReader, path};
use super::{Config, Recipe, RecipeDefinition};

/// Settings of a Laravel Forge backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaravelForgeConfig {
    /// The site's folder; `None`: every site in the login's home folder, which is where Forge puts them.
    #[serde(default)]
    pub site_path: Option<String>,
    /// Whether the site's `storage` folder is taken too.
    #[serde(default)]
    pub backup_storage_folder: bool,
    /// Whether the database that the site's `.env` names is taken too.
    pub backup_database: bool,
    /// zstd level 1 to 19; 0 stores the dumps as they are.
    pub compression_level: u8,
    /// Whether the site is read under `sudo -n`.
    #[serde(default)]
    pub use_sudo: bool,
}

pub(super) static DEFINITION: RecipeDefinition = RecipeDefinition {
    id: 8,
    slug: "laravel-forge-backups",
    label: "Laravel Forge Backups",
    serverless: false,
    fields: &[
        FieldDefinition::new(
            FieldKind::Text,
            "site_path",
            "Site Path",
            "the site's folder; empty: every site in the login's home folder",
        ),
        FieldDefinition::checkbox("backup_storage_folder", "Backup Storage Folder?", "takes the site's storage folder"),
        FieldDefinition::checkbox("backup_database", "Backup Database?", "takes the database that .env names"),
        COMPRESSION_LEVEL,
        USE_SUDO,
    ],
    blank: || Recipe::LaravelForgeBackups(LaravelForgeConfig::default()),
};

impl Default for LaravelForgeConfig {
    fn default() -> Self {
        Self {
            site_path: None,
            backup_storage_folder: false,
            backup_database: true,
            compression_level: DEFAULT_COMPRESSION_LEVEL,
            use_sudo: false,
        }
    }
}

impl Config for LaravelForgeConfig {
    fn definition(&self) -> &'static RecipeDefinition {
        &DEFINITION
    }

    fn read(&mut self, reader: &mut ConfigReader<'_>) {
        reader.text("site_path", path, &mut self.site_path);
        reader.flag("backup_storage_folder", &mut self.backup_storage_folder);
        reader.flag("backup_database", &mut self.backup_database);
        reader.compression_level(&mut self.compression_level);
        reader.flag("use_sudo", &mut self.use_sudo);
    }

    fn settings(&self) -> Vec<Setting<'_>> {
        vec![
            Setting::of(self.site_path.as_deref()),
            Setting::Flag(self.backup_storage_folder),
            Setting::Flag(self.backup_database),
            Setting::Number(self.compression_level.into()),
            Setting::Flag(self.use_sudo),
        ]
    }

    fn compression_level(&self) -> u8 {
        self.compression_level
    }
}
