//! Copies: one read goes to several storages at once, one that fails keeps none of the others from their copy, and gets
//! its own later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Request;
use holdfast_local::embedded::EmbeddedAws;
use holdfast_shared::aws::Objects;
use holdfast_shared::clock::SystemClock;
use holdfast_tests::installation::{Host, id};
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::tree::{assert_same, noise};
use holdfast_tests::{Installation, eventually, leftovers};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tempfile::TempDir;

/// An installation, a host, and a job that stores in the installation's bucket first and in a second store next.
struct Rig {
    host: Host,
    installation: Installation,
    job: String,
    /// What is harmed goes to the second store.
    _second: EmbeddedAws,
    _dir: TempDir,
}

impl Rig {
    /// The second store is behind a proxy that does `harm` to what `harms` finds, as long as the switch is on.
    async fn start(harm: Harm, harms: fn(&Request) -> bool) -> (Self, Arc<AtomicBool>, Proxy) {
        let switch = Arc::new(AtomicBool::new(true));
        let seen = switch.clone();
        let decide = move |request: &Request, _| match seen.load(Ordering::SeqCst) && harms(request) {
            true => harm,
            false => Harm::None,
        };
        let proxy = Proxy::start(decide).await;
        let dir = TempDir::new().unwrap();
        let second = EmbeddedAws::start(dir.path(), Arc::new(SystemClock)).await.unwrap();
        proxy.forward_to(&second.endpoints.s3);
        let (host, installation) = (Host::start().await, Installation::start().await);
        host.write("text", "one line\n".repeat(1_000));
        host.write("noise", noise(12 << 20, 3));
        let keys = second.data().keys();
        let storage = json!({
            "name": "elsewhere", "provider": "custom", "endpoint": proxy.url, "bucket": second.config("http://x").bucket,
            "region": second.config("http://x").region, "key": keys.access_key, "secret": keys.secret_key.expose(),
        });
        installation.api.post("/v1/storages", storage).await.expect(201);
        let server = installation.add_server(&host).await;
        let both = json!([{"storage_id": 1, "priority": 1}, {"storage_id": 2, "priority": 2}]);
        let job = json!({"config": {"root_path": host.site()}, "storage": both});
        let job = installation.add_job_with(server, job).await;
        (Self { host, installation, job, _second: second, _dir: dir }, switch, proxy)
    }

    async fn bucket(&self, storage: u64) -> Objects {
        let (service, account) = (self.installation.service(), self.installation.account());
        service.objects(&account, &service.storage(&account, storage).await.unwrap()).unwrap()
    }

    /// Keys of all that is in a storage.
    async fn objects(&self, storage: u64) -> Vec<String> {
        let bucket = self.bucket(storage).await;
        let listed = bucket.list("", None).await.unwrap().objects;
        listed.into_iter().map(|object| object.key).collect()
    }

    /// Asserts that both storages have the same, to the last byte.
    async fn assert_both_hold(&self) {
        let keys = self.objects(1).await;
        assert_eq!(self.objects(2).await, keys);
        let (first, second) = (self.bucket(1).await, self.bucket(2).await);
        for key in keys {
            assert!(first.get(&key).await.unwrap() == second.get(&key).await.unwrap(), "{key}");
        }
        assert_eq!(second.list_uploads("").await.unwrap(), []);
    }
}

fn statuses(backup: &Value) -> Vec<(u64, &str)> {
    let copies = backup["copies"].as_array().unwrap().iter();
    copies.map(|copy| (copy["storage_id"].as_u64().unwrap(), copy["status"].as_str().unwrap())).collect()
}

fn always(_: &Request) -> bool {
    true
}

