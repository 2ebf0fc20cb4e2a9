//! MySQL and MariaDB: databases as the text that `mysqldump` or `mariadb-dump` writes, whichever there is.
//!
//! All databases of a job become one file: so they are of one instant, views across databases find what they need, and one
//! command restores them (`zstd -dc mysql-backups.sql.zst | mariadb`, with `--one-database NAME` for one of them).
//!
//! The tools leave out without a word what a login may not see, so its grants are looked at first. A dump is whole once the
//! tool ended with exit 0 and its last line is the end mark.

mod grants;
mod judge;
pub(super) mod login;
mod server;
mod tools;

use holdfast_shared::domain::object_key::FileName;
use holdfast_shared::domain::recipe::{MysqlConfig, Tls, TlsMode};

use super::{Asked, Asking, Dump, Reach, SourceError};
use crate::remote::{Machine, Wire};
use judge::{DumpJudge, complaints};
use login::Login;
use server::{Server, Table, questions};
use tools::{DumpTool, Tools};

/// How many names a message or a line of the log tells before it counts the others.
const MAX_TOLD: usize = 20;

/// What this login's statements wait for.
const WAITED_FOR: &str = "SELECT CONCAT('the database server, which says \"', STATE, '\" of: ', LEFT(INFO, 200)) \
    FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND STATE LIKE 'Waiting for%' \
    AND USER = SUBSTRING_INDEX(USER(), '@', 1);";

/// Looks at the server: one file holds all databases.
pub async fn plan(asked: &Asked<'_>, config: &MysqlConfig) -> Result<Vec<Dump>, SourceError> {
    let asking = Asking { tls: &config.tls, field: "mysql_tls", wire: Wire::Mysql };
    let Reach { host, port, name, is_ours, is_relayed } = asked.reach(&config.access, Some(asking)).await?;
    let access = &config.access;
    let password = access.password.as_ref().map(|sealed| asked.secret("mysql_password", sealed)).transpose()?;
    let login = Login {
        host,
        port,
        socket: None,
        username: access.username.clone(),
        password,
        // The relay does what the job asks for, and needs TLS on this side of it, too.
        tls: if is_relayed { Tls { mode: TlsMode::Require, authorities: None } } else { config.tls.clone() },
        shown: name.filter(|_| is_ours).map(|name| format!("{name} port {}", access.port)),
        corrected_by: "mysql_username and mysql_password",
    };
    let stem = match &config.databases[..] {
        [one] => format!("mysql-backups-{one}"),
        _ => "mysql-backups".to_owned(),
    };
    Ok(vec![plan_one(asked.machine, &login, config, FileName::of(&stem, "sql")).await?])
}

/// Looks at the server of `login`, whatever access `config` has, and tells how to dump it into one file.
pub(super) async fn plan_one(
    machine: &Machine,
    login: &Login,
    config: &MysqlConfig,
    name: FileName,
) -> Result<Dump, SourceError> {
    let tools = Tools::find(machine).await?;
    let server = Server::read(tools.query(machine, login, &questions(&config.excluded_tables)).await?);
    check_tls(login, &server)?;
    let tool = tools.dump_tool(machine, server.is_mariadb()).await?;
    let wanted = Wanted { config, databases: databases(&server, config)?, server: &server };
    wanted.check_grants()?;
    if config.run_on_replica {
        check_replica(&tools, machine, login, &server).await?;
    }
    let ignored: Vec<String> = wanted.excluded().map(Table::dotted).collect();
    let command = tool.command(login, &wanted.options(&tool), &wanted.databases, &ignored)?;
    let judge = DumpJudge::new(&tool.name, complaints(login, wanted.grant()));
    let question = tools.question(machine, login, WAITED_FOR).await?;
    Ok(Dump::of_command(name, command, judge).noting(wanted.notes(login, &tool)).asking(question))
}

/// Refuses a connection in the clear where the job wants none: MariaDB's tools make it nevertheless.
fn check_tls(login: &Login, server: &Server) -> Result<(), SourceError> {
    if login.tls.mode < TlsMode::Require || !server.cipher.is_empty() {
        return Ok(());
    }
    Err(SourceError::Refused(format!(
        "mysql_tls is {}, but the database server at {} offers no TLS; set it up there, or make mysql_tls prefer",
        login.tls.mode.as_str(),
        login.place(),
    )))
}

/// The databases to dump.
fn databases(server: &Server, config: &MysqlConfig) -> Result<Vec<String>, SourceError> {
    if config.databases.is_empty() {
        let all = server.all_databases();
        return match all.is_empty() {
            true => Err(SourceError::Refused(format!("{} may see no database; grant it some", server.grantee()))),
            false => Ok(all),
        };
    }
    let missing: Vec<&str> =
        config.databases.iter().map(String::as_str).filter(|name| !server.has_database(name)).collect();
    if missing.is_empty() {
        return Ok(config.databases.clone());
    }
    Err(SourceError::Refused(format!(
        "unknown database {}: it does not exist, or {} may not see it; correct the job's databases or grant it",
        told(&missing),
        server.grantee()
    )))
}

