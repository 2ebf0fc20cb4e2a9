//! Encryption keys: public halves are taken in every form that people have them in, private ones never.

use holdfast_local::demo::sshd::make_key;
use holdfast_tests::tree::{Entry, entries};
use holdfast_tests::{Installation, Setup};
use http::Method;
use serde_json::{Value, json};

use crate::resources::send_if_match;

const AGE: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH6x2MQO/zX/R7RhuKPSzOYEM0uxl1yrD+BrnHsVtvtX me@host";
const PEM: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA15KvMV5qYT6z+LrkhQ5U
bKQFpz92MFu0zgT6JDGUeKE1B4uSnBC31coZ3kp0aZcw9lXI60KWZYLhJ/4FDRb7
SxyuNoHGpjVYuzW2HHSBWpco2Eirg3WDecBq1WdoLNMiv0NMDHwovxZuxai8dk2m
CXyPo3DQxGsaAvglTjCkm5AiL4bbiw7VukIxDTySFziqIzAKQaNBzzgnIR7xLxyZ
nsNOUnSGLrG9+hz+x0wsyKljC9E+scpfa7e0bt5pNT+XVdzPxvMxYAvCudJoxZXp
9wWMjCrH5WnNEefAiycIQS5jLgcTRTq7vYT1wxGP//g2YLFfU5prujLjvbMG5uBP
mQIDAQAB
-----END PUBLIC KEY-----";
/// The same as backups print it.
const PEM_IN_BASE64: &str = "\
    LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0KTUlJQklqQU5CZ2txaGtpRzl3MEJBUUVGQUFPQ0FROEFNSUlCQ2dLQ0FRRUExNUt2TVY1\
    cVlUNnorTHJraFE1VQpiS1FGcHo5Mk1GdTB6Z1Q2SkRHVWVLRTFCNHVTbkJDMzFjb1oza3AwYVpjdzlsWEk2MEtXWllMaEovNEZEUmI3\
    ClN4eXVOb0hHcGpWWXV6VzJISFNCV3BjbzJFaXJnM1dEZWNCcTFXZG9MTk1pdjBOTURId292eFp1eGFpOGRrMm0KQ1h5UG8zRFF4R3Nh\
    QXZnbFRqQ2ttNUFpTDRiYml3N1Z1a0l4RFR5U0Z6aXFJekFLUWFOQnp6Z25JUjd4THh5Wgpuc05PVW5TR0xyRzkraHoreDB3c3lLbGpD\
    OUUrc2NwZmE3ZTBidDVwTlQrWFZkelB4dk14WUF2Q3VkSm94WlhwCjl3V01qQ3JINVduTkVlZkFpeWNJUVM1akxnY1RSVHE3dllUMXd4\
    R1AvL2cyWUxGZlU1cHJ1akxqdmJNRzV1QlAKbVFJREFRQUIKLS0tLS1FTkQgUFVCTElDIEtFWS0tLS0t";

