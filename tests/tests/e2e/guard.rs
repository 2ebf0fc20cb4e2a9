//! Where users may have us connect to.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use holdfast_shared::domain::address::AllowedNetworks;
use holdfast_tests::{Installation, Setup, eventually};
use serde_json::{Value, json};

/// A listener on loopback that counts who comes, and its port.
fn counting() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, seen) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counter = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counter.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    (port, seen)
}

async fn closed() -> Installation {
    let setup = Setup { allow_networks: Some(AllowedNetworks::default()), ..Setup::default() };
    let installation = Installation::start_with(setup).await;
    installation.api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201);
    installation
}

async fn checked(installation: &Installation, path: &str) -> Value {
    installation.api.post(&format!("{path}/check"), json!({})).await.expect(202);
    eventually("the check ends", async || {
        let check = installation.api.get(path).await.expect(200).data()["check"].clone();
        if check["finished_at"].is_null() { Err(check) } else { Ok(check) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_the_inside_are_refused_in_their_field() {
    let installation = closed().await;
    let api = &installation.api;
    for host in ["127.0.0.1", "10.0.0.1", "::1", "::ffff:169.254.169.254", "fd00::1", "100.64.0.1", "2130706433"] {
        for path in ["/v1/servers", "/v1/proxies"] {
            let body = json!({"name": "x", "host": host, "user": "root", "ssh_key": 1});
            let refused = api.post(path, body).await.expect(422).json();
            assert!(refused["errors"]["host"].is_array(), "{path} {host}: {refused}");
        }
        let endpoint = if host.contains(':') { format!("http://[{host}]:9000") } else { format!("http://{host}:9000") };
        let body = json!({
            "name": "x", "provider": "custom", "bucket": "abc", "key": "k", "secret": "s", "region": "eu",
            "endpoint": endpoint,
        });
        let refused = api.post("/v1/storages", body).await.expect(422).json();
        assert!(refused["errors"]["endpoint"].is_array(), "{host}: {refused}");
    }
    let body = json!({"name": "x", "host": "8.8.8.8", "user": "root", "ssh_key": 1});
    api.post("/v1/servers", body).await.expect(201);
    let moved = api.patch("/v1/servers/1", json!({"host": "127.0.0.1"})).await.expect(422).json();
    assert!(moved["errors"]["host"][0].as_str().unwrap().contains("loopback"), "{moved}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_inside_is_never_connected_to() {
    let installation = closed().await;
    let (port, seen) = counting();
    let api = &installation.api;
    let login = json!({"name": "x", "host": "localhost", "port": port, "user": "root", "ssh_key": 1});
    api.post("/v1/servers", login.clone()).await.expect(201);
    api.post("/v1/proxies", login).await.expect(201);
    let storage = json!({
        "name": "x", "provider": "custom", "bucket": "abc", "key": "k", "secret": "s", "region": "eu",
        "endpoint": format!("http://localhost:{port}"),
    });
    let storage = api.post("/v1/storages", storage).await.expect(201).data()["id"].clone();
    for path in ["/v1/servers/1".to_owned(), "/v1/proxies/1".to_owned(), format!("/v1/storages/{storage}")] {
        let check = checked(&installation, &path).await;
        let message = check["message"].as_str().unwrap_or_default();
        assert_eq!(check["failed_step"], "connect", "{path}: {check}");
        assert!(message.contains("localhost leads to a loopback address"), "{path}: {check}");
    }
    for storage in [json!(1), storage] {
        let job = json!({
            "name": "x", "recipe_id": 1, "config": {"root_path": "/"},
            "compute": {"type": "server", "server_id": 1}, "storage": [{"storage_id": storage}],
        });
        let job = api.post("/v1/jobs", job).await.expect(201).data()["id"].as_str().unwrap().to_owned();
        let backup = installation.run(&job).await;
        // At once: to try again would lead to the same place.
        assert_eq!((&backup["status"], &backup["attempt"]), (&json!("failed"), &json!(1)), "{backup}");
        assert!(backup["failure"].to_string().contains("loopback"), "{backup}");
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(seen.load(Ordering::SeqCst), 0, "somebody connected");
}
