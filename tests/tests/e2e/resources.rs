//! Keys, servers and storages: made, read, changed, checked and deleted, with their secrets kept.

use bytes::Bytes;
use holdfast_tests::installation::Host;
use holdfast_tests::tree::{Entry, entries};
use holdfast_tests::{Answer, Client, Installation, Setup, eventually};
use http::Method;
use serde_json::{Value, json};

/// Words that no answer may hold.
const SECRETS: [&str; 4] = ["PRIVATE KEY", "openssh-key-v1", "very-secret", "access-key-of-mine"];

fn assert_no_secret(answer: &Answer) {
    let text = answer.text();
    for secret in SECRETS {
        assert!(!text.contains(secret), "an answer shows {secret:?}: {text}");
    }
}

async fn without_worker() -> Installation {
    Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await
}

/// A storage at an endpoint, with credentials that must never be seen again.
fn storage_at(endpoint: &str) -> Value {
    json!({
        "name": "mine", "provider": "custom", "endpoint": endpoint, "bucket": "holdfast", "region": "us-east-1",
        "key": "access-key-of-mine", "secret": "very-secret",
    })
}

/// A call that is made only if the record is of that revision.
pub async fn send_if_match(api: &Client, method: Method, path: &str, tag: &str, body: Value) -> Answer {
    let request = api.request(method, path).header("if-match", tag).header("content-type", "application/json");
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    api.send(request, body).await
}

/// The check of a server, a proxy or a storage once a worker has answered it.
pub async fn checked(api: &Client, path: &str) -> Value {
    let asked = api.post(&format!("{path}/check"), json!({})).await.expect(202).data()["check"].clone();
    assert_eq!(asked["status"], "pending", "{asked}");
    eventually("the check", || async {
        let answer = api.get(path).await.expect(200);
        assert_no_secret(&answer);
        let check = answer.data()["check"].clone();
        assert_eq!(check["id"], asked["id"], "another check is shown");
        if check["status"] == "pending" { Err(check) } else { Ok(check) }
    })
    .await
}

