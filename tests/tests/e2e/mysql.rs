//! MySQL and MariaDB: backed up through the API, downloaded by its link, restored with stock tools into a fresh server, and
//! compared with the original. What can go wrong is told, and is never a backup.

use std::os::unix::fs::PermissionsExt;

use holdfast_tests::installation::Host;
use holdfast_tests::mariadb::{Mariadb, fed};
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::{Installation, Setup, eventually, leftovers};
use serde_json::{Value, json};
use tempfile::TempDir;

const PASSWORD: &str = "p\"w\\0 #;'ü$(id)";
/// What the README tells to grant, for all databases.
const GRANT_ALL: &str = "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO 'backup'@'127.0.0.1';";
/// What the README tells to grant, for one.
const GRANT_SHOP: &str = "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `shop`.* TO 'backup'@'127.0.0.1';\
     GRANT SELECT ON `mysql`.`proc` TO 'backup'@'127.0.0.1';";

/// A host with a database server, and an installation that knows the host.
struct Rig {
    db: Mariadb,
    _host: Host,
    installation: Installation,
    server: u64,
    /// The password of `backup`.
    password: &'static str,
}

impl Rig {
    async fn start(db: Mariadb, grants: &str) -> Self {
        Self::start_on(db, grants, Host::start().await, Setup::default()).await
    }

    async fn start_on(db: Mariadb, grants: &str, host: Host, setup: Setup) -> Self {
        let literal = PASSWORD.replace('\\', "\\\\").replace('\'', "''");
        db.sql(&format!("CREATE USER 'backup'@'127.0.0.1' IDENTIFIED BY '{literal}'; {grants}"));
        let installation = Installation::start_with(setup).await;
        let server = installation.add_server(&host).await;
        Self { db, _host: host, installation, server, password: PASSWORD }
    }

