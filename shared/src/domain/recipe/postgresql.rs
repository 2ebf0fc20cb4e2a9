//! PostgreSQL: databases, each as `pg_dump` writes it, and the roles that they belong to.

use serde::{Deserialize, Serialize};

use super::access::{Access, AccessKeys};
use super::field::{COMPRESSION_LEVEL, DEFAULT_COMPRESSION_LEVEL, FieldDefinition, FieldKind, Setting};
use super::reader::ConfigReader;
use super::tls::{Tls, TlsKeys};
use super::{Config, Recipe, RecipeDefinition};
use crate::domain::sealed::Sealed;

/// Settings of a PostgreSQL backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresqlConfig {
    /// Where the database server is, and who logs in.
    pub access: Access,
    /// How the connection to it is protected.
    #[serde(default = "Tls::preferred")]
    pub tls: Tls,
    /// Databases to take; empty for all.
    #[serde(default)]
    pub databases: Vec<String>,
    /// Tables to leave out: `table` or `schema.table`.
    #[serde(default)]
    pub excluded_tables: Vec<String>,
    /// Tables of which only the definition is taken.
    #[serde(default)]
    pub excluded_table_data: Vec<String>,
    /// What the dumps are.
    pub format: PostgresqlFormat,
    /// Whether roles and tablespaces are taken, as a file of their own.
    pub globals: bool,
    /// zstd level 1 to 19; 0 stores the dump as it is.
    pub compression_level: u8,
}

/// What a PostgreSQL dump is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PostgresqlFormat {
    /// SQL, for `psql`.
    Plain,
    /// PostgreSQL's own archive, for `pg_restore`.
    Custom,
}

const FORMATS: [(&str, PostgresqlFormat); 2] =
    [("plain", PostgresqlFormat::Plain), ("custom", PostgresqlFormat::Custom)];
const ACCESS: AccessKeys = ["postgresql_host", "postgresql_port", "postgresql_username", "postgresql_password"];
const TLS: TlsKeys = ["postgresql_tls", "postgresql_tls_ca"];

pub(super) static DEFINITION: RecipeDefinition = RecipeDefinition {
    id: 1002,
    slug: "postgresql-backups",
    label: "PostgreSQL Backups",
    serverless: true,
    fields: &[
        FieldDefinition::host(ACCESS[0], "PostgreSQL Host"),
        FieldDefinition::port(ACCESS[1], "PostgreSQL Port"),
        FieldDefinition::username(ACCESS[2], "PostgreSQL Username"),
        FieldDefinition::password(ACCESS[3], "PostgreSQL Password"),
        FieldDefinition::tls(TLS[0], "PostgreSQL TLS"),
        FieldDefinition::authorities(TLS[1], "PostgreSQL TLS Authorities"),
        FieldDefinition::databases("postgresql_database", "PostgreSQL Database"),
        FieldDefinition::new(
            FieldKind::Textarea,
            "postgresql_excluded_tables",
            "Excluded Tables",
            "table, or schema.table; one per line, or with commas between them",
        ),
        FieldDefinition::new(
            FieldKind::Textarea,
            "postgresql_excluded_table_data",
            "Tables without Data",
            "tables of which only the definition is taken; one per line, or with commas between them",
        ),
        FieldDefinition::new(
            FieldKind::Select(&["plain", "custom"]),
            "postgresql_format",
            "Format",
            "plain for psql, custom for pg_restore",
        ),
        FieldDefinition::checkbox("postgresql_globals", "Include Roles?", "roles and tablespaces, as another file"),
        COMPRESSION_LEVEL,
    ],
    blank: || Recipe::PostgresqlBackups(PostgresqlConfig::default()),
};

impl Default for PostgresqlConfig {
    fn default() -> Self {
        Self {
            access: Access::local(5432),
            tls: Tls::preferred(),
            databases: Vec::new(),
            excluded_tables: Vec::new(),
            excluded_table_data: Vec::new(),
            format: PostgresqlFormat::Plain,
            globals: true,
            compression_level: DEFAULT_COMPRESSION_LEVEL,
        }
    }
}

impl Config for PostgresqlConfig {
    fn definition(&self) -> &'static RecipeDefinition {
        &DEFINITION
    }

    fn read(&mut self, reader: &mut ConfigReader<'_>) {
        self.access.read(reader, ACCESS);
        self.tls.read(reader, TLS);
        reader.databases("postgresql_database", &mut self.databases);
        reader.tables("postgresql_excluded_tables", &mut self.excluded_tables);
        reader.tables("postgresql_excluded_table_data", &mut self.excluded_table_data);
        reader.choice("postgresql_format", &FORMATS, &mut self.format);
        reader.flag("postgresql_globals", &mut self.globals);
        reader.compression_level(&mut self.compression_level);
    }

    fn settings(&self) -> Vec<Setting<'_>> {
        let mut settings = self.access.settings();
        settings.extend(self.tls.settings());
        settings.extend([
            Setting::list(&self.databases, ","),
            Setting::list(&self.excluded_tables, "\n"),
            Setting::list(&self.excluded_table_data, "\n"),
            Setting::of(FORMATS.iter().find(|(_, format)| *format == self.format).map(|(word, _)| *word)),
            Setting::Flag(self.globals),
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
