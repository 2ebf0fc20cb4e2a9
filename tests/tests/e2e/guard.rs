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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_job_without_a_server_connects_to_is_refused_in_its_field() {
    let installation = closed().await;
    let api = &installation.api;
    let server = json!({"name": "x", "host": "8.8.8.8", "user": "root", "ssh_key": 1});
    api.post("/v1/servers", server).await.expect(201);
    let job = |compute: &Value, recipe: &str, field: &str, value: &str| {
        json!({"name": "x", "recipe": recipe, "config": { field: value }, "compute": compute,
            "storage": [{"storage_id": 1}]})
    };
    let (alone, on_server) = (json!({"type": "ss_serverless", "region": "EU"}), json!({"server_id": 1}));
    let sources = [
        ("mysql-backups", "mysql_host"),
        ("postgresql-backups", "postgresql_host"),
        ("redis-backups", "redis_host"),
        ("url-backups", "url"),
    ];
    for (recipe, field) in sources {
        let named = format!("config.{field}");
        for host in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "100.64.0.1"] {
            let value = match (field, host.contains(':')) {
                ("url", true) => format!("https://[{host}]/dump"),
                ("url", false) => format!("https://{host}/dump"),
                _ => host.to_owned(),
            };
            let refused = api.post("/v1/jobs", job(&alone, recipe, field, &value)).await.expect(422).json();
            let told: Vec<_> = refused["errors"].as_object().unwrap().keys().collect();
            assert_eq!(told, [&named], "{recipe} {host}: {refused}");
            // There it is the server that connects.
            let made = api.post("/v1/jobs", job(&on_server, recipe, field, &value)).await.expect(201).data();
            if field != "url" {
                let path = format!("/v1/jobs/{}", made["id"].as_str().unwrap());
                let left = api.patch(&path, json!({"compute": alone})).await.expect(422).json();
                assert!(left["errors"][&named].is_array(), "{recipe} {host}: {left}");
            }
        }
        let outside = if field == "url" { "https://8.8.8.8/dump" } else { "8.8.8.8" };
        let made = api.post("/v1/jobs", job(&alone, recipe, field, outside)).await.expect(201).data();
        let path = format!("/v1/jobs/{}", made["id"].as_str().unwrap());
        let inside = outside.replace("8.8.8.8", "10.0.0.1");
        let moved = api.patch(&path, json!({"config": { field: inside }})).await.expect(422).json();
        assert!(moved["errors"][&named].is_array(), "{recipe}: {moved}");
        api.patch(&path, json!({"name": "other"})).await.expect(204);
    }
}
