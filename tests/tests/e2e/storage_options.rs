//! Storage options: what a storage is asked for is asked of S3 with every object, and a lock is lived with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use holdfast_local::embedded::EmbeddedAws;
use holdfast_tests::installation::{Host, id};
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::tree::assert_same;
use holdfast_tests::{Installation, eventually, leftovers};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What requests that write an object asked for, by kind of request.
type Asked = Arc<Mutex<BTreeMap<&'static str, BTreeMap<String, String>>>>;

/// Headers that tell how an object is to be kept.
const HEADERS: [&str; 5] = [
    "x-amz-storage-class",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
];

fn note(asked: &Asked, request: &Request) {
    let query = request.uri().query().unwrap_or("");
    let kind = match request.method().as_str() {
        "POST" if query.starts_with("uploads") => "upload",
        "PUT" if query.contains("partNumber") => "part",
        "PUT" if request.uri().path().contains("/probe/") => "probe",
        "PUT" => "object",
        _ => return,
    };
    let told = HEADERS.iter().filter_map(|name| {
        let value = request.headers().get(*name)?.to_str().ok()?;
        Some(((*name).to_owned(), value.to_owned()))
    });
    asked.lock().unwrap().insert(kind, told.collect());
}

/// An installation whose job stores in a bucket of its owner's, behind a proxy that notes what is asked.
struct Rig {
    installation: Installation,
    host: Host,
    job: String,
    asked: Asked,
    _second: EmbeddedAws,
    _dir: TempDir,
}

impl Rig {
    async fn start(options: Value) -> Self {
        let asked = Asked::default();
        let noted = asked.clone();
        let proxy = Proxy::start(move |request: &Request, _| {
            note(&noted, request);
            Harm::None
        })
        .await;
        let (dir, host, installation) = (TempDir::new().unwrap(), Host::start().await, Installation::start().await);
        host.write("text", "one line\n".repeat(1_000));
        let second = EmbeddedAws::start(dir.path(), installation.clock.clone()).await.unwrap();
        proxy.forward_to(&second.endpoints.s3);
        let keys = second.data().keys();
        let mut storage = json!({
            "name": "elsewhere", "provider": "custom", "endpoint": proxy.url, "bucket": second.config("http://x").bucket,
            "key": keys.access_key, "secret": keys.secret_key.expose(),
        });
        storage.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        installation.api.post("/v1/storages", storage).await.expect(201);
        let server = installation.add_server(&host).await;
        let job = json!({"config": {"root_path": host.site()}, "storage": [{"storage_id": 2}]});
        let job = installation.add_job_with(server, job).await;
        Self { installation, host, job, asked, _second: second, _dir: dir }
    }

    async fn storage(&self) -> Value {
        self.installation.api.get("/v1/storages/2").await.expect(200).data()
    }

    fn asked(&self, kind: &str) -> BTreeMap<String, String> {
        self.asked.lock().unwrap().get(kind).cloned().unwrap_or_else(|| panic!("no {kind}"))
    }

    async fn completed(&self) -> Value {
        let backup = self.installation.run(&self.job).await;
        assert_eq!(backup["status"], "completed", "{backup}");
        assert_same(&self.installation.download(&backup).await, &self.host.site());
        backup
    }

    async fn objects(&self) -> Vec<String> {
        let (service, account) = (self.installation.service(), self.installation.account());
        let bucket = service.objects(&account, &service.storage(&account, 2).await.unwrap()).unwrap();
        bucket.list("", None).await.unwrap().objects.into_iter().map(|object| object.key).collect()
    }

    async fn show(&self, backup: &Value) -> Value {
        let path = format!("/v1/backups/{}", backup["id"].as_str().unwrap());
        self.installation.api.get(&path).await.expect(200).data()
    }
}

