//! What can happen to a dump of a database in its middle: the server dies, its connection is ended, a lock is held, the jump
//! host dies. Each is told as what it is, and none is ever a backup.

use std::collections::BTreeSet;

use holdfast_local::demo::sshd::Sshd;
use holdfast_tests::installation::{Host, kill_sessions_of};
use holdfast_tests::mariadb::Mariadb;
use holdfast_tests::postgres::Postgres;
use holdfast_tests::process::Worker;
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::redis::Redis;
use holdfast_tests::{Installation, Setup, eventually, leftovers};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::serverless;

const PASSWORD: &str = "canary-failures-12";
/// What a dump has read when something happens to it: more than the pipes before the storage hold.
const MIDDLE: u64 = 8 << 20;

/// An installation whose uploads wait until its storage is let go, so that dumps stand still in their middle.
struct Rig {
    installation: Installation,
    storage: Proxy,
    server: u64,
    _host: Host,
    jump: Sshd,
    proxy: u64,
    _dir: TempDir,
}

impl Rig {
    async fn start() -> Self {
        Self::start_with(false).await
    }

    async fn start_with(no_worker: bool) -> Self {
        let storage = Proxy::start(|request, _| if request.method() == "PUT" { Harm::Hold } else { Harm::None }).await;
        let setup = Setup { s3_proxy: Some(storage.clone()), no_worker, ..Setup::default() };
        let installation = Installation::start_with(setup).await;
        let host = Host::start().await;
        let server = installation.add_server(&host).await;
        let dir = TempDir::new().unwrap();
        let (jump, proxy) = serverless::proxy(&installation, dir.path()).await;
        Self { installation, storage, server, _host: host, jump, proxy, _dir: dir }
    }

    /// A job of the database's `recipe`: on the server or, where `is_far`, by the worker through the proxy.
    async fn job(&self, recipe: &str, is_far: bool, config: Value, limits: Value) -> String {
        let (compute, proxy) = match is_far {
            true => (json!({"type": "ss_serverless", "region": "eu"}), Some(self.proxy)),
            false => (json!({"type": "server", "server_id": self.server}), None),
        };
        let job = json!({"recipe": recipe, "config": config, "compute": compute, "proxy_id": proxy, "limits": limits});
        self.installation.add_job_with(self.server, job).await
    }

    /// A backup whose dump stands still in its middle.
    async fn standing_still(&self, recipe: &str, is_far: bool, mut config: Value) -> String {
        config["compression_level"] = json!(0);
        let job = self.job(recipe, is_far, config, json!({})).await;
        let backup = self.installation.start_backup(&job).await;
        self.installation.backup_when(&backup, |backup| backup["progress"]["bytes_read"].as_u64() > Some(MIDDLE)).await;
        backup
    }

    /// Lets the storage go and asserts that the first attempt failed, for a reason that can pass, with these words.
    async fn assert_broken(&self, backup: &str, says: &[&str]) {
        self.storage.release();
        let is_told = |backup: &Value| backup["failure"].is_object() || backup["status"] == "completed";
        let backup = self.installation.backup_when(backup, is_told).await;
        assert!(matches!(backup["status"].as_str(), Some("pending" | "running")), "{backup}");
        let message = backup["failure"]["message"].as_str().unwrap();
        for word in says {
            assert!(message.contains(word), "{message:?} does not say {word:?}");
        }
        assert!(!message.contains(PASSWORD), "{message}");
        leftovers::assert_only_named_objects(&self.installation).await;
    }

    async fn assert_next_attempt_completes(&self, backup: &str) {
        self.installation.advance(SignedDuration::from_secs(60));
        let ended = self.installation.ended(backup).await;
        assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(2)), "{ended}");
    }
}

fn postgres() -> (Postgres, Value) {
    let postgres = Postgres::start();
    postgres.sql(
        "postgres",
        &format!(
            "CREATE TABLE noise AS SELECT string_agg(md5(random()::text), '') AS t \
             FROM generate_series(1, 1500000) n GROUP BY n % 1500; \
             CREATE ROLE backup LOGIN PASSWORD '{PASSWORD}'; GRANT pg_read_all_data TO backup"
        ),
    );
    let config = json!({
        "postgresql_host": "127.0.0.1", "postgresql_port": postgres.port, "postgresql_username": "backup",
        "postgresql_password": PASSWORD, "postgresql_globals": false,
    });
    (postgres, config)
}

