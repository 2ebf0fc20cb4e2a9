//! TLS with databases: who is let through by which mode, wherever the tools run; with servers of its own and certificates
//! that `openssl` made.

use std::net::TcpListener;

use holdfast_local::demo::sshd::Sshd;
use holdfast_tests::Installation;
use holdfast_tests::certificates::{Authority, Certificate};
use holdfast_tests::installation::Host;
use holdfast_tests::mariadb::Mariadb;
use holdfast_tests::postgres::Postgres;
use holdfast_tests::redis::Redis;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::serverless;

const PASSWORD: &str = "canary-tls-55";

/// An installation with a server, and with a jump host; two authorities, of which the databases know the first.
struct Rig {
    installation: Installation,
    server: u64,
    _host: Host,
    proxy: u64,
    _jump: (Sshd, TempDir),
    right: Authority,
    wrong: Authority,
}

/// Where the tools run, and how they get to the database.
#[derive(Debug, Clone, Copy, PartialEq)]
enum From {
    Server,
    Worker,
    Proxy,
}

/// A kind of database.
#[derive(Clone, Copy)]
struct Kind {
    recipe: &'static str,
    /// What its fields begin with.
    prefix: &'static str,
}

const MYSQL: Kind = Kind { recipe: "mysql-backups", prefix: "mysql" };
const POSTGRESQL: Kind = Kind { recipe: "postgresql-backups", prefix: "postgresql" };
const REDIS: Kind = Kind { recipe: "redis-backups", prefix: "redis" };

/// A mode, whose certificate counts, and which host the job names.
type Asked<'a> = (&'a str, Option<&'a Authority>, &'a str);

impl Rig {
    async fn start() -> Self {
        let installation = Installation::start().await;
        let host = Host::start().await;
        let server = installation.add_server(&host).await;
        let folder = TempDir::new().unwrap();
        let (sshd, proxy) = serverless::proxy(&installation, folder.path()).await;
        let (right, wrong) = (Authority::new(), Authority::new());
        Self { installation, server, _host: host, proxy, _jump: (sshd, folder), right, wrong }
    }

    async fn run(&self, from: From, kind: Kind, port: u16, asked: Asked<'_>) -> Value {
        let job = self.job(from, kind, port, asked).await;
        self.installation.run(&job).await
    }

    async fn job(&self, from: From, kind: Kind, port: u16, (mode, authority, host): Asked<'_>) -> String {
        let Kind { recipe, prefix } = kind;
        let mut config = json!({});
        let mut set = |name: &str, value: Value| config[format!("{prefix}_{name}")] = value;
        set("host", json!(host));
        set("port", json!(port));
        set("tls", json!(mode));
        set("username", json!("backup"));
        set("password", json!(PASSWORD));
        if let Some(authority) = authority {
            set("tls_ca", json!(authority.pem()));
        }
        let compute = match from {
            From::Server => json!({"type": "server", "server_id": self.server}),
            From::Worker | From::Proxy => json!({"type": "ss_serverless", "region": "eu"}),
        };
        let proxy = (from == From::Proxy).then_some(self.proxy);
        let job = json!({
            "name": recipe, "recipe": recipe, "config": config, "compute": compute, "proxy_id": proxy,
            "storage": [{"storage_id": 1, "priority": 1}], "schedules": [],
        });
        let made = self.installation.api.post("/v1/jobs", job).await.expect(201).data();
        made["id"].as_str().unwrap().to_owned()
    }

    /// Asserts that a Redis port without TLS, which does not answer at all to it, is not waited for without end.
    async fn waits_for_tls(&self, from: From, port: u16) {
        let job = self.job(from, REDIS, port, ("require", None, "127.0.0.1")).await;
        let backup = self.installation.start_backup(&job).await;
        let backup = self.installation.backup_when(&backup, |backup| backup["failure"].is_object()).await;
        let message = backup["failure"]["message"].as_str().unwrap();
        assert!(message.contains("redis_tls") && message.contains("did not agree on TLS within 20 s"), "{message}");
        assert_eq!(backup["files"], json!([]));
    }

    /// Asserts that a mode lets nobody through, for good and with these words.
    async fn refuses(&self, from: From, kind: Kind, port: u16, asked: Asked<'_>, says: &[&str]) {
        let backup = self.run(from, kind, port, asked).await;
        let case = format!("{from:?} {} {} {}: {backup}", kind.recipe, asked.0, asked.2);
        assert_eq!((&backup["status"], &backup["attempt"]), (&json!("failed"), &json!(1)), "{case}");
        for word in says {
            assert!(backup["failure"]["message"].as_str().unwrap().contains(word), "no {word:?} in {case}");
        }
    }

