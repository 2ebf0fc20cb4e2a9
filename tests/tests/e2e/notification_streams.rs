//! Notification streams: what each type has to know, and that nobody sees the secrets among it again.

use holdfast_shared::domain::address::AllowedNetworks;
use holdfast_tests::table::RawTable;
use holdfast_tests::{Client, Installation, Setup};
use http::Method;
use serde_json::{Value, json};

use crate::resources::send_if_match;

const PATH: &str = "/v1/notification-streams";
const BOT_TOKEN: &str = "123456:canary-AAHdqTcvCH1vGWJxfSeofSAs0K5PAL";
const PUSHOVER: &str = "canaryzpo4DXghDmr9QzzfQu27cmVR";

async fn without_worker() -> Installation {
    Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await
}

/// A stream of each type.
fn streams() -> [Value; 7] {
    let hook = "https://hooks.example.com/canary";
    [
        json!({"name": "a", "type": "email", "email": "ops@example.com"}),
        json!({"name": "b", "type": "slack", "url": hook}),
        json!({"name": "c", "type": "discord", "url": hook}),
        json!({"name": "d", "type": "teams", "url": hook}),
        json!({"name": "e", "type": "telegram", "bot_token": BOT_TOKEN, "chat_id": "-1001234567890"}),
        json!({"name": "f", "type": "pushover", "app_token": PUSHOVER, "user_key": PUSHOVER}),
        json!({"name": "g", "type": "webhook", "url": hook, "secret": "canary secret", "enabled": false, "events": ["completed"]}),
    ]
}

