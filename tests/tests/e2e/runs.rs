//! The main job: a backup by hand and one on schedule, proved by unpacking what their links give.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use holdfast_shared::domain::slot::Slot;
use holdfast_tests::installation::{Host, id};
use holdfast_tests::tree::{assert_same, noise};
use holdfast_tests::{Installation, eventually, leftovers};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_by_hand_gives_the_same_bytes_back() {
    let host = Host::start().await;
    host.write("index.html", "<h1>hello</h1>");
    host.write("images/large.bin", noise(20 << 20, 1));
    std::os::unix::fs::symlink("index.html", host.site().join("start")).unwrap();
    std::fs::create_dir(host.site().join("empty")).unwrap();
    let installation = Installation::start().await;
    let job = installation.add_job(&host).await;

    let backup = installation.run(&job).await;

    assert_eq!(backup["status"], "completed", "{}", installation.log(backup["id"].as_str().unwrap()).await);
    assert_eq!(backup["attempt"], 1);
    assert_eq!(
        backup["tags"],
        json!({"manual": true, "hourly": false, "daily": false, "weekly": false, "monthly": false})
    );
    let archive = installation.download(&backup).await;
    let file = &backup["files"][0];
    assert_eq!(file["size"], format!("{} bytes", archive.len()));
    assert_eq!(file["stored_sha256"], sha256(&archive));
    let plain = zstd_decoded(&archive);
    assert_eq!(file["plain_sha256"], sha256(&plain));
    assert_eq!(file["plain_bytes"], plain.len());
    assert_same(&archive, &host.site());
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn level_0_stores_the_tar_as_it_is() {
    let host = Host::start().await;
    host.write("a", "a");
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    let config = json!({"config": {"root_path": host.site(), "compression_level": 0}});
    let job = installation.add_job_with(server, config).await;

    let backup = installation.run(&job).await;

    assert_eq!(backup["status"], "completed");
    assert!(backup["files"][0]["name"].as_str().unwrap().ends_with(".tar"), "{backup}");
    assert_eq!(backup["files"][0]["plain_sha256"], backup["files"][0]["stored_sha256"]);
    let archive = installation.download(&backup).await;
    assert_eq!(&archive[257..262], b"ustar");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_due_slot_becomes_the_backup_of_that_slot() {
    let host = Host::start().await;
    host.write("a", "a");
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    let schedules = json!([{"cron": "* * * * *", "retention_daily": 7}]);
    let more = json!({"config": {"root_path": host.site()}, "schedules": schedules});
    let job = installation.add_job_with(server, more).await;
    let shown = installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data();
    let next: Timestamp = shown["schedule"][0]["next_runs"][0].as_str().unwrap().parse().unwrap();

    installation.advance(SignedDuration::from_secs(60));
    let backup = eventually("a scheduled backup", || async {
        let listed = installation.api.get(&format!("/v1/jobs/{job}/backups")).await.expect(200).data();
        listed[0]["id"].as_str().map(str::to_owned).ok_or(listed)
    })
    .await;
    let backup = installation.ended(&backup).await;

    assert_eq!(backup["status"], "completed");
    assert_eq!(backup["slot"].as_str().unwrap().parse::<Timestamp>().unwrap(), next);
    let schedule = shown["schedule"][0]["id"].as_u64().unwrap();
    assert_eq!(id(backup["id"].as_str().unwrap()), Slot::new(schedule, next).backup_id(id(&job)));
    assert_eq!(backup["tags"]["manual"], false);
    assert_eq!(backup["tags"]["hourly"], true);
    assert_same(&installation.download(&backup).await, &host.site());
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_starts_one_backup() {
    let host = Host::start().await;
    host.write("a", "a");
    let installation = Installation::start().await;
    let job = installation.add_job(&host).await;
    let start = async |key: &str| -> Value {
        let path = format!("/v1/jobs/{job}/backups/start");
        let request = installation.api.request(Method::POST, &path).header("idempotency-key", key);
        installation.api.send(request, Bytes::new()).await.expect(202).json()
    };

    let first = start("nightly-1").await;
    installation.ended(first["backup_id"].as_str().unwrap()).await;

    assert_eq!(start("nightly-1").await["backup_id"], first["backup_id"]);
    let second = start("nightly-2").await;
    assert_ne!(second["backup_id"], first["backup_id"]);
    installation.ended(second["backup_id"].as_str().unwrap()).await;
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_tells_what_happened_and_goes_on_where_it_was_left() {
    let host = Host::start().await;
    host.write("a", "a");
    let installation = Installation::start().await;
    let job = installation.add_job(&host).await;
    let backup = installation.run(&job).await;
    let path = format!("/v1/backups/{}/log", backup["id"].as_str().unwrap());

    let log = installation.api.get(&path).await.expect(200);
    assert!(log.header("content-type").starts_with("text/plain"), "{:?}", log.headers);
    assert_eq!(log.header("x-log-complete"), "true");
    assert!(log.text().contains(backup["files"][0]["plain_sha256"].as_str().unwrap()), "{}", log.text());
    let after = log.header("x-log-next").to_owned();

    let rest = installation.api.get(&format!("{path}?after={after}")).await.expect(200);
    assert_eq!(rest.text(), "");
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

fn zstd_decoded(archive: &[u8]) -> Vec<u8> {
    zstd::decode_all(archive).unwrap()
}