fn mariadb() -> (Mariadb, Value) {
    let db = Mariadb::start();
    db.sql(&format!(
        "CREATE USER backup@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';
         GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON *.* TO backup@'127.0.0.1';
         CREATE DATABASE shop; CREATE TABLE shop.large (a INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB);"
    ));
    for _ in 0..96 {
        db.sql("INSERT INTO shop.large (b) SELECT RANDOM_BYTES(1024) FROM shop.seq_1_to_512");
    }
    let config = json!({
        "mysql_host": "127.0.0.1", "mysql_port": db.port(), "mysql_username": "backup", "mysql_password": PASSWORD,
    });
    (db, config)
}

/// A server with 48 MB that do not shrink.
fn redis() -> (Redis, Value) {
    let redis = Redis::start(&["--rdbcompression", "no"], None);
    redis.call("DEBUG POPULATE 48 large 1048576\n");
    let config = json!({"redis_host": "127.0.0.1", "redis_port": redis.port});
    (redis, config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_server_that_is_killed_in_mid_dump_is_told() {
    let (mut postgres, config) = postgres();
    let rig = Rig::start().await;
    let backup = rig.standing_still("postgresql-backups", false, config).await;
    postgres.kill();
    rig.assert_broken(&backup, &["connection"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_server_that_is_killed_in_mid_dump_is_told() {
    let (mut redis, config) = redis();
    let rig = Rig::start().await;
    let backup = rig.standing_still("redis-backups", false, config).await;
    redis.kill();
    rig.assert_broken(&backup, &["redis-cli"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_connection_that_an_administrator_ends_is_told_and_the_next_attempt_is_whole() {
    let (redis, config) = redis();
    let rig = Rig::start().await;
    let backup = rig.standing_still("redis-backups", false, config).await;
    redis.call("CLIENT KILL TYPE replica\n");
    rig.assert_broken(&backup, &["redis-cli"]).await;
    rig.assert_next_attempt_completes(&backup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_host_that_dies_in_mid_dump_is_told_by_its_name() {
    let ((_postgres, of_postgres), (_db, of_mysql), (_redis, of_redis)) = (postgres(), mariadb(), redis());
    for (recipe, config) in
        [("postgresql-backups", of_postgres), ("mysql-backups", of_mysql), ("redis-backups", of_redis)]
    {
        let rig = Rig::start().await;
        let backup = rig.standing_still(recipe, true, config).await;
        kill_sessions_of(&rig.jump);
        rig.assert_broken(&backup, &["proxy jump", "connection was lost"]).await;
        rig.assert_next_attempt_completes(&backup).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_on_a_postgresql_table_is_waited_for_until_the_limit_and_named() {
    let (postgres, config) = postgres();
    let rig = Rig::start().await;
    let mut held = postgres.client("psql", "postgres");
    held.args(["-XqAt", "-c", "BEGIN; LOCK TABLE noise IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(1000)"]);
    let mut held = held.spawn().unwrap();
    eventually("the lock", || async {
        let locks = postgres.sql("postgres", "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'");
        if locks == "1" { Ok(()) } else { Err(locks) }
    })
    .await;
    let job = rig.job("postgresql-backups", false, config, json!({"stall_seconds": 8})).await;
    let backup = rig.installation.start_backup(&job).await;
    let says = ["waited for a lock on table noise, which is held by process", "of user boss", "limits.stall_seconds"];
    rig.assert_broken(&backup, &says).await;
    held.kill().unwrap();
    held.wait().unwrap();
    let sleeping = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1000)' AND pid <> pg_backend_pid()";
    postgres.sql("postgres", sleeping);
    rig.installation.advance(SignedDuration::from_secs(60));
    assert_eq!(rig.installation.ended(&backup).await["status"], "completed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_on_a_mysql_table_is_waited_for_until_the_limit_and_named() {
    let (db, config) = mariadb();
    let rig = Rig::start().await;
    for single_transaction in [true, false] {
        let held = db.hold("LOCK TABLES shop.large WRITE;");
        let mut config = config.clone();
        config["single_transaction"] = json!(single_transaction);
        let job = rig.job("mysql-backups", false, config, json!({"stall_seconds": 8})).await;
        let backup = rig.installation.start_backup(&job).await;
        let says = ["Waiting for table metadata lock", "large", "limits.stall_seconds"];
        rig.assert_broken(&backup, &says).await;
        drop(held);
        rig.installation.advance(SignedDuration::from_secs(60));
        assert_eq!(rig.installation.ended(&backup).await["status"], "completed");
    }
}

/// Has an ssh master end after a second without a client in place of a minute.
const IMPATIENT_SSH: &str = "#!/bin/bash\nexec /usr/bin/ssh \"${@/#ControlPersist=60/ControlPersist=1}\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_between_two_dumps_through_a_jump_host_ends_neither() {
    let postgres = Postgres::start();
    for database in ["one", "two"] {
        postgres.sql("postgres", &format!("CREATE DATABASE {database}"));
        postgres.sql(database, "CREATE TABLE kept AS SELECT n FROM generate_series(1, 100) n");
    }
    let rig = Rig::start_with(true).await;
    let bin = TempDir::new().unwrap();
    std::fs::write(bin.path().join("ssh"), IMPATIENT_SSH).unwrap();
    std::fs::set_permissions(bin.path().join("ssh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
    let config = json!({
        "postgresql_host": "127.0.0.1", "postgresql_port": postgres.port, "postgresql_database": "one,two",
        "postgresql_username": "boss", "postgresql_password": "of-the-tests", "postgresql_globals": false,
    });
    let job = rig.job("postgresql-backups", true, config, json!({})).await;
    let backup = rig.installation.start_backup(&job).await;
    let worker = Worker::start_with(env!("CARGO_BIN_EXE_worker-process"), &rig.installation, &[("PATH", &path)]);
    // The first dump has been made, and its upload waits.
    eventually("the pause", || async {
        let running = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump'";
        let is_held = rig.storage.harmed() > 0 && postgres.sql("postgres", running) == "0";
        if is_held { Ok(()) } else { Err(rig.storage.harmed()) }
    })
    .await;
    let masters = masters_of(&rig.jump);
    assert_eq!(masters.len(), 1, "{masters:?}");
    // Another one that waits a second longer, with nobody to need it: when that one has ended, the pause was long enough.
    let witness = Witness::start(&rig.jump, bin.path());
    eventually("the end of a master without a client", || async {
        let seen = masters_of(&rig.jump);
        if witness.has_ended() { Ok(()) } else { Err(seen) }
    })
    .await;
    assert!(masters.is_subset(&masters_of(&rig.jump)), "the run's own has ended");
    rig.storage.release();
    let ended = rig.installation.ended(&backup).await;
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(1)), "{ended}");
    worker.stop().await;
}

/// The sessions of an sshd: a connection has one while its client lives.
fn masters_of(sshd: &Sshd) -> BTreeSet<String> {
    let pid = sshd.pid().unwrap();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().map(str::to_owned).collect()
}

/// An ssh master that ends after two seconds without a client.
struct Witness {
    socket: std::path::PathBuf,
}

impl Witness {
    fn start(sshd: &Sshd, folder: &std::path::Path) -> Self {
        let (key, socket) = (folder.join("key"), folder.join("socket"));
        let mut keygen = std::process::Command::new("ssh-keygen");
        assert!(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap().success());
        sshd.authorize(&std::fs::read_to_string(key.with_extension("pub")).unwrap()).unwrap();
        let mut ssh = std::process::Command::new("/usr/bin/ssh");
        ssh.args(["-F", "none", "-M", "-N", "-f", "-o", "ControlPersist=2", "-o", "StrictHostKeyChecking=no"]);
        ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "-S"]);
        ssh.arg(&socket).arg("-i").arg(&key).args(["-p", &sshd.port().to_string()]);
        let status = ssh.arg(format!("{}@127.0.0.1", sshd.user())).status().unwrap();
        assert!(status.success());
        Self { socket }
    }

    fn has_ended(&self) -> bool {
        // Connecting to it would make a client.
        !self.socket.exists()
    }
}