/// The fields that a refusal names.
async fn fields_at_fault(api: &Client, method: Method, path: &str, body: Value) -> Vec<String> {
    let answer = api.json(method, path, body.clone()).await;
    assert_eq!(answer.status, 422, "{path} {body}: {}", answer.text());
    answer.json()["errors"].as_object().unwrap().keys().cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_each_type_are_made_changed_and_deleted() {
    let installation = without_worker().await;
    let api = &installation.api;
    for stream in streams() {
        let made = api.post("/v1/notification-streams", stream.clone()).await.expect(201);
        assert_eq!(made.header("etag"), "\"1\"");
        assert!(!made.text().contains("canary"), "{}", made.text());
        let made = made.data();
        for name in ["email", "url", "secret", "bot_token", "chat_id", "app_token", "user_key"] {
            let is_shown = matches!(name, "email" | "chat_id");
            let expected = match &stream[name] {
                Value::Null => Value::Null,
                value if is_shown => value.clone(),
                _ => json!("**set**"),
            };
            assert_eq!(made[name], expected, "{name} of {stream}");
        }
        let (events, enabled) = match stream["type"].as_str() {
            Some("webhook") => (json!(["completed"]), false),
            _ => (json!(["failed", "completed_with_errors", "missed"]), true),
        };
        assert_eq!((&made["events"], &made["enabled"], &made["type"]), (&events, &json!(enabled), &stream["type"]));
        assert_eq!(api.get(&format!("{PATH}/{}", made["id"])).await.expect(200).data(), made);
    }
    let listed = api.get("/v1/notification-streams?sort=-name").await.expect(200);
    assert_eq!((&listed.data()[0]["name"], &listed.json()["meta"]["total"]), (&json!("g"), &json!(7)));
    let form = "name=h&type=webhook&url=https%3A%2F%2Fexample.com&events[]=missed&enabled=0";
    let by_form = api.form("/v1/notification-streams", form).await.expect(201).data();
    assert_eq!((&by_form["events"], &by_form["enabled"]), (&json!(["missed"]), &json!(false)));
    assert_eq!((&by_form["url"], &by_form["secret"]), (&json!("**set**"), &json!("**not set**")));

    let changed = json!({"name": "mail", "email": "dev@example.com", "events": ["failed"], "enabled": false});
    let changed = api.patch("/v1/notification-streams/1", changed).await.expect(200).data();
    assert_eq!((&changed["name"], &changed["email"]), (&json!("mail"), &json!("dev@example.com")));
    assert_eq!((&changed["events"], &changed["enabled"]), (&json!(["failed"]), &json!(false)));
    let changed = api.form("/v1/notification-streams/1", "enabled=on").await.expect(200);
    assert_eq!((changed.header("etag"), &changed.data()["enabled"]), ("\"3\"", &json!(true)));
    let path = "/v1/notification-streams/1";
    send_if_match(api, Method::PATCH, path, "\"2\"", json!({"name": "x"})).await.expect(412);
    send_if_match(api, Method::DELETE, path, "\"2\"", Value::Null).await.expect(412);
    send_if_match(api, Method::DELETE, path, "\"3\"", Value::Null).await.expect(204);
    api.delete("/v1/notification-streams/1").await.expect(404);
    api.get("/v1/notification-streams/1").await.expect(404);
    assert_eq!(api.get("/v1/notification-streams").await.expect(200).json()["meta"]["total"], 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_sealed_and_kept_unless_others_are_sent() {
    let installation = without_worker().await;
    let api = &installation.api;
    for stream in streams() {
        api.post("/v1/notification-streams", stream).await.expect(201);
    }
    let table = RawTable::of(&installation);
    let secret = async |name: &str| {
        let item = table.item("#NOTIFICATION_STREAMS", "000000000007").await;
        item["secrets"].as_m().unwrap()[name].as_s().unwrap().clone()
    };
    let (url, key) = (secret("url").await, secret("secret").await);
    // What an answer showed can be sent back as it is.
    let shown = json!({"type": "webhook", "url": "**set**", "secret": "**set**", "name": "hook", "email": null});
    let changed = api.patch("/v1/notification-streams/7", shown).await.expect(200).data();
    assert_eq!((&changed["name"], &changed["url"]), (&json!("hook"), &json!("**set**")));
    assert_eq!((secret("url").await, secret("secret").await), (url.clone(), key.clone()));
    api.patch("/v1/notification-streams/7", json!({"url": "https://example.com/canary"})).await.expect(200);
    assert_eq!((secret("url").await == url, secret("secret").await == key), (false, true));
    // Null takes away what the type can do without, and nothing else.
    let cleared =
        api.patch("/v1/notification-streams/7", json!({"url": null, "secret": null})).await.expect(200).data();
    assert_eq!((&cleared["url"], &cleared["secret"]), (&json!("**set**"), &json!("**not set**")));
    let item = table.item("#NOTIFICATION_STREAMS", "000000000007").await;
    assert_eq!(item["secrets"].as_m().unwrap().keys().collect::<Vec<_>>(), ["url"]);
    assert_eq!(api.get("/v1/notification-streams/7").await.expect(200).data(), cleared);
    let none = api.patch("/v1/notification-streams/7", json!({"secret": null})).await.expect(200).data();
    assert_eq!(none["secret"], "**not set**");
    let again = api.patch("/v1/notification-streams/7", json!({"secret": "canary"})).await.expect(200).data();
    assert_eq!(again["secret"], "**set**");
    let dump = format!("{:?}", table.items().await);
    assert!(dump.contains("NOTIFICATION_STREAMS") && !dump.contains("canary"), "a secret lies open in the table");
    for path in [PATH, "/v1/audit-events?page_size=100"] {
        assert!(!api.get(path).await.expect(200).text().contains("canary"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_told_under_its_field() {
    let installation = without_worker().await;
    let api = &installation.api;
    let [email, slack, _, _, telegram, pushover, webhook] = streams();
    let long = || json!(format!("https://example.com/{}", "x".repeat(2_048)));
    let cases = [
        (&email, "name", json!(null)),
        (&email, "name", json!("")),
        (&email, "name", json!([1])),
        (&email, "name", json!("x".repeat(256))),
        (&email, "email", json!(null)),
        (&email, "email", json!("")),
        (&email, "email", json!(true)),
        (&email, "email", json!("ops")),
        (&email, "email", json!("a@example.com,b@example.com")),
        (&email, "email", json!(format!("{}@example.com", "x".repeat(300)))),
        (&email, "url", json!("https://example.com")),
        (&email, "enabled", json!("maybe")),
        (&email, "enabled", json!([true])),
        (&email, "events", json!("failed")),
        (&email, "events", json!([])),
        (&email, "extra", json!(1)),
        (&slack, "url", json!(null)),
        (&slack, "url", json!("")),
        (&slack, "url", json!({"a": 1})),
        (&slack, "url", json!("ftp://hooks.slack.com/x")),
        (&slack, "url", json!("https://user:pass@hooks.slack.com/x")),
        (&slack, "url", json!("hooks.slack.com")),
        (&slack, "url", json!("**set**")),
        (&slack, "url", long()),
        (&slack, "secret", json!("x")),
        (&telegram, "bot_token", json!(null)),
        (&telegram, "bot_token", json!("123")),
        (&telegram, "bot_token", json!(["123"])),
        (&telegram, "chat_id", json!(null)),
        (&telegram, "chat_id", json!("a b")),
        (&telegram, "chat_id", json!("1".repeat(99))),
        (&pushover, "app_token", json!(null)),
        (&pushover, "app_token", json!("x")),
        (&pushover, "user_key", json!(null)),
        (&pushover, "user_key", json!("x".repeat(31))),
        (&webhook, "secret", json!("a\nb")),
        (&webhook, "secret", json!("x".repeat(2_049))),
        (&webhook, "chat_id", json!("1")),
    ];
    for (sound, field, value) in cases {
        let mut body = sound.clone();
        body[field] = value.clone();
        assert_eq!(fields_at_fault(api, Method::POST, PATH, body).await, [field], "{value}");
    }
    for (events, told) in
        [(json!(["x"]), "events.0"), (json!(["failed", 1]), "events.1"), (json!(["missed", "missed"]), "events.1")]
    {
        let mut body = email.clone();
        body["events"] = events;
        assert_eq!(fields_at_fault(api, Method::POST, PATH, body).await, [told]);
    }
    for kind in [json!(null), json!(""), json!("fax"), json!(["email"])] {
        let body = json!({"name": "x", "type": kind, "email": "ops@example.com"});
        assert_eq!(fields_at_fault(api, Method::POST, PATH, body).await, ["type"]);
    }
    let all = json!({"type": "telegram", "chat_id": "a b", "url": "x", "events": ["x"], "enabled": "x", "extra": 1});
    let all = fields_at_fault(api, Method::POST, PATH, all).await;
    assert_eq!(all, ["bot_token", "chat_id", "enabled", "events.0", "extra", "name", "url"]);
    assert_eq!(api.get(PATH).await.expect(200).json()["meta"]["total"], 0);

    api.post("/v1/notification-streams", slack).await.expect(201);
    let edits = [
        ("type", json!("teams")),
        ("type", json!("fax")),
        ("url", json!("https://169.254.169.254/latest")),
        ("email", json!("ops@example.com")),
        ("events", json!([])),
        ("extra", json!(1)),
    ];
    for (field, value) in edits {
        let told = fields_at_fault(api, Method::PATCH, "/v1/notification-streams/1", json!({ field: value })).await;
        assert_eq!(told, [field]);
    }
    assert_eq!(api.get("/v1/notification-streams/1").await.expect(200).header("etag"), "\"1\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_leads_only_where_the_operator_allows() {
    let public = Setup { no_worker: true, allow_networks: Some(AllowedNetworks::default()), ..Setup::default() };
    let (public, own) = (Installation::start_with(public).await, without_worker().await);
    let hook = |url: &str| json!({"name": "hook", "type": "webhook", "url": url});
    let private = ["https://127.0.0.1:8443/x", "https://10.0.0.1/x", "https://[::ffff:10.0.0.1]/x", "https://[::1]/x"];
    for url in private {
        assert_eq!(fields_at_fault(&public.api, Method::POST, PATH, hook(url)).await, ["url"], "{url}");
        own.api.post("/v1/notification-streams", hook(url)).await.expect(201);
    }
    // Nowhere, however it is spelled.
    for url in ["https://169.254.169.254/x", "https://0xA9FEA9FE/x", "https://[fd00:ec2::254]/x", "https://[fe80::1]/x"]
    {
        for api in [&public.api, &own.api] {
            assert_eq!(fields_at_fault(api, Method::POST, PATH, hook(url)).await, ["url"], "{url}");
        }
    }
    assert_eq!(public.api.get(PATH).await.expect(200).json()["meta"]["total"], 0);
    // On one's own machine plain http is taken.
    own.api.post("/v1/notification-streams", hook("http://127.0.0.1:8080/x")).await.expect(201);
    let refused = public.api.post("/v1/notification-streams", hook("https://2130706433/canary")).await.expect(422);
    assert!(!refused.text().contains("canary"), "{}", refused.text());
}
