//! S3 as Holdfast uses it.
//!
//! `HOLDFAST_CONFORMANCE_ENDPOINT=https://s3.eu-central-1.amazonaws.com cargo nextest run -p holdfast-tests s3` runs
//! this against a real service, with the usual AWS variables (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
//! `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_PROFILE`). Each test makes a bucket `holdfast-conformance-…` and removes it
//! at its end; one that fails leaves its bucket.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, hmac};
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::upload_part::UploadPartOutput;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, Delete, MetadataDirective,
    ObjectIdentifier,
};
use aws_sdk_s3::{Client, config};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use futures::StreamExt as _;
use holdfast_local::objects::{self, ObjectStore, StoreError};
use holdfast_shared::clock::{Clock as _, SystemClock};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::{CancellationToken, DropGuard};

const MIB: usize = 1024 * 1024;
const ACCESS_KEY: &str = "AKIACONFORMANCE";
const SECRET_KEY: &str = "conformance-secret";
const REGION: &str = "us-east-1";

/// A bucket at an endpoint, and the embedded store behind it unless another endpoint was named.
struct Stage {
    s3: Client,
    bucket: String,
    local: Option<Local>,
}

struct Local {
    dir: TempDir,
    address: String,
    _running: DropGuard,
}

async fn serve(dir: &Path) -> (String, DropGuard) {
    let store = ObjectStore::open(dir, Arc::new(SystemClock)).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let shutdown = CancellationToken::new();
    let keys = objects::Credentials { access_key: ACCESS_KEY.into(), secret_key: SECRET_KEY.into() };
    tokio::spawn(store.serve(listener, keys, shutdown.clone()));
    (address, shutdown.drop_guard())
}

fn client(address: &str) -> Client {
    let config = config::Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(format!("http://{address}"))
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "conformance"))
        .force_path_style(true);
    Client::from_conf(config.build())
}

impl Stage {
    async fn new() -> Self {
        let bucket = format!("holdfast-conformance-{}", uuid::Uuid::new_v4().simple());
        let (s3, local) = match std::env::var("HOLDFAST_CONFORMANCE_ENDPOINT") {
            Ok(endpoint) => {
                let shared = aws_config::defaults(BehaviorVersion::latest()).endpoint_url(endpoint).load().await;
                (Client::from_conf(config::Builder::from(&shared).force_path_style(true).build()), None)
            }
            Err(_) => {
                let dir = tempfile::tempdir().unwrap();
                let (address, running) = serve(dir.path()).await;
                (client(&address), Some(Local { dir, address, _running: running }))
            }
        };
        s3.create_bucket().bucket(&bucket).send().await.unwrap();
        Self { s3, bucket, local }
    }

    async fn put(&self, key: &str, body: impl Into<Bytes>) {
        let body = ByteStream::from(body.into());
        self.s3.put_object().bucket(&self.bucket).key(key).body(body).send().await.unwrap();
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        let got = self.s3.get_object().bucket(&self.bucket).key(key).send().await.unwrap();
        got.body.collect().await.unwrap().to_vec()
    }

    async fn keys(&self) -> Vec<String> {
        let listed = self.s3.list_objects_v2().bucket(&self.bucket).send().await.unwrap();
        listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }

    async fn start(&self, key: &str, algorithm: Option<ChecksumAlgorithm>, kind: Option<ChecksumType>) -> String {
        let created = self.s3.create_multipart_upload().bucket(&self.bucket).key(key);
        let created = created.set_checksum_algorithm(algorithm).set_checksum_type(kind).send().await.unwrap();
        created.upload_id().unwrap().to_owned()
    }

    async fn part(&self, key: &str, upload: &str, number: i32, body: &[u8]) -> CompletedPart {
        let sent = self.s3.upload_part().bucket(&self.bucket).key(key).upload_id(upload).part_number(number);
        completed(number, &sent.body(ByteStream::from(body.to_vec())).send().await.unwrap())
    }

    fn complete(
        &self,
        key: &str,
        upload: &str,
        parts: Vec<CompletedPart>,
    ) -> aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        self.s3.complete_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload).multipart_upload(parts)
    }

    async fn uploads(&self) -> usize {
        self.s3.list_multipart_uploads().bucket(&self.bucket).send().await.unwrap().uploads().len()
    }

    /// Part files of the embedded store; `None` elsewhere.
    fn files(&self) -> Option<usize> {
        self.local.as_ref().map(|local| part_files(local.dir.path()).len())
    }

    /// Removes the bucket and what is in it.
    async fn end(self) {
        loop {
            let listed = self.s3.list_objects_v2().bucket(&self.bucket).send().await.unwrap();
            let keys =
                listed.contents().iter().map(|o| ObjectIdentifier::builder().key(o.key().unwrap()).build().unwrap());
            let keys: Vec<_> = keys.collect();
            if keys.is_empty() {
                break;
            }
            let delete = Delete::builder().set_objects(Some(keys)).quiet(true).build().unwrap();
            self.s3.delete_objects().bucket(&self.bucket).delete(delete).send().await.unwrap();
        }
        let uploads = self.s3.list_multipart_uploads().bucket(&self.bucket).send().await.unwrap();
        for upload in uploads.uploads() {
            let abort = self.s3.abort_multipart_upload().bucket(&self.bucket).key(upload.key().unwrap());
            abort.upload_id(upload.upload_id().unwrap()).send().await.unwrap();
        }
        self.s3.delete_bucket().bucket(&self.bucket).send().await.unwrap();
        if let Some(files) = self.files() {
            assert_eq!(files, 0, "part files are left over");
        }
    }
}

