//! A recipe: the kind of source that a job backs up, and what it needs to know. One file per source.

mod access;
mod field;
mod files;
mod laravel_forge;
mod mongodb;
mod mysql;
mod postgresql;
mod reader;
mod redis;
mod sqlite;
mod tls;
mod url;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use access::Access;
pub use field::{FieldDefinition, FieldKind, Need, Setting};
pub use files::{BESIDE_A_WHOLE_SERVER, FilesConfig};
pub use laravel_forge::LaravelForgeConfig;
pub use mongodb::MongodbConfig;
pub use mysql::MysqlConfig;
pub use postgresql::{PostgresqlConfig, PostgresqlFormat};
pub use redis::RedisConfig;
pub use sqlite::SqliteConfig;
pub use tls::{Tls, TlsMode};
pub use url::UrlConfig;

use super::field::present;
use super::sealed::{Sealed, Secret};
use crate::error::FieldErrors;
use reader::ConfigReader;

/// What a job backs up, with its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "recipe", rename_all = "kebab-case")]
pub enum Recipe {
    /// Folders and files of a server, as one tar.
    FileBackups(FilesConfig),
    /// Sites of Laravel Forge with their databases.
    LaravelForgeBackups(LaravelForgeConfig),
    /// MySQL and MariaDB databases.
    MysqlBackups(MysqlConfig),
    /// What a web server answers.
    UrlBackups(UrlConfig),
    /// PostgreSQL databases.
    PostgresqlBackups(PostgresqlConfig),
    /// MongoDB databases.
    MongodbBackups(MongodbConfig),
    /// A Redis server.
    RedisBackups(RedisConfig),
    /// A SQLite database.
    SqliteBackups(SqliteConfig),
}

/// A recipe as lists of recipes show it.
#[derive(Debug)]
pub struct RecipeDefinition {
    /// Its number on the wire.
    pub id: u64,
    /// Its name on the wire.
    pub slug: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// Whether a worker can reach the source by itself, without a server.
    pub serverless: bool,
    /// What its config holds, in the order of a form.
    pub fields: &'static [FieldDefinition],
    /// It, with nothing but defaults.
    blank: fn() -> Recipe,
}

/// Every recipe that a job can have. Numbers from 1,001 are our own; the others are those of the documented API.
pub static RECIPES: [&RecipeDefinition; 8] = [
    &files::DEFINITION,
    &laravel_forge::DEFINITION,
    &mysql::DEFINITION,
    &url::DEFINITION,
    &postgresql::DEFINITION,
    &mongodb::DEFINITION,
    &redis::DEFINITION,
    &sqlite::DEFINITION,
];

/// What the config of each source can do.
trait Config {
    /// What it is the config of.
    fn definition(&self) -> &'static RecipeDefinition;
    /// Takes each field that is given in place of what it was.
    fn read(&mut self, reader: &mut ConfigReader<'_>);
    /// The value of each field, in the order of the definition.
    fn settings(&self) -> Vec<Setting<'_>>;
    /// Where a secret belongs; `None` for a key that is no secret.
    fn secret(&mut self, _key: &str) -> Option<&mut Option<Sealed>> {
        None
    }
    /// See [`Recipe::compression_level`].
    fn compression_level(&self) -> u8;
}

impl RecipeDefinition {
    /// The recipe of that number or name; `None` for one that does not exist.
    pub fn find(word: &str) -> Option<&'static Self> {
        RECIPES.into_iter().find(|recipe| recipe.slug == word || recipe.id.to_string() == word)
    }

    /// Numbers and names of all recipes, for a message.
    pub fn choices() -> String {
        let all: Vec<_> = RECIPES.iter().map(|recipe| format!("{} ({})", recipe.id, recipe.slug)).collect();
        all.join(", ")
    }

    /// What is meant by this recipe with that config, of a new job or of one that is `before`.
    ///
    /// The documented example of a URL backup sends the number of file backups: with a `url` and no `root_path`, or for
    /// a job that backs up a URL already, it means URL backups.
    pub fn meant(&'static self, config: &Map<String, Value>, before: Option<&Recipe>) -> &'static Self {
        let of_url = config.contains_key("url") || matches!(before, Some(Recipe::UrlBackups(_)));
        let of_files = present(config.get("root_path")).is_some();
        if self.id == files::DEFINITION.id && of_url && !of_files { &url::DEFINITION } else { self }
    }

    /// Each field with what it is unless given, in their order.
    pub fn defaults(&self) -> Vec<(&'static FieldDefinition, Value)> {
        let blank = (self.blank)();
        blank.settings().into_iter().map(|(field, value)| (field, value.to_json())).collect()
    }

    /// Reads the config of a new job that runs without a server if `serverless`; fails with all offending fields at once.
    pub fn configure(&self, config: &Map<String, Value>, serverless: bool) -> Result<RecipeDraft, FieldErrors> {
        (self.blank)().reconfigure(config, serverless)
    }
}

impl Recipe {
    fn config(&self) -> &dyn Config {
        match self {
            Self::FileBackups(config) => config,
            Self::LaravelForgeBackups(config) => config,
            Self::MysqlBackups(config) => config,
            Self::UrlBackups(config) => config,
            Self::PostgresqlBackups(config) => config,
            Self::MongodbBackups(config) => config,
            Self::RedisBackups(config) => config,
            Self::SqliteBackups(config) => config,
        }
    }

