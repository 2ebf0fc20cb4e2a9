//! What nothing may leave behind: objects that no record names, uploads, leases, messages.

use holdfast_shared::domain::backup::Backup;
use holdfast_shared::domain::object_key::{MANIFEST, prefix_of_account};
use serde_json::Value;

use crate::{Installation, eventually};

/// Asserts that exactly the objects of the stored backups exist, no upload is open, and no message waits.
pub async fn assert_none(installation: &Installation) {
    let queue = &installation.service().aws.queue;
    eventually("an empty queue", || async {
        match queue.depth().await.unwrap() {
            0 => Ok(()),
            depth => Err(format!("{depth} messages")),
        }
    })
    .await;
    // Last: while a message is being handled, an upload may be open.
    assert_only_named_objects(installation).await;
}

/// Asserts that exactly the objects that backups name exist, and that no upload is open; between two attempts, if the next
/// one has begun.
pub async fn assert_only_named_objects(installation: &Installation) {
    eventually("only objects that a backup names, and no upload", || async {
        let mut objects = objects(installation).await;
        let (named, manifests) = named_keys(installation).await;
        // Backups that a test has made up have none.
        objects.retain(|key| !manifests.contains(key));
        let uploads = uploads(installation).await;
        if objects == named && uploads.is_empty() { Ok(()) } else { Err((objects, named, uploads)) }
    })
    .await;
}

/// Every object of the account in the default storage, sorted.
pub async fn objects(installation: &Installation) -> Vec<String> {
    objects_below(installation, &prefix_of_account(&installation.account())).await
}

async fn objects_below(installation: &Installation, prefix: &str) -> Vec<String> {
    let bucket = bucket(installation).await;
    let mut keys = Vec::new();
    let mut after = None;
    loop {
        let page = bucket.list(prefix, after.as_deref()).await.unwrap();
        keys.extend(page.objects.into_iter().map(|object| object.key));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    keys.sort();
    keys
}

/// Every object of any account in the default storage, and whatever else lies in its bucket.
pub async fn all_objects(installation: &Installation) -> Vec<String> {
    objects_below(installation, "").await
}

/// Keys of every open upload of the account in the default storage.
pub async fn uploads(installation: &Installation) -> Vec<String> {
    let bucket = bucket(installation).await;
    let open = bucket.list_uploads(&prefix_of_account(&installation.account())).await.unwrap();
    open.into_iter().map(|upload| upload.key).collect()
}

async fn bucket(installation: &Installation) -> holdfast_shared::aws::Objects {
    let service = installation.service();
    let account = installation.account();
    let storage = service.storage(&account, 1).await.unwrap();
    service.objects(&account, &storage).unwrap()
}

/// Keys of the files that the records of all backups name, sorted, and those of the manifests beside them.
async fn named_keys(installation: &Installation) -> (Vec<String>, Vec<String>) {
    let jobs = installation.api.get("/v1/jobs?page_size=100").await.expect(200).data();
    let (mut keys, mut manifests) = (Vec::new(), Vec::new());
    for job in jobs.as_array().unwrap() {
        let job = job["id"].as_str().unwrap();
        let backups = installation.api.get(&format!("/v1/jobs/{job}/backups?page_size=100")).await.expect(200).data();
        for backup in backups.as_array().unwrap() {
            let record = record_of(installation, job, backup).await;
            let own = record.copies.iter().filter(|copy| copy.storage_id == 1);
            keys.extend(own.flat_map(|copy| copy.keys.clone()));
            if record.status.is_stored() {
                manifests.push(format!("{}{MANIFEST}", record.directory().prefix_of_attempt(record.attempt)));
            }
        }
    }
    keys.sort();
    (keys, manifests)
}

async fn record_of(installation: &Installation, job: &str, backup: &Value) -> Backup {
    let (job, backup) = (job.parse().unwrap(), backup["id"].as_str().unwrap().parse().unwrap());
    installation.service().backup_record(&installation.account(), job, backup).await.unwrap().unwrap()
}
