//! Recipes and computes: every source can be stored, shown and changed; its secrets stay sealed; and what the worker
//! cannot carry out yet says so at once.

use std::fs;
use std::path::Path;

use holdfast_shared::domain::job::Job;
use holdfast_shared::domain::recipe::Recipe;
use holdfast_shared::domain::sealed::Sealed;
use holdfast_tests::installation::{Host, id};
use holdfast_tests::{Installation, Setup};
use serde_json::{Value, json};
use uuid::Uuid;

/// Stands in every secret; long enough to be found by chance nowhere.
const CANARY: &str = "canary-7f3b19c2";

/// A config for each recipe, with secrets.
fn configs() -> [(u64, &'static str, Value); 8] {
    [
        (1, "file-backups", json!({"root_path": "/srv\n/etc", "exclude": "*.log", "one_file_system": true})),
        (8, "laravel-forge-backups", json!({"site_path": "/home/forge/example.com", "backup_storage_folder": true})),
        (
            28,
            "mysql-backups",
            json!({
                "mysql_host": "db.example.com", "mysql_port": 3307, "mysql_username": "backup",
                "mysql_password": CANARY, "mysql_database": "shop,blog", "mysql_excluded_tables": "shop.sessions",
            }),
        ),
        (1001, "url-backups", json!({"url": format!("https://u:{CANARY}@example.com/a"), "use_compression": true})),
        (
            1002,
            "postgresql-backups",
            json!({
                "postgresql_host": "127.0.0.1", "postgresql_port": 1, "postgresql_username": "backup", "postgresql_password": CANARY,
                "postgresql_database": "shop", "postgresql_format": "custom",
            }),
        ),
        (1003, "mongodb-backups", json!({"mongodb_port": 1, "mongodb_password": CANARY})),
        (1004, "redis-backups", json!({"redis_host": "127.0.0.1", "redis_port": 1, "redis_password": CANARY})),
        (1005, "sqlite-backups", json!({"sqlite_path": "/srv/app.db", "use_sudo": true})),
    ]
}

fn is_secret(key: &str) -> bool {
    key == "url" || key.ends_with("_password")
}

fn job(slug: &str, config: &Value) -> Value {
    json!({
        "name": slug, "recipe": slug, "config": config, "compute": {"type": "server", "server_id": 1},
        "storage": [{"storage_id": 1}], "schedules": [],
    })
}

fn serverless(slug: &str, config: &Value) -> Value {
    let mut job = job(slug, config);
    job["compute"] = json!({"type": "serverless", "region": "EU"});
    job
}

/// An installation without a worker, that has a server with the number 1.
async fn with_server() -> Installation {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    installation.api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201);
    let server = json!({"name": "web", "host": "10.0.0.1", "user": "root", "ssh_key": 1});
    installation.api.post("/v1/servers", server).await.expect(201);
    installation
}

async fn make(installation: &Installation, job: Value) -> Value {
    installation.api.post("/v1/jobs", job).await.expect(201).data()
}

async fn show(installation: &Installation, job: &Value) -> Value {
    installation.api.get(&path(job)).await.expect(200).data()
}

fn path(job: &Value) -> String {
    format!("/v1/jobs/{}", job["id"].as_str().unwrap())
}

