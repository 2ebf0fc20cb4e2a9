//! Restores: every source in every form in which it can be stored, restored by the commands of the README and compared
//! with the original. What is hard to dump is in the modules of the sources; here is little data, six times each.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use holdfast_tests::Installation;
use holdfast_tests::installation::Host;
use holdfast_tests::mariadb::{Mariadb, fed};
use holdfast_tests::postgres::Postgres;
use holdfast_tests::redis::Redis;
use holdfast_tests::tree::{assert_same_tar, entries, noise};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What `compression` can be, what it adds to a file's name, and what undoes it.
const METHODS: [(&str, &str, &str); 3] = [("none", "", "cat"), ("gzip", ".gz", "gunzip"), ("zstd", ".zst", "zstd -d")];

/// Runs one command line as a person would, in a folder: a pipe fails where any part of it does.
fn shell(folder: &Path, line: &str) -> Vec<u8> {
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("set -o pipefail; {line}")]).current_dir(folder);
    let output = bash.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// An installation with one host and one key.
struct Rig {
    installation: Installation,
    host: Host,
    server: u64,
    /// Holds `key`, the private half.
    folder: TempDir,
}

impl Rig {
    async fn start() -> Self {
        Self::start_on(Host::start().await).await
    }

    async fn start_on(host: Host) -> Self {
        let (installation, folder) = (Installation::start().await, TempDir::new().unwrap());
        shell(folder.path(), "age-keygen -o key 2>/dev/null");
        let public = String::from_utf8(shell(folder.path(), "age-keygen -y key")).unwrap();
        let key = json!({"name": "offline", "public_key": public.trim()});
        installation.api.post("/v1/encryption-keys", key).await.expect(201);
        let server = installation.add_server(&host).await;
        Self { installation, host, server, folder }
    }

    async fn job(&self, recipe: &str, config: Value) -> String {
        self.installation.add_job_with(self.server, json!({"recipe": recipe, "config": config})).await
    }