async fn on_stage(test: impl AsyncFnOnce(&Stage)) {
    let stage = Stage::new().await;
    test(&stage).await;
    stage.end().await;
}

fn completed(number: i32, sent: &UploadPartOutput) -> CompletedPart {
    CompletedPart::builder()
        .part_number(number)
        .set_e_tag(sent.e_tag().map(str::to_owned))
        .set_checksum_crc32(sent.checksum_crc32().map(str::to_owned))
        .set_checksum_crc32_c(sent.checksum_crc32_c().map(str::to_owned))
        .set_checksum_crc64_nvme(sent.checksum_crc64_nvme().map(str::to_owned))
        .set_checksum_sha1(sent.checksum_sha1().map(str::to_owned))
        .set_checksum_sha256(sent.checksum_sha256().map(str::to_owned))
        .build()
}

/// The code that S3 refused with.
async fn refusal<T: std::fmt::Debug, E, R>(sent: impl Future<Output = Result<T, SdkError<E, R>>>) -> String
where
    SdkError<E, R>: ProvideErrorMetadata + std::fmt::Debug,
{
    let error = sent.await.expect_err("S3 should have refused this");
    error.code().unwrap_or_else(|| panic!("no error code in {error:?}")).to_owned()
}

/// Bytes that do not repeat within a part and differ by `seed`.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

fn crc64(body: &[u8]) -> String {
    BASE64_STANDARD.encode(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, body).to_be_bytes())
}

fn sha256(body: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, body)
}

fn now() -> SystemTime {
    SystemClock.now().into()
}

fn part_files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir.join("parts")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

async fn http(request: Request<Full<Bytes>>) -> (StatusCode, HashMap<String, String>, Bytes) {
    let client = HttpClient::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.unwrap();
    let header =
        |(name, value): (&http::HeaderName, &http::HeaderValue)| (name.to_string(), value.to_str().unwrap().to_owned());
    let headers = answer.headers().iter().map(header).collect();
    (answer.status(), headers, answer.into_body().collect().await.unwrap().to_bytes())
}

// Objects of one piece.

#[tokio::test]
async fn an_object_comes_back_with_its_bytes_headers_and_metadata() {
    on_stage(async |stage| {
        let body = bytes(300_000, 1);
        let put = stage.s3.put_object().bucket(&stage.bucket).key("a/ü b+c%41").body(body.clone().into());
        let put = put.content_type("application/zstd").content_encoding("identity").cache_control("no-store");
        let put =
            put.content_disposition("attachment; filename=\"x\"").metadata("backup", "b-1").metadata("attempt", "2");
        let put = put.send().await.unwrap();

        let got = stage.s3.get_object().bucket(&stage.bucket).key("a/ü b+c%41").send().await.unwrap();
        assert_eq!(got.e_tag(), put.e_tag());
        assert_eq!(got.content_length(), Some(300_000));
        assert_eq!(got.content_type(), Some("application/zstd"));
        assert_eq!(got.content_encoding(), Some("identity"));
        assert_eq!(got.cache_control(), Some("no-store"));
        assert_eq!(got.content_disposition(), Some("attachment; filename=\"x\""));
        let metadata = HashMap::from([("backup".into(), "b-1".into()), ("attempt".into(), "2".into())]);
        assert_eq!(got.metadata(), Some(&metadata));
        let age = now().duration_since(SystemTime::try_from(*got.last_modified().unwrap()).unwrap());
        assert!(age.unwrap_or_default() < Duration::from_secs(60));
        assert_eq!(got.body.collect().await.unwrap().to_vec(), body);
    })
    .await;
}

