//! MongoDB: what a stand-in for `mongodump` shows, everywhere; and a restore that is compared, where the tools exist.

use std::process::Command;

use holdfast_tests::Installation;
use holdfast_tests::installation::Host;
use holdfast_tests::secrecy::Watch;
use serde_json::{Value, json};

const PASSWORD: &str = "canary-e1f7 $(id)";

/// Says what it was called with and given, and prints an archive of nothing, or the whole that is asked for.
const STAND_IN: &str = "#!/bin/sh\n\
    echo \"called $*\" >&2; IFS= read -r line; [ \"$line\" = 'canary-e1f7 $(id)' ] || { echo 'Failed: Authentication failed.' >&2; exit 1; }\n\
    case \"$*\" in *system.replset*) echo 'done dumping `local.system.replset` (1 document)' >&2;; esac\n\
    printf '\\155\\342\\231\\201\\005\\000\\000\\000\\000'; END\n";

struct Rig {
    installation: Installation,
    server: u64,
    _host: Host,
}

impl Rig {
    async fn start_with(end: &str) -> Self {
        let script = STAND_IN.replace("END", end);
        let host = Host::start_with_programs(&[("mongodump", script.as_str())], false).await;
        let installation = Installation::start().await;
        let server = installation.add_server(&host).await;
        Self { installation, server, _host: host }
    }

    async fn run(&self, config: Value) -> Value {
        let job = json!({"recipe": "mongodb-backups", "config": config});
        let job = self.installation.add_job_with(self.server, job).await;
        let backup = self.installation.start_backup(&job).await;
        let done = |backup: &Value| {
            !backup["failure"].is_null() || !matches!(backup["status"].as_str(), Some("pending" | "running"))
        };
        self.installation.backup_when(&backup, done).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_goes_over_the_input_and_the_end_is_looked_for() {
    let login = json!({"mongodb_username": "backup", "mongodb_password": PASSWORD});
    let rig = Rig::start_with("printf '\\377\\377\\377\\377'").await;
    let watch = Watch::start(PASSWORD);
    let backup = rig.run(login.clone()).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    let log = rig.installation.log(backup["id"].as_str().unwrap()).await;
    let called =
        "called --archive --host=127.0.0.1 --port=27017 --username=backup --authenticationDatabase=admin --oplog";
    assert!(log.contains(called), "{log}");
    let mut of_one = login.clone();
    of_one["mongodb_database"] = json!("shop");
    let backup = rig.run(of_one).await;
    assert!(backup["failure"]["message"].as_str().unwrap().contains("no database \"shop\""), "{backup}");
    let backup = rig.run(json!({"mongodb_username": "backup", "mongodb_password": "wrong"})).await;
    assert!(backup["failure"]["message"].as_str().unwrap().contains("correct mongodb_username"), "{backup}");
    watch.assert_unseen();

    let rig = Rig::start_with("printf '\\377\\377'").await;
    let backup = rig.run(login).await;
    assert!(matches!(backup["status"].as_str(), Some("pending" | "running")), "{backup}");
    assert!(backup["failure"]["message"].as_str().unwrap().contains("cut off"), "{backup}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_database_comes_back_where_there_is_one() {
    let missing: Vec<_> = ["mongod", "mongodump", "mongorestore", "mongosh"]
        .into_iter()
        .filter(|tool| !Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success()))
        .collect();
    if !missing.is_empty() {
        eprintln!("==== SKIPPED: MongoDB IS NOT PROVED HERE, as this machine lacks {} ====", missing.join(", "));
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut mongod = Command::new("mongod");
    mongod.args(["--bind_ip", "127.0.0.1", "--port", &port.to_string(), "--dbpath"]).arg(folder.path());
    let mut mongod = mongod.stdout(std::process::Stdio::null()).spawn().unwrap();
    let script = |text: &str| {
        let port = port.to_string();
        let output =
            Command::new("mongosh").args(["--quiet", "--port", &port, "shop", "--eval", text]).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap()).ok_or(())
    };
    let fill = "for (let n = 0; n < 1000; n++) db.orders.insertOne({_id: n, note: '🗄', ratio: NaN}); db.orders.createIndex({note: 1})";
    holdfast_tests::eventually("mongod", || async { script(fill) }).await;
    let host = Host::start().await;
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    let job = json!({"recipe": "mongodb-backups", "config": {"mongodb_port": port}});
    let backup = installation.run(&installation.add_job_with(server, job).await).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    let look = "EJSON.stringify([db.orders.find().sort({_id: 1}).toArray(), db.orders.getIndexes()])";
    let before = script(look).unwrap();
    script("db.dropDatabase()").unwrap();
    let files = installation.unpacked(&backup).await;
    let archive = folder.path().join("archive");
    std::fs::write(&archive, &files[0].1).unwrap();
    let archive = format!("--archive={}", archive.display());
    let restored = Command::new("mongorestore").args(["--port", &port.to_string(), &archive]).status().unwrap();
    assert!(restored.success());
    assert_eq!(script(look).unwrap(), before);
    mongod.kill().unwrap();
    mongod.wait().unwrap();
}