    /// Backs a job up in each form, and hands `check` what `age` and the unpacker make of its files. They have to have
    /// these names, with what the form adds.
    async fn in_every_form(&self, job: &str, names: &[&str], mut check: impl FnMut(Vec<Vec<u8>>)) {
        let path = format!("/v1/jobs/{job}");
        for key in [Value::Null, json!(1)] {
            for (method, ending, unpack) in METHODS {
                let form = json!({"compression": method, "encryption_key_id": key});
                self.installation.api.patch(&path, form).await.expect(204);
                let backup = self.installation.run(job).await;
                assert_eq!(backup["status"], "completed", "{method}: {backup}");
                let (seal, open) = if key.is_null() { ("", "cat") } else { (".age", "age -d -i key") };
                let expected: Vec<String> = names.iter().map(|name| format!("{name}{ending}{seal}")).collect();
                let files = backup["files"].as_array().unwrap();
                let told: Vec<&str> = files.iter().map(|file| file["name"].as_str().unwrap()).collect();
                assert_eq!(told, expected, "{backup}");
                let mut opened = Vec::new();
                for (place, name) in told.into_iter().enumerate() {
                    let stored = self.installation.download_nth(&backup, place).await;
                    assert_eq!(stored.starts_with(b"age-encryption.org/v1\n"), !key.is_null(), "{name}");
                    std::fs::write(self.folder.path().join(name), stored).unwrap();
                    opened.push(shell(self.folder.path(), &format!("{open} < {name} | {unpack}")));
                }
                check(opened);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_come_back_from_every_form() {
    let rig = Rig::start().await;
    rig.host.write("text", "one line\n".repeat(1_000));
    rig.host.write("deep/er/noise", noise(100_000, 3));
    rig.host.write("empty", "");
    std::os::unix::fs::symlink("text", rig.host.site().join("link")).unwrap();
    let job = rig.job("file-backups", json!({"root_path": rig.host.site()})).await;
    rig.in_every_form(&job, &["file-backups.tar"], |files| assert_same_tar(&files[0], &rig.host.site())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_comes_back_from_every_form() {
    let (rig, source, fresh) = (Rig::start().await, Mariadb::start(), Mariadb::start());
    source.sql(
        "CREATE DATABASE shop CHARACTER SET utf8mb4; CREATE TABLE shop.t (id INT PRIMARY KEY, a TEXT, b BLOB); INSERT INTO shop.t VALUES \
         (1, '🗄', x'00ff0a1a5c27'), (2, NULL, ''); CREATE PROCEDURE shop.p() SELECT 1; CREATE VIEW shop.v AS SELECT a FROM \
         shop.t; CREATE USER 'backup'@'127.0.0.1' IDENTIFIED BY 'secret'; GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO \
         'backup'@'127.0.0.1';",
    );
    let config = json!({
        "mysql_host": "127.0.0.1", "mysql_port": source.port(), "mysql_username": "backup", "mysql_password": "secret",
        "mysql_database": "shop",
    });
    let job = rig.job("mysql-backups", config).await;
    rig.in_every_form(&job, &["mysql-backups-shop.sql"], |files| {
        fed(fresh.client(), &files[0]);
        assert_eq!(fresh.fingerprint(), source.fingerprint());
        fresh.sql("DROP DATABASE shop");
    })
    .await;
}

/// A PostgreSQL with a database, and the config of a job for it.
fn postgresql() -> (Postgres, Value) {
    let source = Postgres::start();
    source.sql("postgres", "CREATE DATABASE shop");
    source.sql(
        "shop",
        "CREATE TABLE t (id int PRIMARY KEY, a text, b bytea, n numeric); INSERT INTO t VALUES (1, '🗄', '\\x00ff', 'NaN'), (2, \
         NULL, '', 1.10); CREATE VIEW v AS SELECT a FROM t; CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    );
    source.sql("postgres", "CREATE ROLE backup LOGIN PASSWORD 'secret'; GRANT pg_read_all_data TO backup");
    let config = json!({
        "postgresql_host": "127.0.0.1", "postgresql_port": source.port, "postgresql_username": "backup",
        "postgresql_password": "secret", "postgresql_database": "shop", "postgresql_globals": false,
    });
    (source, config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_comes_back_from_every_form() {
    let (rig, (source, config), fresh) = (Rig::start().await, postgresql(), Postgres::start());
    let job = rig.job("postgresql-backups", config).await;
    rig.in_every_form(&job, &["shop.sql"], |files| {
        let file = rig.folder.path().join("shop.sql");
        std::fs::write(&file, &files[0]).unwrap();
        fresh.sql("postgres", "CREATE DATABASE shop TEMPLATE template0");
        fresh.load("shop", &file);
        assert_eq!(fresh.dumped("shop"), source.dumped("shop"));
        assert_eq!(fresh.checksums("shop"), source.checksums("shop"));
        fresh.sql("postgres", "DROP DATABASE shop");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_in_its_custom_format_comes_back_from_every_form() {
    let (rig, (source, mut config), fresh) = (Rig::start().await, postgresql(), Postgres::start());
    config["postgresql_format"] = json!("custom");
    let job = rig.job("postgresql-backups", config).await;
    rig.in_every_form(&job, &["shop.dump"], |files| {
        let file = rig.folder.path().join("shop.dump");
        std::fs::write(&file, &files[0]).unwrap();
        let mut restore = fresh.client("pg_restore", "postgres");
        let output = restore.args(["--exit-on-error", "--create", "--dbname=postgres"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(fresh.dumped("shop"), source.dumped("shop"));
        assert_eq!(fresh.checksums("shop"), source.checksums("shop"));
        fresh.sql("postgres", "DROP DATABASE shop");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_comes_back_from_every_form() {
    let (rig, source) = (Rig::start().await, Redis::start(&[], None));
    source.call("SET a 1\nRPUSH list a b c\nHSET hash f v\nDEBUG POPULATE 1000 many 50\nSELECT 3\nSET b 2\n");
    let job = rig.job("redis-backups", json!({"redis_port": source.port})).await;
    rig.in_every_form(&job, &["redis.rdb"], |files| {
        assert_eq!(Redis::start(&[], Some(&files[0])).digest(), source.digest());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_comes_back_from_every_form() {
    let rig = Rig::start().await;
    let source = rig.host.site().join("app.db");
    let sqlite = |file: &Path, sql: &str| {
        let output = Command::new("sqlite3").args(["-batch", "-bail"]).arg(file).arg(sql).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    sqlite(
        &source,
        "CREATE TABLE t (a, b); INSERT INTO t VALUES ('🗄', x'00ff'), (NULL, 1.5); CREATE VIEW v AS SELECT a FROM t",
    );
    let job = rig.job("sqlite-backups", json!({"sqlite_path": source})).await;
    rig.in_every_form(&job, &["app.sqlite"], |files| {
        let copy = rig.folder.path().join("copy.db");
        std::fs::write(&copy, &files[0]).unwrap();
        assert_eq!(sqlite(&copy, ".dump"), sqlite(&source, ".dump"));
        assert_eq!(sqlite(&copy, "PRAGMA integrity_check"), b"ok\n");
    })
    .await;
}

/// Answers each request with the same bytes, for as long as the test runs.
fn web(body: Vec<u8>) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = std::io::BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while std::io::BufRead::read_line(&mut head, &mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(&body);
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_comes_back_from_every_form() {
    let rig = Rig::start().await;
    let body = [noise(200_000, 7), vec![b'x'; 200_000]].concat();
    let url = format!("http://127.0.0.1:{}/export.csv", web(body.clone()));
    let job = json!({
        "recipe": "url-backups", "config": {"url": url, "use_compression": true},
        "compute": {"type": "ss_serverless", "region": "EU"},
    });
    let job = rig.installation.add_job_with(rig.server, job).await;
    rig.in_every_form(&job, &["download.csv"], |files| assert!(files[0] == body, "the download differs")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forge_site_comes_back_from_every_form() {
    let home = TempDir::new().unwrap();
    let host = Host::start_with(&format!("SetEnv HOME={}", home.path().display())).await;
    let (rig, source, fresh) = (Rig::start_on(host).await, Mariadb::start(), Mariadb::start());
    source.sql(
        "CREATE DATABASE shop CHARACTER SET utf8mb4; CREATE TABLE shop.t (a TEXT); INSERT INTO shop.t VALUES ('🗄'); CREATE USER \
         'forge'@'127.0.0.1' IDENTIFIED BY 'secret'; GRANT ALL ON shop.* TO 'forge'@'127.0.0.1'; GRANT SELECT ON mysql.proc TO \
         'forge'@'127.0.0.1';",
    );
    let site = home.path().join("shop.example.com");
    std::fs::create_dir_all(site.join("public")).unwrap();
    std::fs::write(site.join("artisan"), "#!/usr/bin/env php").unwrap();
    let env = "DB_CONNECTION=mysql\nDB_HOST=127.0.0.1\nDB_DATABASE=shop\nDB_USERNAME=forge\nDB_PASSWORD=secret\n";
    std::fs::write(site.join(".env"), format!("{env}DB_PORT={}\n", source.port())).unwrap();
    let job = rig.job("laravel-forge-backups", json!({"site_path": site})).await;
    let names = ["laravel-forge-backups-shop.example.com-shop.sql", "laravel-forge-backups-shop.example.com.tar"];
    rig.in_every_form(&job, &names, |files| {
        fed(fresh.client(), &files[0]);
        assert_eq!(fresh.fingerprint(), source.fingerprint());
        fresh.sql("DROP DATABASE shop");
        let unpacked = TempDir::new().unwrap();
        std::fs::write(unpacked.path().join("site.tar"), &files[1]).unwrap();
        shell(unpacked.path(), "tar -xf site.tar");
        assert_eq!(entries(&unpacked.path().join(site.strip_prefix("/").unwrap())), entries(&site));
    })
    .await;
}
