//! Proxies: made, changed and deleted like servers, and checked for what they are there for.

use holdfast_local::demo::sshd::Sshd;
use holdfast_tests::installation::Host;
use holdfast_tests::{Client, Installation, Setup};
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::resources::{checked, send_if_match};

async fn without_worker() -> Installation {
    Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await
}

/// Makes an SSH key that the host accepts and a proxy for it; answers the proxy's path.
async fn add_proxy(api: &Client, sshd: &Sshd) -> String {
    let key = api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201).data();
    sshd.authorize(key["public_key"].as_str().unwrap()).unwrap();
    let proxy = json!({
        "name": "jump", "host": "127.0.0.1", "port": sshd.port(), "user": sshd.user(), "ssh_key": key["id"],
    });
    let made = api.post("/v1/proxies", proxy).await.expect(201).data();
    format!("/v1/proxies/{}", made["id"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_are_made_changed_and_deleted_in_json_and_forms() {
    let installation = without_worker().await;
    let api = &installation.api;
    for name in ["first", "second"] {
        api.post("/v1/ssh-keys", json!({"name": name})).await.expect(201);
    }
    let by_form = "name=jump&ssh_host=10.0.0.1&ssh_port=2222&ssh_user=hop&ssh_key_id=1";
    let made = api.form("/v1/proxies", by_form).await.expect(201);
    assert_eq!(made.header("etag"), "\"1\"");
    let jump = made.data();
    assert_eq!((&jump["host"], &jump["port"], &jump["user"]), (&json!("10.0.0.1"), &json!(2222), &json!("hop")));
    assert_eq!((&jump["key"]["name"], &jump["status"]), (&json!("first"), &json!("pending")));
    assert_eq!((&jump["host_key"], &jump["check"], &jump["last_used"]), (&Value::Null, &Value::Null, &Value::Null));
    let other = json!({"name": "bastion", "host": "bastion.example.com", "user": "hop", "ssh_key": 2});
    let other = api.post("/v1/proxies", other).await.expect(201).data();
    assert_eq!((&other["id"], &other["port"]), (&json!(2), &json!(22)));

    assert_eq!(api.get("/v1/proxies/1").await.expect(200).data(), jump);
    let listed = api.get("/v1/proxies?sort=name").await.expect(200);
    assert_eq!(listed.data(), json!([other, jump]));
    assert_eq!(listed.json()["meta"]["total"], 2);

    let changed = api.patch("/v1/proxies/1", json!({"name": "hop", "ssh_key": 2})).await.expect(200).data();
    assert_eq!((&changed["name"], &changed["key"]["id"], &changed["port"]), (&json!("hop"), &json!(2), &json!(2222)));
    let changed = api.form("/v1/proxies/1", "port=22").await.expect(200);
    assert_eq!((&changed.data()["port"], changed.header("etag")), (&json!(22), "\"3\""));
    assert_eq!(api.get("/v1/proxies/1").await.expect(200).data(), changed.data());

    // The key that nothing uses any more can go, the one that both use cannot.
    api.delete("/v1/ssh-keys/1").await.expect(204);
    let refused = api.delete("/v1/ssh-keys/2").await.expect(409).json();
    assert_eq!(refused["message"], "the SSH key is used by the proxies hop, bastion");
    let server = json!({"name": "shop", "host": "10.0.0.1", "user": "root", "ssh_key": 2});
    api.post("/v1/servers", server).await.expect(201);
    let refused = api.delete("/v1/ssh-keys/2").await.expect(409).json();
    assert_eq!(refused["message"], "the SSH key is used by the server shop and the proxies hop, bastion");
    for path in ["/v1/proxies/1", "/v1/proxies/2"] {
        api.delete(path).await.expect(204);
        api.delete(path).await.expect(404);
        api.get(path).await.expect(404);
    }
    api.delete("/v1/proxies/1").await.expect(404);
    api.delete("/v1/servers/1").await.expect(204);
    api.delete("/v1/ssh-keys/2").await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_in_use_stays() {
    let installation = without_worker().await;
    let api = &installation.api;
    api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201);
    let host = json!({"name": "jump", "host": "10.0.0.1", "user": "hop", "ssh_key": 1});
    api.post("/v1/proxies", host.clone()).await.expect(201);
    api.post("/v1/servers", host).await.expect(201);
    let job = installation.add_job_with(1, json!({"name": "shop files", "proxy_id": 1})).await;
    let refused = api.delete("/v1/proxies/1").await.expect(409).json();
    assert_eq!(refused["message"], "the proxy is used by the job shop files");
    api.delete(&format!("/v1/jobs/{job}/proxy")).await.expect(204);
    api.post(&format!("/v1/jobs/{job}/proxy"), json!({"proxy_id": 1})).await.expect(204);
    api.delete("/v1/proxies/1").await.expect(409);
    api.delete(&format!("/v1/jobs/{job}/proxy")).await.expect(204);
    api.delete("/v1/proxies/1").await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_of_what_changed_meanwhile_is_refused() {
    let installation = without_worker().await;
    let api = &installation.api;
    api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201);
    let proxy = json!({"name": "jump", "host": "10.0.0.1", "user": "hop", "ssh_key": 1});
    api.post("/v1/proxies", proxy).await.expect(201);
    let path = "/v1/proxies/1";
    send_if_match(api, Method::PATCH, path, "\"1\"", json!({"name": "b"})).await.expect(200);
    send_if_match(api, Method::PATCH, path, "\"1\"", json!({"port": 2222})).await.expect(412);
    send_if_match(api, Method::DELETE, path, "\"1\"", Value::Null).await.expect(412);
    assert_eq!(api.get(path).await.expect(200).data()["port"], 22);
    send_if_match(api, Method::DELETE, path, "\"2\"", Value::Null).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_told_under_its_field() {
    let installation = without_worker().await;
    let api = &installation.api;
    api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201);
    let sound = || json!({"name": "jump", "host": "10.0.0.1", "user": "hop", "ssh_key": 1});
    let cases = [
        ("name", json!(null)),
        ("name", json!(["x"])),
        ("name", json!("")),
        ("name", json!("x".repeat(256))),
        ("host", json!(null)),
        ("host", json!({"a": 1})),
        ("host", json!("")),
        ("host", json!("a".repeat(254))),
        ("host", json!("-oProxyCommand=id")),
        ("host", json!("a\nProxyCommand id")),
        ("port", json!("ssh")),
        ("port", json!(0)),
        ("port", json!(65_536)),
        ("user", json!(null)),
        ("user", json!(true)),
        ("user", json!("")),
        ("user", json!("u".repeat(65))),
        ("user", json!("root\nProxyCommand id")),
        ("ssh_key", json!(null)),
        ("ssh_key", json!("one")),
        ("ssh_key", json!(0)),
        ("ssh_key", json!(99)),
        ("host_key", json!(["x"])),
        ("host_key", json!("SHA256:AAAA")),
        ("host_key", json!("x".repeat(10_000))),
        ("max_parallel", json!(2)),
        ("extra", json!(1)),
    ];
    for (field, value) in cases {
        let mut body = sound();
        body[field] = value.clone();
        let answer = api.post("/v1/proxies", body).await.expect(422).json();
        let errors = answer["errors"].as_object().unwrap();
        assert_eq!(errors.keys().collect::<Vec<_>>(), [field], "{field} {value}: {answer}");
    }
    let all = api.post("/v1/proxies", json!({"ssh_port": 0, "extra": 1})).await.expect(422).json();
    let named: Vec<_> = all["errors"].as_object().unwrap().keys().collect();
    assert_eq!(named, ["extra", "host", "name", "ssh_key", "ssh_port", "user"]);
    assert_eq!(api.get("/v1/proxies").await.expect(200).json()["meta"]["total"], 0);

    let made = api.post("/v1/proxies", sound()).await.expect(201).data();
    let path = format!("/v1/proxies/{}", made["id"]);
    assert_eq!((&made["port"], &made["host_key"]), (&json!(22), &Value::Null), "port and host key may be left out");
    for (field, value) in [("host", json!("-x")), ("ssh_key", json!(99)), ("extra", json!(1))] {
        let answer = api.patch(&path, json!({ field: value })).await.expect(422).json();
        assert_eq!(answer["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), [field]);
    }
    let answer = api.post(&format!("{path}/host-key"), json!({"host_key": "x"})).await.expect(422).json();
    assert!(answer["errors"]["host_key"].is_array(), "{answer}");
    assert_eq!(api.get(&path).await.expect(200).header("etag"), "\"1\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_pins_the_host_key_and_sees_that_connections_are_let_through() {
    let installation = Installation::start().await;
    let host = Host::start().await;
    let path = add_proxy(&installation.api, &host.sshd).await;
    let check = checked(&installation.api, &path).await;
    assert_eq!((&check["status"], &check["found"]["forwarding"]), (&json!("success"), &json!("allowed")), "{check}");
    let shown = installation.api.get(&path).await.expect(200).data();
    assert_eq!((&shown["status"], &shown["host_key"]["source"]), (&json!("success"), &json!("first_use")));
    assert_eq!(shown["host_key"]["fingerprint"], check["found"]["host_key"]);
    assert!(shown["last_used"].is_string() && shown["key"]["last_used"].is_string(), "{shown}");
    let forgotten = installation.api.post("/v1/proxies/1/host-key", json!({})).await.expect(200).data();
    assert_eq!(forgotten["host_key"], Value::Null, "the next connection pins what it sees");
    installation.api.post("/v1/proxies/1/check", json!({})).await.expect(202);
    installation.api.post("/v1/proxies/99/check", json!({})).await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_runs_nothing_for_its_users_is_in_order() {
    let installation = Installation::start().await;
    let dir = TempDir::new().unwrap();
    let sshd = Sshd::start_with(dir.path(), "ForceCommand /bin/false").await.unwrap();
    let path = add_proxy(&installation.api, &sshd).await;
    let check = checked(&installation.api, &path).await;
    assert_eq!((&check["status"], &check["found"]["forwarding"]), (&json!("success"), &json!("allowed")), "{check}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_tells_that_connections_are_not_let_through() {
    let installation = Installation::start().await;
    let dir = TempDir::new().unwrap();
    let sshd = Sshd::start_with(dir.path(), "AllowTcpForwarding no").await.unwrap();
    let path = add_proxy(&installation.api, &sshd).await;
    let check = checked(&installation.api, &path).await;
    assert_eq!((&check["status"], &check["failed_step"]), (&json!("failed"), &json!("forwarding")), "{check}");
    assert!(check["message"].as_str().unwrap().contains("AllowTcpForwarding"), "{check}");
    assert!(check["found"]["host_key"].is_string(), "{check}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_tells_a_wrong_key_and_a_closed_port() {
    let installation = Installation::start().await;
    let host = Host::start().await;
    let path = add_proxy(&installation.api, &host.sshd).await;
    let other = installation.api.post("/v1/ssh-keys", json!({"name": "other"})).await.expect(201).data();
    installation.api.patch(&path, json!({"ssh_key": other["id"]})).await.expect(200);
    let check = checked(&installation.api, &path).await;
    assert_eq!((&check["status"], &check["failed_step"]), (&json!("failed"), &json!("login")), "{check}");
    assert_eq!(installation.api.get(&path).await.expect(200).data()["status"], "failed");
    host.sshd.stop().await.unwrap();
    let check = checked(&installation.api, &path).await;
    assert_eq!((&check["status"], &check["failed_step"]), (&json!("failed"), &json!("connect")), "{check}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_host_key_is_told_and_can_be_accepted() {
    let installation = Installation::start().await;
    let (before, after) = (Host::start().await, Host::start().await);
    let path = add_proxy(&installation.api, &before.sshd).await;
    let pinned = checked(&installation.api, &path).await["found"]["host_key"].as_str().unwrap().to_owned();
    // Another machine answers where the first one did.
    let shown = installation.api.get(&path).await.expect(200).data();
    after.sshd.authorize(shown["key"]["public_key"].as_str().unwrap()).unwrap();
    let moved = json!({"port": after.sshd.port(), "host_key": pinned});
    installation.api.patch(&path, moved).await.expect(200);
    let check = checked(&installation.api, &path).await;
    assert_eq!((&check["status"], &check["failed_step"]), (&json!("failed"), &json!("host_key")), "{check}");
    assert!(check["message"].as_str().unwrap().contains(&pinned), "{check}");
    let accepted = json!({"host_key": after.sshd.host_key().unwrap()});
    let accepted = installation.api.post(&format!("{path}/host-key"), accepted).await.expect(200).data();
    assert_eq!(accepted["host_key"]["source"], "accepted");
    assert_ne!(accepted["host_key"]["fingerprint"], pinned);
    assert_eq!(checked(&installation.api, &path).await["status"], "success");
}