/// Asserts that a job shows what was sent, and of a secret only that it is there.
fn shows(shown: &Value, sent: &Value) {
    for (key, value) in sent.as_object().unwrap() {
        let expected = match value {
            _ if is_secret(key) => json!("**set**"),
            Value::Bool(true) => json!("True"),
            other => other.clone(),
        };
        assert_eq!(shown["config"][key]["value"], expected, "{key}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recipe_can_be_made_shown_and_changed() {
    let installation = with_server().await;
    let known = installation.api.get("/v1/recipes").await.expect(200).data();
    assert_eq!(known.as_array().unwrap().len(), configs().len());
    for (number, slug, config) in configs() {
        let recipe = known.as_array().unwrap().iter().find(|recipe| recipe["id"] == number).unwrap();
        assert_eq!(recipe["recipe"], slug);
        let mut by_number = job(slug, &config);
        by_number["recipe_id"] = json!(number);
        let made = make(&installation, by_number).await;
        assert_eq!((&made["recipe"], &made["compute_type"]), (&json!(slug), &json!("server")));
        assert_eq!((&made["compute"]["name"], &made["compute"]["server"]["id"]), (&json!("web"), &json!(1)));
        shows(&made, &config);
        for field in recipe["fields"].as_array().unwrap() {
            let shown = &made["config"][field["key"].as_str().unwrap()];
            assert_eq!((&shown["label"], &shown["type"]), (&field["label"], &field["type"]), "{slug}");
        }
        assert_eq!(show(&installation, &made).await, made);

        installation.api.patch(&path(&made), json!({"config": {"compression_level": 9}})).await.expect(204);
        let changed = show(&installation, &made).await;
        assert_eq!(changed["config"]["compression_level"]["value"], 9);
        shows(&changed, &config);
    }
    let listed = installation.api.get("/v1/jobs").await.expect(200).data();
    for (job, (_, slug, config)) in listed.as_array().unwrap().iter().zip(configs()) {
        assert_eq!(job["recipe"], slug);
        shows(job, &config);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_where_its_source_can_be_read_from() {
    let installation = with_server().await;
    for (number, slug, config) in configs() {
        let answer = installation.api.post("/v1/jobs", serverless(slug, &config)).await;
        if [1, 8, 1003, 1005].contains(&number) {
            let errors = answer.expect(422).json()["errors"].clone();
            assert_eq!(errors, json!({"compute.type": [format!("must be server for {slug}")]}));
            continue;
        }
        let made = answer.expect(201).data();
        assert_eq!(made["compute_type"], "ss_serverless", "the alias stands for it");
        let compute = json!({"type": "ss_serverless", "name": "Serverless EU", "region": "EU"});
        assert_eq!(made["compute"], compute);
        assert_eq!(show(&installation, &made).await, made);
    }
    let on_server = make(&installation, job("file-backups", &json!({"root_path": "/"}))).await;
    let filtered = installation.api.get("/v1/jobs?host=10.0.0.1").await.expect(200).data();
    let found: Vec<_> = filtered.as_array().unwrap().iter().map(|job| &job["id"]).collect();
    assert_eq!(found, [&on_server["id"]], "a job without a server is of no host");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_leaves_its_server_no_longer_holds_it() {
    let installation = with_server().await;
    let api = &installation.api;
    let made = make(&installation, job("redis-backups", &json!({"redis_password": CANARY}))).await;
    api.delete("/v1/servers/1").await.expect(409);
    let away = json!({"compute": {"type": "ss_serverless", "region": "us"}});
    let refused = api.patch(&path(&made), away.clone()).await.expect(422).json();
    assert_eq!(refused["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["config.redis_host"]);
    let mut with_host = away;
    with_host["config"] = json!({"redis_host": "cache.example.com"});
    api.patch(&path(&made), with_host).await.expect(204);
    let shown = show(&installation, &made).await;
    assert_eq!((&shown["compute_type"], &shown["compute"]["region"]), (&json!("ss_serverless"), &json!("us")));
    assert_eq!(shown["config"]["redis_password"]["value"], "**set**");
    api.delete("/v1/servers/1").await.expect(204);
    api.patch(&path(&made), json!({"compute": {"server_id": 1}})).await.expect(422);
    api.delete(&path(&made)).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_kept_replaced_and_taken_away() {
    let installation = with_server().await;
    let api = &installation.api;
    let made = make(&installation, job("mysql-backups", &json!({"mysql_password": "first"}))).await;
    let number = id(made["id"].as_str().unwrap());
    let password = async || {
        let job = stored(&installation, number).await;
        let sealed = mysql_password(&job);
        sealed.map(|sealed| open(&installation, &job, "mysql_password", &sealed).unwrap())
    };
    assert_eq!(password().await.as_deref(), Some("first"));
    for kept in [json!({"mysql_username": "u"}), json!({"mysql_password": null}), json!({"mysql_password": "**set**"})]
    {
        api.patch(&path(&made), json!({"config": kept})).await.expect(204);
        assert_eq!(password().await.as_deref(), Some("first"), "{kept}");
    }
    api.form(&path(&made), "config[mysql_password]=+second+").await.expect(204);
    assert_eq!(password().await.as_deref(), Some(" second "));
    api.patch(&path(&made), json!({"config": {"mysql_password": ""}})).await.expect(204);
    assert_eq!(password().await, None);
    assert_eq!(show(&installation, &made).await["config"]["mysql_password"]["value"], "**not set**");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_secret_opens_for_its_job_and_field_only() {
    let installation = with_server().await;
    let sent = job("mysql-backups", &json!({"mysql_password": CANARY}));
    let (first, second) = (make(&installation, sent.clone()).await, make(&installation, sent).await);
    let first = stored(&installation, id(first["id"].as_str().unwrap())).await;
    let second = stored(&installation, id(second["id"].as_str().unwrap())).await;
    let sealed = mysql_password(&first).unwrap();
    assert!(!sealed.0.contains(CANARY));
    assert_eq!(open(&installation, &first, "mysql_password", &sealed).as_deref(), Some(CANARY));
    assert_eq!(open(&installation, &second, "mysql_password", &sealed), None, "another job's");
    assert_eq!(open(&installation, &first, "redis_password", &sealed), None, "another field's");

    let path = format!("/v1/jobs/{}/clone", first.id);
    let copy = installation.api.post(&path, json!({})).await.expect(201).data();
    assert_eq!(copy["config"]["mysql_password"]["value"], "**set**");
    let copy = stored(&installation, id(copy["id"].as_str().unwrap())).await;
    let resealed = mysql_password(&copy).unwrap();
    assert_eq!(open(&installation, &copy, "mysql_password", &resealed).as_deref(), Some(CANARY));
    assert_eq!(open(&installation, &first, "mysql_password", &resealed), None, "the copy's own");
}

async fn stored(installation: &Installation, id: Uuid) -> Job {
    installation.service().job(&installation.account(), id).await.unwrap()
}

fn mysql_password(job: &Job) -> Option<Sealed> {
    let Recipe::MysqlBackups(mysql) = &job.recipe else { panic!("another recipe") };
    mysql.access.password.clone()
}

fn open(installation: &Installation, job: &Job, key: &str, sealed: &Sealed) -> Option<String> {
    let opened = installation.service().open_config_secret(job, key, sealed).ok()?;
    Some(opened.expose().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_shows_anywhere() {
    let installation = Installation::start().await;
    let host = Host::start().await;
    installation.add_server(&host).await;
    let api = &installation.api;
    let mut seen = Vec::new();
    for (_, slug, config) in configs() {
        let made = make(&installation, job(slug, &config)).await;
        let secrets = config.as_object().unwrap().iter().filter(|(key, _)| is_secret(key));
        let again: Value =
            secrets.map(|(key, value)| (key.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into();
        api.patch(&path(&made), json!({ "config": again })).await.expect(204);
        let mut wrong = again.clone();
        wrong["compression_level"] = json!(99);
        seen.push(api.patch(&path(&made), json!({ "config": wrong })).await.expect(422).text());
        for key in again.as_object().unwrap().keys() {
            let text = format!("ftp://{CANARY}\u{7}");
            seen.push(api.patch(&path(&made), json!({"config": {key: text}})).await.expect(422).text());
        }
        let backup = installation.start_backup(made["id"].as_str().unwrap()).await;
        // Some fail for good, some are to be tried again, and files are there.
        let has_run = |backup: &Value| !backup["failure"].is_null() || backup["status"] == "completed";
        let backup = installation.backup_when(&backup, has_run).await;
        seen.push(installation.log(backup["id"].as_str().unwrap()).await);
        seen.push(format!("{made}{backup}"));
        seen.push(api.get(&path(&made)).await.expect(200).text());
        seen.push(api.get(&format!("{}/backups", path(&made))).await.expect(200).text());
        let record = stored(&installation, id(made["id"].as_str().unwrap())).await;
        seen.push(format!("{record:?}"));
    }
    seen.push(api.get("/v1/jobs").await.expect(200).text());
    seen.push(api.get("/v1/audit-events?page_size=100").await.expect(200).text());
    for text in &seen {
        assert!(!text.contains(CANARY), "{text}");
    }
    let mut files = 0;
    assert_no_file_holds(installation.dir(), CANARY.as_bytes(), &mut files);
    assert!(files > 3, "only {files} files below the data folder");
}

fn assert_no_file_holds(folder: &Path, needle: &[u8], files: &mut usize) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            assert_no_file_holds(&entry.path(), needle, files);
        } else if let Ok(bytes) = fs::read(entry.path()) {
            *files += 1;
            let found = bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "{} holds a secret", entry.path().display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_jobs_fit_in_the_table() {
    let installation = with_server().await;
    let lines = |count: usize, each: usize, start: &str| {
        let line = |n: usize| format!("{start}{n:04}{}", "x".repeat(each - start.len() - 5));
        (0..count).map(line).collect::<Vec<_>>().join("\n")
    };
    let tables = lines(1_000, 64, "t");
    let authority =
        format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", ("MAAA".repeat(16) + "\n").repeat(500));
    let largest = [
        job("file-backups", &json!({"root_path": lines(100, 655, "/"), "exclude": lines(1_000, 65, "")})),
        job(
            "postgresql-backups",
            &json!({
                "postgresql_database": lines(100, 64, "d"), "postgresql_excluded_tables": tables,
                "postgresql_excluded_table_data": tables, "postgresql_tls_ca": authority, "postgresql_password": "ü".repeat(1_024),
            }),
        ),
    ];
    for mut job in largest {
        job["name"] = json!("ü".repeat(255));
        let minutes = |n: u64| json!({"cron": format!("{n} 1,3,5,7,9,11,13,15,17,19,21,23 1-28 1-12 *"), "name": "n"});
        job["schedules"] = (0..10).map(minutes).collect();
        let made = make(&installation, job.clone()).await;
        assert_eq!(show(&installation, &made).await, made);
        job["schedules"] = json!([]);
        job["config"]["compression_level"] = json!(1);
        installation.api.patch(&path(&made), job).await.expect(204);
        // Until its objects are gone, a deleted job lies in the table as a whole.
        installation.api.delete(&path(&made)).await.expect(204);
    }
}
