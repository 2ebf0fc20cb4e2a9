//! The audit trail: what was done, by whom, from where.

use bytes::Bytes;
use holdfast_functions::http::operation::Call;
use holdfast_tests::installation::Host;
use holdfast_tests::{Client, Installation};
use http::Method;
use serde_json::{Map, Value, json};

use crate::members::places;
use crate::sound_bodies::CANARY;
use crate::world::{World, calls, installation, route};

/// Calls that are recorded and change nothing that a record shows at once, and why.
const CHANGE_NOTHING: [(&str, &str); 3] = [
    ("POST /v1/backups/{id}/download", "it makes links, which are secrets"),
    ("POST /v1/jobs/{id}/preview", "a worker looks, and changes nothing"),
    ("DELETE /v1/jobs/{id}/backups", "the backups go in the background"),
];

pub async fn events(api: &Client, query: &str) -> Vec<Value> {
    let page = api.get(&format!("/v1/audit-events?page_size=100{query}")).await.expect(200).data();
    page.as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_tells_who_from_where_and_what_changed() {
    let installation = Installation::start().await;
    let api = &installation.api;
    let key = api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201).data();
    let server = json!({"name": "web", "host": "10.9.8.7", "user": "backup", "ssh_key": key["id"]});
    api.post("/v1/servers", server).await.expect(201);
    let edited = api.patch("/v1/servers/1", json!({"name": "www", "port": 2222})).await.expect(200);
    api.delete("/v1/servers/1").await.expect(204);
    let events = events(api, "").await;
    let actions: Vec<_> = events.iter().map(|event| event["action"].as_str().unwrap()).collect();
    let expected = ["DELETE /v1/servers/{id}", "PATCH /v1/servers/{id}", "POST /v1/servers", "POST /v1/ssh-keys"];
    assert_eq!(actions, expected);
    let edit = &events[1];
    assert_eq!(edit["changes"]["name"], json!({"before": "web", "after": "www"}));
    assert_eq!(edit["changes"]["port"], json!({"before": 22, "after": 2222}));
    assert_eq!(edit["changes"].get("host"), None);
    assert_eq!((&edit["subject"], &edit["status"]), (&json!("/v1/servers/1"), &json!(200)));
    assert_eq!(edit["token"]["id"], 1);
    assert_eq!(edit["address"], "127.0.0.1");
    assert_eq!(edit["request_id"], edited.header("x-request-id"));
    assert_eq!(events[0]["changes"]["host"], json!({"before": "10.9.8.7"}));
    assert_eq!(events[2]["changes"]["host"], json!({"after": "10.9.8.7"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_and_a_download_are_events_and_a_refusal_is_none() {
    let installation = Installation::start().await;
    let host = Host::start().await;
    host.write("a", "a");
    let job = installation.add_job(&host).await;
    let backup = installation.run(&job).await;
    let url = backup["files"][0]["url"].as_str().unwrap();
    let path = url.split_once("/v1/").map(|(_, rest)| format!("/v1/{rest}")).unwrap();
    let stranger = installation.api.with_token("");
    stranger.send(stranger.request(Method::HEAD, &path), Bytes::new()).await.expect(302);
    stranger.get(&path).await.expect(302);
    installation.api.patch("/v1/servers/1", json!({"port": 0})).await.expect(422);
    installation.api.get("/v1/servers").await.expect(200);

    let downloads = events(&installation.api, "&action=download").await;
    assert_eq!(downloads.len(), 1, "{downloads:?}");
    let id = backup["id"].as_str().unwrap();
    assert_eq!(downloads[0]["subject"], format!("/v1/backups/{id}/files/1"));
    assert_eq!(downloads[0]["token"]["id"], 1);
    let starts = events(&installation.api, "&action=POST%20/v1/jobs/%7Bid%7D/backups/start").await;
    assert_eq!(starts[0]["changes"]["backup_id"], json!({"after": id}));
    assert!(events(&installation.api, "&subject=/v1/servers/1").await.is_empty());
    assert_eq!(events(&installation.api, &format!("&subject=/v1/jobs/{job}")).await.len(), 1);
    assert!(events(&installation.api, "&token_id=9").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_token_may_not_do_is_an_event_too() {
    let installation = Installation::start().await;
    let service = installation.service();
    let account = installation.account();
    let (_, text) = service.create_token(&account, "reader", vec!["read-servers".to_owned()]).await.unwrap();
    let reader = installation.api.with_token(text.expose());
    let refused = reader.post("/v1/ssh-keys", json!({"name": "x"})).await.expect(403).json();
    assert!(refused["message"].as_str().unwrap().contains("write-ssh-keys"), "{refused}");
    reader.get("/v1/jobs").await.expect(403);
    reader.get("/v1/audit-events").await.expect(403);
    let events = events(&installation.api, "").await;
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["status"], &events[0]["token"]["name"]), (&json!(403), &json!("reader")));
    assert_eq!(events[0]["changes"], json!({}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trail_is_read_page_by_page() {
    let installation = Installation::start().await;
    for number in 0..40 {
        installation.api.post("/v1/ssh-keys", json!({"name": format!("key {number}")})).await.expect(201);
    }
    let mut path = "/v1/audit-events?page_size=15".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = installation.api.get(&path).await.expect(200).json();
        seen.extend(page["data"].as_array().unwrap().iter().map(|event| event["changes"]["name"]["after"].clone()));
        let Some(next) = page["links"]["next"].as_str() else { break };
        path = next.split_once("/v1/").map(|(_, rest)| format!("/v1/{rest}")).unwrap();
    }
    let expected: Vec<_> = (0..40).rev().map(|number| json!(format!("key {number}"))).collect();
    assert_eq!(seen, expected);
    installation.api.get("/v1/audit-events?cursor=e30").await.expect(422);
    installation.api.delete("/v1/audit-events").await.expect(405);
}

/// What an event must tell of a call that succeeded, given what it sent.
fn check_changes(call: &Call, body: Option<&Value>, changes: &Map<String, Value>) {
    let route = route(call);
    if CHANGE_NOTHING.iter().any(|(other, _)| *other == route) {
        assert!(changes.is_empty(), "{route}: {changes:?}");
        return;
    }
    assert!(!changes.is_empty(), "{route} tells no change");
    for (name, change) in changes {
        let sides = (change.get("before").is_some(), change.get("after").is_some());
        let is_right = match call.method {
            _ if call.edits && body.is_some() => sides == (true, true),
            // A backup goes in the background.
            Method::DELETE if call.path.ends_with('}') && call.path != "/v1/backups/{id}" => sides == (true, false),
            Method::POST if !call.path.contains('{') => sides == (false, true),
            // It changes a record, or made one beside it.
            _ => sides.1,
        };
        assert!(is_right, "{route} {name}: {change}");
    }
    // What was sent as one word or number is told as it was sent, where answers show it so.
    let sent = body.and_then(Value::as_object).into_iter().flatten();
    for (name, value) in sent.filter(|(_, value)| value.is_string() || value.is_number()) {
        if let Some(after) = changes.get(name).and_then(|change| change.get("after")) {
            let is_mark = after.as_str().is_some_and(|text| text.starts_with("**"));
            let is_same = after == value || name == "expires_at" || after.is_object();
            assert!(is_mark || is_same, "{route} {name}: {after} after {value} was sent");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mutating_call_is_one_event() {
    let installation = installation().await;
    let world = World::first(&installation).await;
    let mutating: Vec<_> = calls().into_iter().filter(Call::is_mutating).collect();
    assert!(mutating.len() > 60, "operations no longer say what they change");
    let mut tokens = Vec::new();
    for call in &mutating {
        let (route, path) = (route(call), world.fresh_path(call).await);
        let before = events(&world.api, "").await;
        let body = world.body(call);
        let answer = world.call(&call.method, &path, body.as_ref()).await;
        assert!(answer.status.is_success(), "{route}: {} {}", answer.status, answer.text());
        tokens.extend(answer.data()["token"].as_str().map(str::to_owned));
        let after = events(&world.api, "").await;
        let new: Vec<_> = after.iter().take_while(|event| Some(*event) != before.first()).collect();
        assert_eq!(new.len(), 1, "{route}: {new:#?}");
        let event = new[0];
        assert_eq!(event["action"], route);
        assert_eq!(event["subject"], path, "{route}");
        assert_eq!(event["status"], answer.status.as_u16(), "{route}");
        assert_eq!(event["request_id"], answer.header("x-request-id"), "{route}");
        assert_eq!((&event["token"]["id"], &event["address"]), (&json!(1), &json!("127.0.0.1")), "{route}");
        assert!(event["token"]["name"].is_string() && event["at"].is_string(), "{route}: {event}");
        check_changes(call, body.as_ref(), event["changes"].as_object().unwrap());
    }
    let trail = all_events(&world.api).await;
    assert!(trail.len() > mutating.len());
    let trail = json!(trail).to_string();
    assert!(!trail.contains(CANARY), "a secret is in the trail");
    assert!(!tokens.is_empty() && tokens.iter().all(|token| !trail.contains(token)), "a token is in the trail");
}

/// So that no secret goes past the test above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_secret_member_is_sent_with_a_mark() {
    let installation = installation().await;
    let world = World::first(&installation).await;
    let mut seen = 0;
    for call in calls().into_iter().filter(|call| call.body.is_some() && call.method == Method::POST) {
        for place in places(call.body.as_deref().unwrap()).iter().filter(|place| place.schema["writeOnly"] == true) {
            let bodies = world.bodies(call.path);
            let is_marked = |body: &Value| place.get(body).is_some_and(|value| value.to_string().contains(CANARY));
            let elsewhere = call.path == "/v1/notification-streams/{id}";
            assert!(elsewhere || bodies.iter().any(is_marked), "{} {}", route(&call), place.dotted());
            seen += 1;
        }
    }
    assert!(seen > 8, "only {seen} secrets were sent");
}

/// The whole trail, page by page.
async fn all_events(api: &Client) -> Vec<Value> {
    let (mut path, mut all) = ("/v1/audit-events?page_size=100".to_owned(), Vec::new());
    loop {
        let page = api.get(&path).await.expect(200).json();
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        let Some(next) = page["links"]["next"].as_str() else { return all };
        path = next.split_once("/v1/").map(|(_, rest)| format!("/v1/{rest}")).unwrap();
    }
}
