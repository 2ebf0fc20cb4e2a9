//! Laravel Forge: sites with their `.env` and its database, restored with stock tools and compared with the original.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use holdfast_tests::installation::Host;
use holdfast_tests::mariadb::Mariadb;
use holdfast_tests::postgres::Postgres;
use holdfast_tests::secrecy::Watch;
use holdfast_tests::sudo::Sudoers;
use holdfast_tests::tree::{entries, unpack};
use holdfast_tests::{Installation, leftovers};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Forge gives a site's login everything in its database.
const GRANTS: &str = "CREATE DATABASE shop CHARACTER SET utf8mb4; CREATE TABLE shop.t (a TEXT); INSERT INTO shop.t VALUES ('🗄');\
    CREATE PROCEDURE shop.p() SELECT 1; CREATE TRIGGER shop.tr BEFORE INSERT ON shop.t FOR EACH ROW SET NEW.a = 'x';\
    CREATE USER 'forge'@'127.0.0.1' IDENTIFIED BY 'p w#\"$x'; GRANT ALL ON shop.* TO 'forge'@'127.0.0.1';\
    GRANT SELECT ON mysql.proc TO 'forge'@'127.0.0.1';";

/// A host whose home folder holds sites, and an installation that knows it.
struct Rig {
    home: TempDir,
    db: Mariadb,
    _host: Host,
    installation: Installation,
    server: u64,
}

impl Rig {
    async fn start() -> Self {
        let home = TempDir::new().unwrap();
        let host = Host::start_with(&format!("SetEnv HOME={}", home.path().display())).await;
        let db = Mariadb::start();
        db.sql(GRANTS);
        let installation = Installation::start().await;
        let server = installation.add_server(&host).await;
        Self { home, db, _host: host, installation, server }
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// A `.env` as people write them.
    fn env(&self) -> String {
        format!(
            "APP_NAME=\"My Shop\"\nexport DB_USER=forge # who\n# DB_DATABASE=old\nDB_CONNECTION=mysql\nDB_HOST=127.0.0.1\n\
             DB_PORT={}\nDB_DATABASE=shop\nDB_USERNAME=${{DB_USER}}\nDB_PASSWORD=\"p w#\\\"\\$x\"\n",
            self.db.port()
        )
    }

    async fn run(&self, config: Value) -> Value {
        let job = json!({"recipe_id": 8, "config": config});
        let job = self.installation.add_job_with(self.server, job).await;
        self.installation.run(&job).await
    }

    async fn log(&self, backup: &Value) -> String {
        self.installation.log(backup["id"].as_str().unwrap()).await
    }

    async fn assert_refused(&self, config: Value, says: &[&str]) {
        let backup = self.run(config).await;
        assert_eq!((&backup["status"], &backup["attempt"]), (&json!("failed"), &json!(1)), "{backup}");
        let message = backup["failure"]["message"].as_str().unwrap();
        for word in says {
            assert!(message.contains(word), "{message:?} does not say {word:?}");
        }
        assert!(!message.contains("p w#"), "{message}");
        leftovers::assert_none(&self.installation).await;
    }

    /// Asserts that a tar of the backup holds `folder` as it is now.
    async fn assert_holds(&self, backup: &Value, place: usize, folder: &Path) {
        let unpacked = unpack(&self.installation.download_nth(backup, place).await);
        let below = unpacked.path().join(folder.strip_prefix("/").unwrap());
        assert_eq!(entries(&below), entries(folder));
    }

    async fn assert_restores(&self, backup: &Value, place: usize) {
        let fresh = Mariadb::start();
        fresh.restore(&self.installation.download_nth(backup, place).await, &[]);
        assert_eq!(fresh.fingerprint(), self.db.fingerprint());
    }
}

/// A site whose database is PostgreSQL's, and a host whose login may be another user than the site's.
struct PostgresqlSite {
    home: TempDir,
    source: Postgres,
    host: Host,
    installation: Installation,
    server: u64,
}

impl PostgresqlSite {
    /// The password, as `.env` and SQL have it.
    const PASSWORD: [&str; 2] = [r#"canary:92 w#\"\$x\\'"#, r#"canary:92 w#"$x\''"#];

    async fn start(user: Option<&str>) -> Self {
        let home = TempDir::new().unwrap();
        let more = format!("SetEnv HOME={}", home.path().display());
        let host = match user {
            Some(user) => Host::start_for(user, &more).await,
            None => Host::start_with(&more).await,
        };
        let source = Postgres::start();
        source.sql("postgres", &format!("CREATE ROLE forge LOGIN PASSWORD '{}'", Self::PASSWORD[1]));
        source.sql("postgres", "CREATE DATABASE shop OWNER forge");
        source.sql(
            "shop",
            "SET ROLE forge; CREATE SCHEMA own; CREATE TABLE own.orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
             note text, amount numeric, data jsonb); INSERT INTO own.orders (note, amount, data) VALUES ('🗄 ü', 'NaN', \
             '{\"k\": null}'), (NULL, 1.10, NULL); CREATE VIEW own.v AS SELECT note FROM own.orders; CREATE FUNCTION \
             own.f() RETURNS int LANGUAGE sql AS 'SELECT 7'; INSERT INTO own.orders (note) SELECT n FROM generate_series(1, 5000) n",
        );
        let installation = Installation::start().await;
        let server = installation.add_server(&host).await;
        let site = Self { home, source, host, installation, server };
        site.write("artisan", "#!/usr/bin/env php");
        site.write("storage/app/upload", "uploaded");
        site.write(
            ".env",
            &format!(
                "DB_CONNECTION=pgsql\nDB_HOST=127.0.0.1\nDB_PORT={}\nDB_DATABASE=shop\nDB_USERNAME=forge\n\
                 DB_PASSWORD=\"{}\"\n",
                site.source.port,
                Self::PASSWORD[0]
            ),
        );
        site
    }

