//! Laravel Forge: each site's folder as a tar, and the database that its `.env` names as text. One backup, several files.

mod database;
mod dotenv;
mod site;

use holdfast_shared::domain::object_key::FileName;
use holdfast_shared::domain::recipe::{LaravelForgeConfig, MysqlConfig};

use super::{Asked, Dump, SourceError, files, mysql, postgresql};
use crate::remote::Machine;
use database::Database;
use dotenv::Dotenv;
use site::Site;

/// Looks at the sites: for each its database first, as the smaller window, then its files.
pub async fn plan(asked: &Asked<'_>, config: &LaravelForgeConfig) -> Result<Vec<Dump>, SourceError> {
    let machine = asked.machine;
    let mut planned = Planned::default();
    for site in site::find(machine, config).await? {
        let of_site = |error| match error {
            SourceError::Refused(message) => SourceError::Refused(format!("site {}: {message}", site.folder)),
            SourceError::Broken(message) => SourceError::Broken(format!("site {}: {message}", site.folder)),
            other => other,
        };
        let note = planned.database(asked, config, &site).await.map_err(of_site)?;
        planned.files(machine, config, &site, note).await.map_err(of_site)?;
    }
    Ok(planned.dumps)
}

/// What has been planned so far.
#[derive(Default)]
struct Planned {
    dumps: Vec<Dump>,
    /// Databases, by where they are and their name: sites can share one.
    databases: Vec<(String, String)>,
}

impl Planned {
    /// Plans the database of a site; answers what the log tells where there is none.
    async fn database(
        &mut self,
        asked: &Asked<'_>,
        config: &LaravelForgeConfig,
        site: &Site,
    ) -> Result<Option<String>, SourceError> {
        let machine = asked.machine;
        if !config.backup_database {
            return Ok(None);
        }
        let database = match named_database(machine, config, site).await? {
            Some(database) => database,
            None if config.site_path.is_some() => {
                let message = "no .env of it names a database; turn backup_database off if it has none";
                return Err(SourceError::Refused(message.to_owned()));
            }
            None => return Ok(Some("no .env of it names a database: none is taken".to_owned())),
        };
        let place = database.place();
        if let Some((_, name)) = place.as_ref().filter(|place| self.databases.contains(place)) {
            return Ok(Some(format!("its database {name} is taken already, with an earlier site")));
        }
        let stem = |name: &str| format!("laravel-forge-backups-{}-{name}", site.name());
        let dump = match database {
            Database::Mysql { login, name } => {
                let wanted = MysqlConfig { databases: vec![name.clone()], ..MysqlConfig::default() };
                let file = self.unused_name(&stem(&name), "sql");
                mysql::plan_one(machine, &login, &wanted, file).await?
            }
            Database::Postgresql { config, password, name } => {
                let file = self.unused_name(&stem(&name), "sql");
                postgresql::plan_one(asked, &config, password, file).await.map_err(as_env_says)?
            }
            Database::Other { kind } => {
                return Err(SourceError::Refused(format!(
                    "its .env names a database of kind {kind}, which is not backed up with a site by this version; turn \
                     backup_database off, and make a job for the database"
                )));
            }
        };
        self.dumps.push(dump);
        self.databases.extend(place);
        Ok(None)
    }

    /// Plans the files of a site.
    async fn files(
        &mut self,
        machine: &Machine,
        config: &LaravelForgeConfig,
        site: &Site,
        note: Option<String>,
    ) -> Result<(), SourceError> {
        let wanted = site.files(config);
        let mut notes = vec![format!("site {}: {}", site.folder, wanted.root_paths.join(", "))];
        notes.extend(wanted.exclude.first().map(|pattern| format!("left out: {pattern}")));
        notes.extend(note);
        for dump in files::plan(machine, &wanted).await? {
            let name = self.unused_name(&format!("laravel-forge-backups-{}", site.name()), "tar");
            self.dumps.push(Dump { name, ..dump }.noting(std::mem::take(&mut notes)));
        }
        Ok(())
    }

    /// A name that no other file of the backup has: two sites can be called alike.
    fn unused_name(&self, stem: &str, ending: &str) -> FileName {
        let is_free = |name: &FileName| !self.dumps.iter().any(|dump| dump.name == *name);
        let numbered = (2..).map(|number| FileName::of(&format!("{number}-{stem}"), ending));
        let first = FileName::of(stem, ending);
        std::iter::once(first.clone()).chain(numbered).find(is_free).unwrap_or(first)
    }
}

/// The same with where to correct it: what is not right stands in no field of the job.
fn as_env_says(error: SourceError) -> SourceError {
    match error {
        SourceError::Refused(message) => {
            SourceError::Refused(format!("{message} (the login is that of the site's .env)"))
        }
        other => other,
    }
}

/// The database that a site's `.env` names.
async fn named_database(
    machine: &Machine,
    config: &LaravelForgeConfig,
    site: &Site,
) -> Result<Option<Database>, SourceError> {
    let Some(path) = &site.env else { return Ok(None) };
    let text = site::read_env(machine, config, path).await?;
    let wrong = |why: String| SourceError::Refused(format!("{path}: {why}"));
    database::read(&Dotenv::parse(&text).map_err(wrong)?).map_err(wrong)
}
