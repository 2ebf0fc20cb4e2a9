//! The database of a site, as its `.env` names it.

use holdfast_shared::domain::host::Host;
use holdfast_shared::domain::recipe::{Access, PostgresqlConfig, Tls};
use holdfast_shared::domain::sealed::Secret;
use percent_encoding::percent_decode_str;
use url::Url;

use super::dotenv::Dotenv;
use crate::recipe::mysql::login::{DEFAULT_PORT, Login};

/// The database that a site uses.
#[derive(Debug)]
pub(super) enum Database {
    /// MySQL or MariaDB.
    Mysql {
        /// Where it is.
        login: Login,
        /// Its name.
        name: String,
    },
    /// PostgreSQL.
    Postgresql {
        /// Where it is, and how it is dumped; without the password.
        config: Box<PostgresqlConfig>,
        /// The login's.
        password: Option<Secret>,
        /// Its name.
        name: String,
    },
    /// Of a kind that is not backed up with the site.
    Other {
        /// What `DB_CONNECTION` says.
        kind: String,
    },
}

impl Database {
    /// Which one it is: where, and its name. `None` where that does not count.
    pub(super) fn place(&self) -> Option<(String, String)> {
        match self {
            Self::Mysql { login, name } => Some((login.place(), name.clone())),
            Self::Postgresql { config, name, .. } => {
                let Access { host, port, .. } = &config.access;
                Some((format!("{} port {port}", host.as_deref().unwrap_or_default()), name.clone()))
            }
            Self::Other { .. } => None,
        }
    }
}

/// What Laravel's `config/database.php` makes of a `.env`, as it is delivered; `None` where it names no database.
pub(super) fn read(env: &Dotenv) -> Result<Option<Database>, String> {
    let url = env.filled("DB_URL").or_else(|| env.filled("DATABASE_URL"));
    // The parser's own words would show nothing of it either, but are of no use here.
    let url = url.map(Url::parse).transpose().map_err(|_| "DB_URL is no URL".to_owned())?;
    let kind = match &url {
        Some(url) => url.scheme(),
        None => match env.filled("DB_CONNECTION") {
            Some(kind) => kind,
            None if env.filled("DB_DATABASE").is_some() => "mysql",
            None => return Ok(None),
        },
    };
    let build = match kind {
        "mysql" | "mariadb" | "mysql2" => mysql,
        "pgsql" | "postgres" | "postgresql" => postgresql,
        _ => return Ok(Some(Database::Other { kind: kind.to_owned() })),
    };
    let mut named = Named::read(env)?;
    if let Some(url) = &url {
        named.take_over(url)?;
    }
    build(named).map(Some)
}

fn mysql(named: Named) -> Result<Database, String> {
    let login = Login {
        host: Some(named.host),
        port: named.port.unwrap_or(DEFAULT_PORT),
        socket: named.socket,
        username: named.username,
        password: named.password,
        tls: Tls::preferred(),
        shown: None,
        corrected_by: "DB_USERNAME and DB_PASSWORD in the site's .env",
    };
    Ok(Database::Mysql { login, name: named.name.ok_or(NAMELESS)? })
}

fn postgresql(named: Named) -> Result<Database, String> {
    let name = named.name.ok_or(NAMELESS)?;
    let mut config = PostgresqlConfig { databases: vec![name.clone()], globals: false, ..PostgresqlConfig::default() };
    config.access.host = Some(Host::parse(&named.host).map_err(|why| format!("DB_HOST {why}"))?);
    config.access.port = named.port.unwrap_or(config.access.port);
    config.access.username = named.username;
    Ok(Database::Postgresql { config: Box::new(config), password: named.password, name })
}

const NAMELESS: &str = "DB_CONNECTION is set, but DB_DATABASE is not";

/// What a `.env` says of a database of either kind.
struct Named {
    /// What PHP takes when nothing is said, otherwise.
    host: String,
    port: Option<u16>,
    socket: Option<String>,
    username: Option<String>,
    password: Option<Secret>,
    name: Option<String>,
}

impl Named {
    fn read(env: &Dotenv) -> Result<Self, String> {
        let text = |name| env.filled(name).map(str::to_owned);
        let port = env.filled("DB_PORT").map(str::parse).transpose().map_err(|_| "DB_PORT is no port".to_owned())?;
        Ok(Self {
            host: text("DB_HOST").unwrap_or_else(|| "127.0.0.1".to_owned()),
            port,
            socket: text("DB_SOCKET"),
            username: text("DB_USERNAME"),
            password: env.filled("DB_PASSWORD").map(Secret::new),
            name: text("DB_DATABASE"),
        })
    }

