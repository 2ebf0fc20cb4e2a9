//! Sealing: every sealed text opens in its own place only; keys are rotated and taken away beside a running installation
//! and without one; and KMS gives keys out to who has the right context.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_sdk_dynamodb::types::AttributeValue;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_functions::maintenance::handle;
use holdfast_shared::domain::account::AccountId;
use holdfast_tests::installation::Host;
use holdfast_tests::process::worker_environment;
use holdfast_tests::table::{Item, RawTable};
use holdfast_tests::{Client, Installation, Setup, eventually};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::canaries::canary::Canaries;
use crate::canaries::secrets::Planter;
use crate::serve::{Serve, run, text, words};

/// Where in the table sealed texts stand: the end of the partition, and the attribute. What is not listed here is either
/// not sealed, or not sealed anew after a rotation.
const SEALED_PLACES: [&str; 11] = [
    "ANSWERED answer",
    "CONTENT text",
    "CRONTABS sha256",
    "CRONTAB_SERVER ALERTS command",
    "JOBS encryption_password",
    "JOBS hooks",
    "JOBS recipe",
    "NOTIFICATION_STREAMS secrets",
    "SSH_KEYS private_key",
    "STACKS databases",
    "STORAGES credentials",
];

/// Fills an account with every kind of secret.
async fn fill(api: &Client) {
    api.post("/v1/ssh-keys", json!({"name": "k"})).await.expect(201);
    api.post("/v1/ssh-keys", json!({"name": "l"})).await.expect(201);
    let server = json!({"name": "w", "host": "10.0.0.1", "user": "root", "ssh_key": 1});
    api.post("/v1/servers", server).await.expect(201);
    Planter::new(api, &mut Canaries::new()).plant().await;
    let server = json!({"name": "c", "ip_address": "203.0.113.7", "identifier": "web"});
    api.post("/v1/crontab-servers", server).await.expect(201);
    for text in ["0 0 * * * a", "0 0 * * * b"] {
        api.post("/v1/crontabs", json!({"server": "web", "username": "root", "content": text})).await.expect(201);
        let alert = json!({"username": "root", "command": text});
        api.post("/v1/crontab-servers/1/alerts", alert).await.expect(201);
        let request = api.request(Method::POST, "/v1/stacks").header("idempotency-key", text);
        let request = request.header("content-type", "application/json");
        api.send(request, json!({"name": text, "servers": [1]}).to_string().into()).await.expect(201);
    }
}

/// A filled installation without a worker.
async fn filled() -> Installation {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    fill(&installation.api).await;
    installation
}

/// Every sealed text of an item, with the attribute that it is in.
fn sealed_texts(item: &mut Item) -> Vec<(String, &mut String)> {
    let mut found = Vec::new();
    for (name, value) in item.iter_mut().filter(|(name, _)| !["pk", "sk"].contains(&name.as_str())) {
        collect(name, value, &mut found);
    }
    found
}

fn collect<'a>(name: &str, value: &'a mut AttributeValue, found: &mut Vec<(String, &'a mut String)>) {
    match value {
        AttributeValue::S(text) if is_sealed(text) => found.push((name.to_owned(), text)),
        AttributeValue::M(members) => members.values_mut().for_each(|one| collect(name, one, found)),
        AttributeValue::L(elements) => elements.iter_mut().for_each(|one| collect(name, one, found)),
        _ => {}
    }
}

/// `NUMBER.BASE64` of at least a nonce and a tag.
fn is_sealed(text: &str) -> bool {
    let Some((number, sealed)) = text.split_once('.') else { return false };
    number.parse::<u32>().is_ok() && STANDARD.decode(sealed).is_ok_and(|bytes| bytes.len() >= 28)
}

/// How many sealed texts there are under each key, and in which places.
async fn count(table: &RawTable) -> (BTreeMap<String, usize>, Vec<String>) {
    let (mut keys, mut places) = (BTreeMap::new(), Vec::new());
    for mut item in table.items().await {
        let pk = item["pk"].as_s().unwrap().clone();
        for (attribute, text) in sealed_texts(&mut item) {
            *keys.entry(text.split_once('.').unwrap().0.to_owned()).or_default() += 1;
            let kind: Vec<_> = pk.split('#').skip(2).filter(|part| part.parse::<u64>().is_err()).collect();
            let kind = if kind == ["CRONTAB", "SNAPSHOT"] { "CONTENT".to_owned() } else { kind.join(" ") };
            places.push(format!("{kind} {attribute}"));
        }
    }
    places.sort();
    places.dedup();
    (keys, places)
}