fn message(refused: &Answer) -> String {
    refused.json()["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ssh_keys_are_made_listed_and_deleted() {
    let installation = without_worker().await;
    let api = &installation.api;
    let made = api.post("/v1/ssh-keys", json!({"name": "web"})).await.expect(201);
    assert_no_secret(&made);
    let made = made.data();
    assert_eq!((&made["id"], &made["name"], &made["last_used"]), (&json!(1), &json!("web"), &Value::Null));
    assert!(made["public_key"].as_str().unwrap().starts_with("ssh-ed25519 AAAA"), "{made}");
    assert!(made["fingerprint"].as_str().unwrap().starts_with("SHA256:"), "{made}");
    let by_form = api.form("/v1/ssh-keys", "name=database+hosts").await.expect(201).data();
    assert_eq!((&by_form["id"], &by_form["name"]), (&json!(2), &json!("database hosts")));
    assert_ne!(by_form["public_key"], made["public_key"]);

    let shown = api.get("/v1/ssh-keys/1").await.expect(200);
    assert_no_secret(&shown);
    assert_eq!(shown.data(), made);
    let listed = api.get("/v1/ssh-keys?sort=-name").await.expect(200);
    assert_no_secret(&listed);
    assert_eq!(listed.data(), json!([made, by_form]));

    let server = json!({"name": "shop", "host": "10.0.0.1", "user": "root", "ssh_key": 1});
    api.post("/v1/servers", server).await.expect(201);
    let refused = api.delete("/v1/ssh-keys/1").await.expect(409);
    assert_eq!(message(&refused), "the SSH key is used by the server shop");
    api.delete("/v1/servers/1").await.expect(204);
    api.delete("/v1/ssh-keys/1").await.expect(204);
    api.get("/v1/ssh-keys/1").await.expect(404);
    api.delete("/v1/ssh-keys/1").await.expect(404);
    assert_eq!(api.get("/v1/ssh-keys").await.expect(200).data(), json!([by_form]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_made_changed_and_deleted_in_json_and_forms() {
    let installation = without_worker().await;
    let api = &installation.api;
    for name in ["first", "second"] {
        api.post("/v1/ssh-keys", json!({"name": name})).await.expect(201);
    }
    let by_form = "name=shop&ssh_host=10.0.0.1&ssh_port=2222&ssh_user=backup&ssh_key=1";
    let shop = api.form("/v1/servers", by_form).await.expect(201);
    assert_no_secret(&shop);
    let shop = shop.data();
    assert_eq!((&shop["host"], &shop["port"], &shop["user"]), (&json!("10.0.0.1"), &json!(2222), &json!("backup")));
    assert_eq!((&shop["key"]["name"], &shop["max_parallel"]), (&json!("first"), &json!(2)));
    let wiki = json!({"name": "wiki", "host": "wiki.example.com", "user": "root", "ssh_key": 2, "max_parallel": 1});
    let wiki = api.post("/v1/servers", wiki).await.expect(201).data();
    assert_eq!((&wiki["port"], &wiki["host_key"], &wiki["status"]), (&json!(22), &Value::Null, &json!("pending")));

    assert_eq!(api.get("/v1/servers/1").await.expect(200).data(), shop);
    let listed = api.get("/v1/servers?sort=-id").await.expect(200);
    assert_eq!(listed.data(), json!([wiki, shop]));
    assert_eq!(listed.json()["meta"]["total"], 2);

    let changed = api.patch("/v1/servers/1", json!({"name": "store", "ssh_key": 2})).await.expect(200).data();
    assert_eq!((&changed["name"], &changed["key"]["id"], &changed["port"]), (&json!("store"), &json!(2), &json!(2222)));
    let changed = api.form("/v1/servers/1", "port=22&max_parallel=4").await.expect(200).data();
    assert_eq!((&changed["port"], &changed["max_parallel"]), (&json!(22), &json!(4)));
    assert_eq!(api.get("/v1/servers/1").await.expect(200).data(), changed);
    // The key that nothing uses any more can go, the one that both use cannot.
    api.delete("/v1/ssh-keys/1").await.expect(204);
    let refused = message(&api.delete("/v1/ssh-keys/2").await.expect(409));
    assert!(refused.contains("store") && refused.contains("wiki"), "{refused}");

    installation.add_job_with(1, json!({"name": "store files"})).await;
    let refused = message(&api.delete("/v1/servers/1").await.expect(409));
    assert_eq!(refused, "the server is used by the job store files");
    api.delete("/v1/servers/2").await.expect(204);
    api.get("/v1/servers/2").await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_key_is_given_as_a_line_or_a_fingerprint() {
    let installation = without_worker().await;
    let host = Host::start().await;
    let server = installation.add_server(&host).await;
    let path = format!("/v1/servers/{server}");
    let line = host.sshd.host_key().unwrap();
    let given =
        installation.api.patch(&path, json!({"host_key": format!("127.0.0.1 {line}")})).await.expect(200).data();
    assert_eq!(given["host_key"]["source"], "given");
    let fingerprint = given["host_key"]["fingerprint"].as_str().unwrap().to_owned();
    assert!(fingerprint.starts_with("SHA256:"), "{fingerprint}");
    let accepted = json!({"host_key": fingerprint});
    let accepted = installation.api.post(&format!("/v1/servers/{server}/host-key"), accepted).await.expect(200).data();
    assert_eq!(accepted["host_key"]["fingerprint"], fingerprint);
    assert_eq!(accepted["host_key"]["source"], "accepted");
    let forgotten =
        installation.api.post(&format!("/v1/servers/{server}/host-key"), json!({})).await.expect(200).data();
    assert_eq!(forgotten["host_key"], Value::Null, "the next connection pins what it sees");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_tells_what_is_on_a_server_and_pins_its_key() {
    let installation = Installation::start().await;
    let host = Host::start().await;
    let server = installation.add_server(&host).await;
    let path = format!("/v1/servers/{server}");
    let check = checked(&installation.api, &path).await;
    assert_eq!(check["status"], "success", "{check}");
    assert!(check["found"]["ssh"].as_str().unwrap().contains("OpenSSH"), "{check}");
    assert!(check["found"]["tar"].as_str().unwrap().contains("GNU tar"), "{check}");
    assert!(check["found"]["sudo"].is_string() && check["finished_at"].is_string(), "{check}");
    let shown = installation.api.get(&path).await.expect(200).data();
    assert_eq!((&shown["status"], &shown["host_key"]["source"]), (&json!("success"), &json!("first_use")));
    assert_eq!(shown["host_key"]["fingerprint"], check["found"]["host_key"]);
    assert!(shown["last_used"].is_string() && shown["key"]["last_used"].is_string(), "{shown}");
    // What it was pinned to is the host's own key: saying so changes nothing but the source.
    let given = json!({"host_key": host.sshd.host_key().unwrap()});
    let given = installation.api.patch(&path, given).await.expect(200).data();
    assert_eq!(given["host_key"]["fingerprint"], shown["host_key"]["fingerprint"]);
    assert_eq!(checked(&installation.api, &path).await["status"], "success");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fingerprint_alone_is_enough_to_connect() {
    let installation = Installation::start().await;
    let host = Host::start().await;
    let server = installation.add_server(&host).await;
    let path = format!("/v1/servers/{server}");
    let line = json!({"host_key": host.sshd.host_key().unwrap()});
    let fingerprint = installation.api.patch(&path, line).await.expect(200).data()["host_key"]["fingerprint"].clone();
    installation.api.patch(&path, json!({"host_key": fingerprint})).await.expect(200);
    let check = checked(&installation.api, &path).await;
    assert_eq!(check["status"], "success", "{check}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_tells_a_wrong_key_and_a_closed_port() {
    let installation = Installation::start().await;
    let host = Host::start().await;
    let server = installation.add_server(&host).await;
    let path = format!("/v1/servers/{server}");
    let other = installation.api.post("/v1/ssh-keys", json!({"name": "other"})).await.expect(201).data();
    installation.api.patch(&path, json!({"ssh_key": other["id"]})).await.expect(200);
    let check = checked(&installation.api, &path).await;
    assert_eq!((&check["status"], &check["failed_step"]), (&json!("failed"), &json!("login")), "{check}");
    assert!(check["message"].as_str().unwrap().contains("authorized_keys"), "{check}");
    assert_eq!(installation.api.get(&path).await.expect(200).data()["status"], "failed");

    host.sshd.stop().await.unwrap();
    let check = checked(&installation.api, &path).await;
    assert_eq!((&check["status"], &check["failed_step"]), (&json!("failed"), &json!("connect")), "{check}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_host_key_is_told_and_can_be_accepted() {
    let installation = Installation::start().await;
    let (before, after) = (Host::start().await, Host::start().await);
    let server = installation.add_server(&before).await;
    let path = format!("/v1/servers/{server}");
    let pinned = checked(&installation.api, &path).await["found"]["host_key"].as_str().unwrap().to_owned();

    // Another machine answers at the same address: here, what the server is takes the place of where it is.
    let shown = installation.api.get(&path).await.expect(200).data();
    after.sshd.authorize(shown["key"]["public_key"].as_str().unwrap()).unwrap();
    let moved = json!({"port": after.sshd.port(), "host_key": pinned});
    installation.api.patch(&path, moved).await.expect(200);
    let check = checked(&installation.api, &path).await;
    assert_eq!((&check["status"], &check["failed_step"]), (&json!("failed"), &json!("host_key")), "{check}");
    let told = check["message"].as_str().unwrap();
    let fingerprints: Vec<_> = told.split_whitespace().filter(|word| word.starts_with("SHA256:")).collect();
    assert_eq!(fingerprints.len(), 2, "{told}");
    assert!(fingerprints[0].starts_with(&pinned), "{told}");

    let seen = fingerprints[1].trim_end_matches([';', ',', '.']);
    assert_ne!(seen, pinned);
    let accepted = json!({"host_key": seen});
    installation.api.post(&format!("/v1/servers/{server}/host-key"), accepted).await.expect(200);
    let check = checked(&installation.api, &path).await;
    assert_eq!(check["status"], "success", "{check}");
    assert_eq!(installation.api.get(&path).await.expect(200).data()["host_key"]["source"], "accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storages_are_made_changed_and_deleted_and_keep_their_secrets() {
    let installation = without_worker().await;
    let api = &installation.api;
    let own = api.get("/v1/storages/1").await.expect(200).data();
    assert_eq!((&own["provider"], &own["key"]), (&json!("holdfast"), &json!("**not set**")));
    let made = api.post("/v1/storages", storage_at("http://127.0.0.1:9")).await.expect(201);
    assert_no_secret(&made);
    let made = made.data();
    assert_eq!((&made["key"], &made["secret"]), (&json!("**set**"), &json!("**set**")));
    let form = "name=spaces&provider=digitalocean&region=fra1&bucket=mine&key=access-key-of-mine&secret=very-secret";
    let spaces = api.form("/v1/storage", form).await.expect(201);
    assert_no_secret(&spaces);
    let spaces = spaces.data();
    assert_eq!((&spaces["id"], &spaces["endpoint"]), (&json!(3), &Value::Null));

    for shown in [api.get("/v1/storages/2").await.expect(200), api.get("/v1/storage/2").await.expect(200)] {
        assert_no_secret(&shown);
        assert_eq!(shown.data(), made);
    }
    let (listed, alias) = (api.get("/v1/storages?sort=-id").await, api.get("/v1/storage?sort=-id").await);
    for listed in [listed.expect(200), alias.expect(200)] {
        assert_no_secret(&listed);
        assert_eq!(listed.data(), json!([spaces, made, own]));
    }

    let edit = json!({"name": "renamed", "secret": "very-secret-too"});
    let changed = api.patch("/v1/storages/2", edit).await.expect(200);
    assert_no_secret(&changed);
    assert_eq!((&changed.data()["name"], &changed.data()["bucket"]), (&json!("renamed"), &json!("holdfast")));
    assert_eq!(api.form("/v1/storages/2", "bucket=elsewhere").await.expect(200).data()["bucket"], "elsewhere");
    assert_eq!(api.patch("/v1/storage/3", json!({"name": "ams"})).await.expect(200).data()["name"], "ams");
    assert_eq!(api.form("/v1/storage/3", "region=ams3").await.expect(200).data()["region"], "ams3");

    api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201);
    let server = json!({"name": "shop", "host": "10.0.0.1", "user": "root", "ssh_key": 1});
    api.post("/v1/servers", server).await.expect(201);
    let storage = json!([{"storage_id": 1}, {"storage_id": 2}]);
    let job = installation.add_job_with(1, json!({"name": "shop files", "storage": storage})).await;
    let refused = api.delete("/v1/storages/2").await.expect(409);
    assert_no_secret(&refused);
    assert_eq!(message(&refused), "the storage is used by the job shop files");
    let refused = api.patch("/v1/storages/2", json!({"bucket": "somewhere"})).await.expect(409);
    assert!(message(&refused).contains("shop files"), "its copies are there: {}", message(&refused));
    assert!(message(&api.delete("/v1/storages/1").await.expect(409)).contains("installation's own"));

    api.patch(&format!("/v1/jobs/{job}/storage"), json!({"storage": [{"storage_id": 1}]})).await.expect(204);
    api.delete("/v1/storages/2").await.expect(204);
    api.delete("/v1/storage/3").await.expect(204);
    api.get("/v1/storages/2").await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_lie_sealed_in_the_data_folder() {
    let installation = without_worker().await;
    installation.api.post("/v1/ssh-keys", json!({"name": "web"})).await.expect(201);
    let marked = json!({"name": "a name that is no secret"});
    installation.api.post("/v1/ssh-keys", marked).await.expect(201);
    installation.api.post("/v1/storages", storage_at("http://127.0.0.1:9")).await.expect(201);
    let private = installation.service().open_ssh_key(&installation.account(), 1).await.unwrap();
    let middle = private.expose().lines().nth(2).expect("lines of a private key").to_owned();
    let (dir, _) = installation.stop().await;
    let content: Vec<_> = entries(dir.path()).into_values().collect();
    let holds = |text: &str| {
        let within = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        content.iter().any(|entry| matches!(entry, Entry::File(_, bytes) if within(bytes)))
    };
    assert!(holds("a name that is no secret"), "this looks in the wrong place");
    for secret in SECRETS.into_iter().chain([middle.as_str()]) {
        assert!(!holds(secret), "{secret:?} lies in the open");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_of_a_storage_writes_reads_and_deletes() {
    let installation = Installation::start().await;
    let api = &installation.api;
    let check = checked(api, "/v1/storages/1").await;
    assert_eq!((&check["status"], &check["failed_step"]), (&json!("success"), &Value::Null), "{check}");
    let (aws, keys) = (installation.stack.aws(), installation.stack.aws().data().keys());
    let s3 = aws.endpoints.s3.clone();
    let mut own = storage_at(&s3);
    own["key"] = json!(keys.access_key);
    own["secret"] = json!(keys.secret_key.expose());
    api.post("/v1/storages", own).await.expect(201);
    assert_eq!(checked(api, "/v1/storages/2").await["status"], "success");
    api.post("/v1/storages/99/check", json!({})).await.expect(404);
    api.post("/v1/storage/2/check", json!({})).await.expect(202);
    eventually("the other path's check", || async {
        let check = api.get("/v1/storage/2").await.expect(200).data()["check"].clone();
        if check["status"] == "success" { Ok(()) } else { Err(check) }
    })
    .await;
    assert_eq!(holdfast_tests::leftovers::objects(&installation).await, Vec::<String>::new(), "a probe was left");

    let mut wrong = storage_at(&s3);
    wrong["key"] = json!(keys.access_key);
    api.post("/v1/storages", wrong).await.expect(201);
    let check = checked(api, "/v1/storages/3").await;
    assert_eq!((&check["status"], &check["failed_step"]), (&json!("failed"), &json!("write")), "{check}");
    assert!(!check["message"].as_str().unwrap().contains(keys.secret_key.expose()), "{check}");

    let mut missing = storage_at(&s3);
    missing["bucket"] = json!("no-such-bucket");
    missing["key"] = json!(keys.access_key);
    missing["secret"] = json!(keys.secret_key.expose());
    api.post("/v1/storages", missing).await.expect(201);
    let check = checked(api, "/v1/storages/4").await;
    assert_eq!((&check["status"], &check["failed_step"]), (&json!("failed"), &json!("write")), "{check}");

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    api.post("/v1/storages", storage_at(&format!("http://{closed}"))).await.expect(201);
    let check = checked(api, "/v1/storages/5").await;
    assert_eq!((&check["status"], &check["failed_step"]), (&json!("failed"), &json!("write")), "{check}");
    insta::assert_snapshot!(check["message"].as_str().unwrap(), @"bucket holdfast could not be reached to write an object, or is failing; check its endpoint if this stays so");
}
