//! What a database server says of itself before it is dumped.

use super::grants::Grants;

/// Databases of the server's own: they belong to its version, and are no part of "all".
const OWN_DATABASES: [&str; 5] = ["information_schema", "mysql", "ndbinfo", "performance_schema", "sys"];
/// How the server shows a folder in its data directory that is no database, such as `lost+found`.
const STRAY_PREFIX: &str = "#mysql50#";

/// What a server says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Server {
    pub version: String,
    /// What encrypts the connection; empty where nothing does.
    pub cipher: String,
    /// Whether changes are written to a binary log, so that there is a position in it.
    pub has_binlog: bool,
    /// Whether it minds the case of names.
    minds_case: bool,
    /// Who is logged in, as `user@host`.
    user: String,
    /// Every database that the login may see.
    databases: Vec<String>,
    /// Tables that entries of the exclude list name, each with the number of its entry.
    pub excluded: Vec<(usize, Table)>,
    pub grants: Grants,
}

/// A table of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub database: String,
    pub name: String,
}

impl Table {
    /// As the tools take it: with a dot and no quotation marks.
    pub(super) fn dotted(&self) -> String {
        format!("{}.{}", self.database, self.name)
    }
}

/// The questions, on one line. Names of tables are compared as the dump tools compare them: without their case.
pub(super) fn questions(excluded_tables: &[String]) -> String {
    let excluded = match excluded_tables {
        [] => String::new(),
        names => {
            let entry = |(number, name): (usize, &String)| format!("SELECT {number} AS n, {} AS name", literal(name));
            let entries: Vec<String> = names.iter().enumerate().map(entry).collect();
            let converted = |text: &str| format!("CONVERT({text} USING utf8mb4) COLLATE utf8mb4_general_ci");
            format!(
                "SELECT 'excluded', e.n, t.TABLE_SCHEMA, t.TABLE_NAME FROM information_schema.TABLES t JOIN ({}) e \
                 ON e.name = {} OR e.name = {};",
                entries.join(" UNION ALL "),
                converted("t.TABLE_NAME"),
                converted("CONCAT(t.TABLE_SCHEMA, '.', t.TABLE_NAME)"),
            )
        }
    };
    format!(
        "SET SESSION sql_mode = '', SESSION sql_quote_show_create = 1; SELECT 'version', VERSION(); \
         SHOW STATUS LIKE 'Ssl_cipher'; SELECT 'log_bin', @@log_bin; SELECT 'case', @@lower_case_table_names; SELECT 'user', CURRENT_USER(); \
         SELECT 'database', SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY SCHEMA_NAME; {excluded} SHOW GRANTS;"
    )
}

/// A text that ends no quotation, whatever it holds.
fn literal(text: &str) -> String {
    format!("_utf8mb4 0x{} COLLATE utf8mb4_general_ci", hex::encode(text))
}

impl Server {
    /// Reads the answers.
    pub(super) fn read(rows: Vec<Vec<String>>) -> Self {
        let mut server = Self::default();
        for row in rows {
            match row.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["version", version] => server.version = version.to_owned(),
                ["Ssl_cipher", cipher] => server.cipher = cipher.to_owned(),
                ["log_bin", flag] => server.has_binlog = flag == "1",
                ["case", flag] => server.minds_case = flag == "0",
                ["user", user] => server.user = user.to_owned(),
                ["database", name] => server.databases.push(name.to_owned()),
                ["excluded", number, database, name] => {
                    let table = Table { database: database.to_owned(), name: name.to_owned() };
                    server.excluded.extend(number.parse().ok().map(|number| (number, table)));
                }
                [line] => server.grants.read(line),
                _ => {}
            }
        }
        server
    }

    pub(super) fn is_mariadb(&self) -> bool {
        self.version.to_lowercase().contains("mariadb")
    }

    /// Every database that is somebody's.
    pub(super) fn all_databases(&self) -> Vec<String> {
        let own = |name: &str| OWN_DATABASES.contains(&name.to_lowercase().as_str()) || name.starts_with(STRAY_PREFIX);
        self.databases.iter().filter(|name| !own(name)).cloned().collect()
    }

    /// Whether the login sees a database of that name.
    pub(super) fn has_database(&self, wanted: &str) -> bool {
        let same = |name: &str| name == wanted || (!self.minds_case && name.to_lowercase() == wanted.to_lowercase());
        self.databases.iter().any(|name| same(name))
    }

    /// Who is logged in, as `GRANT` takes it.
    pub(super) fn grantee(&self) -> String {
        let quoted = |name: &str| format!("'{}'", name.replace('\'', "''"));
        match self.user.rsplit_once('@') {
            Some((user, host)) => format!("{}@{}", quoted(user), quoted(host)),
            None => quoted(&self.user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn answers_are_read() {
        let server = Server::read(vec![
            row(&["version", "10.11.19-MariaDB-log"]),
            row(&["log_bin", "1"]),
            row(&["case", "0"]),
            row(&["user", "o'b@me@%"]),
            row(&["database", "information_schema"]),
            row(&["database", "mysql"]),
            row(&["database", "#mysql50#lost+found"]),
            row(&["database", "Shop"]),
            row(&["excluded", "3", "Shop", "logs"]),
            row(&["GRANT SELECT ON *.* TO `b`@`%`"]),
        ]);
        assert!(server.is_mariadb() && server.has_binlog && server.grants.has("SELECT"));
        assert_eq!(server.all_databases(), ["Shop"]);
        assert!(server.has_database("mysql") && !server.has_database("shop"));
        assert_eq!(server.grantee(), "'o''b@me'@'%'");
        assert_eq!(server.excluded[0].1.dotted(), "Shop.logs");
    }

    #[test]
    fn questions_are_one_line_and_quote_no_text_of_users() {
        let asked = questions(&["a'b".to_owned(), "shop.logs".to_owned()]);
        assert!(!asked.contains('\n') && !asked.contains("a'b") && asked.contains("0x612762"), "{asked}");
    }
}
