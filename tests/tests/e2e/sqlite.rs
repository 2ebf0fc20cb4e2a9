//! SQLite: a database that is written to all the while, opened by stock `sqlite3` and compared; and what can fail.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_tests::installation::Host;
use holdfast_tests::{Installation, leftovers};
use serde_json::{Value, json};
use tempfile::TempDir;

fn sqlite(path: &Path, sql: &str) -> String {
    let output = Command::new("sqlite3")
        .args(["-batch", "-bail", "-cmd", ".timeout 20000"])
        .arg(path)
        .arg(sql)
        .output()
        .unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

struct Rig {
    installation: Installation,
    server: u64,
    host: Host,
}

impl Rig {
    async fn start_on(host: Host) -> Self {
        let installation = Installation::start().await;
        let server = installation.add_server(&host).await;
        Self { installation, server, host }
    }

    async fn run(&self, path: &Path) -> Value {
        let job = json!({"recipe": "sqlite-backups", "config": {"sqlite_path": path}});
        let job = self.installation.add_job_with(self.server, job).await;
        let backup = self.installation.start_backup(&job).await;
        let done = |backup: &Value| {
            !backup["failure"].is_null() || !matches!(backup["status"].as_str(), Some("pending" | "running"))
        };
        self.installation.backup_when(&backup, done).await
    }

    async fn failed(&self, path: &Path, status: &str) -> String {
        let backup = self.run(path).await;
        assert_eq!((&backup["status"], &backup["files"]), (&json!(status), &json!([])), "{backup}");
        backup["failure"]["message"].as_str().unwrap().to_owned()
    }

    /// The only file of a backup, in a folder of its own.
    async fn restored(&self, backup: &Value) -> (TempDir, std::path::PathBuf) {
        let folder = TempDir::new().unwrap();
        let [(name, bytes)] = &self.installation.unpacked(backup).await[..] else { panic!("{backup}") };
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }
}

const CONTENT: &str = "CREATE TABLE a (id INTEGER PRIMARY KEY, note TEXT, ratio REAL, bytes BLOB, twice AS (id * 2));
    INSERT INTO a (note, ratio, bytes) VALUES ('🗄 ü', 9e999, x'00ff'), (NULL, NULL, NULL), ('', -0.0, x'');
    CREATE TABLE \"odd \"\"name\" (\"select\"); INSERT INTO \"odd \"\"name\" SELECT 1; CREATE INDEX i ON a (note);
    CREATE VIEW v AS SELECT * FROM a; CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE a SET note = 'x' WHERE id = NEW.id + 1000; END;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_comes_back_whatever_its_name_and_mode() {
    let rig = Rig::start_on(Host::start().await).await;
    for (name, mode) in [("app.db", "delete"), ("a 'b\" $(id); -x.sqlite3", "wal"), ("no ending", "wal")] {
        let path = rig.host.site().join(name);
        sqlite(&path, &format!("PRAGMA journal_mode = {mode}; {CONTENT}"));
        let backup = rig.run(&path).await;
        assert_eq!(backup["status"], "completed", "{name}: {backup}");
        let (_folder, copy) = rig.restored(&backup).await;
        assert_eq!(sqlite(&copy, ".dump"), sqlite(&path, ".dump"), "{name}");
        assert_eq!(sqlite(&copy, "PRAGMA integrity_check"), "ok");
    }
    let empty = rig.host.site().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    let (_folder, copy) = rig.restored(&rig.run(&empty).await).await;
    assert_eq!(sqlite(&copy, "SELECT count(*) FROM sqlite_master"), "0");
    leftovers::assert_none(&rig.installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_written_to_is_of_one_moment() {
    let rig = Rig::start_on(Host::start().await).await;
    for mode in ["wal", "delete"] {
        let path = rig.host.site().join(format!("{mode}.db"));
        sqlite(
            &path,
            &format!(
                "PRAGMA journal_mode = {mode}; CREATE TABLE a (n, x); CREATE TABLE b (n, x);
            WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000)
            INSERT INTO a SELECT n, hex(randomblob(400)) FROM c; INSERT INTO b SELECT * FROM a"
            ),
        );
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, written) = (stop.clone(), path.clone());
        let writer = std::thread::spawn(move || {
            let mut transactions = 0;
            while !asked.load(Ordering::Relaxed) {
                sqlite(
                    &written,
                    "BEGIN IMMEDIATE; INSERT INTO a VALUES (0, hex(randomblob(2000))); INSERT INTO b SELECT 0, 1; COMMIT",
                );
                transactions += 1;
            }
            transactions
        });
        let backup = rig.run(&path).await;
        stop.store(true, Ordering::Relaxed);
        assert!(writer.join().unwrap() > 0, "nobody wrote");
        assert_eq!(backup["status"], "completed", "{mode}: {backup}");
        let (_folder, copy) = rig.restored(&backup).await;
        assert_eq!(sqlite(&copy, "PRAGMA integrity_check"), "ok");
        let counts = sqlite(
            &copy,
            "SELECT (SELECT count(*) FROM a) = (SELECT count(*) FROM b), (SELECT count(*) FROM a) >= 20000",
        );
        assert_eq!(counts, "1|1", "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_copied_is_told() {
    let rig = Rig::start_on(Host::start().await).await;
    let missing = rig.host.site().join("missing.db");
    assert!(rig.failed(&missing, "failed").await.contains("correct sqlite_path"));
    assert!(!missing.exists(), "a path that is wrong makes no database");
    rig.host.write("text.db", "this is no database, but it is long enough to have been one, if it had the right head");
    assert!(rig.failed(&rig.host.site().join("text.db"), "failed").await.contains("not a database"));

    let damaged = rig.host.site().join("damaged.db");
    sqlite(
        &damaged,
        "CREATE TABLE t (x); WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5000) INSERT INTO t SELECT hex(randomblob(50)) FROM c",
    );
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[8_192..12_288].fill(0xaa);
    std::fs::write(&damaged, bytes).unwrap();
    let backup = rig.run(&damaged).await;
    assert_eq!(backup["status"], "completed_with_errors", "{backup}");
    assert!(backup["source_errors"][0].as_str().unwrap().contains("the database is damaged"), "{backup}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_cut_with_exit_0_is_never_whole() {
    for percent in [1, 50, 99] {
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = copy ] || exec /bin/cat \"$@\"\nhead -c $(($(wc -c <copy) * {percent} / 100)) copy\n"
        );
        let rig = Rig::start_on(Host::start_with_programs(&[("cat", script.as_str())], false).await).await;
        let path = rig.host.site().join("app.db");
        sqlite(&path, CONTENT);
        let message = rig.failed(&path, "pending").await;
        assert!(message.contains("cut off") || message.contains("no SQLite database"), "{percent} %: {message}");
        leftovers::assert_only_named_objects(&rig.installation).await;
    }
    let pass = |name: &str| format!("#!/bin/sh\nexec /usr/bin/{name} \"$@\"\n");
    let tools: Vec<_> = ["env", "timeout", "sh", "mktemp", "rm", "cat"].map(|name| (name, pass(name))).into();
    let tools: Vec<_> = tools.iter().map(|(name, script)| (*name, script.as_str())).collect();
    let rig = Rig::start_on(Host::start_with_programs(&tools, true).await).await;
    let message = rig.failed(&rig.host.site().join("app.db"), "failed").await;
    assert!(message.contains("install the package sqlite3"), "{message}");
}
