//! Redis: every type, loaded into a fresh server and compared by the server's own checksums; and what can fail.

use holdfast_tests::installation::Host;
use holdfast_tests::redis::Redis;
use holdfast_tests::secrecy::Watch;
use holdfast_tests::{Installation, leftovers};
use serde_json::{Value, json};

const PASSWORD: &str = "canary-5d0e $(id)'\\";

/// Every type, in two databases.
const CONTENT: &str = "SET text \"\\xf0\\x9f\\x97\\x84 \\x00\\xff\\r\\n\"\nSET number 42\nSETEX soon 86400 value\nAPPEND \"odd key \\n\" x\n\
    RPUSH list a b \"\" c\nSADD set 1 2 3\nSADD words x y z\nZADD sorted 1.5 a -inf b +inf c\nHSET hash f1 v1 f2 \"\"\n\
    XADD stream 1-1 field value\nXADD stream 1-2 field other\nXGROUP CREATE stream readers 0\nXREADGROUP GROUP readers me COUNT 1 STREAMS stream >\n\
    PFADD visitors a b c\nSETBIT bits 10000 1\nGEOADD places 13.361389 38.115556 Palermo\n\
    DEBUG POPULATE 20000 many 100\nSELECT 7\nSET text other\n";

struct Rig {
    installation: Installation,
    server: u64,
    _host: Host,
}

impl Rig {
    async fn start_on(host: Host) -> Self {
        let installation = Installation::start().await;
        let server = installation.add_server(&host).await;
        Self { installation, server, _host: host }
    }

    async fn job(&self, redis: &Redis, more: Value) -> String {
        let mut config = json!({"redis_port": redis.port});
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        self.installation.add_job_with(self.server, json!({"recipe": "redis-backups", "config": config})).await
    }

    /// The first attempt of a run that fails.
    async fn failed(&self, redis: &Redis, more: Value, status: &str) -> String {
        let job = self.job(redis, more).await;
        let backup = self.installation.start_backup(&job).await;
        let backup = self.installation.backup_when(&backup, |backup| !backup["failure"].is_null()).await;
        assert_eq!((&backup["status"], &backup["files"]), (&json!(status), &json!([])), "{backup}");
        backup["failure"]["message"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_comes_back_whatever_the_settings() {
    let rig = Rig::start_on(Host::start().await).await;
    for (diskless, checksum) in [("yes", "yes"), ("no", "yes"), ("yes", "no")] {
        let redis = Redis::start(&["--repl-diskless-sync", diskless, "--rdbchecksum", checksum], None);
        redis.call(CONTENT);
        redis.call(&format!("ACL SETUSER backup on >{} -@all +sync +replconf +ping\n", "plain-canary-77"));
        let login = json!({"redis_username": "backup", "redis_password": "plain-canary-77"});

        let watch = Watch::start("plain-canary-77");
        let backup = rig.installation.run(&rig.job(&redis, login).await).await;
        watch.assert_unseen();

        assert_eq!(backup["status"], "completed", "{backup}");
        // The log is written behind the record.
        let backup_id = backup["id"].as_str().unwrap();
        let log = rig.installation.log_when(backup_id, |log| log.contains("read back")).await;
        assert_eq!(log.contains("rdbchecksum no"), checksum == "no", "{log}");
        let files = rig.installation.unpacked(&backup).await;
        let [(name, rdb)] = &files[..] else { panic!("{} files", files.len()) };
        assert_eq!(name, "redis.rdb");
        assert_eq!(rdb[rdb.len() - 9], 0xff, "the transfer's mark is not stored");
        let fresh = Redis::start(&[], Some(rdb));
        let without_ttl = |(digest, keyspace): (String, String)| (digest, keyspace.lines().count());
        assert_eq!(without_ttl(fresh.digest()), without_ttl(redis.digest()));
        let look = "XINFO GROUPS stream\nPFCOUNT visitors\nDBSIZE\nSELECT 7\nGET text\n";
        assert_eq!(fresh.call(look), redis.call(look));
        let ttl: u64 = fresh.call("TTL soon").parse().unwrap();
        assert!((80_000..=86_400).contains(&ttl), "{ttl}");
    }
    leftovers::assert_none(&rig.installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_that_do_not_do_are_told() {
    let rig = Rig::start_on(Host::start().await).await;
    let redis = Redis::start(&["--requirepass", PASSWORD], None);
    let wrong = rig.failed(&redis, json!({"redis_password": "wrong"}), "failed").await;
    assert!(wrong.contains("correct redis_username and redis_password"), "{wrong}");
    let none = rig.failed(&redis, json!({}), "failed").await;
    assert!(none.contains("set redis_password"), "{none}");
    let backup = rig.installation.run(&rig.job(&redis, json!({"redis_password": PASSWORD})).await).await;
    assert_eq!(backup["status"], "completed", "an empty server is a backup too: {backup}");

    let redis = Redis::start(&[], None);
    redis.call("ACL SETUSER backup on >x -@all +ping +replconf\n");
    let login = json!({"redis_username": "backup", "redis_password": "x"});
    let message = rig.failed(&redis, login, "failed").await;
    assert!(message.contains("+sync"), "{message}");
    let port = redis.port;
    drop(redis);
    let job = json!({"recipe": "redis-backups", "config": {"redis_port": port}});
    let job = rig.installation.add_job_with(rig.server, job).await;
    let backup = rig.installation.start_backup(&job).await;
    let backup = rig.installation.backup_when(&backup, |backup| !backup["failure"].is_null()).await;
    assert_eq!(backup["status"], "pending", "a server that is down may come back: {backup}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_that_is_cut_with_exit_0_is_never_whole() {
    for percent in [1, 50, 99] {
        let script = format!(
            "#!/bin/sh\nfile=$(mktemp); /usr/bin/redis-cli \"$@\" >\"$file\"\n\
             head -c $(($(wc -c <\"$file\") * {percent} / 100)) \"$file\"; rm \"$file\"\n"
        );
        let rig = Rig::start_on(Host::start_with_programs(&[("redis-cli", script.as_str())], false).await).await;
        let redis = Redis::start(&[], None);
        redis.call(CONTENT);
        let message = rig.failed(&redis, json!({}), "pending").await;
        assert!(message.contains("cut off") || message.contains("damaged"), "{percent} %: {message}");
        leftovers::assert_only_named_objects(&rig.installation).await;
    }
    let rig =
        Rig::start_on(Host::start_with_programs(&[("redis-cli", "#!/bin/sh\nexec no-such-program\n")], false).await)
            .await;
    let message = rig.failed(&Redis::start(&[], None), json!({}), "failed").await;
    assert!(message.contains("redis-cli is missing"), "{message}");
}