    fn config_mut(&mut self) -> &mut dyn Config {
        match self {
            Self::FileBackups(config) => config,
            Self::LaravelForgeBackups(config) => config,
            Self::MysqlBackups(config) => config,
            Self::UrlBackups(config) => config,
            Self::PostgresqlBackups(config) => config,
            Self::MongodbBackups(config) => config,
            Self::RedisBackups(config) => config,
            Self::SqliteBackups(config) => config,
        }
    }

    /// What the recipe is.
    pub fn definition(&self) -> &'static RecipeDefinition {
        self.config().definition()
    }

    /// The recipe's number on the wire.
    pub fn id(&self) -> u64 {
        self.definition().id
    }

    /// The recipe's name on the wire.
    pub fn slug(&self) -> &'static str {
        self.definition().slug
    }

    /// zstd level 1 to 19; 0 stores the dump as it is.
    pub fn compression_level(&self) -> u8 {
        self.config().compression_level()
    }

    /// This recipe with the given fields changed, for a job that runs without a server if `serverless`; fails with all
    /// offending fields at once.
    pub fn reconfigure(&self, config: &Map<String, Value>, serverless: bool) -> Result<RecipeDraft, FieldErrors> {
        let mut recipe = self.clone();
        let mut reader = ConfigReader::new(self.definition(), config);
        recipe.config_mut().read(&mut reader);
        let (mut faults, secrets) = reader.finish();
        let draft = RecipeDraft { recipe, secrets };
        // A recipe that cannot do without a server is refused as a whole, not for what it would need there.
        let from_afar = serverless && self.definition().serverless;
        for (field, value) in draft.recipe.settings() {
            let needed = field.need == Need::Always || (from_afar && field.need == Need::Serverless);
            if needed && draft.lacks(field, &value) && !faults.contains(field.key) {
                let help = field.help;
                let message = match field.need {
                    Need::Always => format!("is required: {help}"),
                    _ => "is required where the compute is not a server".to_owned(),
                };
                faults.push(field.key, message);
            }
        }
        faults.check(draft)
    }

    /// Each field with its value, in the order of the definition. No secret is among them.
    pub fn settings(&self) -> Vec<(&'static FieldDefinition, Setting<'_>)> {
        self.definition().fields.iter().zip(self.config().settings()).collect()
    }

    /// This recipe with each of its secrets replaced by what `reseal` makes of key and ciphertext.
    pub fn resealed<E>(mut self, mut reseal: impl FnMut(&str, &Sealed) -> Result<Sealed, E>) -> Result<Self, E> {
        for field in self.definition().fields.iter().filter(|field| field.secret) {
            if let Some(Some(sealed)) = self.config_mut().secret(field.key) {
                *sealed = reseal(field.key, sealed)?;
            }
        }
        Ok(self)
    }
}

/// A recipe as somebody wants it, with new secrets still in the open: it becomes one by [`RecipeDraft::seal`] only.
#[derive(Debug, Clone, PartialEq)]
pub struct RecipeDraft {
    recipe: Recipe,
    secrets: Vec<(&'static str, Secret)>,
}

impl RecipeDraft {
    /// The recipe, once `seal` has sealed each new secret for its field's key.
    pub fn seal<E>(mut self, mut seal: impl FnMut(&str, &Secret) -> Result<Sealed, E>) -> Result<Recipe, E> {
        for (key, secret) in &self.secrets {
            if let Some(place) = self.recipe.config_mut().secret(key) {
                *place = Some(seal(key, secret)?);
            }
        }
        Ok(self.recipe)
    }

    /// See [`Recipe::compression_level`].
    pub fn compression_level(&self) -> u8 {
        self.recipe.compression_level()
    }

    /// What a worker would connect to by itself, without a server: hosts, and URLs that are new here. One that is sealed
    /// already was seen when it came.
    pub fn reached(&self) -> Vec<(&'static str, Reached)> {
        let hosts = self.recipe.settings().into_iter().filter(|(field, _)| field.reached);
        let hosts = hosts.filter_map(|(field, value)| match value {
            Setting::Text(host) if !host.is_empty() => Some((field.key, Reached::Host(host.into_owned()))),
            _ => None,
        });
        let is_reached = |key: &str| self.recipe.definition().fields.iter().any(|one| one.key == key && one.reached);
        let urls = self.secrets.iter().filter(|(key, _)| is_reached(key));
        hosts.chain(urls.map(|(key, url)| (*key, Reached::Url(url.clone())))).collect()
    }

    /// Whether a field holds nothing, not even a secret that is still to be sealed.
    fn lacks(&self, field: &FieldDefinition, value: &Setting<'_>) -> bool {
        value.is_empty() && !self.secrets.iter().any(|(key, _)| *key == field.key)
    }
}

/// What a worker would connect to by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Reached {
    /// A host name or an address.
    Host(String),
    /// The host of a URL, which can hold credentials.
    Url(Secret),
}

#[cfg(test)]
mod tests;
