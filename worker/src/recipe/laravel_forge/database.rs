//! The database of a site, as its `.env` names it.

use holdfast_shared::domain::recipe::Tls;
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
    /// Of a kind that is not backed up with the site.
    Other {
        /// What `DB_CONNECTION` says.
        kind: String,
    },
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
    if !["mysql", "mariadb", "mysql2"].contains(&kind) {
        return Ok(Some(Database::Other { kind: kind.to_owned() }));
    }
    let mut login = Login {
        host: env.filled("DB_HOST").map(str::to_owned),
        port: DEFAULT_PORT,
        socket: env.filled("DB_SOCKET").map(str::to_owned),
        username: env.filled("DB_USERNAME").map(str::to_owned),
        password: env.filled("DB_PASSWORD").map(Secret::new),
        tls: Tls::preferred(),
        shown: None,
        corrected_by: "DB_USERNAME and DB_PASSWORD in the site's .env",
    };
    if let Some(port) = env.filled("DB_PORT") {
        login.port = port.parse().map_err(|_| "DB_PORT is no port".to_owned())?;
    }
    let mut name = env.filled("DB_DATABASE").map(str::to_owned);
    if let Some(url) = &url {
        take_over(url, &mut login, &mut name)?;
    }
    // What PHP takes when nothing is said.
    login.host.get_or_insert_with(|| "127.0.0.1".to_owned());
    let name = name.ok_or_else(|| "DB_CONNECTION is set, but DB_DATABASE is not".to_owned())?;
    Ok(Some(Database::Mysql { login, name }))
}

/// What a URL says counts before what single names say.
fn take_over(url: &Url, login: &mut Login, name: &mut Option<String>) -> Result<(), String> {
    let decoded = |text: &str| {
        let text =
            percent_decode_str(text).decode_utf8().map_err(|_| "DB_URL holds bytes that are no text".to_owned())?;
        Ok::<_, String>((!text.is_empty()).then(|| text.into_owned()))
    };
    if let Some(host) = decoded(url.host_str().unwrap_or_default())? {
        login.host = Some(host);
    }
    login.port = url.port().unwrap_or(login.port);
    if let Some(username) = decoded(url.username())? {
        login.username = Some(username);
    }
    if let Some(password) = decoded(url.password().unwrap_or_default())? {
        login.password = Some(Secret::new(&password));
    }
    if let Some(path) = decoded(url.path().trim_start_matches('/'))? {
        *name = Some(path);
    }
    Ok(())
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
    fn other_kinds_and_none() {
        assert!(found("APP_NAME=x").is_none());
        for kind in ["pgsql", "sqlite", "sqlsrv"] {
            let other = found(&format!("DB_CONNECTION={kind}\nDB_DATABASE=x"));
            assert!(matches!(other, Some(Database::Other { kind: named }) if named == kind));
        }
        for text in ["DB_CONNECTION=mysql", "DB_DATABASE=x\nDB_PORT=99999", "DB_URL=hunter2"] {
            assert!(!read(&Dotenv::parse(text).unwrap_or_default()).unwrap_err().contains("hunter2"));
        }
    }
}
