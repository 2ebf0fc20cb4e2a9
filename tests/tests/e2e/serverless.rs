//! Jobs without a server: the worker's own tools reach the database, straight or through the job's proxy, by a local port.

use std::collections::BTreeMap;
use std::path::Path;

use holdfast_local::demo::sshd::Sshd;
use holdfast_tests::Installation;
use holdfast_tests::postgres::Postgres;
use holdfast_tests::redis::Redis;
use serde_json::{Value, json};

const PASSWORD: &str = "canary-serverless-81";

async fn run(
    installation: &Installation,
    recipe: &str,
    config: Value,
    proxy: Option<u64>,
) -> BTreeMap<String, Vec<u8>> {
    let job = json!({
        "name": recipe, "recipe": recipe, "config": config, "compute": {"type": "ss_serverless", "region": "eu"},
        "storage": [{"storage_id": 1, "priority": 1}], "schedules": [], "proxy_id": proxy,
    });
    let made = installation.api.post("/v1/jobs", job).await.expect(201).json();
    let backup = installation.run(made["data"]["id"].as_str().unwrap()).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    installation.unpacked(&backup).await.into_iter().collect()
}

/// A proxy that leads to wherever an sshd in `folder` can connect to.
pub async fn proxy(installation: &Installation, folder: &Path) -> (Sshd, u64) {
    let sshd = Sshd::start_with(folder, "").await.unwrap();
    let key = installation.api.post("/v1/ssh-keys", json!({"name": "jump"})).await.expect(201).data();
    sshd.authorize(key["public_key"].as_str().unwrap()).unwrap();
    let proxy = json!({
        "name": "jump", "host": "127.0.0.1", "port": sshd.port(), "user": sshd.user(), "ssh_key": key["id"],
    });
    let made = installation.api.post("/v1/proxies", proxy).await.expect(201).data();
    (sshd, made["id"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_dumped_by_the_worker_itself() {
    let installation = Installation::start().await;
    let postgres = Postgres::start();
    postgres.sql("postgres", "CREATE TABLE kept AS SELECT n FROM generate_series(1, 1000) n");
    postgres
        .sql("postgres", &format!("CREATE ROLE backup LOGIN PASSWORD '{PASSWORD}'; GRANT pg_read_all_data TO backup"));
    let config = json!({
        "postgresql_host": "127.0.0.1", "postgresql_port": postgres.port, "postgresql_database": "postgres",
        "postgresql_username": "backup", "postgresql_password": PASSWORD,
    });
    let files = run(&installation, "postgresql-backups", config, None).await;
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("postgres.sql");
    std::fs::write(&dump, &files["postgres.sql"]).unwrap();
    let fresh = Postgres::start();
    fresh.load("postgres", &dump);
    assert_eq!(fresh.checksums("postgres"), postgres.checksums("postgres"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_dumped_by_the_worker_itself_also_through_a_proxy() {
    let installation = Installation::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (_sshd, through) = proxy(&installation, folder.path()).await;
    let redis = Redis::start(&[], None);
    redis.call("SET text value\nRPUSH list a b c\n");
    let config = json!({"redis_host": "127.0.0.1", "redis_port": redis.port});
    for proxy in [None, Some(through)] {
        let files = run(&installation, "redis-backups", config.clone(), proxy).await;
        let fresh = Redis::start(&[], Some(&files["redis.rdb"]));
        assert_eq!(fresh.digest(), redis.digest(), "{proxy:?}");
    }
}
