//! Crontabs: sent by servers, kept as snapshots, sealed; and the alerts of their servers.

use bytes::Bytes;
use holdfast_shared::ErrorKind;
use holdfast_tests::table::RawTable;
use holdfast_tests::{Answer, Client, Installation, Setup};
use http::Method;
use serde_json::{Value, json};

use crate::resources::send_if_match;
use crate::runs::sha256;

const CANARY: &str = "canary-in-a-crontab";

/// An installation with the crontab server `web`.
async fn with_server() -> Installation {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let server = json!({"name": "Web", "ip_address": "203.0.113.7", "identifier": "web"});
    installation.api.post("/v1/crontab-servers", server).await.expect(201);
    installation
}

fn crontab(username: &str, content: &str) -> Value {
    json!({"server": "web", "username": username, "content": content})
}

/// The fields that a refusal names.
async fn fields_at_fault(api: &Client, method: Method, path: &str, body: Value) -> Vec<String> {
    let answer = api.json(method, path, body.clone()).await;
    assert_eq!(answer.status, 422, "{path} {body}: {}", answer.text());
    answer.json()["errors"].as_object().unwrap().keys().cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crontab_servers_are_made_changed_and_deleted() {
    let installation = with_server().await;
    let api = &installation.api;
    let form = "name=Database&ip_address=%3A%3Affff%3A203.0.113.8&identifier=db.example.com";
    let made = api.form("/v1/crontab-servers", form).await.expect(201);
    let db = made.data();
    assert_eq!((made.header("etag"), &db["ip_address"], &db["alerts"]), ("\"1\"", &json!("203.0.113.8"), &json!(0)));
    let web = api.get("/v1/crontab-servers/1").await.expect(200).data();
    let listed = api.get("/v1/crontab-servers?sort=name").await.expect(200);
    assert_eq!((listed.data(), &listed.json()["meta"]["total"]), (json!([db, web]), &json!(2)));

    let changed = api.patch("/v1/crontab-servers/1", json!({"ip_address": "2001:db8:0::7"})).await.expect(200);
    assert_eq!((&changed.data()["ip_address"], &changed.data()["name"]), (&json!("2001:db8::7"), &json!("Web")));
    let changed = api.form("/v1/crontab-servers/1", "name=www").await.expect(200);
    assert_eq!((changed.header("etag"), &changed.data()["identifier"]), ("\"3\"", &json!("web")));
    let path = "/v1/crontab-servers/1";
    send_if_match(api, Method::PATCH, path, "\"2\"", json!({"name": "b"})).await.expect(412);
    send_if_match(api, Method::DELETE, path, "\"2\"", Value::Null).await.expect(412);

    api.post("/v1/crontabs", crontab("root", "a")).await.expect(201);
    api.post("/v1/crontabs", crontab("backup", "a")).await.expect(201);
    let refused = api.delete(path).await.expect(409).json();
    assert_eq!(refused["message"], "the crontab server is used by the crontabs backup, root");
    for path in ["/v1/crontabs/1", "/v1/crontabs/2"] {
        api.delete(path).await.expect(204);
    }
    send_if_match(api, Method::DELETE, path, "\"3\"", Value::Null).await.expect(204);
    api.delete(path).await.expect(404);
    api.delete("/v1/crontab-servers/2").await.expect(204);
    // The identifier can be had again.
    let again = json!({"name": "Web", "ip_address": "203.0.113.7", "identifier": "web"});
    assert_eq!(api.post("/v1/crontab-servers", again).await.expect(201).data()["id"], 3);
    assert_eq!(api.get("/v1/crontab-servers").await.expect(200).json()["meta"]["total"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_is_a_snapshot() {
    let installation = with_server().await;
    let api = &installation.api;
    let (first, second) = ("# jobs\n0 1 * * * a\n", "# jobs\n0 2 * * * a\n");
    let made = api.post("/v1/crontabs", crontab("root", first)).await.expect(201).data();
    assert_eq!((&made["id"], &made["server_id"], &made["server"]), (&json!(1), &json!(1), &json!("web")));
    assert_eq!((&made["snapshots"], &made["newest_snapshot"], &made["size_bytes"]), (&json!(1), &json!(1), &json!(19)));
    let same = api.post("/v1/crontabs", crontab("root", first)).await.expect(200);
    assert_eq!((same.data(), same.header("etag")), (made, "\"1\""));
    let changed = api.post("/v1/crontabs", crontab("root", second)).await.expect(201);
    assert_eq!((&changed.data()["snapshots"], changed.header("etag")), (&json!(2), "\"2\""));
    api.post("/v1/crontabs", crontab("root", first)).await.expect(201);
    let other = api.post("/v1/crontabs", crontab("backup", first)).await.expect(201).data();
    assert_eq!((&other["id"], &other["snapshots"]), (&json!(2), &json!(1)), "another user's is another crontab");

    assert_eq!(api.get("/v1/crontabs/1").await.expect(200).data()["snapshots"], 3);
    let listed = api.get("/v1/crontabs?sort=-updated_at").await.expect(200);
    assert_eq!((&listed.data()[0]["id"], &listed.json()["meta"]["total"]), (&json!(2), &json!(2)));
    let snapshots = api.get("/v1/crontabs/1/snapshots").await.expect(200);
    let numbers: Vec<_> = snapshots.data().as_array().unwrap().iter().map(|one| one["number"].clone()).collect();
    assert_eq!((numbers, &snapshots.json()["meta"]["total"]), (vec![json!(3), json!(2), json!(1)], &json!(3)));
    assert!(!snapshots.text().contains("* * *"));
    assert_eq!(api.get("/v1/crontabs/1/snapshots/2").await.expect(200).data()["content"], second);
    let content = api.get("/v1/crontabs/1/content").await.expect(200);
    assert_eq!((content.text().as_str(), content.header("content-type")), (first, "text/plain; charset=utf-8"));
    let diff = api.get("/v1/crontabs/1/snapshots/2/diff").await.expect(200);
    let expected = "--- snapshot 1\n+++ snapshot 2\n@@ -1,2 +1,2 @@\n # jobs\n-0 1 * * * a\n+0 2 * * * a\n";
    assert_eq!((diff.text().as_str(), diff.header("content-type")), (expected, "text/plain; charset=utf-8"));
    let whole = api.get("/v1/crontabs/1/snapshots/1/diff").await.expect(200).text();
    assert_eq!(whole, "--- snapshot 0\n+++ snapshot 1\n@@ -0,0 +1,2 @@\n+# jobs\n+0 1 * * * a\n");
    for path in
        ["/v1/crontabs/9", "/v1/crontabs/1/snapshots/4", "/v1/crontabs/1/snapshots/0/diff", "/v1/crontabs/9/content"]
    {
        api.get(path).await.expect(404);
    }
    api.get("/v1/crontabs/9/snapshots").await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nearly_a_mebibyte_of_odd_characters_comes_back_exactly() {
    let installation = with_server().await;
    let api = &installation.api;
    let line = "*/5 * * * *\tx='é🕐%&+=\\\"' && echo $A # \u{0}\u{7f}\u{feff}\u{2028}\r\n";
    let odd: String = line.repeat(1_000_000 / line.len());
    // A form's escapes would make more than a mebibyte of it, JSON's make little.
    let text = odd.chars().filter(|c| !matches!(c, '\u{0}' | '\u{7f}' | '"' | '\\')).collect::<String>() + line;
    let request = crontab("root", &text);
    assert!(text.len() > 900_000 && request.to_string().len() <= 1024 * 1024, "{} bytes", text.len());
    let made = api.post("/v1/crontabs", request.clone()).await.expect(201).data();
    assert_eq!(made["size_bytes"], text.len());
    api.post("/v1/crontabs", request).await.expect(200);
    assert_eq!(api.get("/v1/crontabs/1/content").await.expect(200).text(), text);
    assert_eq!(api.get("/v1/crontabs/1/snapshots/1").await.expect(200).data()["content"], text);

    let items = RawTable::of(&installation).items().await;
    let parts: Vec<_> = items.iter().filter(|item| item["pk"].as_s().unwrap().contains("#SNAPSHOT#")).collect();
    let longest = parts.iter().map(|item| item["text"].as_s().unwrap().len()).max().unwrap();
    assert!(parts.len() > 4 && longest < 300 * 1024, "{} parts, the longest of {longest} bytes", parts.len());

    // Each of the others is new to all of its lines; a diff ends all the same.
    let other: String = (0..60_000).map(|number| format!("{number} * * * *\n")).collect();
    api.post("/v1/crontabs", crontab("root", &other)).await.expect(201);
    let diff = api.get("/v1/crontabs/1/snapshots/2/diff").await.expect(200).text();
    assert!(diff.contains("\n+59999 * * * *\n") && diff.len() > text.len());
    api.post("/v1/crontabs", crontab("root", &"x".repeat(1024 * 1024))).await.expect(413);
    assert_eq!(api.get("/v1/crontabs/1").await.expect(200).data()["snapshots"], 2);

    let broken = b"server=web&username=root&content=%C3%28".as_slice();
    let request = api.request(Method::POST, "/v1/crontabs").header("content-type", "application/x-www-form-urlencoded");
    api.send(request, Bytes::from_static(broken)).await.expect(400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_are_sealed_and_nothing_of_them_is_left() {
    let installation = with_server().await;
    let api = &installation.api;
    let table = RawTable::of(&installation);
    let before = table.items().await.len();
    for number in 0..30 {
        let text = format!("{number} * * * * PASSWORD={CANARY} run\n");
        let request = api.request(Method::POST, "/v1/crontabs").header("content-type", "application/json");
        let request = request.header("idempotency-key", format!("{number}"));
        api.send(request, Bytes::from(crontab("root", &text).to_string())).await.expect(201);
    }
    api.post("/v1/crontab-servers/1/alerts", json!({"username": "root", "command": CANARY})).await.expect(201);
    let dump = format!("{:?}", table.items().await);
    assert!(dump.contains("#SNAPSHOT#") && !dump.contains(CANARY), "a text lies open in the table");
    // Nor does a hash of one, by which guesses could be tried.
    let sent = format!("29 * * * * PASSWORD={CANARY} run\n");
    let body = format!("application/json\n\n{}", crontab("root", &sent));
    assert!(!dump.contains(&sha256(sent.as_bytes())) && !dump.contains(&sha256(body.as_bytes())));
    for path in ["/v1/crontabs", "/v1/crontabs/1", "/v1/crontabs/1/snapshots", "/v1/audit-events?page_size=100"] {
        assert!(!api.get(path).await.expect(200).text().contains(CANARY), "{path}");
    }

    let service = installation.service();
    let abilities = ["read-crontabs", "write-crontabs"].map(str::to_owned).to_vec();
    let (_, token) = service.create_token(&installation.account(), "reader", abilities).await.unwrap();
    let reader = api.with_token(token.expose());
    for path in ["/v1/crontabs/1/content", "/v1/crontabs/1/snapshots/1", "/v1/crontabs/1/snapshots/2/diff"] {
        let refused = reader.get(path).await.expect(403).json();
        assert!(refused["message"].as_str().unwrap().contains("download"), "{refused}");
    }
    let alerts = reader.get("/v1/crontab-servers/1/alerts").await.expect(200).data();
    assert_eq!((&alerts[0]["username"], &alerts[0]["command"]), (&json!("root"), &Value::Null));

    send_if_match(api, Method::DELETE, "/v1/crontabs/1", "\"29\"", Value::Null).await.expect(412);
    assert_eq!(api.get("/v1/crontabs/1").await.expect(200).data()["snapshots"], 30);
    send_if_match(api, Method::DELETE, "/v1/crontabs/1", "\"30\"", Value::Null).await.expect(204);
    api.get("/v1/crontabs/1").await.expect(404);
    api.get("/v1/crontabs/1/snapshots/30").await.expect(404);
    api.delete("/v1/crontabs/1").await.expect(404);
    api.delete("/v1/crontab-servers/1").await.expect(204);
    let keys = table.items().await;
    let keys: Vec<_> = keys.iter().map(|item| (item["pk"].as_s().unwrap(), item["sk"].as_s().unwrap())).collect();
    let left: Vec<_> = keys.iter().filter(|(pk, _)| pk.contains("#CRONTAB")).collect();
    assert!(left.is_empty() && before > 0, "{left:?}");
    // What is sent again is new, and begins anew.
    let server = json!({"name": "Web", "ip_address": "203.0.113.7", "identifier": "web"});
    api.post("/v1/crontab-servers", server).await.expect(201);
    let again = api.post("/v1/crontabs", crontab("root", &sent)).await.expect(201).data();
    assert_eq!((&again["id"], &again["newest_snapshot"]), (&json!(2), &json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_send_the_same_at_once_make_one_crontab() {
    let installation = with_server().await;
    let api = &installation.api;
    let sends = (0..8).map(|_| api.post("/v1/crontabs", crontab("root", "a\n")));
    let mut statuses: Vec<_> =
        futures::future::join_all(sends).await.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 201]);
    let shown = api.get("/v1/crontabs").await.expect(200).json();
    assert_eq!((&shown["meta"]["total"], &shown["data"][0]["snapshots"]), (&json!(1), &json!(1)));
    let contents: Vec<_> = (0..4).map(|number| crontab("root", &format!("{number}\n"))).collect();
    for answer in futures::future::join_all(contents.into_iter().map(|body| api.post("/v1/crontabs", body))).await {
        answer.expect(201);
    }
    // Those that lost have used up numbers.
    let snapshots = api.get(&format!("/v1/crontabs/{}/snapshots", shown["data"][0]["id"])).await.expect(200);
    assert_eq!((&snapshots.data()[0]["number"], &snapshots.json()["meta"]["total"]), (&json!(5), &json!(5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_come_newest_first_and_go_with_their_server() {
    let installation = with_server().await;
    let api = &installation.api;
    let path = "/v1/crontab-servers/1/alerts";
    for number in 1..=20 {
        let alert = json!({"username": "root", "command": format!("run {number}\n&& it")});
        let made = api.post("/v1/crontab-servers/1/alerts", alert).await.expect(201).data();
        assert_eq!((&made["id"], &made["command"]), (&json!(number), &json!(format!("run {number}\n&& it"))));
    }
    let page = api.get(path).await.expect(200).json();
    assert_eq!((&page["meta"]["total"], &page["data"][0]["command"]), (&json!(20), &json!("run 20\n&& it")));
    let next = page["links"]["next"].as_str().unwrap().split_once("/v1/").unwrap().1;
    let rest = api.get(&format!("/v1/{next}")).await.expect(200).data();
    let ids: Vec<_> = rest.as_array().unwrap().iter().map(|alert| alert["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [5, 4, 3, 2, 1]);
    let shown = api.get("/v1/crontab-servers/1").await.expect(200);
    assert_eq!((&shown.data()["alerts"], shown.header("etag")), (&json!(20), "\"1\""));
    let renamed = api.patch("/v1/crontab-servers/1", json!({"name": "www"})).await.expect(200).data();
    assert_eq!(renamed["alerts"], 20);
    for body in [
        json!({"username": null, "command": "x"}),
        json!({"username": "", "command": "x"}),
        json!({"username": ["x"], "command": "x"}),
        json!({"username": "a b", "command": "x"}),
        json!({"username": "u".repeat(65), "command": "x"}),
    ] {
        assert_eq!(fields_at_fault(api, Method::POST, path, body).await, ["username"]);
    }
    for command in [json!(null), json!(""), json!("  "), json!({"a": 1}), json!("x".repeat(16 * 1024 + 1))] {
        let body = json!({"username": "root", "command": command});
        assert_eq!(fields_at_fault(api, Method::POST, path, body).await, ["command"]);
    }
    let all = fields_at_fault(api, Method::POST, path, json!({"server_id": "web"})).await;
    assert_eq!(all, ["command", "server_id", "username"]);
    api.post("/v1/crontab-servers/9/alerts", json!({})).await.expect(404);
    api.get("/v1/crontab-servers/9/alerts").await.expect(404);

    api.delete("/v1/crontab-servers/1").await.expect(204);
    api.get(path).await.expect(404);
    let items = RawTable::of(&installation).items().await;
    let left = items.iter().filter(|item| item["pk"].as_s().unwrap().ends_with("#ALERTS")).count();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_told_under_its_field() {
    let installation = with_server().await;
    let api = &installation.api;
    let cases = [
        ("name", json!(null)),
        ("name", json!([1])),
        ("name", json!("")),
        ("name", json!("x".repeat(256))),
        ("ip_address", json!(null)),
        ("ip_address", json!(true)),
        ("ip_address", json!("")),
        ("ip_address", json!("203.0.113.256")),
        ("ip_address", json!("203.0.113.0/24")),
        ("ip_address", json!("web.example.com")),
        ("identifier", json!(null)),
        ("identifier", json!({"a": 1})),
        ("identifier", json!("")),
        ("identifier", json!("a/b")),
        ("identifier", json!("x".repeat(129))),
        ("identifier", json!("web")),
        ("extra", json!(1)),
    ];
    for (field, value) in cases {
        let mut body = json!({"name": "db", "ip_address": "203.0.113.8", "identifier": "db"});
        body[field] = value.clone();
        assert_eq!(fields_at_fault(api, Method::POST, "/v1/crontab-servers", body).await, [field], "{value}");
    }
    let all = fields_at_fault(api, Method::POST, "/v1/crontab-servers", json!({"x": 1})).await;
    assert_eq!(all, ["identifier", "ip_address", "name", "x"]);
    for (field, value) in [("identifier", json!("other")), ("ip_address", json!("x")), ("extra", json!(1))] {
        let told = fields_at_fault(api, Method::PATCH, "/v1/crontab-servers/1", json!({ field: value })).await;
        assert_eq!(told, [field]);
    }
    let cases = [
        ("server", json!(null)),
        ("server", json!([1])),
        ("server", json!("")),
        ("server", json!("db")),
        ("server", json!("a b")),
        ("server", json!("x".repeat(129))),
        ("username", json!(null)),
        ("username", json!(true)),
        ("username", json!("")),
        ("username", json!("-r")),
        ("username", json!("root\n")),
        ("username", json!("u".repeat(65))),
        ("content", json!(null)),
        ("content", json!(["0 * * * * x"])),
        ("extra", json!(1)),
    ];
    for (field, value) in cases {
        let mut body = crontab("root", "0 * * * * x\n");
        body[field] = value.clone();
        assert_eq!(fields_at_fault(api, Method::POST, "/v1/crontabs", body).await, [field], "{value}");
    }
    let all = fields_at_fault(api, Method::POST, "/v1/crontabs", json!({"file_content": "x"})).await;
    assert_eq!(all, ["content", "file_content", "server", "username"]);
    assert_eq!(api.get("/v1/crontabs").await.expect(200).json()["meta"]["total"], 0);
    assert_eq!(api.get("/v1/crontab-servers").await.expect(200).json()["meta"]["total"], 1);
}

/// A whole text as `text/plain`, as `crontab -l | curl --data-binary @-` sends it.
async fn send_text(api: &Client, query: &str, key: Option<&str>, text: impl Into<Bytes>) -> Answer {
    let path = format!("/v1/crontabs?{query}");
    let request = api.request(Method::POST, &path).header("content-type", "text/plain");
    let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
    api.send(request, text.into()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_mebibyte_is_taken_as_it_is() {
    let installation = with_server().await;
    let api = &installation.api;
    let query = "server=web&username=root";
    let line = "*/5 * * * *\tx='é🕐%&+=\\\"' && echo $A # %41+b\u{0}\u{7f}\u{feff}\u{2028}\r\n\n";
    let mut text = line.repeat(1024 * 1024 / line.len());
    text.push_str(&"+".repeat(1024 * 1024 - text.len()));
    let made = send_text(api, query, None, text.clone()).await.expect(201).data();
    assert_eq!((&made["size_bytes"], text.len()), (&json!(1024 * 1024), 1024 * 1024));
    assert!(api.get("/v1/crontabs/1/content").await.expect(200).body == text, "other bytes came back");
    assert_eq!(api.get("/v1/crontabs/1/snapshots/1").await.expect(200).data()["content"], text);
    send_text(api, query, None, text.clone()).await.expect(200);
    send_text(api, query, None, text + "+").await.expect(413);
    let refused = send_text(api, query, None, Bytes::from_static(b"0 * * * * caf\xe9\n")).await.expect(400);
    assert_eq!(refused.json()["message"], "the text is not valid UTF-8");
    for (query, fields) in [
        ("", vec!["server", "username"]),
        ("server=db&username=root", vec!["server"]),
        ("server=web&username=root&x=1", vec!["x"]),
    ] {
        let told = send_text(api, query, None, "x").await.expect(422).json()["errors"].clone();
        assert_eq!(told.as_object().unwrap().keys().collect::<Vec<_>>(), fields, "{query}");
    }
    assert_eq!(api.get("/v1/crontabs/1").await.expect(200).data()["snapshots"], 1);
    // Whose crontab it is belongs to the request that a key stands for.
    send_text(api, "server=web&username=a", Some("key"), "same").await.expect(201);
    send_text(api, "server=web&username=a", Some("key"), "same").await.expect(201);
    send_text(api, "server=web&username=b", Some("key"), "same").await.expect(422);
    assert_eq!(api.get("/v1/crontabs").await.expect(200).json()["meta"]["total"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crontab_that_was_emptied_is_a_snapshot_too() {
    let installation = with_server().await;
    let api = &installation.api;
    api.post("/v1/crontabs", crontab("root", "0 * * * * a\n")).await.expect(201);
    let emptied = api.post("/v1/crontabs", crontab("root", "")).await.expect(201).data();
    assert_eq!((&emptied["newest_snapshot"], &emptied["size_bytes"]), (&json!(2), &json!(0)));
    send_text(api, "server=web&username=root", None, "").await.expect(200);
    api.form("/v1/crontabs", "server=web&username=root&content=").await.expect(200);
    assert_eq!(api.get("/v1/crontabs/1/content").await.expect(200).text(), "");
    let diff = api.get("/v1/crontabs/1/snapshots/2/diff").await.expect(200).text();
    assert_eq!(diff, "--- snapshot 1\n+++ snapshot 2\n@@ -1 +0,0 @@\n-0 * * * * a\n");
    api.post("/v1/crontabs", crontab("root", "0 * * * * a\n")).await.expect(201);
    assert_eq!(api.get("/v1/crontabs/1").await.expect(200).data()["snapshots"], 3);
    api.delete("/v1/crontabs/1").await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_counts_only_from_its_own_address() {
    let installation = with_server().await;
    let (service, account) = (installation.service(), installation.account());
    let at = async |identifier: &str, peer: &str| {
        let found = service.crontab_server_at(&account, identifier, peer.parse().unwrap()).await;
        found.map(|server| server.id).map_err(|error| error.kind)
    };
    assert_eq!(at("web", "203.0.113.7").await, Ok(1));
    assert_eq!(at("web", "::ffff:203.0.113.7").await, Ok(1), "an IPv4-mapped address is the IPv4 address");
    for other in ["203.0.113.8", "127.0.0.1", "::203.0.113.7", "2001:db8::7"] {
        assert_eq!(at("web", other).await, Err(ErrorKind::Forbidden), "{other}");
    }
    assert_eq!(at("db", "203.0.113.7").await, Err(ErrorKind::NotFound));
    let stranger = service.create_account("second").await.unwrap();
    let elsewhere = service.crontab_server_at(&stranger.id, "web", "203.0.113.7".parse().unwrap()).await;
    assert_eq!(elsewhere.unwrap_err().kind, ErrorKind::NotFound, "another account's is unknown");
}
