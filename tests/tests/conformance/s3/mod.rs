//! S3 as Holdfast uses it.
//!
//! `HOLDFAST_CONFORMANCE_ENDPOINT=https://s3.eu-central-1.amazonaws.com cargo nextest run -p holdfast-tests s3` runs
//! this against a real service, with the usual AWS variables (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
//! `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_PROFILE`). Each test makes a bucket `holdfast-conformance-…` and removes it
//! at its end; one that fails leaves its bucket.

mod checksums;
mod crashes;
mod links;
mod listings;
mod one_piece;
mod signatures;
mod uploads;

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

/// A link that takes an object.
async fn presigned_put(stage: &Stage, key: &str) -> String {
    let config = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let put = stage.s3.put_object().bucket(&stage.bucket).key(key).presigned(config).await.unwrap();
    put.uri().to_owned()
}