    fn folder(&self) -> std::path::PathBuf {
        self.home.path().join("shop.example.com")
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    async fn run(&self, use_sudo: bool) -> Value {
        let config = json!({"site_path": self.folder(), "backup_storage_folder": true, "use_sudo": use_sudo});
        let job = self.installation.add_job_with(self.server, json!({"recipe_id": 8, "config": config})).await;
        self.installation.run(&job).await
    }

    async fn refused(&self, use_sudo: bool) -> String {
        let backup = self.run(use_sudo).await;
        assert_eq!((&backup["status"], &backup["attempt"]), (&json!("failed"), &json!(1)), "{backup}");
        let message = backup["failure"]["message"].as_str().unwrap().to_owned();
        assert!(!message.contains("canary"), "{message}");
        message
    }

    /// Asserts that the site and its database come back: each into a place of its own, by stock tools.
    async fn assert_comes_back(&self, backup: &Value) {
        let log = self.installation.log(backup["id"].as_str().unwrap()).await;
        assert_eq!(backup["status"], "completed", "{backup}\n{log}");
        assert!(!log.contains("canary"), "{log}");
        let expected =
            ["laravel-forge-backups-shop.example.com-shop.sql.zst", "laravel-forge-backups-shop.example.com.tar.zst"];
        assert_eq!(names(backup), expected);
        let files = self.installation.unpacked(backup).await;
        let fresh = Postgres::start();
        fresh.sql("postgres", "CREATE ROLE forge");
        fresh.sql("postgres", "CREATE DATABASE shop OWNER forge TEMPLATE template0");
        let sql = self.home.path().join("shop.sql");
        std::fs::write(&sql, &files[0].1).unwrap();
        fresh.load("shop", &sql);
        assert_eq!(fresh.dumped("shop"), self.source.dumped("shop"));
        assert_eq!(fresh.checksums("shop"), self.source.checksums("shop"));
        assert!(fresh.checksums("shop").contains("own.orders|5002|"), "{}", fresh.checksums("shop"));
        let unpacked = unpack(&self.installation.download_nth(backup, 1).await);
        let below = unpacked.path().join(self.folder().strip_prefix("/").unwrap());
        assert_eq!(entries(&below), entries(&self.folder()));
        leftovers::assert_none(&self.installation).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_with_postgresql_comes_back() {
    let site = PostgresqlSite::start(None).await;
    let watch = Watch::start("canary:92");
    let backup = site.run(false).await;
    watch.assert_unseen();
    site.assert_comes_back(&backup).await;

    let env = std::fs::read_to_string(site.folder().join(".env")).unwrap();
    site.write(".env", &env.replace("canary:92", "canary:93"));
    let message = site.refused(false).await;
    assert!(
        message.contains("correct the user name or the password") && message.contains("of the site's .env"),
        "{message}"
    );
    site.write(".env", &env.replace("DB_DATABASE=shop", "DB_DATABASE=gone"));
    let message = site.refused(false).await;
    assert!(message.contains("\"gone\" does not exist") && message.contains("shop.example.com"), "{message}");
    // The same by a URL.
    site.source.sql("postgres", "ALTER ROLE forge PASSWORD 'p w'");
    site.write(".env", &format!("DB_URL=pgsql://forge:p%20w@127.0.0.1:{}/shop\n", site.source.port));
    site.assert_comes_back(&site.run(false).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_sudo_a_site_of_another_user_comes_back() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT TESTED, as this does not run as root: sudo");
        return;
    }
    let site = PostgresqlSite::start(Some("holdfast-forge")).await;
    for (path, mode) in
        [(site.home.path().to_owned(), 0o755), (site.folder().join(".env"), 0o600), (site.folder(), 0o700)]
    {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    assert!(site.refused(false).await.contains("the site cannot be read"));
    let message = site.refused(true).await;
    assert!(message.contains("allow `NOPASSWD:` sh, cat and tar, or turn use_sudo off"), "{message}");
    let _sudoers = Sudoers::allow(&site.host.user, "/usr/bin/sh, /usr/bin/cat, /usr/bin/tar");
    site.assert_comes_back(&site.run(true).await).await;
}

fn names(backup: &Value) -> Vec<&str> {
    backup["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_with_its_storage_and_its_database_comes_back() {
    let rig = Rig::start().await;
    rig.write("shop.example.com/.env", &rig.env());
    rig.write("shop.example.com/artisan", "#!/usr/bin/env php");
    rig.write("shop.example.com/storage/app/upload.txt", "uploaded");
    rig.write("shop.example.com/app/storage/kept.txt", "not the storage folder");
    let site = rig.home.path().join("shop.example.com");

    let backup = rig.run(json!({"backup_storage_folder": true, "site_path": site})).await;

    assert_eq!(backup["status"], "completed", "{backup}\n{}", rig.log(&backup).await);
    let expected =
        ["laravel-forge-backups-shop.example.com-shop.sql.zst", "laravel-forge-backups-shop.example.com.tar.zst"];
    assert_eq!(names(&backup), expected);
    rig.assert_restores(&backup, 0).await;
    rig.assert_holds(&backup, 1, &site).await;
    assert!(!rig.log(&backup).await.contains("p w#"));
    leftovers::assert_none(&rig.installation).await;

    // Without the storage folder, and without the database.
    let backup = rig.run(json!({"site_path": site, "backup_database": false})).await;
    assert_eq!(names(&backup), ["laravel-forge-backups-shop.example.com.tar.zst"], "{backup}");
    std::fs::remove_dir_all(site.join("storage")).unwrap();
    rig.assert_holds(&backup, 0, &site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_site_of_the_home_folder_is_taken_and_links_are_followed() {
    let rig = Rig::start().await;
    let home = rig.home.path();
    // A deployment without downtime: releases, and links to what they share.
    rig.write("a.example/.env", &rig.env());
    rig.write("a.example/storage/app/a", "a");
    rig.write("a.example/releases/1/artisan", "1");
    symlink(home.join("a.example/releases/1"), home.join("a.example/current")).unwrap();
    symlink(home.join("a.example/.env"), home.join("a.example/releases/1/.env")).unwrap();
    symlink(home.join("a.example/storage"), home.join("a.example/releases/1/storage")).unwrap();
    // The same database once more, by a URL, and storage on another disk.
    rig.write("b.example/.env", &format!("DB_URL=mysql://forge:p%20w%23%22%24x@127.0.0.1:{}/shop\n", rig.db.port()));
    rig.write("elsewhere/b/upload", "b");
    symlink(home.join("elsewhere/b"), home.join("b.example/storage")).unwrap();
    // No Laravel at all.
    rig.write("static.example/public/index.html", "hello");
    rig.write("notes/todo.txt", "no site");

    let backup = rig.run(json!({"backup_storage_folder": true})).await;

    let log = rig.log(&backup).await;
    assert_eq!(backup["status"], "completed", "{backup}\n{log}");
    let expected = ["a.example-shop.sql", "a.example.tar", "b.example.tar", "static.example.tar"];
    assert_eq!(names(&backup), expected.map(|name| format!("laravel-forge-backups-{name}.zst")));
    rig.assert_restores(&backup, 0).await;
    rig.assert_holds(&backup, 1, &home.join("a.example")).await;
    rig.assert_holds(&backup, 2, &home.join("b.example")).await;
    rig.assert_holds(&backup, 2, &home.join("elsewhere/b")).await;
    rig.assert_holds(&backup, 3, &home.join("static.example")).await;
    assert!(
        log.contains("its database shop is taken already") && log.contains("no .env of it names a database"),
        "{log}"
    );

    // One release of it by its link brings what it shares.
    let release = rig.run(json!({"backup_storage_folder": true, "site_path": home.join("a.example/current")})).await;
    assert_eq!(release["status"], "completed", "{release}");
    rig.assert_holds(&release, 1, &home.join("a.example/releases/1")).await;
    rig.assert_holds(&release, 1, &home.join("a.example/storage")).await;
    let unpacked = unpack(&rig.installation.download_nth(&release, 1).await);
    let env = unpacked.path().join(home.strip_prefix("/").unwrap()).join("a.example/.env");
    assert_eq!(std::fs::read_to_string(env).unwrap(), rig.env());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_backed_up_with_a_site_is_told() {
    let rig = Rig::start().await;
    let site = |name: &str| json!({"site_path": rig.home.path().join(name)});
    rig.write("plain/public/index.html", "hello");
    rig.write("pgsql/.env", "DB_CONNECTION=sqlsrv\nDB_DATABASE=x\n");
    rig.write("broken/.env", "DB_CONNECTION=mysql\nDB_PASSWORD=p w#\n");
    rig.write("wrong/.env", &rig.env().replace("p w#", "q w#"));
    rig.assert_refused(site("missing"), &["site cannot be read", "missing"]).await;
    rig.assert_refused(site("plain"), &["no .env of it names a database", "backup_database off"]).await;
    rig.assert_refused(site("pgsql"), &["of kind sqlsrv", "backup_database off"]).await;
    rig.assert_refused(site("broken"), &[".env: line 2", "quotation marks"]).await;
    rig.assert_refused(site("wrong"), &["site ", "correct DB_USERNAME and DB_PASSWORD in the site's .env"]).await;
    let backup = rig.run(json!({"site_path": rig.home.path().join("plain"), "backup_database": false})).await;
    assert_eq!(backup["status"], "completed", "{backup}");
}