fn pairs(headers: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_storage_is_asked_for_is_asked_with_every_object() {
    let options = json!({
        "storage_class": "STANDARD_IA", "server_side_encryption": "aws:kms", "kms_key_id": "alias/backup",
    });
    let rig = Rig::start(options.clone()).await;
    let shown = rig.storage().await;
    for (name, value) in options.as_object().unwrap() {
        assert_eq!(shown[name], *value);
    }
    assert_eq!(shown["object_lock"], Value::Null);
    rig.completed().await;
    let expected = [
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "alias/backup"),
        ("x-amz-storage-class", "STANDARD_IA"),
    ];
    assert_eq!(pairs(&rig.asked("upload")), expected);
    assert_eq!(pairs(&rig.asked("object")), expected, "the manifest");
    assert_eq!(pairs(&rig.asked("part")), [], "S3 takes them with the upload");

    // Changed for what is written from then on, though a job uses it, and taken away.
    let edit = json!({"storage_class": "STANDARD", "server_side_encryption": "AES256"});
    let changed = rig.installation.api.patch("/v1/storages/2", edit).await.expect(200).data();
    assert_eq!((&changed["kms_key_id"], &changed["server_side_encryption"]), (&Value::Null, &json!("AES256")));
    rig.completed().await;
    let expected = [("x-amz-server-side-encryption", "AES256"), ("x-amz-storage-class", "STANDARD")];
    assert_eq!(pairs(&rig.asked("upload")), expected);
    let none = json!({"storage_class": null, "server_side_encryption": null});
    rig.installation.api.patch("/v1/storages/2", none).await.expect(200);
    rig.completed().await;
    assert_eq!((pairs(&rig.asked("upload")), pairs(&rig.asked("object"))), (Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_backup_goes_once_its_lock_has_ended_and_not_before() {
    let rig = Rig::start(json!({"object_lock": {"mode": "COMPLIANCE", "days": 3}})).await;
    let before: Timestamp = rig.installation.service().clock.now();
    let backup = rig.completed().await;
    for kind in ["upload", "object"] {
        let asked = rig.asked(kind);
        assert_eq!(asked["x-amz-object-lock-mode"], "COMPLIANCE", "{kind}");
        let until: Timestamp = asked["x-amz-object-lock-retain-until-date"].parse().unwrap();
        let days = until - before;
        assert!(
            (71..=72).contains(&days.get_hours()) || days.total(jiff::Unit::Hour).unwrap().round() == 72.0,
            "{until}"
        );
    }

    // The probe of a check is not locked, and leaves nothing; that locks are taken is tried all the same.
    rig.installation.api.post("/v1/storages/2/check", json!({})).await.expect(202);
    eventually("the check", || async {
        let check = rig.storage().await["check"].clone();
        if check["status"] == "success" { Ok(()) } else { Err(check) }
    })
    .await;
    assert_eq!(pairs(&rig.asked("probe")), []);
    assert_eq!(rig.objects().await.len(), 2);

    // Asked to go: its record says that it goes, and why it has not.
    let path = format!("/v1/backups/{}", backup["id"].as_str().unwrap());
    rig.installation.api.delete(&path).await.expect(204);
    let kept = eventually("the copy to tell of its lock", || async {
        let seen = rig.show(&backup).await;
        if seen["copies"][0]["error"].is_string() { Ok(seen) } else { Err(seen) }
    })
    .await;
    assert!(kept["copies"][0]["error"].as_str().unwrap().contains("object lock"), "{kept}");
    assert_eq!(kept["status"], "expired");
    assert_eq!(rig.objects().await.len(), 2);
    let quiet = || async {
        eventually("an empty queue", || async {
            let depth = rig.installation.service().aws.queue.depth().await.unwrap();
            if depth == 0 { Ok(()) } else { Err(depth) }
        })
        .await;
    };
    quiet().await;
    // It is not asked for again and again.
    rig.installation.advance(SignedDuration::from_hours(12));
    assert_eq!(rig.installation.maintain().await.deletions_resent, 0);
    rig.installation.advance(SignedDuration::from_hours(13));
    assert_eq!(rig.installation.maintain().await.deletions_resent, 1);
    quiet().await;
    assert_eq!(rig.objects().await.len(), 2);

    rig.installation.advance(SignedDuration::from_hours(72));
    rig.installation.maintain().await;
    eventually("the backup to go", || async {
        let (answer, left) = (rig.installation.api.get(&path).await, rig.objects().await);
        if answer.status == 404 && left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    leftovers::assert_none(&rig.installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_backup_keeps_no_other_from_its_retention() {
    let rig = Rig::start(json!({"object_lock": {"mode": "GOVERNANCE", "days": 30}})).await;
    let keep_one = json!({"manual_retention": {"keep_last": 1}});
    rig.installation.api.patch(&format!("/v1/jobs/{}", rig.job), keep_one).await.expect(204);
    let locked = rig.completed().await;
    rig.installation.api.patch("/v1/storages/2", json!({"object_lock": null})).await.expect(200);
    let free = rig.completed().await;
    let last = rig.completed().await;
    eventually("the one that is free to go", || async {
        let left = rig.objects().await;
        let of = |backup: &Value| left.iter().filter(|key| key.contains(backup["id"].as_str().unwrap())).count();
        if (of(&locked), of(&free), of(&last)) == (2, 0, 2) { Ok(()) } else { Err(left) }
    })
    .await;
    let seen = rig.show(&locked).await;
    assert_eq!(seen["status"], "expired", "{seen}");
    assert!(seen["copies"][0]["error"].as_str().unwrap().contains("object lock"), "{seen}");
    // The walk over the storage is not stopped by it either.
    rig.installation.advance(SignedDuration::from_hours(25));
    rig.installation.maintain().await;
    let record = || async {
        let service = rig.installation.service();
        service.backup_record(&rig.installation.account(), id(&rig.job), id(locked["id"].as_str().unwrap())).await
    };
    assert!(!record().await.unwrap().unwrap().copies.is_empty(), "it still says where its objects are");
    rig.installation.advance(SignedDuration::from_hours(24 * 31));
    rig.completed().await;
    eventually("the locked one to go", || async {
        let left = rig.objects().await;
        if left.iter().any(|key| key.contains(locked["id"].as_str().unwrap())) { Err(left) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_that_do_not_go_together_are_refused() {
    let installation = Installation::start().await;
    let storage = |more: Value| {
        let mut storage = json!({
            "name": "s", "provider": "aws", "bucket": "bucket", "region": "eu-west-1", "key": "k", "secret": "s",
        });
        storage.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        storage
    };
    let cases = [
        (json!({"storage_class": "DEEP_ARCHIVE"}), "storage_class"),
        (json!({"storage_class": "cheap"}), "storage_class"),
        (json!({"server_side_encryption": "rot13"}), "server_side_encryption"),
        (json!({"kms_key_id": "alias/a"}), "kms_key_id"),
        (json!({"kms_key_id": "alias/a", "server_side_encryption": "AES256"}), "kms_key_id"),
        (json!({"kms_key_id": "a b", "server_side_encryption": "aws:kms"}), "kms_key_id"),
        (json!({"object_lock": {"mode": "COMPLIANCE"}}), "object_lock.days"),
        (json!({"object_lock": {"mode": "NONE", "days": 1}}), "object_lock.mode"),
        (json!({"object_lock": {"mode": "GOVERNANCE", "days": 0}}), "object_lock.days"),
        (json!({"object_lock": 3}), "object_lock"),
    ];
    for (more, field) in cases {
        let refused = installation.api.post("/v1/storages", storage(more.clone())).await.expect(422).json();
        assert_eq!(refused["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), [field], "{more}");
    }
    // The installation's own bucket is its operator's affair.
    let lock = json!({"object_lock": {"mode": "COMPLIANCE", "days": 36_500}});
    let refused = installation.api.patch("/v1/storages/1", lock).await.expect(422).json();
    assert!(refused["errors"]["object_lock"].is_array(), "{refused}");
}