/// Adds a key, and waits until the installation seals under it.
async fn rotate(installation: &Installation) {
    let output = holdfast(installation.dir(), &["key", "rotate"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["running"], true, "{answer}");
    assert_eq!(json!(installation.service().sealer.numbers()[0]), answer["newest"]);
}

async fn holdfast(data: &Path, arguments: &[&str]) -> Output {
    let mut command = words(arguments);
    command.arg("--data").arg(data).arg("--json").env_remove("RUST_LOG");
    run(command).await
}

async fn answer(data: &Path, arguments: &[&str]) -> Value {
    let output = holdfast(data, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Maintains until nothing is sealed anew any more; answers how many records were, and how many passes it took.
async fn maintain(installation: &Installation) -> (usize, usize) {
    let (mut renewed, mut passes, mut quiet) = (0, 0, 0);
    // Pages without anything to do lie between others, and a walk that found something is followed by one that looks again.
    while quiet < 3 {
        let report = installation.maintain().await;
        renewed += report.secrets_resealed;
        passes += 1;
        quiet = if report.secrets_resealed == 0 { quiet + 1 } else { 0 };
    }
    (renewed, passes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_there_is_is_sealed_anew_after_a_rotation() {
    let installation = filled().await;
    let table = RawTable::of(&installation);
    let (before, places) = count(&table).await;
    assert_eq!(places, SEALED_PLACES, "a sealed text in a place that no walk comes by, or a place that is not filled");
    assert_eq!(before.keys().collect::<Vec<_>>(), ["1"]);
    installation.maintain().await;
    assert_eq!(count(&table).await.0, before, "with one key there is nothing to do");
    let job = installation.api.get("/v1/jobs").await.expect(200).data()[0]["id"].as_str().unwrap().to_owned();
    let etag = async || installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).header("etag").to_owned();
    let (seen, ssh_key) =
        (etag().await, installation.service().open_ssh_key(&installation.account(), 1).await.unwrap());

    rotate(&installation).await;
    let uses = installation.service().sealing_key_uses().await.unwrap();
    assert_eq!((uses[0].number, uses[1].number, uses[1].records), (1, 2, 0));
    let (renewed, passes) = maintain(&installation).await;
    assert_eq!(u64::try_from(renewed).unwrap(), uses[0].records);
    assert!(passes < 40, "{passes} passes");
    let (after, _) = count(&table).await;
    assert_eq!(after, BTreeMap::from([("2".to_owned(), before["1"])]));
    assert_eq!(etag().await, seen, "nothing that its owner sees was changed");

    let uses = handle(installation.service(), json!({"command": "list_sealing_keys"})).await.unwrap();
    assert_eq!(uses["sealing_keys"][1], json!({"key": 1, "newest": false, "known": true, "records": 0}));
    answer(installation.dir(), &["key", "remove", "1"]).await;
    assert_eq!(installation.service().sealer.numbers(), [2]);
    assert_eq!(installation.service().open_ssh_key(&installation.account(), 1).await.unwrap(), ssh_key);
    let content = installation.api.get("/v1/crontabs/1/content").await.expect(200).text();
    assert_eq!(content, "0 0 * * * b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_text_opens_nowhere_else() {
    let installation = filled().await;
    let service = installation.service();
    let made = handle(service, json!({"command": "create_account", "name": "other"})).await.unwrap();
    let [other, token] = ["account", "token"].map(|name| made[name].as_str().unwrap().to_owned());
    let other = AccountId::parse(&other).unwrap();
    fill(&installation.api.with_token(&token)).await;
    let table = RawTable::of(&installation);
    let is_of = |item: &Item, account: &AccountId| item["pk"].as_s().unwrap().starts_with(&format!("A#{account}#"));
    let mut items = table.items().await;
    items.sort_by_key(|item| (item["pk"].as_s().unwrap().clone(), item["sk"].as_s().unwrap().clone()));

    // In the first account every text moves on by one: to another field, or to another record.
    let mut own: Vec<Item> = items.into_iter().filter(|item| is_of(item, &installation.account())).collect();
    let mut all: Vec<&mut String> = own.iter_mut().flat_map(sealed_texts).map(|(_, text)| text).collect();
    let moved = all.len();
    assert!(moved > 40, "only {moved} texts were read");
    for place in 1..moved {
        let (before, after) = all.split_at_mut(place);
        std::mem::swap(before[place - 1], after[0]);
    }
    // In the second one each stands where it stood in the first.
    let foreign = table.item(&format!("{}#SSH_KEYS", installation.account()), "0001").await["private_key"].clone();
    let mut stolen = table.item(&format!("{other}#SSH_KEYS"), "0001").await;
    stolen.insert("private_key".to_owned(), foreign);
    table.put(stolen).await;
    for item in own {
        table.put(item).await;
    }

    assert!(service.open_ssh_key(&installation.account(), 1).await.is_err(), "a text of another record");
    assert!(service.open_ssh_key(&other, 1).await.is_err(), "a text of another account");
    service.open_ssh_key(&other, 2).await.unwrap();
    rotate(&installation).await;
    maintain(&installation).await;
    let (keys, _) = count(&table).await;
    // What does not open is not sealed anew either, so it stays as it was.
    assert_eq!(keys["1"], moved + 1, "{keys:?}");
    assert_eq!(keys["2"], moved - 1, "the other account's: {keys:?}");
    let refused = holdfast(installation.dir(), &["key", "remove", "1"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("are sealed under key 1"), "{}", text(&refused.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_is_never_lost_to_a_rotation() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let storage = json!({
        "name": "s", "provider": "aws", "bucket": "bucket", "region": "eu-west-1", "key": "k0", "secret": "s0",
    });
    installation.api.post("/v1/storages", storage).await.expect(201);
    let (service, account, table) = (installation.service(), installation.account(), RawTable::of(&installation));
    for number in 0..12 {
        rotate(&installation).await;
        let secret = format!("s{number}");
        let edit = json!({"secret": secret});
        let (edited, _) = tokio::join!(installation.api.patch("/v1/storages/2", edit), service.maintain());
        edited.expect(200);
        let item = table.item("#STORAGES", "0002").await;
        let sealed = item["credentials"].as_m().unwrap()["secret"].as_s().unwrap().clone();
        let sealed = holdfast_shared::domain::sealed::Sealed(sealed);
        assert_eq!(service.sealer.open(&account, "storage/2/secret", &sealed).unwrap().expose(), secret);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_beside_a_running_serve_and_without_one() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    for arguments in [&["key", "rotate"][..], &["key", "list"], &["key", "remove", "1"]] {
        let refused = holdfast(&data, arguments).await;
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains("holds no holdfast data"), "{}", text(&refused.stderr));
    }
    let serve = Serve::start(&data).await;
    let token = std::fs::read_to_string(data.join("token")).unwrap();
    let client = |serve: &Serve| Client::new(serve.base_url(), token.trim());
    client(&serve).post("/v1/ssh-keys", json!({"name": "k"})).await.expect(201);
    assert_eq!(answer(&data, &["key", "rotate"]).await, json!({"newest": 2, "running": true}));
    client(&serve).post("/v1/ssh-keys", json!({"name": "k"})).await.expect(201);
    let listed = answer(&data, &["key", "list"]).await["sealing_keys"].clone();
    let newest = json!({"key": 2, "newest": true, "known": true, "records": 1});
    assert_eq!(listed, json!([newest, {"key": 1, "newest": false, "known": true, "records": 1}]));
    for (number, word) in [("1", "1 records are sealed under key 1"), ("2", "newest"), ("7", "no sealing key 7")] {
        let refused = holdfast(&data, &["key", "remove", number]).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(word), "{}", text(&refused.stderr));
    }
    assert_eq!(serve.end().await, Some(0));

    assert_eq!(answer(&data, &["key", "rotate"]).await, json!({"newest": 3, "running": false}));
    // Its maintenance runs at the start.
    let serve = Serve::start(&data).await;
    eventually("the walk", || async {
        let listed = answer(&data, &["key", "list"]).await["sealing_keys"].clone();
        if listed[0]["records"] == 2 { Ok(()) } else { Err(listed) }
    })
    .await;
    assert_eq!(answer(&data, &["key", "remove", "1"]).await, json!({"removed": 1, "running": true}));
    let shown = holdfast(&data, &["key", "list"]).await;
    let keys: Value = serde_json::from_slice(&std::fs::read(data.join("key")).unwrap()).unwrap();
    assert_eq!(keys["sealing_keys"].as_array().unwrap().len(), 2);
    for key in keys["sealing_keys"].as_array().unwrap() {
        let printed = format!("{}{}", text(&shown.stdout), text(&shown.stderr));
        assert!(!printed.contains(key["key"].as_str().unwrap()), "a key is printed");
    }
    client(&serve).get("/v1/ssh-keys").await.expect(200);
    assert_eq!(serve.end().await, Some(0));
    let help = text(&run(words(&["key", "--help"])).await.stdout);
    for word in ["rotate", "list", "remove", "--data"] {
        assert!(help.contains(word), "{help}");
    }
}

/// As much of KMS as decrypting takes: a blob is a nonce and what AES-GCM made of the plain text and the context.
struct Kms {
    key: RandomizedNonceKey,
    url: String,
    asked: Mutex<Vec<Value>>,
}

impl Kms {
    async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let key = RandomizedNonceKey::new(&AES_256_GCM, &[9; 32]).unwrap();
        let kms = Arc::new(Self { key, url, asked: Mutex::default() });
        let routes = Router::new().route("/", post(decrypt)).with_state(kms.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        kms
    }

    fn encrypt(&self, plain: &[u8], context: &Value) -> String {
        let mut bytes = plain.to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(context.to_string()), &mut bytes).unwrap();
        STANDARD.encode([nonce.as_ref().as_slice(), &bytes].concat())
    }
}

/// <https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html>
async fn decrypt(State(kms): State<Arc<Kms>>, headers: HeaderMap, body: String) -> impl IntoResponse {
    let asked: Value = serde_json::from_str(&body).unwrap();
    kms.asked.lock().unwrap().push(asked.clone());
    assert_eq!(headers["x-amz-target"], "TrentService.Decrypt");
    let blob = STANDARD.decode(asked["CiphertextBlob"].as_str().unwrap()).unwrap();
    let context = Aad::from(asked["EncryptionContext"].to_string());
    let nonce = Nonce::try_assume_unique_for_key(&blob[..12]).unwrap();
    let mut bytes = blob[12..].to_vec();
    let (status, answer) = match kms.key.open_in_place(nonce, context, &mut bytes) {
        Ok(plain) => (StatusCode::OK, json!({"Plaintext": STANDARD.encode(plain), "KeyId": "arn:aws:kms:x:1:key/1"})),
        Err(_) => (StatusCode::BAD_REQUEST, json!({"__type": "InvalidCiphertextException"})),
    };
    (status, [("content-type", "application/x-amz-json-1.1")], Json(answer))
}

fn context(number: &str) -> Value {
    json!({"holdfast": "sealing-key", "id": number})
}

fn worker(installation: &Installation, kms: &str, keys: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker-process"));
    command.envs(worker_environment(&installation.stack)).env("RUST_LOG", "trace").kill_on_drop(true);
    command.env("AWS_ENDPOINT_URL_KMS", kms).env("HOLDFAST_SEALING_KEYS", keys);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_s_keys_come_from_kms() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let host = Host::start().await;
    host.write("a", "a");
    let job = installation.add_job(&host).await;
    let backup = installation.start_backup(&job).await;
    let master = installation.stack.aws().data().keys().sealing.iter().next().unwrap().1.clone();
    let kms = Kms::start().await;
    let keys =
        format!("2:kms:{},1:kms:{}", kms.encrypt(&[5; 32], &context("2")), kms.encrypt(&master.0, &context("1")));

    let log = installation.dir().join("worker.log");
    let mut command = worker(&installation, &kms.url, &keys);
    let (out, err) = (std::fs::File::create(&log).unwrap(), std::process::Stdio::null());
    let mut running = command.stdout(out).stderr(err).spawn().unwrap();
    assert_eq!(installation.ended(&backup).await["status"], "completed");
    running.kill().await.unwrap();
    assert_eq!(kms.asked.lock().unwrap().len(), 2, "once for each key");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.len() > 10_000, "it logs nothing");
    for secret in [master.to_base64(), STANDARD.encode([5; 32]), format!("{:?}", &master.0[..8])] {
        assert!(!log.contains(secret.trim_matches(['[', ']'])), "a key is in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kms_does_not_give_out_is_told_at_the_start() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let kms = Kms::start().await;
    let of_another = format!("2:kms:{}", kms.encrypt(&[5; 32], &context("1")));
    let no_key = format!("1:kms:{}", kms.encrypt(&[5; 31], &context("1")));
    let good = format!("1:kms:{}", kms.encrypt(&[5; 32], &context("1")));
    let nobody = "http://127.0.0.1:1";
    let cases = [
        (kms.url.as_str(), of_another.as_str(), "kms does not decrypt sealing key 2"),
        (&kms.url, &of_another, "InvalidCiphertextException"),
        (&kms.url, &no_key, "sealing key 1 of HOLDFAST_SEALING_KEYS is not 32 bytes"),
        (nobody, &good, "kms does not decrypt sealing key 1"),
        (&kms.url, "1:kms:?", "HOLDFAST_SEALING_KEYS must be numbered keys"),
    ];
    for (url, keys, word) in cases {
        let mut command = worker(&installation, url, keys);
        let refused = run(std::mem::replace(command.env("RUST_LOG", "error"), Command::new("true"))).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(word), "{word}: {}", text(&refused.stderr));
    }
}