    async fn job(&self, more: Value) -> String {
        let mut config = json!({
            "mysql_host": "127.0.0.1", "mysql_port": self.db.port(),
            "mysql_username": "backup", "mysql_password": self.password,
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        self.installation.add_job_with(self.server, json!({"recipe": "mysql-backups", "config": config})).await
    }

    async fn run(&self, more: Value) -> Value {
        let job = self.job(more).await;
        self.installation.run(&job).await
    }

    async fn log(&self, backup: &Value) -> String {
        self.installation.log(backup["id"].as_str().unwrap()).await
    }

    /// A run that failed for good at its first attempt.
    async fn assert_refused(&self, more: Value, says: &[&str]) {
        let backup = self.run(more).await;
        assert_eq!((&backup["status"], &backup["attempt"]), (&json!("failed"), &json!(1)), "{backup}");
        assert_eq!(backup["failure"]["kind"], "source", "{backup}");
        self.assert_says(&backup, says);
        leftovers::assert_none(&self.installation).await;
    }

    /// A run of which the first attempt failed, and that waits for the next.
    async fn assert_broken(&self, backup: &str, says: &[&str]) {
        let is_so = |backup: &Value| backup["failure"]["message"].is_string() || backup["status"] == "completed";
        let backup = self.installation.backup_when(backup, is_so).await;
        assert!(matches!(backup["status"].as_str(), Some("pending" | "running")), "{backup}");
        self.assert_says(&backup, says);
        // The next attempt may have begun already.
        let first = format!("/{}/0001/", backup["id"].as_str().unwrap());
        let mut left = leftovers::objects(&self.installation).await;
        left.extend(leftovers::uploads(&self.installation).await);
        assert!(!left.iter().any(|key| key.contains(&first)), "{left:?}");
    }

    fn assert_says(&self, backup: &Value, says: &[&str]) {
        let message = backup["failure"]["message"].as_str().unwrap();
        for word in says {
            assert!(message.contains(word), "{message:?} does not say {word:?}");
        }
        assert!(!message.contains(self.password), "{message}");
        assert_eq!(backup["files"], json!([]));
    }

    /// The backup as stock tools restore it into a fresh server.
    async fn restored(&self, backup: &Value) -> Mariadb {
        assert_eq!(backup["status"], "completed", "{backup}\n{}", self.log(backup).await);
        let fresh = Mariadb::start();
        fresh.restore(&self.installation.download(backup).await, &[]);
        fresh
    }
}

/// The text of a `.sql.zst`.
fn text(file: &[u8]) -> String {
    let mut unpack = std::process::Command::new("zstd");
    unpack.arg("-dc");
    String::from_utf8_lossy(&fed(unpack, file)).into_owned()
}

/// Everything that a dump can lose.
fn fill(db: &Mariadb) {
    db.sql(
        "CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci; USE shop;
         CREATE TABLE customer (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(80), raw BLOB, fixed BINARY(4), bits BIT(9),
            amount DECIMAL(30,10), at TIMESTAMP(6) NULL, born DATE, spent DOUBLE, notes JSON, place POINT,
            kind ENUM('a','ß'), twice INT GENERATED ALWAYS AS (CHAR_LENGTH(name) * 2) STORED, upper_name VARCHAR(80) AS (UPPER(name)) VIRTUAL);
         INSERT INTO customer (name, raw, fixed, bits, amount, at, born, spent, notes, place, kind) VALUES
            ('🗄 日本', x'00ff0a0d1a5c27220100', x'00', b'101010101', 12345678901234567890.0123456789,
             '2024-03-31 01:30:00.123456', '1000-01-01', 1e308, '{\"a\": [1, null]}', POINT(1, 2), 'ß'),
            (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
            ('it''s \"quoted\" \\\\ \\n\\t; -- Dump completed', '', '', 0, -0.5, '1970-01-02 00:00:01', '9999-12-31', -0.0, '[]', NULL, 'a');
         CREATE TABLE `order` (id INT PRIMARY KEY, customer INT) PARTITION BY HASH(id) PARTITIONS 2;",
    );
    db.sql(
        "USE shop; INSERT INTO `order` VALUES (0, 1), (1, 2);
         CREATE TABLE payment (id INT PRIMARY KEY, customer INT, FOREIGN KEY (customer) REFERENCES customer (id)); INSERT INTO payment VALUES (1, 1);
         CREATE TABLE plain (a INT) ENGINE=MyISAM; INSERT INTO plain VALUES (1), (1), (NULL);
         CREATE TABLE `empty` (a INT);
         CREATE TABLE `we``ird na.me $x ü -- ;` (`a b` INT, `c``d` TEXT); INSERT INTO `we``ird na.me $x ü -- ;` VALUES (1, 'x');
         CREATE TABLE logs (a TEXT); INSERT INTO logs VALUES ('long'); CREATE TABLE `log s` (a INT);
         CREATE SEQUENCE numbers START WITH 7 INCREMENT BY 3 NOCACHE; SELECT NEXTVAL(numbers);
         CREATE VIEW b_names AS SELECT id, name FROM customer; CREATE VIEW a_top AS SELECT name FROM b_names WHERE id < 9;
         CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2;
         CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DO DELETE FROM logs;
         CREATE TRIGGER before_payment BEFORE INSERT ON payment FOR EACH ROW SET NEW.customer = IFNULL(NEW.customer, 1);
         CREATE TRIGGER after_payment AFTER INSERT ON payment FOR EACH ROW INSERT INTO logs VALUES ('ü');
         DELIMITER //
         CREATE PROCEDURE report(IN wanted INT) BEGIN -- a comment\n SELECT twice(wanted), 'ü'; END//
         DELIMITER ;
         CREATE DATABASE nothing COLLATE latin1_german1_ci;
         CREATE DATABASE `-leading dash's`; CREATE TABLE `-leading dash's`.`-t` (a INT); INSERT INTO `-leading dash's`.`-t` VALUES (5);
         CREATE DATABASE `日本 back``tick`; CREATE TABLE `日本 back``tick`.`表` (a INT); INSERT INTO `日本 back``tick`.`表` VALUES (6);
         CREATE DATABASE a_first; CREATE VIEW a_first.across AS SELECT * FROM shop.b_names; CREATE TABLE a_first.logs (a INT);",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_databases_come_back_as_they_were() {
    let db = Mariadb::start_with(&["--log-bin=bin", "--server-id=1"]);
    fill(&db);
    let rig = Rig::start(db, GRANT_ALL).await;

    let backup = rig.run(json!({})).await;

    let log = rig.log(&backup).await;
    let fresh = rig.restored(&backup).await;
    assert_eq!(backup["files"][0]["name"], "mysql-backups.sql.zst");
    assert!(log.contains("databases: -leading dash's, a_first, nothing, shop, ") && !log.contains(PASSWORD), "{log}");
    let (original, restored) = (rig.db.fingerprint(), fresh.fingerprint());
    assert!(original.len() > 50, "{original:#?}");
    assert_eq!(original, restored);
    let used = "SELECT shop.twice(4); SELECT name FROM a_first.across WHERE id = 1; SELECT NEXTVAL(shop.numbers)";
    let answers = fresh.sql(used);
    assert!(answers.starts_with("8\n🗄 日本\n"), "{answers}");
    assert_eq!(answers, rig.db.sql(used));
    // The position is noted as a comment, and nobody's replication is touched by restoring it.
    let text = text(&rig.installation.download(&backup).await);
    assert!(
        text.contains("\n-- CHANGE MASTER TO MASTER_LOG_FILE='bin.") && text.contains("gtid_slave_pos="),
        "no position"
    );
    leftovers::assert_none(&rig.installation).await;

    // One database out of all.
    let fresh = Mariadb::start();
    fresh.sql("CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci");
    fresh.restore(&rig.installation.download(&backup).await, &["--one-database", "shop"]);
    let of_shop = |(name, _): &(String, String)| name.contains("`shop`") || name.contains(" shop");
    let mut expected: Vec<_> = original.into_iter().filter(of_shop).collect();
    let mut one: Vec<_> = fresh.fingerprint().into_iter().filter(of_shop).collect();
    expected.sort();
    one.sort();
    assert_eq!(expected, one);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn named_databases_without_excluded_tables_come_back() {
    let db = Mariadb::start();
    fill(&db);
    db.sql("CREATE TABLE shop.Tyop (a INT)");
    let rig = Rig::start(db, GRANT_ALL).await;

    let excluded = "logs\nshop.log s\nshop.Tyop\nshop.typo\nnothing.customer";
    let backup = rig.run(json!({"mysql_database": "shop,a_first", "mysql_excluded_tables": excluded})).await;

    let fresh = rig.restored(&backup).await;
    let log = rig.log(&backup).await;
    assert!(log.contains("excluded table shop.typo does not exist"), "{log}");
    assert!(log.contains("excluded table nothing.customer does not exist"), "{log}");
    for name in ["a_first.logs", "shop.logs", "shop.log s", "shop.Tyop"] {
        assert!(log.lines().any(|line| line.contains("tables left out: ") && line.contains(name)), "{name}: {log}");
    }
    assert!(log.contains("the server writes no binary log"), "{log}");
    rig.db.sql("DROP TABLE shop.logs, a_first.logs, shop.`log s`, shop.Tyop; DROP DATABASE nothing; DROP DATABASE `-leading dash's`; DROP DATABASE `日本 back``tick`");
    assert_eq!(rig.db.fingerprint(), fresh.fingerprint());

    let backup = rig.run(json!({"mysql_database": "shop"})).await;
    assert_eq!(backup["files"][0]["name"], "mysql-backups-shop.sql.zst", "{backup}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_thousand_tables_come_back() {
    let db = Mariadb::start();
    let tables: String = (0..3_000)
        .map(|n| format!("CREATE TABLE t{n} (a INT) ENGINE=MyISAM; INSERT INTO t{n} VALUES ({n});"))
        .collect();
    db.sql(&format!("CREATE DATABASE many; USE many; {tables}"));
    let rig = Rig::start(db, GRANT_ALL).await;
    let backup = rig.run(json!({})).await;
    let fresh = rig.restored(&backup).await;
    let checksums = |db: &Mariadb| {
        let names: Vec<String> = (0..3_000).map(|n| format!("many.t{n}")).collect();
        db.sql(&format!("CHECKSUM TABLE {}", names.join(",")))
    };
    assert_eq!(checksums(&fresh).lines().count(), 3_000);
    assert_eq!(checksums(&rig.db), checksums(&fresh));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_without_rights_is_told_which_to_grant() {
    let db = Mariadb::start();
    fill(&db);
    // It sees one table and nothing else: the dump tool would leave the rest out and end with 0.
    let rig = Rig::start(db, "GRANT SELECT ON shop.customer TO 'backup'@'127.0.0.1';").await;
    let says = [
        "'backup'@'127.0.0.1' lacks SELECT, TRIGGER, EVENT",
        "right to read routines",
        "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `shop`.* TO 'backup'@'127.0.0.1';",
        "GRANT SELECT ON `mysql`.`proc`",
    ];
    rig.assert_refused(json!({"mysql_database": "shop"}), &says).await;
    // What the tool itself stumbles over.
    rig.db.sql("GRANT SELECT, TRIGGER, EVENT, EXECUTE ON shop.* TO 'backup'@'127.0.0.1';");
    let says = ["lacks a privilege; have an administrator run: GRANT SELECT, SHOW VIEW", "SHOW VIEW command denied"];
    rig.assert_refused(json!({"mysql_database": "shop"}), &says).await;
    rig.db.sql("GRANT SHOW VIEW ON shop.* TO 'backup'@'127.0.0.1';");
    rig.assert_refused(
        json!({"mysql_database": "shop"}),
        &["insufficient privileges to SHOW CREATE", "GRANT SELECT ON `mysql`.`proc`"],
    )
    .await;
    rig.assert_refused(json!({"mysql_database": "shop", "single_transaction": false}), &["LOCK TABLES"]).await;
    rig.assert_refused(
        json!({"mysql_database": "shop", "run_on_replica": true, "routines": false}),
        &["run_on_replica needs: GRANT"],
    )
    .await;
    // What it tells to grant is enough.
    rig.db.sql(GRANT_SHOP);
    let backup = rig.run(json!({"mysql_database": "shop"})).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert!(backup["source_errors"].as_array().unwrap().is_empty(), "{backup}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_login_database_or_server_is_told() {
    let db = Mariadb::start();
    db.sql("CREATE DATABASE shop");
    let mut rig = Rig::start(db, GRANT_ALL).await;
    rig.assert_refused(json!({"mysql_database": "shop,nosuch"}), &["unknown database nosuch"]).await;
    rig.assert_refused(json!({"mysql_host": "nosuch.invalid"}), &["does not exist"]).await;
    rig.assert_refused(json!({"run_on_replica": true}), &["run_on_replica"]).await;
    let job = rig.job(json!({"mysql_port": 1})).await;
    let backup = rig.installation.start_backup(&job).await;
    rig.assert_broken(&backup, &["no connection to the database server at 127.0.0.1 port 1"]).await;
    rig.password = "wrong-hunter2";
    let says = ["refused the login; correct mysql_username and mysql_password"];
    let backup = rig.run(json!({})).await;
    assert_eq!(backup["status"], "failed", "{backup}");
    rig.assert_says(&backup, &says);
    assert!(!rig.log(&backup).await.contains("hunter2"));
}

/// A host whose `PATH` begins with a folder, before what `rest` says.
async fn host_with_path(folder: &TempDir, rest: &str) -> Host {
    Host::start_with(&format!("SetEnv PATH={}{rest}", folder.path().display())).await
}

fn script(folder: &TempDir, name: &str, text: &str) {
    let path = folder.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_tool_is_told() {
    let folder = TempDir::new().unwrap();
    for tool in ["sh", "bash", "env", "timeout", "cat", "mariadb"] {
        std::os::unix::fs::symlink(format!("/usr/bin/{tool}"), folder.path().join(tool)).unwrap();
    }
    let db = Mariadb::start();
    db.sql("CREATE DATABASE shop");
    let rig = Rig::start_on(db, GRANT_ALL, host_with_path(&folder, "").await, Setup::default()).await;
    rig.assert_refused(json!({}), &["neither mariadb-dump nor mysqldump is installed", "apt install mariadb-client"])
        .await;
    std::fs::remove_file(folder.path().join("mariadb")).unwrap();
    rig.assert_refused(json!({}), &["neither mariadb nor mysql is installed"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_that_is_cut_off_is_no_backup_whatever_its_tool_says() {
    let db = Mariadb::start();
    fill(&db);
    let whole = {
        let mut dump = std::process::Command::new("mariadb-dump");
        dump.args(["--no-defaults", "--user=root", "--hex-blob", "--routines", "--events", "--databases", "shop"]);
        dump.arg(format!("--socket={}", db.socket().display()));
        fed(dump, b"").len()
    };
    let folder = TempDir::new().unwrap();
    let host = host_with_path(&folder, ":/usr/bin:/bin").await;
    let rig = Rig::start_on(db, GRANT_ALL, host, Setup::default()).await;
    for bytes in [0, whole / 100, whole / 2, whole * 99 / 100, whole - 30] {
        let text = format!(
            "case \"$*\" in *--help*) exec /usr/bin/mariadb-dump \"$@\";; esac\n/usr/bin/mariadb-dump \"$@\" | head -c {bytes}\nexit 0"
        );
        script(&folder, "mariadb-dump", &text);
        let job = rig.job(json!({"mysql_database": "shop"})).await;
        let backup = rig.installation.start_backup(&job).await;
        rig.assert_broken(&backup, &["the dump was cut off", "-- Dump completed"]).await;
    }
    // With all of it, the same tool makes a backup.
    let text = "case \"$*\" in *--help*) exec /usr/bin/mariadb-dump \"$@\";; esac\n/usr/bin/mariadb-dump \"$@\" | cat";
    script(&folder, "mariadb-dump", text);
    assert_eq!(rig.run(json!({"mysql_database": "shop"})).await["status"], "completed");
    // One that complains and goes on makes one with errors; one that fails with all of it makes none.
    script(&folder, "mariadb-dump", &format!("{text}\necho 'mariadb-dump: odd thing' >&2"));
    let backup = rig.run(json!({"mysql_database": "shop"})).await;
    assert_eq!(backup["status"], "completed_with_errors", "{backup}");
    assert_eq!(backup["source_errors"], json!(["mariadb-dump: odd thing"]));
    script(&folder, "mariadb-dump", &format!("{text}\nexit 3"));
    let job = rig.job(json!({"mysql_database": "shop"})).await;
    let backup = rig.installation.start_backup(&job).await;
    rig.assert_broken(&backup, &["exit 3"]).await;
}

/// A dump that stands still in the middle of a large table, as S3 takes no more until the proxy is released.
async fn standing_still() -> (Rig, Proxy, String) {
    let db = Mariadb::start();
    db.sql("CREATE DATABASE shop; CREATE TABLE shop.large (a INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB);");
    for _ in 0..96 {
        db.sql("INSERT INTO shop.large (b) SELECT RANDOM_BYTES(1024) FROM shop.seq_1_to_512");
    }
    let proxy = Proxy::start(|request, _| if request.method() == "PUT" { Harm::Hold } else { Harm::None }).await;
    let setup = Setup { s3_proxy: Some(proxy.clone()), ..Setup::default() };
    let rig = Rig::start_on(db, GRANT_ALL, Host::start().await, setup).await;
    let job = rig.job(json!({"compression_level": 0})).await;
    let backup = rig.installation.start_backup(&job).await;
    rig.installation.backup_when(&backup, |backup| backup["progress"]["bytes_read"].as_u64() > Some(8 << 20)).await;
    (rig, proxy, backup)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_mid_dump_is_told() {
    let (mut rig, proxy, backup) = standing_still().await;
    rig.db.kill();
    proxy.release();
    rig.assert_broken(&backup, &["ended the connection"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_killed_in_mid_dump_is_told_and_the_next_attempt_is_whole() {
    let (rig, proxy, backup) = standing_still().await;
    let id = rig.db.sql("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'backup'");
    rig.db.sql(&format!("KILL CONNECTION {}", id.trim()));
    proxy.release();
    rig.assert_broken(&backup, &["ended the connection"]).await;
    rig.installation.advance(jiff::SignedDuration::from_secs(60));
    let ended = rig.installation.ended(&backup).await;
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(2)), "{ended}");
}

/// Every process of this machine whose arguments or environment hold a text.
fn processes_that_show(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        for file in ["cmdline", "environ"] {
            let shown = std::fs::read(process.path().join(file)).unwrap_or_default();
            if shown.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(format!("{}: {}", process.path().join(file).display(), String::from_utf8_lossy(&shown)));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_waited_for_and_the_password_shows_nowhere_meanwhile() {
    let db = Mariadb::start();
    db.sql("CREATE DATABASE shop; CREATE TABLE shop.t (a INT); INSERT INTO shop.t VALUES (1);");
    let rig = Rig::start(db, &format!("{GRANT_ALL} GRANT LOCK TABLES ON *.* TO 'backup'@'127.0.0.1';")).await;
    let held = rig.db.hold("LOCK TABLES shop.t WRITE;");
    let job = rig.job(json!({"single_transaction": false})).await;
    let backup = rig.installation.start_backup(&job).await;
    eventually("a dump that waits", || async {
        let list = rig.db.sql("SELECT USER, STATE FROM information_schema.PROCESSLIST WHERE USER = 'backup'");
        if list.contains("metadata lock") { Ok(()) } else { Err(list) }
    })
    .await;

    let running = processes_that_show("--defaults-extra-file=/dev/stdin");
    assert!(running.iter().any(|shown| shown.contains("mariadb-dump")), "{running:?}");
    assert_eq!(processes_that_show(PASSWORD), Vec::<String>::new());

    drop(held);
    let ended = rig.installation.ended(&backup).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    assert!(!rig.log(&ended).await.contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_dumped_with_its_sources_position() {
    let source = Mariadb::start_with(&["--log-bin=bin", "--server-id=1"]);
    source.sql("CREATE USER repl@'127.0.0.1' IDENTIFIED BY 'r'; GRANT REPLICATION SLAVE ON *.* TO repl@'127.0.0.1'; CREATE DATABASE shop; CREATE TABLE shop.t (a INT); INSERT INTO shop.t VALUES (7);");
    let replica = Mariadb::start_with(&["--server-id=2"]);
    replica.sql(&format!("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={}, MASTER_USER='repl', MASTER_PASSWORD='r', MASTER_LOG_FILE='bin.000001', MASTER_LOG_POS=4; START SLAVE;", source.port()));
    eventually("the replica", || async {
        let found = replica.sql("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'");
        if found.trim() == "t" { Ok(()) } else { Err(replica.sql("SHOW SLAVE STATUS")) }
    })
    .await;
    let grants = format!(
        "{GRANT_ALL} GRANT REPLICA MONITOR, REPLICATION SLAVE ADMIN, BINLOG MONITOR ON *.* TO 'backup'@'127.0.0.1';"
    );
    let rig = Rig::start(replica, &grants).await;
    let backup = rig.run(json!({"run_on_replica": true, "compression_level": 0, "mysql_database": "shop"})).await;
    assert_eq!(backup["status"], "completed", "{backup}\n{}", rig.log(&backup).await);
    let text = String::from_utf8_lossy(&rig.installation.download(&backup).await).into_owned();
    assert!(
        text.contains("-- CHANGE MASTER '' TO MASTER_LOG_FILE='bin.000001'")
            || text.contains("-- CHANGE MASTER TO MASTER_LOG_FILE='bin.000001'"),
        "{text}"
    );
    assert!(rig.db.sql("SHOW ALL SLAVES STATUS").contains("\tYes\tYes\t"), "replication goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_of_the_hosts_own_option_file_is_taken_only_where_the_job_has_none() {
    let db = Mariadb::start();
    db.sql("CREATE DATABASE shop; CREATE TABLE shop.t (a INT);");
    let folder = TempDir::new().unwrap();
    let host = Host::start_with(&format!("SetEnv HOME={}", folder.path().display())).await;
    let rig = Rig::start_on(db, GRANT_ALL, host, Setup::default()).await;
    let file = |password: &str| format!("[client]\nuser=backup\npassword=\"{password}\"\n");
    std::fs::write(folder.path().join(".my.cnf"), file("wrong")).unwrap();
    let backup = rig.run(json!({})).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    let own = json!({"mysql_username": null, "mysql_password": null});
    assert_eq!(rig.run(own.clone()).await["status"], "failed");
    let escaped = PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
    std::fs::write(folder.path().join(".my.cnf"), file(&escaped)).unwrap();
    let backup = rig.run(own).await;
    assert_eq!(backup["status"], "completed", "{backup}");
}
