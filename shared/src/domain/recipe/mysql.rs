//! MySQL and MariaDB: databases, as the text that their dump tool writes.

use serde::{Deserialize, Serialize};

use super::access::{Access, AccessKeys};
use super::field::{COMPRESSION_LEVEL, DEFAULT_COMPRESSION_LEVEL, FieldDefinition, FieldKind, Setting};
use super::reader::ConfigReader;
use super::tls::{Tls, TlsKeys};
use super::{Config, Recipe, RecipeDefinition};
use crate::domain::sealed::Sealed;

/// Settings of a MySQL backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MysqlConfig {
    /// Where the database server is, and who logs in.
    pub access: Access,
    /// How the connection to it is protected.
    #[serde(default = "Tls::preferred")]
    pub tls: Tls,
    /// Databases to take; empty for all.
    #[serde(default)]
    pub databases: Vec<String>,
    /// Tables to leave out: `table` in each database, `database.table` in one.
    #[serde(default)]
    pub excluded_tables: Vec<String>,
    /// Whether all tables are read as they are at one instant, without locks.
    pub single_transaction: bool,
    /// Whether stored procedures and functions are taken.
    pub routines: bool,
    /// Whether scheduled events are taken.
    pub events: bool,
    /// Whether triggers are taken.
    pub triggers: bool,
    /// Whether the server is a replica, to be dumped with its source's position.
    #[serde(default)]
    pub run_on_replica: bool,
    /// zstd level 1 to 19; 0 stores the dump as it is.
    pub compression_level: u8,
}

const ACCESS: AccessKeys = ["mysql_host", "mysql_port", "mysql_username", "mysql_password"];
const TLS: TlsKeys = ["mysql_tls", "mysql_tls_ca"];

pub(super) static DEFINITION: RecipeDefinition = RecipeDefinition {
    id: 28,
    slug: "mysql-backups",
    label: "MySQL Backups",
    serverless: true,
    fields: &[
        FieldDefinition::host(ACCESS[0], "MySQL Host"),
        FieldDefinition::port(ACCESS[1], "MySQL Port"),
        FieldDefinition::username(ACCESS[2], "MySQL Username"),
        FieldDefinition::password(ACCESS[3], "MySQL Password"),
        FieldDefinition::tls(TLS[0], "MySQL TLS"),
        FieldDefinition::authorities(TLS[1], "MySQL TLS Authorities"),
        FieldDefinition::databases("mysql_database", "MySQL Database"),
        FieldDefinition::new(
            FieldKind::Textarea,
            "mysql_excluded_tables",
            "Excluded Tables",
            "table, or database.table; one per line, or with commas between them",
        ),
        FieldDefinition::checkbox("single_transaction", "Single Transaction?", "reads one instant, without locks"),
        FieldDefinition::checkbox("routines", "Include Routines?", "stored procedures and functions"),
        FieldDefinition::checkbox("events", "Include Events?", "scheduled events"),
        FieldDefinition::checkbox("triggers", "Include Triggers?", "triggers of the tables"),
        FieldDefinition::checkbox("run_on_replica", "Run on Replica?", "notes the position of the replica's source"),
        COMPRESSION_LEVEL,
    ],
    blank: || Recipe::MysqlBackups(MysqlConfig::default()),
};

impl Default for MysqlConfig {
    fn default() -> Self {
        Self {
            access: Access::local(3306),
            tls: Tls::preferred(),
            databases: Vec::new(),
            excluded_tables: Vec::new(),
            single_transaction: true,
            routines: true,
            events: true,
            triggers: true,
            run_on_replica: false,
            compression_level: DEFAULT_COMPRESSION_LEVEL,
        }
    }
}

impl Config for MysqlConfig {
    fn definition(&self) -> &'static RecipeDefinition {
        &DEFINITION
    }

    fn read(&mut self, reader: &mut ConfigReader<'_>) {
        self.access.read(reader, ACCESS);
        self.tls.read(reader, TLS);
        reader.databases("mysql_database", &mut self.databases);
        reader.tables("mysql_excluded_tables", &mut self.excluded_tables);
        reader.flag("single_transaction", &mut self.single_transaction);
        reader.flag("routines", &mut self.routines);
        reader.flag("events", &mut self.events);
        reader.flag("triggers", &mut self.triggers);
        reader.flag("run_on_replica", &mut self.run_on_replica);
        reader.compression_level(&mut self.compression_level);
    }

    fn settings(&self) -> Vec<Setting<'_>> {
        let mut settings = self.access.settings();
        settings.extend(self.tls.settings());
        settings.extend([
            Setting::list(&self.databases, ","),
            Setting::list(&self.excluded_tables, "\n"),
            Setting::Flag(self.single_transaction),
            Setting::Flag(self.routines),
            Setting::Flag(self.events),
            Setting::Flag(self.triggers),
            Setting::Flag(self.run_on_replica),
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
