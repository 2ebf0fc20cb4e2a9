//! Stacks: servers that belong together, the databases on them, and passwords that nobody sees again.

use holdfast_tests::table::RawTable;
use holdfast_tests::{Client, Installation, Setup};
use http::Method;
use serde_json::{Value, json};

use crate::resources::send_if_match;

const CANARY: &str = "canary-of-a-database-password";

/// An installation with an SSH key and this many servers.
pub async fn with_servers(count: u64) -> Installation {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    installation.api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201);
    for number in 1..=count {
        let server = json!({"name": format!("server {number}"), "host": "10.0.0.1", "user": "root", "ssh_key": 1});
        installation.api.post("/v1/servers", server).await.expect(201);
    }
    installation
}

fn shop() -> Value {
    json!({"name": "shop", "servers": [1, 2], "databases": [
        {"type": "mysql", "server_id": 1, "replica_server_id": 2, "name": "shop", "username": "backup", "password": CANARY},
        {"type": "redis", "server_id": 2},
    ]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stacks_are_made_changed_and_deleted() {
    let installation = with_servers(3).await;
    let api = &installation.api;
    let made = api.post("/v1/stacks", shop()).await.expect(201);
    assert_eq!(made.header("etag"), "\"1\"");
    let stack = made.data();
    let databases = json!([
        {"id": 1, "type": "mysql", "server_id": 1, "replica_server_id": 2, "name": "shop", "username": "backup", "password": "**set**"},
        {"id": 2, "type": "redis", "server_id": 2, "replica_server_id": null, "name": null, "username": null, "password": "**not set**"},
    ]);
    assert_eq!((&stack["id"], &stack["name"], &stack["servers"]), (&json!(1), &json!("shop"), &json!([1, 2])));
    assert_eq!(stack["databases"], databases);
    let uid = stack["uid"].as_str().unwrap().to_owned();
    assert!(uid.len() == 32 && uid.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{uid}");
    let by_uid = format!("/v1/stacks/{uid}");
    assert_eq!(api.get(&by_uid).await.expect(200).data(), stack);
    assert_eq!(api.get("/v1/stacks/1").await.expect(200).data(), stack);
    api.get(&format!("/v1/stacks/{}", uid.to_uppercase())).await.expect(404);

    let form = "name=blog&servers[]=3&databases[0][type]=postgresql&databases[0][server_id]=3";
    let blog = api.form("/v1/stacks", form).await.expect(201).data();
    assert_eq!((&blog["servers"], &blog["databases"][0]["type"]), (&json!([3]), &json!("postgresql")));
    assert_ne!(blog["uid"], stack["uid"]);
    let listed = api.get("/v1/stacks?sort=name").await.expect(200);
    assert_eq!(listed.data(), json!([blog, stack]));
    assert_eq!(listed.json()["meta"]["total"], 2);

    let renamed = api.patch(&by_uid, json!({"name": "store"})).await.expect(200);
    assert_eq!((renamed.header("etag"), &renamed.data()["databases"]), ("\"2\"", &databases));
    let bare = api.form("/v1/stacks/2", "servers[]=1").await.expect(422).json();
    assert_eq!(bare["errors"], json!({"databases.0.server_id": ["must be one of the stack's servers"]}));
    let bare = api.patch("/v1/stacks/2", json!({"servers": [1], "databases": []})).await.expect(200).data();
    assert_eq!((&bare["servers"], &bare["databases"]), (&json!([1]), &json!([])));
    api.delete("/v1/servers/3").await.expect(204);

    api.delete(&by_uid).await.expect(204);
    api.delete(&by_uid).await.expect(404);
    api.get("/v1/stacks/1").await.expect(404);
    api.delete("/v1/stacks/2").await.expect(204);
    assert_eq!(api.get("/v1/stacks").await.expect(200).json()["meta"]["total"], 0);
    let left = RawTable::of(&installation).items().await;
    let left = left.iter().filter(|item| item["pk"].as_s().unwrap().contains("#STACKS")).count();
    assert_eq!(left, 0, "rows stayed behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_a_stack_stays() {
    let installation = with_servers(3).await;
    let api = &installation.api;
    api.post("/v1/stacks", shop()).await.expect(201);
    api.post("/v1/stacks", json!({"name": "blog", "servers": [1]})).await.expect(201);
    let refused = |answer: Value| answer["message"].as_str().unwrap().to_owned();
    let both = refused(api.delete("/v1/servers/1").await.expect(409).json());
    assert_eq!(both, "the server is used by the stacks shop, blog");
    installation.add_job_with(1, json!({"name": "files"})).await;
    let mixed = refused(api.delete("/v1/servers/1").await.expect(409).json());
    assert_eq!(mixed, "the server is used by the job files and the stacks shop, blog");
    let one = refused(api.delete("/v1/servers/2").await.expect(409).json());
    assert_eq!(one, "the server is used by the stack shop");

    let moved = json!({"servers": [1, 3], "databases": [{"type": "redis", "server_id": 3}]});
    api.patch("/v1/stacks/1", moved).await.expect(200);
    api.delete("/v1/servers/2").await.expect(204);
    api.delete("/v1/servers/3").await.expect(409);
    api.delete("/v1/stacks/1").await.expect(204);
    api.delete("/v1/servers/3").await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_of_what_changed_meanwhile_is_refused() {
    let installation = with_servers(2).await;
    let api = &installation.api;
    let uid = api.post("/v1/stacks", shop()).await.expect(201).data()["uid"].as_str().unwrap().to_owned();
    let path = format!("/v1/stacks/{uid}");
    send_if_match(api, Method::PATCH, &path, "\"1\"", json!({"name": "b"})).await.expect(200);
    send_if_match(api, Method::PATCH, "/v1/stacks/1", "\"1\"", json!({"name": "c"})).await.expect(412);
    send_if_match(api, Method::DELETE, &path, "\"1\"", Value::Null).await.expect(412);
    assert_eq!(api.get(&path).await.expect(200).data()["name"], "b");
    send_if_match(api, Method::DELETE, &path, "\"2\"", Value::Null).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_are_sealed_and_kept_by_the_id_of_their_database() {
    let installation = with_servers(3).await;
    let api = &installation.api;
    api.post("/v1/stacks", shop()).await.expect(201);
    let shown = api.get("/v1/stacks/1").await.expect(200);
    assert!(!shown.text().contains(CANARY));
    let sealed = password(&installation).await;

    // What an answer showed can be sent back as it is.
    let same = json!({"databases": shown.data()["databases"]});
    let same = api.patch("/v1/stacks/1", same).await.expect(200).data();
    assert_eq!(same["databases"], shown.data()["databases"]);
    assert_eq!(password(&installation).await, sealed, "the password is another one");
    let mut database = json!({"id": 1, "type": "mysql", "server_id": 1, "replica_server_id": 2, "name": "other"});
    let renamed = api.patch("/v1/stacks/1", json!({"databases": [database]})).await.expect(200).data();
    assert_eq!((&renamed["databases"][0]["password"], &renamed["databases"][0]["id"]), (&json!("**set**"), &json!(1)));
    assert_eq!(password(&installation).await, sealed);

    // But not to another server.
    database["server_id"] = json!(3);
    let moved = json!({"servers": [1, 2, 3], "databases": [database]});
    assert_eq!(fields_at_fault(api, Method::PATCH, "/v1/stacks/1", moved.clone()).await, ["databases.0.password"]);
    let mut with_password = moved;
    with_password["databases"][0]["password"] = json!("another-canary");
    api.patch("/v1/stacks/1", with_password).await.expect(200);
    assert_ne!(password(&installation).await, sealed);

    // An id is never given to another database, so what was sealed for one opens for no other.
    let new = json!({"databases": [{"type": "mysql", "server_id": 1}]});
    let new = api.patch("/v1/stacks/1", new).await.expect(200).data();
    assert_eq!((&new["databases"][0]["id"], &new["databases"][0]["password"]), (&json!(3), &json!("**not set**")));
    let table = format!("{:?}", RawTable::of(&installation).items().await);
    assert!(!table.contains("canary"), "a password lies open in the table");
}

/// The first database's password, as the table holds it.
async fn password(installation: &Installation) -> String {
    let item = RawTable::of(installation).item("#STACKS", "000000000001").await;
    let database = item["databases"].as_l().unwrap()[0].as_m().unwrap();
    database["password"].as_s().unwrap().clone()
}

/// The fields that a refusal names.
async fn fields_at_fault(api: &Client, method: Method, path: &str, body: Value) -> Vec<String> {
    let answer = api.json(method, path, body.clone()).await;
    assert_eq!(answer.status, 422, "{body}: {}", answer.text());
    answer.json()["errors"].as_object().unwrap().keys().cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_told_under_its_field() {
    let installation = with_servers(2).await;
    let api = &installation.api;
    let cases = [
        ("name", json!(null), "name"),
        ("name", json!(["x"]), "name"),
        ("name", json!(""), "name"),
        ("name", json!("x".repeat(256)), "name"),
        ("servers", json!(null), "servers"),
        ("servers", json!(""), "servers"),
        ("servers", json!(1), "servers"),
        ("servers", json!([]), "servers"),
        ("servers", json!(["x"]), "servers.0"),
        ("servers", json!([0]), "servers.0"),
        ("servers", json!([1, true]), "servers.1"),
        ("servers", json!([1, 1]), "servers.1"),
        ("servers", json!([1, 9]), "servers.1"),
        ("servers", json!([1, 9_007_199_254_740_993_u64]), "servers.1"),
        ("databases", json!("mysql"), "databases"),
        ("databases", json!({"type": "mysql"}), "databases"),
        ("databases", json!([1]), "databases.0"),
        ("extra", json!(1), "extra"),
        ("uid", json!("0".repeat(32)), "uid"),
    ];
    for (field, value, told) in cases {
        let mut body = json!({"name": "shop", "servers": [1, 2]});
        body[field] = value.clone();
        assert_eq!(fields_at_fault(api, Method::POST, "/v1/stacks", body).await, [told], "{field} {value}");
    }
    let cases = [
        ("type", json!(null)),
        ("type", json!("oracle")),
        ("type", json!(["mysql"])),
        ("server_id", json!(null)),
        ("server_id", json!("one")),
        ("server_id", json!(0)),
        ("server_id", json!(3)),
        ("replica_server_id", json!("x")),
        ("replica_server_id", json!(1)),
        ("replica_server_id", json!(3)),
        ("name", json!(["x"])),
        ("name", json!("x".repeat(65))),
        ("name", json!("a b")),
        ("name", json!("-oops")),
        ("username", json!({"a": 1})),
        ("username", json!("u".repeat(129))),
        ("username", json!("a\nb")),
        ("password", json!([1])),
        ("password", json!("p".repeat(513))),
        ("password", json!("a\nb")),
        ("password", json!("**set**")),
        ("id", json!(1)),
        ("extra", json!(1)),
    ];
    for (field, value) in cases {
        let mut database = json!({"type": "mysql", "server_id": 1});
        database[field] = value.clone();
        let body =
            json!({"name": "shop", "servers": [1, 2], "databases": [{"type": "redis", "server_id": 2}, database]});
        let told = fields_at_fault(api, Method::POST, "/v1/stacks", body).await;
        assert_eq!(told, [format!("databases.1.{field}")], "{value}");
    }
    let redis = json!({"type": "redis", "server_id": 1, "name": "0"});
    let body = json!({"name": "shop", "servers": [1], "databases": [redis]});
    assert_eq!(fields_at_fault(api, Method::POST, "/v1/stacks", body).await, ["databases.0.name"]);
    let all = json!({"servers": [], "databases": [{"type": "x", "extra": 1}], "extra": 1});
    let all = fields_at_fault(api, Method::POST, "/v1/stacks", all).await;
    assert_eq!(all, ["databases.0.extra", "databases.0.server_id", "databases.0.type", "extra", "name"]);
    let many: Vec<u64> = (1..=41).collect();
    let told = fields_at_fault(api, Method::POST, "/v1/stacks", json!({"name": "shop", "servers": many})).await;
    assert!(told.contains(&"servers".to_owned()), "{told:?}");
    let database = |number: usize| json!({"type": "mysql", "server_id": 1, "name": format!("shop{number}")});
    let many: Vec<Value> = (0..65).map(database).collect();
    let body = json!({"name": "shop", "servers": [1], "databases": many});
    assert_eq!(fields_at_fault(api, Method::POST, "/v1/stacks", body).await, ["databases"]);
    assert_eq!(api.get("/v1/stacks").await.expect(200).json()["meta"]["total"], 0);

    api.post("/v1/stacks", shop()).await.expect(201);
    let edits = [
        (json!({"servers": []}), "servers"),
        (json!({"servers": [1, 2, 9]}), "servers.2"),
        (json!({"databases": [{"id": 9, "type": "mysql", "server_id": 1}]}), "databases.0.id"),
        (json!({"extra": 1}), "extra"),
    ];
    for (body, told) in edits {
        let told_by_empty = body == json!({"servers": []});
        let at_fault = fields_at_fault(api, Method::PATCH, "/v1/stacks/1", body).await;
        assert!(at_fault.contains(&told.to_owned()) && (told_by_empty || at_fault.len() == 1), "{at_fault:?}");
    }
    assert_eq!(api.get("/v1/stacks/1").await.expect(200).header("etag"), "\"1\"");
}