#[tokio::test]
async fn the_etag_of_one_piece_is_its_md5() {
    on_stage(async |stage| {
        let put = stage.s3.put_object().bucket(&stage.bucket).key("k").body(Bytes::from_static(b"hello").into());
        assert_eq!(put.send().await.unwrap().e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    })
    .await;
}

#[tokio::test]
async fn a_content_md5_is_checked() {
    on_stage(async |stage| {
        let put = |md5: &str| {
            let body = Bytes::from_static(b"hello").into();
            stage.s3.put_object().bucket(&stage.bucket).key("k").body(body).content_md5(md5).send()
        };
        put("XUFAKrxLKna5cZ2REBfFkg==").await.unwrap();
        assert_eq!(refusal(put("AAFAKrxLKna5cZ2REBfFkg==")).await, "BadDigest");
        assert_eq!(refusal(put("nonsense")).await, "InvalidDigest");
    })
    .await;
}

#[tokio::test]
async fn an_empty_object_is_an_object() {
    on_stage(async |stage| {
        stage.put("empty", Bytes::new()).await;
        assert_eq!(stage.get("empty").await, b"");
        let ranged = stage.s3.get_object().bucket(&stage.bucket).key("empty").range("bytes=0-0").send();
        assert_eq!(refusal(ranged).await, "InvalidRange");
    })
    .await;
}

#[tokio::test]
async fn a_put_replaces_what_was_there() {
    on_stage(async |stage| {
        stage.put("k", "first").await;
        stage.put("k", "second").await;
        assert_eq!(stage.get("k").await, b"second");
        assert_eq!(stage.keys().await, ["k"]);
        assert!(stage.files().is_none_or(|files| files == 1));
    })
    .await;
}

#[tokio::test]
async fn ranges_give_exactly_their_bytes() {
    on_stage(async |stage| {
        let body = bytes(1_000_000, 2);
        stage.put("k", body.clone()).await;
        let cases = [
            ("bytes=0-0", 0..1, "bytes 0-0/1000000"),
            ("bytes=262143-262145", 262_143..262_146, "bytes 262143-262145/1000000"),
            ("bytes=999990-", 999_990..1_000_000, "bytes 999990-999999/1000000"),
            ("bytes=-5", 999_995..1_000_000, "bytes 999995-999999/1000000"),
            ("bytes=999999-2000000", 999_999..1_000_000, "bytes 999999-999999/1000000"),
        ];
        for (range, expected, header) in cases {
            let got = stage.s3.get_object().bucket(&stage.bucket).key("k").range(range).send().await.unwrap();
            assert_eq!(got.content_range(), Some(header));
            assert_eq!(got.content_length(), Some(expected.len() as i64));
            assert_eq!(got.body.collect().await.unwrap().to_vec(), body[expected], "{range}");
        }
        let beyond = stage.s3.get_object().bucket(&stage.bucket).key("k").range("bytes=1000000-").send();
        assert_eq!(refusal(beyond).await, "InvalidRange");
    })
    .await;
}

#[tokio::test]
async fn conditional_reads_and_writes() {
    on_stage(async |stage| {
        stage.put("k", "first").await;
        let head = stage.s3.head_object().bucket(&stage.bucket).key("k").send().await.unwrap();
        let etag = head.e_tag().unwrap();
        let get = || stage.s3.get_object().bucket(&stage.bucket).key("k");
        get().if_match(etag).send().await.unwrap();
        assert_eq!(refusal(get().if_match("\"0123\"").send()).await, "PreconditionFailed");
        get().if_none_match("\"0123\"").send().await.unwrap();
        let unchanged = get().if_none_match(etag).send().await.unwrap_err();
        assert_eq!(unchanged.raw_response().unwrap().status().as_u16(), 304);

        let put =
            |key: &str| stage.s3.put_object().bucket(&stage.bucket).key(key).body(Bytes::from_static(b"second").into());
        assert_eq!(refusal(put("k").if_none_match("*").send()).await, "PreconditionFailed");
        assert_eq!(stage.get("k").await, b"first");
        put("new").if_none_match("*").send().await.unwrap();
        assert_eq!(refusal(put("k").if_match("\"0123\"").send()).await, "PreconditionFailed");
        assert_eq!(refusal(put("gone").if_match(etag).send()).await, "NoSuchKey");
        put("k").if_match(etag).send().await.unwrap();
        assert_eq!(stage.get("k").await, b"second");
    })
    .await;
}

#[tokio::test]
async fn deleting_is_idempotent_and_one_request_deletes_many() {
    on_stage(async |stage| {
        stage.put("a", "1").await;
        stage.put("b", "2").await;
        stage.put("c", "3").await;
        for _ in 0..2 {
            stage.s3.delete_object().bucket(&stage.bucket).key("a").send().await.unwrap();
        }
        let named = ["b", "never"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
        let delete = Delete::builder().set_objects(Some(named.to_vec())).build().unwrap();
        let deleted = stage.s3.delete_objects().bucket(&stage.bucket).delete(delete).send().await.unwrap();
        assert_eq!(deleted.deleted().len(), 2);
        assert!(deleted.errors().is_empty());
        assert_eq!(stage.keys().await, ["c"]);
        let gone = stage.s3.get_object().bucket(&stage.bucket).key("a").send();
        assert_eq!(refusal(gone).await, "NoSuchKey");
        let gone = stage.s3.head_object().bucket(&stage.bucket).key("a").send().await.unwrap_err();
        assert!(gone.as_service_error().unwrap().is_not_found());
    })
    .await;
}

#[tokio::test]
async fn a_download_outlives_the_deletion_of_its_object() {
    on_stage(async |stage| {
        let body = bytes(8 * MIB, 3);
        stage.put("k", body.clone()).await;
        let got = stage.s3.get_object().bucket(&stage.bucket).key("k").send().await.unwrap();
        stage.s3.delete_object().bucket(&stage.bucket).key("k").send().await.unwrap();
        assert_eq!(got.body.collect().await.unwrap().to_vec(), body);
    })
    .await;
}

#[tokio::test]
async fn a_copy_outlives_its_source() {
    on_stage(async |stage| {
        let put = stage.s3.put_object().bucket(&stage.bucket).key("from").body(Bytes::from_static(b"bytes").into());
        put.metadata("kept", "yes").send().await.unwrap();
        let source = format!("{}/from", stage.bucket);
        let copy = |to: &str| stage.s3.copy_object().bucket(&stage.bucket).key(to).copy_source(&source);
        copy("to").send().await.unwrap();
        copy("changed").metadata_directive(MetadataDirective::Replace).metadata("new", "1").send().await.unwrap();
        assert_eq!(refusal(copy("from").send()).await, "InvalidRequest");
        stage.s3.delete_object().bucket(&stage.bucket).key("from").send().await.unwrap();

        assert_eq!(stage.get("to").await, b"bytes");
        assert_eq!(stage.get("changed").await, b"bytes");
        let head = async |key: &str| stage.s3.head_object().bucket(&stage.bucket).key(key).send().await.unwrap();
        assert_eq!(head("to").await.metadata().unwrap()["kept"], "yes");
        assert_eq!(head("changed").await.metadata().unwrap(), &HashMap::from([("new".into(), "1".into())]));
        assert_eq!(refusal(copy("again").send()).await, "NoSuchKey");
    })
    .await;
}

// Buckets and listings.

#[tokio::test]
async fn buckets_are_listed_and_only_empty_ones_go() {
    on_stage(async |stage| {
        stage.s3.head_bucket().bucket(&stage.bucket).send().await.unwrap();
        let listed = stage.s3.list_buckets().send().await.unwrap();
        assert!(listed.buckets().iter().any(|bucket| bucket.name() == Some(&stage.bucket)));
        stage.put("k", "1").await;
        assert_eq!(refusal(stage.s3.delete_bucket().bucket(&stage.bucket).send()).await, "BucketNotEmpty");

        let missing = format!("{}-not", stage.bucket);
        let head = stage.s3.head_bucket().bucket(&missing).send().await.unwrap_err();
        assert!(head.as_service_error().unwrap().is_not_found());
        assert_eq!(refusal(stage.s3.list_objects_v2().bucket(&missing).send()).await, "NoSuchBucket");
        let put = stage.s3.put_object().bucket(&missing).key("k").body(Bytes::from_static(b"1").into());
        assert_eq!(refusal(put.send()).await, "NoSuchBucket");
    })
    .await;
}

#[tokio::test]
async fn a_listing_pages_through_1050_keys_in_order() {
    on_stage(async |stage| {
        let keys: Vec<String> = (0..1050).map(|n| format!("run/{n:04}")).collect();
        futures::stream::iter(keys.iter().rev()).for_each_concurrent(16, |key| stage.put(key, "x")).await;
        stage.put("later", "x").await;
        stage.put("sun", "x").await;

        let list = || stage.s3.list_objects_v2().bucket(&stage.bucket).prefix("run/");
        let first = list().send().await.unwrap();
        assert_eq!((first.key_count(), first.is_truncated()), (Some(1000), Some(true)));
        let token = first.next_continuation_token().unwrap();
        let second = list().continuation_token(token).send().await.unwrap();
        assert_eq!((second.key_count(), second.is_truncated()), (Some(50), Some(false)));
        assert!(second.next_continuation_token().is_none());
        let seen = first.contents().iter().chain(second.contents()).map(|object| object.key().unwrap());
        assert!(seen.eq(&keys));
        assert!(first.contents().iter().all(|object| object.size() == Some(1)));

        let mut pages = list().max_keys(100).into_paginator().send();
        let mut seen = Vec::new();
        while let Some(page) = pages.next().await {
            seen.extend(page.unwrap().contents().iter().map(|object| object.key().unwrap().to_owned()));
        }
        assert_eq!(seen, keys);

        let tail = list().start_after("run/1047").send().await.unwrap();
        assert!(tail.contents().iter().map(|object| object.key().unwrap()).eq(["run/1048", "run/1049"]));
    })
    .await;
}

#[tokio::test]
async fn a_delimiter_folds_keys_into_common_prefixes() {
    on_stage(async |stage| {
        for key in ["a", "b/1", "b/2", "b/c/3", "d/4", "e", "日/5", "日/6"] {
            stage.put(key, "x").await;
        }
        let list = |prefix: &str| stage.s3.list_objects_v2().bucket(&stage.bucket).prefix(prefix).delimiter("/");
        let whole = list("").send().await.unwrap();
        let prefixes = |page: &aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output| -> Vec<String> {
            page.common_prefixes().iter().map(|prefix| prefix.prefix().unwrap().to_owned()).collect()
        };
        let keys = |page: &aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output| -> Vec<String> {
            page.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
        };
        assert_eq!(
            (keys(&whole), prefixes(&whole)),
            (vec!["a".into(), "e".into()], vec!["b/".into(), "d/".into(), "日/".into()])
        );
        assert_eq!(whole.key_count(), Some(5));
        let inner = list("b/").send().await.unwrap();
        assert_eq!((keys(&inner), prefixes(&inner)), (vec!["b/1".into(), "b/2".into()], vec!["b/c/".into()]));

        let mut pages = list("").max_keys(1).into_paginator().send();
        let mut seen = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            assert_eq!(page.key_count(), Some(1));
            seen.extend(keys(&page));
            seen.extend(prefixes(&page));
        }
        assert_eq!(seen, ["a", "b/", "d/", "e", "日/"]);
    })
    .await;
}

// Multipart uploads.

#[tokio::test]
async fn parts_come_in_any_order_and_may_be_replaced() {
    on_stage(async |stage| {
        let (first, second, last) = (bytes(5 * MIB, 4), bytes(5 * MIB + 1, 5), bytes(100, 6));
        let upload = stage.start("k", None, None).await;
        let p7 = stage.part("k", &upload, 7, &last).await;
        stage.part("k", &upload, 2, b"to be replaced").await;
        let p1 = stage.part("k", &upload, 1, &first).await;
        let p2 = stage.part("k", &upload, 2, &second).await;

        let listed = stage.s3.list_parts().bucket(&stage.bucket).key("k").upload_id(&upload).send().await.unwrap();
        let listed: Vec<_> = listed.parts().iter().map(|p| (p.part_number().unwrap(), p.size().unwrap())).collect();
        assert_eq!(listed, [(1, first.len() as i64), (2, second.len() as i64), (7, 100)]);
        assert!(stage.keys().await.is_empty(), "an upload is no object before it is completed");

        let etags: Vec<u8> =
            [&p1, &p2, &p7].iter().flat_map(|p| hex::decode(p.e_tag().unwrap().trim_matches('"')).unwrap()).collect();
        let done = stage.complete("k", &upload, vec![p1, p2, p7]).send().await.unwrap();
        assert_eq!(done.e_tag().unwrap().len(), "\"\"".len() + 32 + "-3".len());
        assert!(done.e_tag().unwrap().ends_with("-3\""));
        assert_eq!(etags.len(), 48);

        let whole = [first, second, last].concat();
        assert_eq!(stage.get("k").await, whole);
        assert_eq!(stage.uploads().await, 0);
        let across = 5 * MIB - 3..10 * MIB + 5;
        let range = format!("bytes={}-{}", across.start, across.end - 1);
        let got = stage.s3.get_object().bucket(&stage.bucket).key("k").range(range).send().await.unwrap();
        assert_eq!(got.body.collect().await.unwrap().to_vec(), whole[across]);
        assert!(stage.files().is_none_or(|files| files == 3), "the replaced part is gone");
    })
    .await;
}

#[tokio::test]
async fn completing_twice_gives_the_same_answer() {
    on_stage(async |stage| {
        let upload = stage.start("k", None, None).await;
        let part = stage.part("k", &upload, 1, b"bytes").await;
        let first = stage.complete("k", &upload, vec![part.clone()]).send().await.unwrap();
        let second = stage.complete("k", &upload, vec![part.clone()]).send().await.unwrap();
        assert_eq!(first.e_tag(), second.e_tag());
        assert_eq!(stage.get("k").await, b"bytes");

        stage.s3.delete_object().bucket(&stage.bucket).key("k").send().await.unwrap();
        if stage.local.is_some() {
            assert_eq!(refusal(stage.complete("k", &upload, vec![part]).send()).await, "NoSuchUpload");
        }
    })
    .await;
}

#[tokio::test]
async fn an_aborted_upload_leaves_nothing() {
    on_stage(async |stage| {
        let upload = stage.start("k", None, None).await;
        let part = stage.part("k", &upload, 1, b"bytes").await;
        assert_eq!(stage.uploads().await, 1);
        let abort = || stage.s3.abort_multipart_upload().bucket(&stage.bucket).key("k").upload_id(&upload).send();
        abort().await.unwrap();
        assert_eq!(stage.uploads().await, 0);
        assert!(stage.files().is_none_or(|files| files == 0));
        assert_eq!(refusal(stage.complete("k", &upload, vec![part]).send()).await, "NoSuchUpload");
        let late = stage.s3.upload_part().bucket(&stage.bucket).key("k").upload_id(&upload).part_number(2);
        assert_eq!(refusal(late.body(Bytes::from_static(b"late").into()).send()).await, "NoSuchUpload");
        if stage.local.is_some() {
            assert_eq!(refusal(abort()).await, "NoSuchUpload");
        }
        assert!(stage.keys().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_completed_is_refused_and_stays_open() {
    on_stage(async |stage| {
        let upload = stage.start("k", None, None).await;
        let small = stage.part("k", &upload, 1, b"too small").await;
        let last = stage.part("k", &upload, 2, b"last").await;
        let parts = |parts: &[&CompletedPart]| parts.iter().copied().cloned().collect::<Vec<_>>();
        let complete = |named: Vec<CompletedPart>| stage.complete("k", &upload, named).send();
        assert_eq!(refusal(complete(parts(&[&small, &last]))).await, "EntityTooSmall");
        assert_eq!(refusal(complete(parts(&[&last, &small]))).await, "InvalidPartOrder");
        let missing = CompletedPart::builder().part_number(3).e_tag(last.e_tag().unwrap()).build();
        assert_eq!(refusal(complete(vec![missing])).await, "InvalidPart");
        let wrong = CompletedPart::builder().part_number(1).e_tag(last.e_tag().unwrap()).build();
        assert_eq!(refusal(complete(vec![wrong])).await, "InvalidPart");
        assert_eq!(refusal(complete(Vec::new())).await, "MalformedXML");
        let zero = stage.s3.upload_part().bucket(&stage.bucket).key("k").upload_id(&upload).part_number(10_001);
        assert_eq!(refusal(zero.body(Bytes::from_static(b"x").into()).send()).await, "InvalidArgument");
        complete(vec![last]).await.unwrap();
        assert_eq!(stage.get("k").await, b"last");
        assert!(stage.files().is_none_or(|files| files == 1), "parts that were not chosen are gone");
    })
    .await;
}

#[tokio::test]
async fn a_conditional_complete_does_not_overwrite() {
    on_stage(async |stage| {
        let upload = stage.start("k", None, None).await;
        let part = stage.part("k", &upload, 1, b"second").await;
        stage.put("k", "first").await;
        let complete = || stage.complete("k", &upload, vec![part.clone()]).if_none_match("*").send();
        assert_eq!(refusal(complete()).await, "PreconditionFailed");
        assert_eq!(stage.get("k").await, b"first");
        stage.s3.delete_object().bucket(&stage.bucket).key("k").send().await.unwrap();
        if stage.local.is_some() {
            complete().await.unwrap();
            assert_eq!(stage.get("k").await, b"second");
        }
    })
    .await;
}

#[tokio::test]
async fn open_uploads_and_parts_are_listed_in_pages() {
    on_stage(async |stage| {
        for key in ["x/b", "x/a", "x/a", "y"] {
            stage.start(key, None, None).await;
        }
        let list = || stage.s3.list_multipart_uploads().bucket(&stage.bucket).prefix("x/").max_uploads(2);
        let first = list().send().await.unwrap();
        let keys: Vec<_> = first.uploads().iter().map(|upload| upload.key().unwrap()).collect();
        assert_eq!((keys, first.is_truncated()), (vec!["x/a", "x/a"], Some(true)));
        assert!(first.uploads().iter().all(|upload| upload.initiated().is_some()));
        let (key, id) = (first.next_key_marker().unwrap(), first.next_upload_id_marker().unwrap());
        let second = list().key_marker(key).upload_id_marker(id).send().await.unwrap();
        let keys: Vec<_> = second.uploads().iter().map(|upload| upload.key().unwrap()).collect();
        assert_eq!((keys, second.is_truncated()), (vec!["x/b"], Some(false)));

        let upload = stage.start("parts", None, None).await;
        for number in [3, 1, 2] {
            stage.part("parts", &upload, number, b"x").await;
        }
        let mut pages = stage
            .s3
            .list_parts()
            .bucket(&stage.bucket)
            .key("parts")
            .upload_id(&upload)
            .max_parts(2)
            .into_paginator()
            .send();
        let mut numbers = Vec::new();
        while let Some(page) = pages.next().await {
            numbers.push(page.unwrap().parts().iter().map(|part| part.part_number().unwrap()).collect::<Vec<_>>());
        }
        assert_eq!(numbers, [vec![1, 2], vec![3]]);
    })
    .await;
}

// Checksums.

#[tokio::test]
async fn every_checksum_is_stored_verified_and_given_back() {
    on_stage(async |stage| {
        let body = bytes(200_000, 7);
        for algorithm in [
            ChecksumAlgorithm::Crc32,
            ChecksumAlgorithm::Crc32C,
            ChecksumAlgorithm::Crc64Nvme,
            ChecksumAlgorithm::Sha1,
            ChecksumAlgorithm::Sha256,
        ] {
            let key = algorithm.as_str();
            let put = stage.s3.put_object().bucket(&stage.bucket).key(key).body(body.clone().into());
            let put = put.checksum_algorithm(algorithm.clone()).send().await.unwrap();
            let head = stage.s3.head_object().bucket(&stage.bucket).key(key).checksum_mode(ChecksumMode::Enabled);
            let head = head.send().await.unwrap();
            let values = [
                (put.checksum_crc32(), head.checksum_crc32(), "CRC32"),
                (put.checksum_crc32_c(), head.checksum_crc32_c(), "CRC32C"),
                (put.checksum_crc64_nvme(), head.checksum_crc64_nvme(), "CRC64NVME"),
                (put.checksum_sha1(), head.checksum_sha1(), "SHA1"),
                (put.checksum_sha256(), head.checksum_sha256(), "SHA256"),
            ];
            for (sent, kept, name) in values {
                assert_eq!((sent.is_some(), sent), (name == key, kept), "{key} {name}");
            }
            assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
            let got = stage.s3.get_object().bucket(&stage.bucket).key(key).checksum_mode(ChecksumMode::Enabled);
            assert_eq!(got.send().await.unwrap().body.collect().await.unwrap().to_vec(), body);
        }
        let quiet = stage.s3.head_object().bucket(&stage.bucket).key("CRC32").send().await.unwrap();
        assert_eq!(quiet.checksum_crc32(), None, "checksums are given only when asked for");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_checksum_is_refused_and_leaves_nothing() {
    on_stage(async |stage| {
        let put = || stage.s3.put_object().bucket(&stage.bucket).key("k").body(Bytes::from_static(b"bytes").into());
        assert_eq!(refusal(put().checksum_crc64_nvme(crc64(b"others")).send()).await, "BadDigest");
        assert_eq!(refusal(put().checksum_crc32("AAAAAA==").send()).await, "BadDigest");
        assert_eq!(refusal(put().checksum_crc32("nonsense").send()).await, "InvalidRequest");
        let wrong = BASE64_STANDARD.encode(sha256(b"others"));
        assert_eq!(refusal(put().checksum_sha256(wrong).send()).await, "BadDigest");
        assert!(stage.keys().await.is_empty());

        let upload = stage.start("k", Some(ChecksumAlgorithm::Crc64Nvme), None).await;
        let part = || stage.s3.upload_part().bucket(&stage.bucket).key("k").upload_id(&upload).part_number(1);
        let part = || part().body(Bytes::from_static(b"bytes").into());
        assert_eq!(refusal(part().checksum_crc64_nvme(crc64(b"others")).send()).await, "BadDigest");
        assert_eq!(refusal(part().checksum_crc32("AAAAAA==").send()).await, "InvalidRequest");
        assert!(stage.files().is_none_or(|files| files == 0));
    })
    .await;
}

#[tokio::test]
async fn a_body_without_a_checksum_gets_crc64nvme() {
    on_stage(async |stage| {
        let url = presigned_put(stage, "k").await;
        let request = Request::put(url).body(Full::from("bytes")).unwrap();
        assert_eq!(http(request).await.0, StatusCode::OK);
        let head = stage.s3.head_object().bucket(&stage.bucket).key("k").checksum_mode(ChecksumMode::Enabled);
        let head = head.send().await.unwrap();
        assert_eq!(head.checksum_crc64_nvme(), Some(crc64(b"bytes").as_str()));
        assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
    })
    .await;
}

/// As the worker uploads: the payload unsigned, a CRC64NVME per part, one of the whole at the end.
#[tokio::test]
async fn the_crc64nvme_of_the_whole_is_checked_at_the_end() {
    on_stage(async |stage| {
        let (first, last) = (bytes(5 * MIB, 8), bytes(1000, 9));
        let whole = [first.clone(), last.clone()].concat();
        let upload = stage.start("k", Some(ChecksumAlgorithm::Crc64Nvme), Some(ChecksumType::FullObject)).await;
        let mut parts = Vec::new();
        for (number, body) in [(1, &first), (2, &last)] {
            let sent = stage.s3.upload_part().bucket(&stage.bucket).key("k").upload_id(&upload).part_number(number);
            let sent = sent.checksum_crc64_nvme(crc64(body)).body(body.clone().into());
            parts.push(completed(number, &sent.customize().disable_payload_signing().send().await.unwrap()));
        }
        let complete = || stage.complete("k", &upload, parts.clone()).checksum_type(ChecksumType::FullObject);
        assert_eq!(refusal(complete().checksum_crc64_nvme(crc64(b"others")).send()).await, "BadDigest");
        assert_eq!(refusal(complete().mpu_object_size(1).send()).await, "InvalidRequest");
        let done =
            complete().checksum_crc64_nvme(crc64(&whole)).mpu_object_size(whole.len() as i64).send().await.unwrap();
        assert_eq!(done.checksum_crc64_nvme(), Some(crc64(&whole).as_str()));

        let head = stage.s3.head_object().bucket(&stage.bucket).key("k").checksum_mode(ChecksumMode::Enabled);
        let head = head.send().await.unwrap();
        assert_eq!(head.checksum_crc64_nvme(), Some(crc64(&whole).as_str()));
        assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
        assert_eq!(head.content_length(), Some(whole.len() as i64));
    })
    .await;
}

#[tokio::test]
async fn a_composite_checksum_is_that_of_the_parts_checksums() {
    on_stage(async |stage| {
        let (first, last) = (bytes(5 * MIB, 10), bytes(1000, 11));
        let upload = stage.start("k", Some(ChecksumAlgorithm::Sha256), None).await;
        let mut parts = Vec::new();
        for (number, body) in [(1, &first), (2, &last)] {
            let sent = stage.s3.upload_part().bucket(&stage.bucket).key("k").upload_id(&upload).part_number(number);
            let sent = sent.checksum_algorithm(ChecksumAlgorithm::Sha256).body(body.clone().into());
            parts.push(completed(number, &sent.send().await.unwrap()));
        }
        let bare = parts.iter().map(|part| {
            CompletedPart::builder().part_number(part.part_number().unwrap()).e_tag(part.e_tag().unwrap()).build()
        });
        assert_eq!(refusal(stage.complete("k", &upload, bare.collect()).send()).await, "InvalidRequest");
        stage.complete("k", &upload, parts).send().await.unwrap();
        let head = stage.s3.head_object().bucket(&stage.bucket).key("k").checksum_mode(ChecksumMode::Enabled);
        let head = head.send().await.unwrap();
        let of_parts = sha256(&[sha256(&first).as_ref(), sha256(&last).as_ref()].concat());
        assert_eq!(head.checksum_sha256(), Some(format!("{}-2", BASE64_STANDARD.encode(of_parts)).as_str()));
        assert_eq!(head.checksum_type(), Some(&ChecksumType::Composite));
        let got = stage.s3.get_object().bucket(&stage.bucket).key("k").checksum_mode(ChecksumMode::Enabled);
        assert_eq!(got.send().await.unwrap().body.collect().await.unwrap().to_vec(), [first, last].concat());
    })
    .await;
}

/// Over plain HTTP the SDK signs each chunk of a file, and the trailer with its checksum.
#[tokio::test]
async fn a_streamed_file_carries_its_checksum_in_a_trailer() {
    on_stage(async |stage| {
        let body = bytes(3 * MIB + 17, 12);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &body).unwrap();
        let put = stage.s3.put_object().bucket(&stage.bucket).key("k");
        let put = put.body(ByteStream::from_path(file.path()).await.unwrap());
        let put = put.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).send().await.unwrap();
        assert_eq!(put.checksum_crc64_nvme(), Some(crc64(&body).as_str()));
        assert_eq!(stage.get("k").await, body);
        let head = stage.s3.head_object().bucket(&stage.bucket).key("k").send().await.unwrap();
        assert_eq!(head.content_encoding(), None, "the transfer's encoding is not stored");
    })
    .await;
}

// What the SDK does not send: requests signed by hand, to the embedded store only.

/// A request whose payload is announced as `payload`, signed with the key pair of the embedded store.
/// See <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
fn signed(address: &str, path: &str, payload: &str, extra: &[(&str, &str)], body: Bytes) -> Request<Full<Bytes>> {
    let now = SystemClock.now();
    let (date, time) = (now.strftime("%Y%m%d").to_string(), now.strftime("%Y%m%dT%H%M%SZ").to_string());
    let mut headers = vec![("host", address), ("x-amz-content-sha256", payload), ("x-amz-date", &time)];
    headers.extend(extra);
    headers.sort_unstable();
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let canonical = format!("PUT\n{path}\n\n{lines}\n{names}\n{payload}");
    let scope = format!("{date}/{REGION}/s3/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(sha256(canonical.as_bytes())));
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{SECRET_KEY}").as_bytes());
    for step in [date.as_str(), REGION, "s3", "aws4_request"] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, step.as_bytes()).as_ref());
    }
    let signature = hex::encode(hmac::sign(&key, to_sign.as_bytes()));
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope},SignedHeaders={names},Signature={signature}");
    let mut request = Request::put(format!("http://{address}{path}")).header("authorization", authorization);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Full::from(body)).unwrap()
}

#[tokio::test]
async fn an_unsigned_trailer_is_checked() {
    on_stage(async |stage| {
        let Some(local) = &stage.local else { return };
        let path = format!("/{}/k", stage.bucket);
        let put = |trailer: String| {
            let body = format!("5\r\nhello\r\n6\r\n world\r\n0\r\n{trailer}\r\n");
            let extra = [
                ("content-encoding", "aws-chunked"),
                ("x-amz-decoded-content-length", "11"),
                ("x-amz-trailer", "x-amz-checksum-crc64nvme"),
            ];
            http(signed(&local.address, &path, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", &extra, body.into()))
        };
        let (status, _, text) = put(format!("x-amz-checksum-crc64nvme:{}\r\n", crc64(b"others"))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(String::from_utf8_lossy(&text).contains("<Code>BadDigest</Code>"), "{text:?}");
        let (status, _, text) = put(String::new()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{text:?}");
        assert!(stage.keys().await.is_empty());
        let (status, headers, _) = put(format!("x-amz-checksum-crc64nvme:{}\r\n", crc64(b"hello world"))).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["x-amz-checksum-crc64nvme"], crc64(b"hello world"));
        assert_eq!(stage.get("k").await, b"hello world");
    })
    .await;
}

#[tokio::test]
async fn a_payload_that_is_not_what_was_signed_is_refused() {
    on_stage(async |stage| {
        let Some(local) = &stage.local else { return };
        let path = format!("/{}/k", stage.bucket);
        let claimed = hex::encode(sha256(b"bytes"));
        let (status, _, text) = http(signed(&local.address, &path, &claimed, &[], "other".into())).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(String::from_utf8_lossy(&text).contains("XAmzContentSHA256Mismatch"), "{text:?}");
        assert!(stage.keys().await.is_empty());
        assert_eq!(http(signed(&local.address, &path, &claimed, &[], "bytes".into())).await.0, StatusCode::OK);
    })
    .await;
}

// Presigned links.

async fn presigned_put(stage: &Stage, key: &str) -> String {
    let config = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let put = stage.s3.put_object().bucket(&stage.bucket).key(key).presigned(config).await.unwrap();
    put.uri().to_owned()
}

async fn link(stage: &Stage, key: &str, start: SystemTime) -> String {
    let config = PresigningConfig::builder().start_time(start).expires_in(Duration::from_secs(60)).build().unwrap();
    let get = stage.s3.get_object().bucket(&stage.bucket).key(key).response_content_disposition("attachment");
    get.presigned(config).await.unwrap().uri().to_owned()
}

/// The link with another last digit of its signature.
fn flipped(link: &str) -> String {
    let (rest, last) = link.split_at(link.len() - 1);
    format!("{rest}{}", if last == "0" { '1' } else { '0' })
}

async fn status(method: Method, url: &str) -> StatusCode {
    http(Request::builder().method(method).uri(url).body(Full::default()).unwrap()).await.0
}

#[tokio::test]
async fn a_presigned_link_gives_its_object_and_nothing_else() {
    on_stage(async |stage| {
        stage.put("mine", "bytes").await;
        stage.put("other", "secret").await;
        let good = link(stage, "mine", now()).await;
        let (code, headers, body) = http(Request::get(&good).body(Full::default()).unwrap()).await;
        assert_eq!((code, body.as_ref()), (StatusCode::OK, b"bytes".as_slice()));
        assert_eq!(headers["content-disposition"], "attachment");

        let expired = link(stage, "mine", now() - Duration::from_secs(120)).await;
        assert_eq!(status(Method::GET, &expired).await, StatusCode::FORBIDDEN);
        let future = link(stage, "mine", now() + Duration::from_secs(7200)).await;
        assert_eq!(status(Method::GET, &future).await, StatusCode::FORBIDDEN);
        for altered in [
            good.replace("/mine?", "/other?"),
            good.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"),
            good.replace("=attachment", "=inline"),
            flipped(&good),
            format!("{good}&versionId=1"),
        ] {
            assert_ne!(altered, good);
            assert_eq!(status(Method::GET, &altered).await, StatusCode::FORBIDDEN, "{altered}");
        }
        for method in [Method::PUT, Method::DELETE, Method::HEAD] {
            assert_eq!(status(method.clone(), &good).await, StatusCode::FORBIDDEN, "{method}");
        }
        let (bare, _) = good.split_once('?').unwrap();
        assert_eq!(status(Method::GET, bare).await, StatusCode::FORBIDDEN, "anonymous");
        assert_eq!(stage.keys().await, ["mine", "other"]);
    })
    .await;
}

#[tokio::test]
async fn presigned_heads_and_puts() {
    on_stage(async |stage| {
        let url = presigned_put(stage, "k").await;
        assert_eq!(status(Method::GET, &url).await, StatusCode::FORBIDDEN);
        let request = Request::put(url).body(Full::from("bytes")).unwrap();
        assert_eq!(http(request).await.0, StatusCode::OK);
        let config = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
        let head = stage.s3.head_object().bucket(&stage.bucket).key("k").presigned(config).await.unwrap();
        let (code, headers, body) = http(Request::head(head.uri()).body(Full::default()).unwrap()).await;
        assert_eq!((code, headers["content-length"].as_str(), body.len()), (StatusCode::OK, "5", 0));
    })
    .await;
}

#[tokio::test]
async fn only_the_right_key_pair_is_let_in() {
    on_stage(async |stage| {
        let Some(local) = &stage.local else { return };
        let with = |access: &str, secret: &str| {
            let keys = Credentials::new(access, secret, None, None, "conformance");
            let config = stage.s3.config().to_builder().credentials_provider(keys).build();
            Client::from_conf(config).list_buckets().send()
        };
        assert_eq!(refusal(with("AKIANOBODY", SECRET_KEY)).await, "InvalidAccessKeyId");
        assert_eq!(refusal(with(ACCESS_KEY, "wrong")).await, "SignatureDoesNotMatch");
        assert_eq!(status(Method::GET, &format!("http://{}/", local.address)).await, StatusCode::FORBIDDEN);
    })
    .await;
}

// The embedded store alone: what a crash leaves.

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
