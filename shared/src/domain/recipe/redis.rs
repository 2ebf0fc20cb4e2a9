//! Redis: the whole server, as the RDB that it sends to replicas.

use serde::{Deserialize, Serialize};

use super::access::{Access, AccessKeys};
use super::field::{COMPRESSION_LEVEL, DEFAULT_COMPRESSION_LEVEL, FieldDefinition, Setting};
use super::reader::ConfigReader;
use super::tls::{Tls, TlsKeys};
use super::{Config, Recipe, RecipeDefinition};
use crate::domain::sealed::Sealed;

/// Settings of a Redis backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisConfig {
    /// Where the database server is, and who logs in.
    pub access: Access,
    /// How the connection to it is protected.
    #[serde(default = "Tls::disabled")]
    pub tls: Tls,
    /// zstd level 1 to 19; 0 stores the dump as it is.
    pub compression_level: u8,
}

const ACCESS: AccessKeys = ["redis_host", "redis_port", "redis_username", "redis_password"];
const TLS: TlsKeys = ["redis_tls", "redis_tls_ca"];

pub(super) static DEFINITION: RecipeDefinition = RecipeDefinition {
    id: 1004,
    slug: "redis-backups",
    label: "Redis Backups",
    serverless: true,
    fields: &[
        FieldDefinition::host(ACCESS[0], "Redis Host"),
        FieldDefinition::port(ACCESS[1], "Redis Port"),
        FieldDefinition::username(ACCESS[2], "Redis Username"),
        FieldDefinition::password(ACCESS[3], "Redis Password"),
        FieldDefinition::firm_tls(TLS[0], "Redis TLS"),
        FieldDefinition::authorities(TLS[1], "Redis TLS Authorities"),
        COMPRESSION_LEVEL,
    ],
    blank: || Recipe::RedisBackups(RedisConfig::default()),
};

impl Default for RedisConfig {
    fn default() -> Self {
        Self { access: Access::local(6379), tls: Tls::disabled(), compression_level: DEFAULT_COMPRESSION_LEVEL }
    }
}

impl Config for RedisConfig {
    fn definition(&self) -> &'static RecipeDefinition {
        &DEFINITION
    }

    fn read(&mut self, reader: &mut ConfigReader<'_>) {
        self.access.read(reader, ACCESS);
        self.tls.read_firm(reader, TLS);
        reader.compression_level(&mut self.compression_level);
    }

    fn settings(&self) -> Vec<Setting<'_>> {
        let mut settings = self.access.settings();
        settings.extend(self.tls.settings());
        settings.extend([Setting::Number(self.compression_level.into())]);
        settings
    }

    fn secret(&mut self, key: &str) -> Option<&mut Option<Sealed>> {
        (key == ACCESS[3]).then_some(&mut self.access.password)
    }

    fn compression_level(&self) -> u8 {
        self.compression_level
    }
}
