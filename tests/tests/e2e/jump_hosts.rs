//! Jump hosts: servers that only a proxy can reach.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use holdfast_local::demo::sshd::Sshd;
use holdfast_tests::installation::kill_sessions_of;
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::tree::{assert_same, noise};
use holdfast_tests::{Installation, Setup, eventually, leftovers};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::resources::checked;

/// Where the server is: an address that the guard lets nobody connect to from here.
const INSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A jump host, a server behind it, and a job with both. Each lets in a key of its own.
struct Inside {
    installation: Installation,
    jump: Sshd,
    target: Sshd,
    job: String,
    dir: TempDir,
}

impl Inside {
    /// `jump_config` stands in front of the jump host's sshd_config.
    async fn start(jump_config: &str, s3_proxy: Option<Proxy>) -> Self {
        let allow_networks = Some("127.0.0.1/32".parse().unwrap());
        let installation = Installation::start_with(Setup { allow_networks, s3_proxy, ..Setup::default() }).await;
        let dir = TempDir::new().unwrap();
        for name in ["jump", "target", "site"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        std::fs::write(dir.path().join("site/a"), noise(1 << 20, 3)).unwrap();
        let target = Sshd::start_at(&dir.path().join("target"), INSIDE, "AllowTcpForwarding no").await.unwrap();
        let jump_config = jump_config.replace("TARGET", &format!("{INSIDE}:{}", target.port()));
        let jump = Sshd::start_with(&dir.path().join("jump"), &jump_config).await.unwrap();
        let api = &installation.api;
        for (name, sshd) in [("to jump", &jump), ("to target", &target)] {
            let key = api.post("/v1/ssh-keys", json!({ "name": name })).await.expect(201).data();
            sshd.authorize(key["public_key"].as_str().unwrap()).unwrap();
        }
        let server = json!({
            "name": "inside", "host": INSIDE, "port": target.port(), "user": target.user(), "ssh_key": 2,
        });
        let refused = api.post("/v1/servers", server.clone()).await.expect(422).json();
        assert!(refused["errors"]["host"].is_array(), "nothing can lead there yet: {refused}");
        let proxy = json!({
            "name": "gate", "host": "127.0.0.1", "port": jump.port(), "user": jump.user(), "ssh_key": 1,
        });
        api.post("/v1/proxies", proxy).await.expect(201);
        api.post("/v1/servers", server).await.expect(201);
        let config = json!({"root_path": dir.path().join("site")});
        let job = installation.add_job_with(1, json!({"proxy_id": 1, "config": config})).await;
        Self { installation, jump, target, job, dir }
    }

    fn site(&self) -> PathBuf {
        self.dir.path().join("site")
    }

    async fn edit(&self, path: &str, change: Value) {
        self.installation.api.patch(path, change).await.expect(200);
    }

    /// Runs the job to a failure for good at its first attempt.
    async fn fails(&self, kind: &str, says: &[&str]) -> String {
        let backup = self.installation.run(&self.job).await;
        assert_eq!((&backup["status"], &backup["attempt"]), (&json!("failed"), &json!(1)), "{backup}");
        told(&backup, kind, says)
    }

    /// Runs the job to a failure that is tried again.
    async fn waits(&self, kind: &str, says: &[&str]) -> String {
        let backup = self.installation.start_backup(&self.job).await;
        let waiting =
            self.installation.backup_when(&backup, |backup| backup["attempt"] == 1 && ended_once(backup)).await;
        assert_eq!(waiting["status"], "pending", "{waiting}");
        self.installation.api.post(&format!("/v1/backups/{backup}/cancel"), json!({})).await;
        self.installation.ended(&backup).await;
        told(&waiting, kind, says)
    }
}

fn ended_once(backup: &Value) -> bool {
    backup["status"] != "running" && backup["failure"].is_object()
}

fn told(backup: &Value, kind: &str, says: &[&str]) -> String {
    assert_eq!(backup["failure"]["kind"], kind, "{backup}");
    let message = backup["failure"]["message"].as_str().unwrap();
    for word in says {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
    message.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_behind_a_proxy_is_backed_up_and_both_keys_are_pinned() {
    // All that a jump host has to allow.
    let inside = Inside::start("MaxSessions 0\nPermitOpen TARGET\nForceCommand /bin/false", None).await;
    let api = &inside.installation.api;
    for pinned in [false, true] {
        for path in ["/v1/proxies/1", "/v1/servers/1"] {
            assert_eq!(api.get(path).await.expect(200).data()["host_key"].is_object(), pinned, "{path}");
        }
        let backup = inside.installation.run(&inside.job).await;
        assert_eq!(backup["status"], "completed", "{backup}");
        assert_same(&inside.installation.download(&backup).await, &inside.site());
        let log = inside.installation.log(backup["id"].as_str().unwrap()).await;
        assert!(log.contains("proxy gate showed SHA256:") && log.contains("the server showed SHA256:"), "{log}");
    }
    let preview = format!("/v1/jobs/{}/preview", inside.job);
    api.post(&preview, json!({})).await.expect(202);
    eventually("a preview through the proxy", || async {
        let seen = api.get(&preview).await.expect(200).data();
        if seen["status"] == "success" && seen["totals"]["files"].as_u64() > Some(0) { Ok(()) } else { Err(seen) }
    })
    .await;
    for (path, sshd) in [("/v1/proxies/1", &inside.jump), ("/v1/servers/1", &inside.target)] {
        let shown = api.get(path).await.expect(200).data();
        assert_eq!((&shown["status"], &shown["host_key"]["source"]), (&json!("success"), &json!("first_use")));
        let line = sshd.host_key().unwrap();
        let given = api.post(&format!("{path}/host-key"), json!({ "host_key": line })).await.expect(200).data();
        assert_eq!(given["host_key"]["fingerprint"], shown["host_key"]["fingerprint"], "{path} pinned another's key");
        assert!(shown["last_used"].is_string(), "{shown}");
    }
    // From here it is out of reach: that is the guard's to say, in a check and in a run.
    let check = checked(api, "/v1/servers/1").await;
    assert_eq!(check["failed_step"], "connect", "{check}");
    api.delete(&format!("/v1/jobs/{}/proxy", inside.job)).await.expect(204);
    inside.fails("connect", &["127.0.0.2 leads to a loopback address"]).await;
    leftovers::assert_none(&inside.installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_name_the_host_that_failed() {
    let inside = Inside::start("", None).await;
    let api = &inside.installation.api;
    // A wrong key, at the one and at the other.
    inside.edit("/v1/proxies/1", json!({"ssh_key": 2})).await;
    inside.fails("login", &["proxy gate: login as", "authorized_keys"]).await;
    assert_eq!(api.get("/v1/proxies/1").await.expect(200).data()["status"], "failed");
    assert_eq!(api.get("/v1/servers/1").await.expect(200).data()["status"], "pending", "it was not even asked");
    inside.edit("/v1/proxies/1", json!({"ssh_key": 1})).await;
    inside.edit("/v1/servers/1", json!({"ssh_key": 1})).await;
    let message = inside.fails("login", &["login as"]).await;
    assert!(!message.contains("proxy"), "{message}");
    assert_eq!(api.get("/v1/servers/1").await.expect(200).data()["status"], "failed");
    assert_eq!(api.get("/v1/proxies/1").await.expect(200).data()["status"], "success");
    inside.edit("/v1/servers/1", json!({"ssh_key": 2})).await;

    // Another host key than the pinned one: each is taken for the other.
    let (jump_key, target_key) = (inside.jump.host_key().unwrap(), inside.target.host_key().unwrap());
    let accept = async |path: &str, key: &str| {
        api.post(&format!("{path}/host-key"), json!({ "host_key": key })).await.expect(200).data()["host_key"]
            ["fingerprint"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let jump_print = accept("/v1/proxies/1", &jump_key).await;
    let target_print = accept("/v1/servers/1", &jump_key).await;
    assert_eq!(jump_print, target_print);
    let message = inside.fails("host_key", &["the host key has changed", &jump_print]).await;
    assert!(!message.contains("proxy"), "{message}");
    let target_print = accept("/v1/servers/1", &target_key).await;
    accept("/v1/proxies/1", &target_key).await;
    inside.fails("host_key", &["proxy gate: the host key has changed", &jump_print, &target_print]).await;
    // A fingerprint is enough, also behind a proxy.
    accept("/v1/proxies/1", &jump_print).await;
    accept("/v1/servers/1", &target_print).await;
    assert_eq!(inside.installation.run(&inside.job).await["status"], "completed");
    accept("/v1/servers/1", &jump_print).await;
    inside.fails("host_key", &[&jump_print, &target_print]).await;
    leftovers::assert_none(&inside.installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_answer_is_tried_again_and_named() {
    let inside = Inside::start("", None).await;
    let closed = |address: Ipv4Addr| TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port();
    inside.edit("/v1/servers/1", json!({"port": closed(INSIDE)})).await;
    inside.waits("connect", &["no answer from 127.0.0.2", "Connection refused, as proxy gate says"]).await;
    inside.edit("/v1/servers/1", json!({"host": "no-such-host.invalid"})).await;
    inside.fails("connect", &["no-such-host.invalid does not exist"]).await;
    inside.edit("/v1/servers/1", json!({"host": INSIDE, "port": inside.target.port()})).await;
    inside.edit("/v1/proxies/1", json!({"port": closed(Ipv4Addr::LOCALHOST)})).await;
    inside.waits("connect", &["proxy gate: no answer from 127.0.0.1"]).await;
    inside.edit("/v1/proxies/1", json!({"port": inside.jump.port()})).await;
    assert_eq!(inside.installation.run(&inside.job).await["status"], "completed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_lets_nothing_through_says_so() {
    for config in ["AllowTcpForwarding no", "PermitOpen 127.0.0.1:1"] {
        let inside = Inside::start(config, None).await;
        inside.fails("forwarding", &["proxy gate: it lets", "PermitOpen"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_dies_in_mid_run_is_tried_again() {
    // Uploads wait, so that the dump stands still.
    let proxy = Proxy::start(|request, _| if request.method() == "PUT" { Harm::Hold } else { Harm::None }).await;
    let inside = Inside::start("", Some(proxy.clone())).await;
    std::fs::write(inside.site().join("large"), noise(96 << 20, 5)).unwrap();
    let backup = inside.installation.start_backup(&inside.job).await;
    inside.installation.backup_when(&backup, |backup| backup["progress"]["bytes_read"].as_u64() > Some(8 << 20)).await;
    kill_sessions_of(&inside.jump);
    proxy.release();
    let waiting = inside.installation.backup_when(&backup, |backup| backup["attempt"] == 1 && ended_once(backup)).await;
    assert_eq!((&waiting["status"], &waiting["failure"]["kind"]), (&json!("pending"), &json!("connect")), "{waiting}");
    inside.installation.advance(jiff::SignedDuration::from_secs(60));
    let ended = inside.installation.ended(&backup).await;
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(2)), "{ended}");
    assert_same(&inside.installation.download(&ended).await, &inside.site());
    leftovers::assert_none(&inside.installation).await;
}
