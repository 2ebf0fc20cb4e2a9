//! The embedded store alone: what a crash leaves.

use super::*;

/// The state of the disk at this instant, as a killed process leaves it.
fn crash_image(dir: &Path) -> TempDir {
    let image = tempfile::tempdir().unwrap();
    std::fs::create_dir(image.path().join("parts")).unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), image.path().join(entry.file_name())).unwrap();
        }
    }
    for file in part_files(dir) {
        std::fs::copy(&file, image.path().join("parts").join(file.file_name().unwrap())).unwrap();
    }
    image
}

#[tokio::test]
async fn a_crash_loses_nothing_acknowledged_and_leaves_nothing_unswept() {
    on_stage(async |stage| {
        let Some(local) = &stage.local else { return };
        let body = bytes(700_000, 13);
        stage.put("whole", body.clone()).await;
        let upload = stage.start("parts", None, None).await;
        let part = stage.part("parts", &upload, 1, b"acknowledged").await;
        stage.put("deleted", "x").await;
        stage.s3.delete_object().bucket(&stage.bucket).key("deleted").send().await.unwrap();

        // A request that stops in the middle of its body.
        let url = presigned_put(stage, "half").await;
        let (_, path) = url.split_once(&local.address).unwrap();
        let mut half = tokio::net::TcpStream::connect(&local.address).await.unwrap();
        let head = format!("PUT {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 2000000\r\n\r\n", local.address);
        half.write_all(head.as_bytes()).await.unwrap();
        half.write_all(&bytes(1_500_000, 14)).await.unwrap();
        while part_files(local.dir.path()).len() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }

        let image = crash_image(local.dir.path());
        std::fs::write(image.path().join("parts/orphan"), "of an earlier crash").unwrap();
        let (address, _running) = serve(image.path()).await;
        assert_eq!(part_files(image.path()).len(), 2, "only what a row names is left");
        let after = Stage { s3: client(&address), bucket: stage.bucket.clone(), local: None };
        assert_eq!(after.keys().await, ["whole"]);
        assert_eq!(after.get("whole").await, body);
        after.complete("parts", &upload, vec![part]).send().await.unwrap();
        assert_eq!(after.get("parts").await, b"acknowledged");

        // The client of the living store goes away: the file does too.
        drop(half);
        while part_files(local.dir.path()).len() > 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_folder_belongs_to_one_store_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = ObjectStore::open(dir.path(), Arc::new(SystemClock)).unwrap();
    first.create_bucket("kept").unwrap();
    first.create_bucket("kept").unwrap();
    assert!(matches!(first.create_bucket("No Bucket"), Err(StoreError::BucketName(_))));
    assert!(matches!(ObjectStore::open(dir.path(), Arc::new(SystemClock)), Err(StoreError::InUse)));
    drop(first);
    let (address, _running) = serve(dir.path()).await;
    client(&address).head_bucket().bucket("kept").send().await.unwrap();
}

#[tokio::test]
async fn a_shutdown_lets_open_requests_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = ObjectStore::open(dir.path(), Arc::new(SystemClock)).unwrap();
    store.create_bucket("bucket").unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let s3 = client(&listener.local_addr().unwrap().to_string());
    let shutdown = CancellationToken::new();
    let keys = objects::Credentials { access_key: ACCESS_KEY.into(), secret_key: SECRET_KEY.into() };
    let serving = tokio::spawn(store.serve(listener, keys, shutdown.clone()));
    let body = bytes(8 * MIB, 15);
    s3.put_object().bucket("bucket").key("k").body(body.clone().into()).send().await.unwrap();
    let got = s3.get_object().bucket("bucket").key("k").send().await.unwrap();
    shutdown.cancel();
    assert_eq!(got.body.collect().await.unwrap().to_vec(), body);
    tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap().unwrap().unwrap();
    assert!(s3.list_buckets().send().await.is_err());
    ObjectStore::open(dir.path(), Arc::new(SystemClock)).unwrap();
}
