//! MongoDB: databases, as the archive that `mongodump` writes.

use serde::{Deserialize, Serialize};

use super::access::{Access, AccessKeys};
use super::field::{COMPRESSION_LEVEL, DEFAULT_COMPRESSION_LEVEL, FieldDefinition, FieldKind, Setting};
use super::reader::{ConfigReader, database};
use super::{Config, Recipe, RecipeDefinition};
use crate::domain::sealed::Sealed;

/// Settings of a MongoDB backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MongodbConfig {
    /// Where the database server is, and who logs in.
    pub access: Access,
    /// Databases to take; empty for all.
    #[serde(default)]
    pub databases: Vec<String>,
    /// The database that knows the login; `None`: `admin`.
    #[serde(default)]
    pub authentication_database: Option<String>,
    /// zstd level 1 to 19; 0 stores the dump as it is.
    pub compression_level: u8,
}

const ACCESS: AccessKeys = ["mongodb_host", "mongodb_port", "mongodb_username", "mongodb_password"];

pub(super) static DEFINITION: RecipeDefinition = RecipeDefinition {
    id: 1003,
    slug: "mongodb-backups",
    label: "MongoDB Backups",
    serverless: false,
    fields: &[
        FieldDefinition::host(ACCESS[0], "MongoDB Host"),
        FieldDefinition::port(ACCESS[1], "MongoDB Port"),
        FieldDefinition::username(ACCESS[2], "MongoDB Username"),
        FieldDefinition::password(ACCESS[3], "MongoDB Password"),
        FieldDefinition::databases("mongodb_database", "MongoDB Database"),
        FieldDefinition::new(
            FieldKind::Text,
            "mongodb_authentication_database",
            "Authentication Database",
            "the database that knows the login; empty: admin",
        ),
        COMPRESSION_LEVEL,
    ],
    blank: || Recipe::MongodbBackups(MongodbConfig::default()),
};

impl Default for MongodbConfig {
    fn default() -> Self {
        Self {
            access: Access::local(27017),
            databases: Vec::new(),
            authentication_database: None,
            compression_level: DEFAULT_COMPRESSION_LEVEL,
        }
    }
}

impl Config for MongodbConfig {
    fn definition(&self) -> &'static RecipeDefinition {
        &DEFINITION
    }

    fn read(&mut self, reader: &mut ConfigReader<'_>) {
        self.access.read(reader, ACCESS);
        reader.databases("mongodb_database", &mut self.databases);
        reader.text("mongodb_authentication_database", database, &mut self.authentication_database);
        reader.compression_level(&mut self.compression_level);
    }

    fn settings(&self) -> Vec<Setting<'_>> {
        let mut settings = self.access.settings();
        settings.extend([
            Setting::list(&self.databases, ","),
            Setting::of(self.authentication_database.as_deref()),
            Setting::Number(self.compression_level.into()),
        ]);
        settings
    }

    fn secret(&mut self, key: &str) -> Option<&mut Option<Sealed>> {
        (key == ACCESS[3]).then_some(&mut self.access.password)
    }

    fn compression_level(&self) -> u8 {
        self.compression_level
    }
}