    /// Asserts that a mode does let through, and answers the backup.
    async fn takes(&self, from: From, kind: Kind, port: u16, asked: Asked<'_>) -> Value {
        let backup = self.run(from, kind, port, asked).await;
        assert_eq!(backup["status"], "completed", "{from:?} {} {} {}: {backup}", kind.recipe, asked.0, asked.2);
        backup
    }

    /// What holds of each kind where the worker's tools go to a server with a certificate for `localhost` alone; answers a
    /// backup.
    async fn worker_checks_names(&self, from: From, kind: Kind, port: u16) -> Value {
        let (right, wrong) = (Some(&self.right), Some(&self.wrong));
        let (field, authorities) = (format!("{}_tls", kind.prefix), format!("{}_tls_ca", kind.prefix));
        self.takes(from, kind, port, ("require", None, "127.0.0.1")).await;
        self.takes(from, kind, port, ("verify-ca", right, "127.0.0.1")).await;
        self.refuses(from, kind, port, ("verify-full", right, "127.0.0.1"), &[&field, "127.0.0.1"]).await;
        self.refuses(from, kind, port, ("verify-full", wrong, "localhost"), &[&authorities]).await;
        self.refuses(from, kind, port, ("verify-ca", wrong, "localhost"), &[&authorities]).await;
        // Those that the machine trusts have not signed it.
        self.refuses(from, kind, port, ("verify-full", None, "localhost"), &[&authorities]).await;
        self.takes(from, kind, port, ("verify-full", right, "localhost")).await
    }

    async fn refuses_the_clear(&self, from: From, kind: Kind, port: u16) {
        let field = format!("{}_tls", kind.prefix);
        for (mode, authority) in [("require", None), ("verify-full", Some(&self.right))] {
            self.refuses(from, kind, port, (mode, authority, "127.0.0.1"), &[&field, "TLS"]).await;
        }
    }
}

fn mariadb(certificate: Option<&Certificate>) -> Mariadb {
    let files = certificate.map(|one| [("cert", &one.path), ("key", &one.key)]);
    let options: Vec<String> =
        files.iter().flatten().map(|(name, path)| format!("--ssl-{name}={}", path.display())).collect();
    let db = Mariadb::start_with(&options.iter().map(String::as_str).collect::<Vec<_>>());
    let require = if certificate.is_some() { "REQUIRE SSL" } else { "" };
    db.sql(&format!(
        "CREATE USER backup@'127.0.0.1' IDENTIFIED BY '{PASSWORD}' {require};
         GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO backup@'127.0.0.1';
         CREATE DATABASE shop CHARACTER SET utf8mb4; CREATE TABLE shop.t (a INT, b VARCHAR(20)); INSERT INTO shop.t VALUES (1, 'x'), (2, '🗄');"
    ));
    db
}

fn postgres(certificate: Option<&Certificate>) -> Postgres {
    let server = certificate.map_or_else(Postgres::start, Postgres::start_with_tls);
    server.sql("postgres", "CREATE TABLE kept AS SELECT n FROM generate_series(1, 1000) n");
    server
        .sql("postgres", &format!("CREATE ROLE backup LOGIN PASSWORD '{PASSWORD}'; GRANT pg_read_all_data TO backup"));
    server
}

/// A server and the port on which it speaks TLS, and nothing else.
fn redis(certificate: &Certificate) -> (Redis, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (path, key, text) = (certificate.path.to_str().unwrap(), certificate.key.to_str().unwrap(), port.to_string());
    let options = [
        "--tls-port",
        &text,
        "--tls-cert-file",
        path,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        path,
        "--tls-auth-clients",
        "no",
    ];
    let redis = Redis::start(&options, None);
    with_login(&redis);
    (redis, port)
}