async fn without_worker() -> Installation {
    Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_listed_renamed_and_deleted() {
    let installation = without_worker().await;
    let api = &installation.api;
    let made = api.post("/v1/encryption-keys", json!({"name": "age", "public_key": AGE})).await.expect(201);
    assert_eq!(made.header("etag"), "\"1\"");
    let age = made.data();
    assert_eq!((&age["id"], &age["kind"], &age["public_key"]), (&json!(1), &json!("age"), &json!(AGE)));
    assert!(age["created_at"].is_string() && age["updated_at"] == age["created_at"], "{age}");
    let ssh = json!({"name": "ssh", "public_key": format!("  {ED25519}\n")});
    let ssh = api.post("/v1/encryption-keys", ssh).await.expect(201).data();
    assert_eq!((&ssh["kind"], &ssh["public_key"]), (&json!("ssh-ed25519"), &json!(ED25519)));
    assert_eq!(ssh["fingerprint"], "SHA256:XWyI5OWBBfpXJPtDpR8dpyKP8jOBbnRsDHRnZXNLNEE");
    let pem = api.post("/v1/encryption-keys", json!({"name": "pem", "public_key": PEM})).await.expect(201).data();
    assert_eq!((&pem["kind"], &pem["public_key"]), (&json!("rsa-pem"), &json!(PEM)));
    let form = format!("name=form&public_key={}", PEM_IN_BASE64.replace('+', "%2B").replace('=', "%3D"));
    let by_form = api.form("/v1/encryption-keys", &form).await.expect(201).data();
    assert_eq!((&by_form["id"], &by_form["name"]), (&json!(4), &json!("form")));
    for member in ["kind", "public_key", "fingerprint"] {
        assert_eq!(by_form[member], pem[member], "it is the same key");
    }

    let shown = api.get("/v1/encryption-keys/1").await.expect(200);
    assert_eq!((shown.data(), shown.header("etag")), (age.clone(), "\"1\""));
    let listed = api.get("/v1/encryption-keys?sort=-name").await.expect(200);
    assert_eq!(listed.data(), json!([ssh, pem, by_form, age]));
    assert_eq!(listed.json()["meta"]["total"], 4);

    let renamed = api.patch("/v1/encryption-keys/1", json!({"name": "offline"})).await.expect(200);
    assert_eq!(renamed.header("etag"), "\"2\"");
    assert_eq!((&renamed.data()["name"], &renamed.data()["public_key"]), (&json!("offline"), &json!(AGE)));
    let renamed = api.form("/v1/encryption-keys/1", "name=in+the+safe").await.expect(200).data();
    assert_eq!(api.get("/v1/encryption-keys/1").await.expect(200).data(), renamed);
    let listed = api.get("/v1/encryption-keys?sort=-name").await.expect(200).data();
    assert_eq!(listed, json!([ssh, pem, renamed, by_form]), "the new name is sorted by");

    api.delete("/v1/encryption-keys/1").await.expect(204);
    api.delete("/v1/encryption-keys/1").await.expect(404);
    api.get("/v1/encryption-keys/1").await.expect(404);
    api.patch("/v1/encryption-keys/1", json!({"name": "x"})).await.expect(404);
    assert_eq!(api.get("/v1/encryption-keys").await.expect(200).json()["meta"]["total"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_use_stays() {
    let installation = without_worker().await;
    let api = &installation.api;
    for name in ["first", "second"] {
        api.post("/v1/encryption-keys", json!({"name": name, "public_key": AGE})).await.expect(201);
    }
    api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201);
    let server = json!({"name": "shop", "host": "10.0.0.1", "user": "root", "ssh_key": 1});
    api.post("/v1/servers", server).await.expect(201);
    let job = installation.add_job_with(1, json!({"name": "shop files", "encryption_key_id": 1})).await;
    let refused = api.delete("/v1/encryption-keys/1").await.expect(409).json();
    assert_eq!(refused["message"], "the encryption key is used by the job shop files");
    api.patch("/v1/encryption-keys/1", json!({"name": "renamed all the same"})).await.expect(200);
    // The job takes the other one: now that one stays and the first can go.
    api.post(&format!("/v1/jobs/{job}/encryption-key"), json!({"encryption_key_id": 2})).await.expect(204);
    api.delete("/v1/encryption-keys/2").await.expect(409);
    api.delete("/v1/encryption-keys/1").await.expect(204);
    api.delete(&format!("/v1/jobs/{job}/encryption-key")).await.expect(204);
    api.delete("/v1/encryption-keys/2").await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_of_what_changed_meanwhile_is_refused() {
    let installation = without_worker().await;
    let api = &installation.api;
    api.post("/v1/encryption-keys", json!({"name": "a", "public_key": AGE})).await.expect(201);
    let path = "/v1/encryption-keys/1";
    send_if_match(api, Method::PATCH, path, "\"1\"", json!({"name": "b"})).await.expect(200);
    send_if_match(api, Method::PATCH, path, "\"1\"", json!({"name": "c"})).await.expect(412);
    send_if_match(api, Method::DELETE, path, "\"1\"", Value::Null).await.expect(412);
    assert_eq!(api.get(path).await.expect(200).data()["name"], "b");
    send_if_match(api, Method::DELETE, path, "\"2\"", Value::Null).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_told_under_its_field() {
    let installation = without_worker().await;
    let api = &installation.api;
    let sound = || json!({"name": "key", "public_key": AGE});
    let long = "x".repeat(256);
    let longer = format!("{ED25519} {}", "x".repeat(8_192));
    let cases = [
        ("name", json!(null), "is required"),
        ("name", json!(""), "is required"),
        ("name", json!(["x"]), "must be text"),
        ("name", json!(long), "longer than 255"),
        ("name", json!("a\nb"), "line breaks"),
        ("public_key", json!(null), "is required"),
        ("public_key", json!(""), "is required"),
        ("public_key", json!({"a": 1}), "must be text"),
        ("public_key", json!(5), "must be a public key"),
        ("public_key", json!("ecdsa-sha2-nistp256 AAAA"), "must be a public key"),
        ("public_key", json!(longer), "longer than any key"),
        ("public_key", json!(&AGE[..60]), "checksum"),
        ("public_key", json!(&ED25519[..60]), "cut off"),
        ("public_key", json!(&PEM[..200]), "cut off"),
        ("public_key", json!(format!("{ED25519}\n{ED25519}")), "single line"),
        ("extra", json!(1), "is not known here"),
    ];
    for (field, value, words) in cases {
        let mut body = sound();
        body[field] = value.clone();
        let answer = api.post("/v1/encryption-keys", body).await.expect(422).json();
        let errors = answer["errors"].as_object().unwrap();
        assert_eq!(errors.keys().collect::<Vec<_>>(), [field], "{field} {value}");
        assert!(errors[field][0].as_str().unwrap().contains(words), "{field} {value}: {answer}");
    }
    let all = api.post("/v1/encryption-keys", json!({"extra": 1})).await.expect(422).json();
    assert_eq!(all["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["extra", "name", "public_key"]);
    assert_eq!(api.get("/v1/encryption-keys").await.expect(200).json()["meta"]["total"], 0);

    api.post("/v1/encryption-keys", sound()).await.expect(201);
    let edits = [("name", json!("a\nb")), ("public_key", json!(ED25519)), ("extra", json!(1))];
    for (field, value) in edits {
        let answer = api.patch("/v1/encryption-keys/1", json!({ field: value })).await.expect(422).json();
        assert_eq!(answer["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), [field]);
    }
    assert_eq!(api.get("/v1/encryption-keys/1").await.expect(200).header("etag"), "\"1\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_key_is_refused_and_kept_nowhere() {
    let installation = without_worker().await;
    let made = tempfile::tempdir().unwrap();
    make_key(&made.path().join("key")).await.unwrap();
    let private = std::fs::read_to_string(made.path().join("key")).unwrap();
    let middle = private.lines().nth(2).expect("lines of a private key").to_owned();
    for (number, text) in [private.clone(), format!("{private}{AGE}")].into_iter().enumerate() {
        // A call that makes something is remembered for its repetitions; what was refused must not be.
        let request = installation.api.request(Method::POST, "/v1/encryption-keys");
        let request =
            request.header("content-type", "application/json").header("idempotency-key", format!("k{number}"));
        let body = json!({"name": "a name that is no secret", "public_key": text}).to_string();
        let refused = installation.api.send(request, body.into()).await.expect(422);
        let told = refused.json()["errors"]["public_key"][0].as_str().unwrap().to_owned();
        assert!(told.contains("private key") && told.contains("public half"), "{told}");
        assert!(!refused.text().contains(&middle), "the answer shows it");
    }
    installation.api.post("/v1/encryption-keys", json!({"name": "marked", "public_key": AGE})).await.expect(201);
    let (dir, _) = installation.stop().await;
    let content: Vec<_> = entries(dir.path()).into_values().collect();
    let holds = |text: &str| {
        let within = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        content.iter().any(|entry| matches!(entry, Entry::File(_, bytes) if within(bytes)))
    };
    assert!(holds(AGE), "this looks in the wrong place");
    assert!(!holds(&middle), "a private key lies in the data folder");
}