/// What is asked for, of a server that has been looked at.
struct Wanted<'a> {
    config: &'a MysqlConfig,
    server: &'a Server,
    databases: Vec<String>,
}

impl Wanted<'_> {
    /// What the dump needs in each database, beside views and routines.
    fn privileges(&self) -> Vec<&'static str> {
        let MysqlConfig { single_transaction, triggers, events, .. } = *self.config;
        let asked = [("SELECT", true), ("LOCK TABLES", !single_transaction), ("TRIGGER", triggers), ("EVENT", events)];
        asked.into_iter().filter(|(_, is_needed)| *is_needed).map(|(name, _)| name).collect()
    }

    /// The statements that grant all of it.
    fn grant(&self) -> String {
        let who = self.server.grantee();
        let mut privileges = self.privileges();
        privileges.insert(1, "SHOW VIEW");
        let privileges = privileges.join(", ");
        let quoted = |name: &String| format!("`{}`.*", name.replace('`', "``"));
        let mut objects: Vec<String> = match self.config.databases.is_empty() {
            true => vec!["*.*".to_owned()],
            false => self.databases.iter().map(quoted).collect(),
        };
        objects.truncate(MAX_TOLD);
        let mut statements: Vec<String> =
            objects.iter().map(|object| format!("GRANT {privileges} ON {object} TO {who};")).collect();
        if self.config.routines {
            let has_table = self.server.is_mariadb() || self.server.version.starts_with("5.");
            let routines = if has_table { "SELECT ON `mysql`.`proc`" } else { "SHOW_ROUTINE ON *.*" };
            statements.push(format!("GRANT {routines} TO {who};"));
        }
        statements.join(" ")
    }

    /// Refuses what the tools would leave out without a word because the login may not see it. Where roles may give it, it
    /// is not known to be missing.
    fn check_grants(&self) -> Result<(), SourceError> {
        let grants = &self.server.grants;
        if grants.has_roles {
            return Ok(());
        }
        let privileges = self.privileges();
        let mut lacks: Vec<String> = Vec::new();
        for database in &self.databases {
            let mut missing: Vec<&str> =
                privileges.iter().copied().filter(|one| !grants.has_in(database, one)).collect();
            if self.config.routines && !grants.sees_routines(database) {
                missing.push("the right to read routines");
            }
            if !missing.is_empty() {
                lacks.push(format!("{} on {database}", missing.join(", ")));
            }
        }
        if lacks.is_empty() {
            return Ok(());
        }
        let lacks: Vec<&str> = lacks.iter().map(String::as_str).collect();
        Err(SourceError::Refused(format!(
            "{} lacks {}, so the dump would not be whole; have an administrator run: {} Or turn off what is not wanted \
             (triggers, events, routines)",
            self.server.grantee(),
            told(&lacks),
            self.grant()
        )))
    }

    /// Tables to leave out, as the server spells them.
    fn excluded(&self) -> impl Iterator<Item = &Table> {
        self.server.excluded.iter().map(|(_, table)| table).filter(|table| self.takes(table))
    }

    fn takes(&self, table: &Table) -> bool {
        self.databases.iter().any(|name| name.to_lowercase() == table.database.to_lowercase())
    }

    fn options(&self, tool: &DumpTool) -> Vec<String> {
        let MysqlConfig { single_transaction, routines, events, triggers, .. } = *self.config;
        let either = |is_wanted: bool, yes: &str, no: &str| if is_wanted { yes.to_owned() } else { no.to_owned() };
        let mut options = [
            "--opt",
            "--quote-names",
            // The end mark is a comment.
            "--comments",
            "--hex-blob",
            "--default-character-set=utf8mb4",
            // The most that the protocol knows, so that no row is too long.
            "--max-allowed-packet=1G",
        ]
        .map(str::to_owned)
        .to_vec();
        options.push(either(single_transaction, "--single-transaction", "--lock-tables"));
        options.push(either(routines, "--routines", "--skip-routines"));
        options.push(either(events, "--events", "--skip-events"));
        options.push(either(triggers, "--triggers", "--skip-triggers"));
        options.extend(self.position(tool).unwrap_or_default());
        if tool.knows("--set-gtid-purged") {
            // As a statement it could be restored into an empty server only.
            let noted = tool.knows("COMMENTED") && self.may_flush() && self.server.has_binlog;
            options.push(either(noted, "--set-gtid-purged=COMMENTED", "--set-gtid-purged=OFF"));
        }
        if tool.knows("--no-tablespaces") && !self.server.grants.has("PROCESS") {
            options.push("--no-tablespaces".to_owned());
        }
        if tool.knows("--column-statistics") {
            // Older servers, and MariaDB, have none.
            options.push("--column-statistics=0".to_owned());
        }
        options
    }

    fn may_flush(&self) -> bool {
        ["RELOAD", "FLUSH_TABLES"].iter().any(|one| self.server.grants.has(one))
    }

    /// The option that notes, as a comment, where in the binary log the dump stands; otherwise why there is none.
    fn position(&self, tool: &DumpTool) -> Result<Option<String>, String> {
        let newer = |new: &str, old: &str| if tool.knows(new) { format!("{new}=2") } else { format!("{old}=2") };
        if self.config.run_on_replica {
            return Ok(Some(newer("--dump-replica", "--dump-slave")));
        }
        if !self.server.has_binlog {
            return Err("the server writes no binary log, so there is no position in it to note".to_owned());
        }
        // MariaDB's own tool reads the position inside of the transaction, which everybody may.
        let is_free = self.config.single_transaction && self.server.is_mariadb() && tool.version.contains("MariaDB");
        let may_ask = ["REPLICATION CLIENT", "BINLOG MONITOR", "SUPER"].iter().any(|one| self.server.grants.has(one));
        match is_free || (self.may_flush() && may_ask) {
            true => Ok(Some(newer("--source-data", "--master-data"))),
            false => Err(format!(
                "the position in the binary log is not noted, as the login may not ask for it; to have it, run: GRANT RELOAD, \
                 REPLICATION CLIENT ON *.* TO {};",
                self.server.grantee()
            )),
        }
    }

    /// What the log tells of the dump.
    fn notes(&self, login: &Login, tool: &DumpTool) -> Vec<String> {
        let Self { config, server, databases } = self;
        let names: Vec<&str> = databases.iter().map(String::as_str).collect();
        let mut notes = vec![
            format!("server {} at {}, logged in as {}", server.version, login.place(), server.grantee()),
            format!("with {}", tool.version),
            format!("databases: {}", told(&names)),
        ];
        if config.databases.is_empty() && !["SELECT", "SHOW DATABASES"].iter().any(|one| server.grants.has(one)) {
            notes.push("databases that this login may not see are not among them".to_owned());
        }
        let excluded: Vec<String> = self.excluded().map(Table::dotted).collect();
        if !excluded.is_empty() {
            notes.push(format!("tables left out: {}", told(&excluded.iter().map(String::as_str).collect::<Vec<_>>())));
        }
        for (number, entry) in config.excluded_tables.iter().enumerate() {
            if !server.excluded.iter().any(|(found, table)| *found == number && self.takes(table)) {
                notes.push(format!(
                    "excluded table {entry} does not exist in these databases: nothing was left out for it"
                ));
            }
        }
        if server.grants.has_roles {
            let what = "the login has roles, so whether it may read everything could not be told beforehand";
            notes.push(what.to_owned());
        }
        notes.extend(self.position(tool).err());
        notes
    }
}