fn is_part(request: &Request) -> bool {
    request.method() == "PUT" && request.uri().query().is_some_and(|query| query.contains("partNumber"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_storage_has_the_files_and_what_tells_of_them() {
    let (rig, _, _) = Rig::start(Harm::None, always).await;
    let backup = rig.installation.run(&rig.job).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert_eq!(statuses(&backup), [(1, "stored"), (2, "stored")]);
    rig.assert_both_hold().await;

    let directory = backup["s3_directory"].as_str().unwrap();
    let key = format!("{directory}/0001/manifest.json");
    let manifest: Value = serde_json::from_slice(&rig.bucket(2).await.get(&key).await.unwrap()).unwrap();
    let (file, told) = (&backup["files"][0], &manifest["files"][0]);
    for member in ["name", "plain_bytes", "stored_bytes", "plain_sha256", "stored_sha256"] {
        assert_eq!(told[member], file[member], "{member}");
    }
    assert_eq!(told["key"], format!("{directory}/0001/file-backups.tar.zst"));
    assert_eq!((&manifest["backup"]["id"], &manifest["encrypted_to"]), (&backup["id"], &json!([])));
    // The bucket alone is enough: what it says is done in a shell.
    let folder = TempDir::new().unwrap();
    let stored = rig.bucket(2).await.get(told["key"].as_str().unwrap()).await.unwrap();
    std::fs::write(folder.path().join(told["name"].as_str().unwrap()), stored).unwrap();
    let command = told["restore"].as_str().unwrap();
    let done = std::process::Command::new("sh").args(["-c", command]).current_dir(folder.path()).status().unwrap();
    assert!(done.success(), "{command}");
    let site = folder.path().join(rig.host.site().strip_prefix("/").unwrap());
    assert_eq!(std::fs::read(site.join("noise")).unwrap(), noise(12 << 20, 3));

    // Nothing of it stays in any storage when it goes.
    rig.installation.api.delete(&format!("/v1/backups/{}", backup["id"].as_str().unwrap())).await.expect(204);
    eventually("empty storages", || async {
        let left = [rig.objects(1).await, rig.objects(2).await].concat();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_refuses_gets_its_copy_later() {
    let (rig, broken, proxy) = Rig::start(Harm::Refused, always).await;
    let backup = rig.installation.run(&rig.job).await;
    assert_eq!(backup["status"], "completed_with_errors", "{backup}");
    assert_eq!(statuses(&backup), [(1, "stored"), (2, "missing")]);
    let error = backup["copies"][1]["error"].as_str().unwrap();
    assert!(error.contains("AccessDenied"), "{error}");
    assert_same(&rig.installation.download(&backup).await, &rig.host.site());
    assert!(proxy.harmed() > 0);

    // The first try meets the same storage.
    let harmed = proxy.harmed();
    rig.installation.advance(SignedDuration::from_secs(31));
    eventually("a first try", || async {
        let depth = rig.installation.service().aws.queue.depth().await.unwrap();
        if depth == 0 && proxy.harmed() > harmed { Ok(()) } else { Err((depth, proxy.harmed())) }
    })
    .await;
    let backup_id = backup["id"].as_str().unwrap();
    let seen = rig.installation.api.get(&format!("/v1/backups/{backup_id}")).await.expect(200).data();
    assert_eq!(statuses(&seen), [(1, "stored"), (2, "missing")]);

    broken.store(false, Ordering::SeqCst);
    assert_eq!(rig.installation.maintain().await.copies_asked, 0, "it is not due again yet");
    rig.installation.advance(SignedDuration::from_mins(16));
    assert_eq!(rig.installation.maintain().await.copies_asked, 1);
    let healed = rig.installation.backup_when(backup_id, |backup| backup["status"] == "completed").await;
    assert_eq!(statuses(&healed), [(1, "stored"), (2, "stored")]);
    assert_eq!((&healed["copies"][1]["error"], &healed["attempt"]), (&Value::Null, &json!(1)));
    assert_eq!(healed["completed_at"], backup["completed_at"]);
    rig.assert_both_hold().await;
    let listed = rig.installation.api.get(&format!("/v1/jobs/{}/backups?status=completed", rig.job)).await.expect(200);
    assert_eq!(listed.json()["meta"]["total"], 1, "it is listed as what it is");
    leftovers::assert_none(&rig.installation).await;
}

/// One of two storages has a trouble: the other one has the backup, what is missing says why, and once it is well again
/// it gets its copy.
async fn is_told_and_mended(harm: Harm, harms: fn(&Request) -> bool, words: &str) {
    let (rig, broken, proxy) = Rig::start(harm, harms).await;
    let backup = rig.installation.run(&rig.job).await;
    assert_eq!(backup["status"], "completed_with_errors", "{backup}");
    assert_eq!(statuses(&backup), [(1, "stored"), (2, "missing")], "{backup}");
    let error = backup["copies"][1]["error"].as_str().unwrap();
    assert!(error.contains(words), "{error:?} does not say {words:?}");
    assert_same(&rig.installation.download(&backup).await, &rig.host.site());
    assert!(proxy.harmed() > 0);

    broken.store(false, Ordering::SeqCst);
    proxy.release();
    rig.installation.advance(SignedDuration::from_secs(31));
    let is_whole = |backup: &Value| backup["status"] == "completed";
    let backup = rig.installation.backup_when(backup["id"].as_str().unwrap(), is_whole).await;
    assert_eq!((statuses(&backup)[1], &backup["copies"][1]["error"]), ((2, "stored"), &Value::Null));
    rig.assert_both_hold().await;
    leftovers::assert_none(&rig.installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_hangs_does_not_stall_the_others_for_ever() {
    is_told_and_mended(Harm::Hold, is_part, "behind the other storages").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_is_down_gets_its_copy_once_it_is_up() {
    is_told_and_mended(Harm::Reset, always, "could not be reached").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_is_full_gets_its_copy_once_it_has_room() {
    is_told_and_mended(Harm::NoRoom, is_part, "no room left to write a part (XMinioStorageFull)").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_in_another_region_is_told_so() {
    is_told_and_mended(Harm::WrongRegion, always, "check the storage's bucket, region and endpoint").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_takes_no_parts_for_lack_of_permission_is_told_so() {
    is_told_and_mended(Harm::Refused, is_part, "refused to write a part (AccessDenied)").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_is_slow_is_waited_for() {
    let (rig, _, proxy) = Rig::start(Harm::Slow, always).await;
    let backup = rig.installation.run(&rig.job).await;
    assert_eq!(statuses(&backup), [(1, "stored"), (2, "stored")], "{backup}");
    assert!(proxy.harmed() > 0);
    rig.assert_both_hold().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_damaged_is_not_passed_on() {
    let (rig, broken, _) = Rig::start(Harm::Refused, always).await;
    let backup = rig.installation.run(&rig.job).await;
    assert_eq!(statuses(&backup), [(1, "stored"), (2, "missing")], "{backup}");
    let record = {
        let (job, backup) = (id(&rig.job), id(backup["id"].as_str().unwrap()));
        rig.installation.service().backup_record(&rig.installation.account(), job, backup).await.unwrap().unwrap()
    };
    let (first, key) = (rig.bucket(1).await, &record.copies[0].keys[0]);
    let mut bytes = first.get(key).await.unwrap().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    first.put(key, bytes.into()).await.unwrap();

    broken.store(false, Ordering::SeqCst);
    rig.installation.advance(SignedDuration::from_secs(31));
    let tried = |backup: &Value| backup["copies"][1]["error"].as_str().is_some_and(|error| error.contains("SHA-256"));
    let backup = rig.installation.backup_when(backup["id"].as_str().unwrap(), tried).await;
    assert_eq!((&backup["status"], statuses(&backup)[1]), (&json!("completed_with_errors"), (2, "missing")));
    assert_eq!(rig.objects(2).await, Vec::<String>::new());
    assert_eq!(rig.bucket(2).await.list_uploads("").await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_every_storage_fails_the_backup_does() {
    let (rig, _, _) = Rig::start(Harm::Refused, always).await;
    let only = json!({"storage": [{"storage_id": 2}]});
    rig.installation.api.patch(&format!("/v1/jobs/{}", rig.job), only).await.expect(204);
    let backup = rig.installation.run(&rig.job).await;
    assert_eq!((&backup["status"], &backup["failure"]["kind"]), (&json!("failed"), &json!("storage")), "{backup}");
    assert_eq!(backup["copies"], json!([]));
}
