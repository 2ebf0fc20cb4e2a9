//! Laravel Forge: sites with their `.env` and its database, restored with stock tools and compared with the original.

use std::os::unix::fs::symlink;
use std::path::Path;

use holdfast_tests::installation::Host;
use holdfast_tests::mariadb::Mariadb;
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