    /// What a URL says counts before what single names say.
    fn take_over(&mut self, url: &Url) -> Result<(), String> {
        let decoded = |text: &str| {
            let text =
                percent_decode_str(text).decode_utf8().map_err(|_| "DB_URL holds bytes that are no text".to_owned())?;
            Ok::<_, String>((!text.is_empty()).then(|| text.into_owned()))
        };
        if let Some(host) = decoded(url.host_str().unwrap_or_default())? {
            self.host = host;
        }
        self.port = url.port().or(self.port);
        if let Some(username) = decoded(url.username())? {
            self.username = Some(username);
        }
        if let Some(password) = decoded(url.password().unwrap_or_default())? {
            self.password = Some(Secret::new(&password));
        }
        if let Some(path) = decoded(url.path().trim_start_matches('/'))? {
            self.name = Some(path);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<Database> {
        read(&Dotenv::parse(text).unwrap_or_else(|why| panic!("{why}"))).unwrap()
    }

    fn mysql(text: &str) -> (Login, String) {
        match found(text) {
            Some(Database::Mysql { login, name }) => (login, name),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn single_names() {
        let text = "DB_CONNECTION=mysql\nDB_HOST=10.0.0.1\nDB_PORT=3307\nDB_DATABASE=shop\nDB_USERNAME=forge\nDB_PASSWORD=\"p #w\"\n";
        let (login, name) = mysql(text);
        assert_eq!((login.host.as_deref(), login.port, name.as_str()), (Some("10.0.0.1"), 3307, "shop"));
        assert_eq!((login.username.as_deref(), login.password.unwrap().expose()), (Some("forge"), "p #w"));
        let (login, name) = mysql("DB_DATABASE=shop\nDB_PASSWORD=null");
        assert_eq!((login.host.as_deref(), login.port, name.as_str()), (Some("127.0.0.1"), DEFAULT_PORT, "shop"));
        assert!(login.username.is_none() && login.password.is_none());
    }

    #[test]
    fn a_url_counts_more() {
        let (login, name) =
            mysql("DB_HOST=x\nDB_URL=mysql://for%40ge:p%23w@db.example:3308/shop%20one?charset=utf8mb4");
        assert_eq!((login.host.as_deref(), login.port, name.as_str()), (Some("db.example"), 3308, "shop one"));
        assert_eq!((login.username.as_deref(), login.password.unwrap().expose()), (Some("for@ge"), "p#w"));
    }

    #[test]
    fn postgresql_by_single_names_and_by_a_url() {
        let named = "DB_HOST=db.internal\nDB_PORT=6432\nDB_DATABASE=shop\nDB_USERNAME=forge\nDB_PASSWORD='p w'";
        for (text, port) in [
            (format!("DB_CONNECTION=pgsql\n{named}"), 6432),
            (format!("{named}\nDB_URL=postgres://forge:p%20w@db.internal:5433/shop?sslmode=prefer"), 5433),
            (format!("{named}\nDATABASE_URL=postgresql://"), 6432),
        ] {
            let Some(Database::Postgresql { config, password, name }) = found(&text) else { panic!("{text}") };
            let Access { host, port: found, username, .. } = &config.access;
            assert_eq!(
                (host.as_deref(), *found, username.as_deref()),
                (Some("db.internal"), port, Some("forge")),
                "{text}"
            );
            assert_eq!(
                (password.unwrap().expose(), name.as_str(), &config.databases[..]),
                ("p w", "shop", &["shop".to_owned()][..])
            );
        }
        let socket = Dotenv::parse("DB_CONNECTION=pgsql\nDB_HOST=/run/postgresql\nDB_DATABASE=x").unwrap();
        assert!(read(&socket).unwrap_err().starts_with("DB_HOST must be a host name"));
    }

    #[test]
    fn other_kinds_and_none() {
        assert!(found("APP_NAME=x").is_none());
        for kind in ["sqlite", "sqlsrv"] {
            let other = found(&format!("DB_CONNECTION={kind}\nDB_DATABASE=x"));
            assert!(matches!(other, Some(Database::Other { kind: named }) if named == kind));
        }
        for text in ["DB_CONNECTION=mysql", "DB_DATABASE=x\nDB_PORT=99999", "DB_URL=hunter2"] {
            assert!(!read(&Dotenv::parse(text).unwrap_or_default()).unwrap_err().contains("hunter2"));
        }
    }
}
