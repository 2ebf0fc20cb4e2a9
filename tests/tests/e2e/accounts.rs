//! The account and its tokens: what is shown of them, who may make which, and when they stop working.

use holdfast_shared::domain::account::AccountId;
use holdfast_tests::installation::Host;
use holdfast_tests::{Client, Installation, Setup, eventually};
use jiff::SignedDuration;
use serde_json::{Value, json};

async fn start() -> Installation {
    Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await
}

/// Makes a token and answers what is shown of it.
async fn make(api: &Client, abilities: &[&str]) -> Value {
    api.post("/v1/tokens", json!({"name": "made", "abilities": abilities})).await.expect(201).data()
}

fn text(token: &Value) -> &str {
    token["token"].as_str().unwrap()
}

/// The whole time after which no process believes what it knows of a token.
const NO_LONGER_BELIEVED: SignedDuration = SignedDuration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_is_shown_and_changed() {
    let installation = start().await;
    let api = &installation.api;
    let shown = api.get("/v1/account").await.expect(200);
    let account = shown.data();
    assert_eq!(account["id"], installation.account().as_str());
    assert_eq!((&account["timezone"], &account["company_id"]), (&json!("UTC"), &json!(1)));
    assert_eq!(account["limits"]["requests_per_second_per_token"], 50);

    let edit = json!({"name": "acme", "timezone": "europe/berlin", "company_id": 7});
    let changed = api.patch("/v1/account", edit).await.expect(200);
    assert_eq!(changed.data()["timezone"], "Europe/Berlin");
    assert_ne!(changed.header("etag"), shown.header("etag"));
    let changed = api.post("/v1/account", json!({"name": "acme ltd"})).await.expect(200).data();
    assert_eq!((&changed["name"], &changed["company_id"]), (&json!("acme ltd"), &json!(7)));

    let stale = api.request(http::Method::PATCH, "/v1/account").header("if-match", shown.header("etag"));
    let stale = stale.header("content-type", "application/json");
    api.send(stale, r#"{"name": "late"}"#.into()).await.expect(412);
    let bad = json!({"name": "a\nb", "timezone": "Mars/Olympus", "company_id": 0, "id": "other"});
    let errors = api.patch("/v1/account", bad).await.expect(422).json()["errors"].clone();
    let fields: Vec<_> = errors.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["company_id", "id", "name", "timezone"]);
    assert_eq!(api.get("/v1/account").await.data()["name"], "acme ltd");
    let directory = installation.service().list_accounts(100, None).await.unwrap().records;
    assert_eq!(directory.len(), 1);
    assert_eq!(directory[0].name, "acme ltd", "the directory follows");

    let events = api.get("/v1/audit-events").await.expect(200).data();
    assert_eq!(events[0]["changes"]["name"], json!({"before": "acme", "after": "acme ltd"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lives_from_its_making_to_its_revocation() {
    let installation = start().await;
    let api = &installation.api;
    let made = make(api, &["read-jobs", "view-remote-servers"]).await;
    let (id, secret) = (made["id"].as_u64().unwrap(), text(&made).to_owned());
    assert_eq!(made["abilities"], json!(["read-jobs", "read-servers"]));
    let prefix = made["prefix"].as_str().unwrap();
    assert!(secret.starts_with(prefix) && prefix.starts_with("hfst_") && secret.len() - prefix.len() == 39, "{prefix}");

    let shown = api.get(&format!("/v1/tokens/{id}")).await.expect(200);
    let listed = api.get("/v1/tokens?sort=-id").await.expect(200);
    assert_eq!(listed.data()[0], shown.data());
    assert_eq!(listed.json()["meta"]["total"], 2);
    for answer in [&shown, &listed] {
        assert!(!answer.text().contains(&secret) && !answer.text().contains("sha256"), "{}", answer.text());
    }
    assert_eq!((&shown.data()["last_used_at"], &shown.data()["expires_at"]), (&Value::Null, &Value::Null));

    let holder = api.with_token(&secret);
    holder.get("/v1/jobs").await.expect(200);
    holder.get("/v1/storages").await.expect(403);
    let used = eventually("the use", || async {
        let shown = api.get(&format!("/v1/tokens/{id}")).await.data();
        if shown["last_used_at"].is_string() { Ok(shown) } else { Err(shown) }
    });
    let used = used.await["last_used_at"].clone();
    holder.get("/v1/jobs").await.expect(200);

    let edit = json!({"name": "renamed", "abilities": ["read-storages"]});
    let edited = api.patch(&format!("/v1/tokens/{id}"), edit).await.expect(200);
    assert_eq!((&edited.data()["name"], &edited.data()["last_used_at"]), (&json!("renamed"), &used));
    api.post(&format!("/v1/tokens/{id}"), json!({"name": "again"})).await.expect(200);
    installation.advance(NO_LONGER_BELIEVED);
    holder.get("/v1/storages").await.expect(200);
    holder.get("/v1/jobs").await.expect(403);

    let stale =
        api.request(http::Method::DELETE, &format!("/v1/tokens/{id}")).header("if-match", edited.header("etag"));
    api.send(stale, bytes::Bytes::new()).await.expect(412);
    api.delete(&format!("/v1/tokens/{id}")).await.expect(204);
    installation.advance(NO_LONGER_BELIEVED);
    holder.get("/v1/storages").await.expect(401);
    api.get(&format!("/v1/tokens/{id}")).await.expect(404);
    api.delete(&format!("/v1/tokens/{id}")).await.expect(404);
    assert_eq!(api.get("/v1/tokens").await.json()["meta"]["total"], 1);

    let trail = api.get("/v1/audit-events").await.expect(200).text();
    assert!(trail.contains("DELETE /v1/tokens/{id}") && !trail.contains(&secret), "{trail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_gives_no_more_than_it_has() {
    let installation = start().await;
    let limited = make(&installation.api, &["read-tokens", "write-tokens", "read-jobs"]).await;
    let other = make(&installation.api, &["download"]).await;
    let api = installation.api.with_token(text(&limited));
    make(&api, &["read-jobs", "write-tokens"]).await;
    for (given, lacking) in [("download", "download"), ("*", "*"), ("run-backup-tasks", "run-backups")] {
        let body = json!({"name": "more", "abilities": ["read-jobs", given]});
        let refused = api.post("/v1/tokens", body).await.expect(403).json();
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(&format!("the ability {lacking},")), "{message}");
    }
    // Nor to itself, nor to one that is there; but what the other one has it may keep.
    let own = format!("/v1/tokens/{}", limited["id"]);
    api.patch(&own, json!({"abilities": ["write-tokens", "download"]})).await.expect(403);
    let other = format!("/v1/tokens/{}", other["id"]);
    api.patch(&other, json!({"abilities": ["download", "read-jobs"]})).await.expect(200);
    api.patch(&other, json!({"abilities": ["download", "read-servers"]})).await.expect(403);
    assert_eq!(api.get(&other).await.data()["abilities"], json!(["download", "read-jobs"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_expire_and_give_no_longer_life_than_theirs() {
    let installation = start().await;
    let now = installation.service().clock.now();
    let at = |hours| (now + SignedDuration::from_hours(hours)).to_string();
    let new = |expires_at: &str| json!({"name": "passing", "abilities": ["*"], "expires_at": expires_at});
    for wrong in [at(-1), "tomorrow".to_owned(), "2030-13-01T00:00:00Z".to_owned()] {
        let errors = installation.api.post("/v1/tokens", new(&wrong)).await.expect(422).json()["errors"].clone();
        assert!(errors["expires_at"].is_array(), "{wrong}: {errors}");
    }
    let unknown = json!({"name": "x", "abilities": ["read-job"]});
    let errors = installation.api.post("/v1/tokens", unknown).await.expect(422).json()["errors"].clone();
    assert!(errors["abilities.0"].is_array(), "{errors}");
    let errors = installation.api.post("/v1/tokens", json!({})).await.expect(422).json()["errors"].clone();
    assert_eq!(errors.as_object().unwrap().keys().collect::<Vec<_>>(), ["abilities", "name"]);

    let made = installation.api.post("/v1/tokens", new(&at(2))).await.expect(201).data();
    let api = installation.api.with_token(text(&made));
    let heir = make(&api, &["*"]).await;
    assert_eq!(heir["expires_at"], made["expires_at"], "by default for as long as the one that makes it");
    let errors = api.post("/v1/tokens", new(&at(3))).await.expect(422).json()["errors"].clone();
    assert!(errors["expires_at"].is_array(), "{errors}");
    api.get("/v1/account").await.expect(200);
    installation.advance(SignedDuration::from_hours(2));
    for token in [&made, &heir] {
        let refused = installation.api.with_token(text(token)).get("/v1/account").await.expect(401).json();
        assert!(refused["message"].as_str().unwrap().contains("expired"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_another_account_do_not_exist() {
    let installation = start().await;
    make(&installation.api, &["*"]).await;
    let (_, stranger) = installation.service().open_account(new_account("second")).await.unwrap();
    let stranger = installation.api.with_token(stranger.expose());
    assert_eq!(stranger.get("/v1/tokens").await.json()["meta"]["total"], 1);
    for path in ["/v1/tokens/2", "/v1/tokens/3"] {
        assert_eq!(stranger.get(path).await.expect(404).json()["message"], "token not found");
        stranger.patch(path, json!({"name": "mine"})).await.expect(404);
        stranger.delete(path).await.expect(404);
    }
    assert_eq!(installation.api.get("/v1/tokens").await.json()["meta"]["total"], 2);
    // A secret of one place does not open another.
    let text = make(&installation.api, &["*"]).await["token"].as_str().unwrap().to_owned();
    let moved = text.replacen("_3_", "_1_", 1);
    assert_ne!(moved, text);
    installation.api.with_token(&moved).get("/v1/tokens").await.expect(401);
}

fn new_account(name: &str) -> holdfast_shared::domain::account::NewAccount {
    holdfast_shared::domain::account::NewAccount { name: name.to_owned(), timezone: Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_account_is_refused_and_its_schedules_rest() {
    let installation = Installation::start().await;
    let host = Host::start().await;
    host.write("a", "a");
    let server = installation.add_server(&host).await;
    let more = json!({"config": {"root_path": host.site()}, "schedules": [{"frequency": "h12"}]});
    let job = installation.add_job_with(server, more).await;
    let (service, account): (_, AccountId) = (installation.service(), installation.account());
    service.disable_account(&account).await.unwrap();
    installation.advance(NO_LONGER_BELIEVED);
    let refused = installation.api.get("/v1/account").await.expect(401).json();
    assert!(refused["message"].as_str().unwrap().contains("disabled"), "{refused}");

    installation.advance(SignedDuration::from_hours(25));
    service.enable_account(&account).await.unwrap();
    installation.maintain().await;
    installation.listed_when(&job, |backup| backup["skip_reason"] == "account_disabled").await;
    installation.maintain().await;
    let listed = installation.api.get(&format!("/v1/jobs/{job}/backups")).await.expect(200).data();
    for backup in listed.as_array().unwrap() {
        assert_eq!(
            (&backup["status"], &backup["skip_reason"]),
            (&json!("skipped"), &json!("account_disabled")),
            "{backup}"
        );
    }

    installation.advance(SignedDuration::from_hours(13));
    let run = installation.listed_when(&job, |backup| backup["status"] == "completed").await;
    assert_eq!(run["tags"]["manual"], false, "it goes on with what is due now: {run}");
}