/// Refuses a server that is no replica, or one whose position the login may not see.
async fn check_replica(tools: &Tools, machine: &Machine, login: &Login, server: &Server) -> Result<(), SourceError> {
    let old_words = server.is_mariadb() || server.version.starts_with("5.") || server.version.starts_with("8.0.");
    let question = if old_words { "SHOW SLAVE STATUS;" } else { "SHOW REPLICA STATUS;" };
    let who = server.grantee();
    // What each of them calls the rights to see how replication stands and to hold it for the time of the dump.
    let privileges = match server.is_mariadb() {
        true => "REPLICA MONITOR, REPLICATION SLAVE ADMIN, BINLOG MONITOR",
        false => "REPLICATION CLIENT, REPLICATION_SLAVE_ADMIN",
    };
    let grant = format!("GRANT {privileges} ON *.* TO {who};");
    let rows = tools.query(machine, login, question).await.map_err(|error| match error {
        SourceError::Refused(message) => {
            SourceError::Refused(format!("{message}; run_on_replica needs: {grant} Or turn it off"))
        }
        other => other,
    })?;
    match rows.is_empty() {
        true => Err(SourceError::Refused(
            "run_on_replica is on, but the database server is no replica; turn it off, or name the replica".to_owned(),
        )),
        false => Ok(()),
    }
}

/// Names for a message.
fn told(names: &[&str]) -> String {
    let first = names.iter().take(MAX_TOLD).copied().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(MAX_TOLD) {
        None | Some(0) => first,
        Some(more) => format!("{first} and {more} more"),
    }
}