fn with_login(redis: &Redis) {
    redis.call(&format!("ACL SETUSER backup on >{PASSWORD} +sync +psync +replconf +ping\nSET a b\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_from_the_worker_and_through_a_proxy() {
    let rig = Rig::start().await;
    let certificate = rig.right.certificate("DNS:localhost");
    let (db, plain) = (mariadb(Some(&certificate)), mariadb(None));
    for from in [From::Worker, From::Proxy] {
        let backup = rig.worker_checks_names(from, MYSQL, db.port()).await;
        let fresh = Mariadb::start();
        fresh.restore(&rig.installation.download(&backup).await, &[]);
        assert_eq!(fresh.fingerprint(), db.fingerprint());
        rig.refuses_the_clear(from, MYSQL, plain.port()).await;
    }
    rig.takes(From::Worker, MYSQL, plain.port(), ("prefer", None, "127.0.0.1")).await;
    rig.takes(From::Worker, MYSQL, plain.port(), ("disable", None, "127.0.0.1")).await;
    rig.takes(From::Worker, MYSQL, db.port(), ("prefer", None, "127.0.0.1")).await;
    rig.refuses(From::Worker, MYSQL, db.port(), ("disable", None, "127.0.0.1"), &["refused the login"]).await;
    // A server that is its own authority.
    let alone = mariadb(Some(&rig.right.itself()));
    rig.takes(From::Worker, MYSQL, alone.port(), ("verify-ca", Some(&rig.right), "127.0.0.1")).await;
    let asked = ("verify-full", Some(&rig.right), "127.0.0.1");
    rig.refuses(From::Worker, MYSQL, alone.port(), asked, &["mysql_tls", "not for that host"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_from_a_server() {
    let rig = Rig::start().await;
    let (right, wrong) = (Some(&rig.right), Some(&rig.wrong));
    let (named, other) = (rig.right.certificate("IP:127.0.0.1"), rig.right.certificate("DNS:localhost"));
    let (db, other, plain) = (mariadb(Some(&named)), mariadb(Some(&other)), mariadb(None));
    let backup = rig.takes(From::Server, MYSQL, db.port(), ("verify-full", right, "127.0.0.1")).await;
    let fresh = Mariadb::start();
    fresh.restore(&rig.installation.download(&backup).await, &[]);
    assert_eq!(fresh.fingerprint(), db.fingerprint());
    rig.takes(From::Server, MYSQL, db.port(), ("require", None, "127.0.0.1")).await;
    let refused = async |port, asked, says: &str| rig.refuses(From::Server, MYSQL, port, asked, &[says]).await;
    refused(db.port(), ("verify-full", wrong, "127.0.0.1"), "mysql_tls_ca").await;
    refused(db.port(), ("verify-full", None, "127.0.0.1"), "mysql_tls_ca").await;
    refused(other.port(), ("verify-full", right, "127.0.0.1"), "mysql_tls").await;
    refused(db.port(), ("verify-ca", right, "127.0.0.1"), "make it verify-full").await;
    rig.refuses_the_clear(From::Server, MYSQL, plain.port()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_from_everywhere() {
    let rig = Rig::start().await;
    let certificate = rig.right.certificate("DNS:localhost");
    let (db, plain, folder) = (postgres(Some(&certificate)), postgres(None), TempDir::new().unwrap());
    for from in [From::Worker, From::Proxy, From::Server] {
        let backup = rig.worker_checks_names(from, POSTGRESQL, db.port).await;
        let files = rig.installation.unpacked(&backup).await;
        let (_, dump) = files.iter().find(|(name, _)| name == "postgres.sql").unwrap();
        let path = folder.path().join("postgres.sql");
        std::fs::write(&path, dump).unwrap();
        let fresh = Postgres::start();
        fresh.load("postgres", &path);
        assert_eq!(fresh.checksums("postgres"), db.checksums("postgres"));
        rig.refuses(from, POSTGRESQL, plain.port, ("require", None, "127.0.0.1"), &["postgresql_tls", "SSL"]).await;
        let wants = "make postgresql_tls require";
        rig.refuses(from, POSTGRESQL, db.port, ("disable", None, "127.0.0.1"), &[wants]).await;
    }
    rig.takes(From::Worker, POSTGRESQL, plain.port, ("prefer", None, "127.0.0.1")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_from_the_worker_and_through_a_proxy() {
    let rig = Rig::start().await;
    let (redis, port) = redis(&rig.right.certificate("DNS:localhost"));
    for from in [From::Worker, From::Proxy] {
        let backup = rig.worker_checks_names(from, REDIS, port).await;
        let files = rig.installation.unpacked(&backup).await;
        assert_eq!(Redis::start(&[], Some(&files[0].1)).digest(), redis.digest());
    }
    rig.waits_for_tls(From::Worker, redis.port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_from_a_server() {
    let rig = Rig::start().await;
    let (right, wrong) = (Some(&rig.right), Some(&rig.wrong));
    let (redis, port) = redis(&rig.right.certificate("DNS:localhost"));
    rig.takes(From::Server, REDIS, port, ("require", None, "127.0.0.1")).await;
    let backup = rig.takes(From::Server, REDIS, port, ("verify-ca", right, "127.0.0.1")).await;
    let files = rig.installation.unpacked(&backup).await;
    assert_eq!(Redis::start(&[], Some(&files[0].1)).digest(), redis.digest());
    let refused = async |port, asked, says: &str| rig.refuses(From::Server, REDIS, port, asked, &[says]).await;
    refused(port, ("verify-ca", wrong, "127.0.0.1"), "redis_tls_ca").await;
    refused(port, ("verify-ca", None, "127.0.0.1"), "redis_tls_ca").await;
    refused(port, ("verify-full", right, "localhost"), "checks no names").await;
    rig.waits_for_tls(From::Server, redis.port).await;
}
