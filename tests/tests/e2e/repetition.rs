//! `Idempotency-Key` and `If-Match`: what is sent twice is done once, and nobody overwrites what he has not seen.

use bytes::Bytes;
use futures::future::join_all;
use holdfast_tests::http::Answer;
use holdfast_tests::{Client, Installation};
use http::Method;
use serde_json::{Value, json};

async fn create(api: &Client, key: &str, body: &Value) -> Answer {
    let request = api.request(Method::POST, "/v1/ssh-keys").header("idempotency-key", key);
    api.send(request.header("content-type", "application/json"), Bytes::from(body.to_string())).await
}

async fn count(api: &Client) -> usize {
    api.get("/v1/ssh-keys").await.expect(200).data().as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_is_answered_the_same_and_made_once() {
    let installation = Installation::start().await;
    let api = &installation.api;
    let body = json!({"name": "a"});
    let first = create(api, "k", &body).await.expect(201);
    let again = create(api, "k", &body).await.expect(201);
    assert_eq!(first.json(), again.json());
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_eq!(count(api).await, 1);

    let other = create(api, "k", &json!({"name": "b"})).await.expect(422).json();
    assert!(other["errors"]["Idempotency-Key"].is_array(), "{other}");
    create(api, "k2", &body).await.expect(201);
    assert_eq!(count(api).await, 2);
    // The event of the first call is the only one: its repetitions did nothing.
    assert_eq!(api.get("/v1/audit-events").await.expect(200).data().as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_leaves_its_key_free() {
    let installation = Installation::start().await;
    create(&installation.api, "k", &json!({})).await.expect(422);
    create(&installation.api, "k", &json!({"name": "a"})).await.expect(201);
    for key in ["", &"x".repeat(256)] {
        create(&installation.api, key, &json!({"name": "a"})).await.expect(422);
    }
    assert_eq!(count(&installation.api).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_is_made() {
    let installation = Installation::start().await;
    let body = json!({"name": "a"});
    let answers = join_all((0..20).map(|_| create(&installation.api, "k", &body))).await;
    let made: Vec<_> =
        answers.iter().filter(|answer| answer.status == 201).map(|answer| answer.data()["id"].clone()).collect();
    assert!(!made.is_empty() && made.iter().all(|id| *id == made[0]), "{made:?}");
    assert!(answers.iter().all(|answer| [201, 409].contains(&answer.status.as_u16())));
    assert_eq!(count(&installation.api).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_of_what_was_changed_since_is_refused() {
    let installation = Installation::start().await;
    let api = &installation.api;
    api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201);
    let server = json!({"name": "web", "host": "10.9.8.7", "user": "backup", "ssh_key": 1});
    let made = api.post("/v1/servers", server).await.expect(201);
    let seen = made.header("etag").to_owned();
    assert_eq!(seen, api.get("/v1/servers/1").await.expect(200).header("etag"));
    let edit = async |tag: &str, name: &str| {
        let request = api.request(Method::PATCH, "/v1/servers/1").header("if-match", tag);
        let body = Bytes::from(json!({"name": name}).to_string());
        api.send(request.header("content-type", "application/json"), body).await
    };
    let changed = edit(&seen, "first").await.expect(200);
    let refused = edit(&seen, "second").await.expect(412).json();
    assert!(refused["message"].as_str().unwrap().contains("changed since"), "{refused}");
    assert_eq!(api.get("/v1/servers/1").await.expect(200).data()["name"], "first");
    edit(changed.header("etag"), "third").await.expect(200);
    edit("*", "fourth").await.expect(200);
    let stale = api.request(Method::DELETE, "/v1/servers/1").header("if-match", seen.as_str());
    api.send(stale, Bytes::new()).await.expect(412);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_of_different_fields_at_once_all_hold() {
    let installation = Installation::start().await;
    let api = &installation.api;
    api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201);
    let server = json!({"name": "web", "host": "10.9.8.7", "user": "backup", "ssh_key": 1});
    api.post("/v1/servers", server).await.expect(201);
    let edits = [json!({"name": "www"}), json!({"port": 2222}), json!({"user": "root"}), json!({"max_parallel": 5})];
    let answers = join_all(edits.into_iter().map(|edit| api.patch("/v1/servers/1", edit))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let shown = api.get("/v1/servers/1").await.expect(200).data();
    assert_eq!((&shown["name"], &shown["port"], &shown["user"]), (&json!("www"), &json!(2222), &json!("root")));
    assert_eq!(shown["max_parallel"], 5);
}
