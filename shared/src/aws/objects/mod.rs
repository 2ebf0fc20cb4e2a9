//! Objects: one bucket of one storage, S3 or compatible.
//!
//! Every call rides out about a minute of 503s, resets and throttling by itself before it fails; see [`Objects::new`].

mod error;
mod keeping;
mod listing;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::ChecksumMode;
use aws_types::service_config::ServiceConfigKey;
use bytes::{Buf, Bytes};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

pub use error::ObjectsError;
pub use listing::{Listed, Page, PendingUpload, Swept};
pub use upload::{Part, Stored, Upload, crc64_of_joined};

use self::keeping::{Keeping, is_lock};
use super::Outside;
use crate::domain::sealed::Secret;

/// What a call answers.
pub type ObjectsResult<T> = Result<T, ObjectsError>;

/// Tries per request. With the SDK's backoff (from 50 ms, throttling from 1 s, doubling up to 20 s, a random share of each)
/// these span 50 s on average; what lasts longer is left to the next attempt of the backup.
const PATIENT_ATTEMPTS: u32 = 12;
/// Tries per request where somebody waits for the answer.
const HASTY_ATTEMPTS: u32 = 3;
/// Until a connection must stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Until one try of a request must have been answered; parts get more, by size. `Complete` of 10,000 parts takes minutes.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(300);
/// How long an upload may make no headway at all before its connection is given up and the try repeated.
const STALL_GRACE: Duration = Duration::from_secs(30);

/// One bucket; cheap to clone. Debug prints no credentials.
#[derive(Debug, Clone)]
pub struct Objects {
    client: Client,
    bucket: Arc<str>,
    keeping: Arc<Keeping>,
}

impl Objects {
    /// The bucket `bucket` in `region`.
    ///
    /// Without `credentials` it is reached as the installation reaches AWS, endpoint included. With them it is a user's:
    /// the installation's endpoint is not used, but `endpoint`, or else AWS's own, and only through the guard. Buckets are
    /// addressed by path wherever an endpoint is given, since other stores seldom have a name per bucket.
    pub fn new(
        sdk: &SdkConfig,
        outside: &Outside,
        bucket: &str,
        region: &str,
        endpoint: Option<&str>,
        credentials: Option<(&Secret, &Secret)>,
    ) -> Self {
        let mut config = aws_sdk_s3::config::Builder::from(sdk).region(Region::new(region.to_owned()));
        if let Some((key, secret)) = credentials {
            let credentials = Credentials::new(key.expose(), secret.expose(), None, None, "storage");
            config = config.credentials_provider(credentials);
            config.set_endpoint_url(None);
            config = config.http_client(outside.http.clone());
        }
        if let Some(endpoint) = endpoint {
            config = config.endpoint_url(endpoint);
        }
        let own_endpoint = credentials.is_none() && has_endpoint(sdk);
        let config = with_patience(config.force_path_style(endpoint.is_some() || own_endpoint));
        Self { client: Client::from_conf(config.build()), bucket: bucket.into(), keeping: Arc::default() }
    }

    /// The same bucket for somebody who waits: a failing store is reported after a few tries.
    #[must_use]
    pub fn hasty(&self) -> Self {
        let retry = RetryConfig::standard().with_max_attempts(HASTY_ATTEMPTS);
        let config = self.client.config().to_builder().retry_config(retry).build();
        Self { client: Client::from_conf(config), ..self.clone() }
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Writes a small object in one request.
    pub async fn put(&self, key: &str, bytes: Bytes) -> ObjectsResult<()> {
        // S3 takes a locked object only with a checksum.
        let checksum = self.locks().then(|| upload::checksum_of(&bytes));
        let request = self.client.put_object().bucket(&*self.bucket).key(key).body(bytes.into());
        let request = self.keep_object(request).set_checksum_crc64_nvme(checksum);
        request.send().await.map_err(|error| self.failed("write an object", error))?;
        Ok(())
    }

    /// Reads a small object whole.
    pub async fn get(&self, key: &str) -> ObjectsResult<Bytes> {
        let request = self.client.get_object().bucket(&*self.bucket).key(key);
        let answer = request.send().await.map_err(|error| self.failed("read an object", error))?;
        let body = answer.body.collect().await.map_err(|error| ObjectsError::Unavailable {
            bucket: self.bucket.to_string(),
            action: "read an object",
            source: error.into(),
        })?;
        Ok(body.into_bytes())
    }

    /// Reads `bytes` bytes of an object from `start` on; fails where the object has fewer. Safe to repeat, and repeated
    /// where the connection breaks in the middle.
    pub async fn get_range(&self, key: &str, start: u64, bytes: u64) -> ObjectsResult<Bytes> {
        let mut tries = HASTY_ATTEMPTS;
        loop {
            tries -= 1;
            let range = format!("bytes={start}-{}", (start + bytes).saturating_sub(1));
            let request = self.client.get_object().bucket(&*self.bucket).key(key).range(range);
            let answer = request.send().await.map_err(|error| self.failed("read an object", error))?;
            let source = match answer.body.collect().await {
                Ok(body) if body.remaining() as u64 == bytes => return Ok(body.into_bytes()),
                Ok(body) => format!("it answered {} of {bytes} bytes", body.remaining()).into(),
                Err(error) => Box::from(error),
            };
            if tries == 0 {
                return Err(ObjectsError::Unavailable {
                    bucket: self.bucket.to_string(),
                    action: "read an object",
                    source,
                });
            }
        }
    }

    /// The size of an object; `None` if it is not there.
    pub async fn size_bytes(&self, key: &str) -> ObjectsResult<Option<u64>> {
        Ok(self.head(key).await?.and_then(|head| head.size_bytes))
    }

    /// Deletes an object and asks whether it is gone; one that was not there is gone too.
    ///
    /// In a bucket with versions the object is hidden by a delete marker; its bytes go when the bucket's lifecycle rule
    /// says so, and a lock holds for them, not for the marker. Without versions, a lock refuses: [`ObjectsError::Locked`].
    pub async fn delete(&self, key: &str) -> ObjectsResult<()> {
        let request = self.client.delete_object().bucket(&*self.bucket).key(key);
        request.send().await.map_err(|error| match is_lock(&error) {
            true => ObjectsError::Locked { bucket: self.bucket.to_string() },
            false => self.failed("delete an object", error),
        })?;
        match self.head(key).await? {
            None => Ok(()),
            Some(_) => Err(ObjectsError::Mismatch {
                bucket: self.bucket.to_string(),
                key: key.to_owned(),
                what: "it is still there after it was deleted".to_owned(),
            }),
        }
    }

    /// A link that reads one object for `expires` (at most 7 days), under the name `file_name`. No request is made.
    pub async fn presign_get(&self, key: &str, file_name: &str, expires: Duration) -> ObjectsResult<Url> {
        let request = self.client.get_object().bucket(&*self.bucket).key(key);
        let request = request.response_content_disposition(content_disposition(file_name));
        let request = request.presigned(self.expiry(expires)?).await;
        self.link(request.map_err(|error| self.failed("sign a link", error))?.uri())
    }

    /// The same for `HEAD`: a signature is good for one method.
    pub async fn presign_head(&self, key: &str, file_name: &str, expires: Duration) -> ObjectsResult<Url> {
        let request = self.client.head_object().bucket(&*self.bucket).key(key);
        let request = request.response_content_disposition(content_disposition(file_name));
        let request = request.presigned(self.expiry(expires)?).await;
        self.link(request.map_err(|error| self.failed("sign a link", error))?.uri())
    }

    fn expiry(&self, expires: Duration) -> ObjectsResult<PresigningConfig> {
        PresigningConfig::expires_in(expires).map_err(|error| self.unusable(error))
    }

    fn link(&self, uri: &str) -> ObjectsResult<Url> {
        Url::parse(uri).map_err(|error| self.unusable(error))
    }

    fn unusable(&self, error: impl ToString) -> ObjectsError {
        ObjectsError::Unusable { bucket: self.bucket.to_string(), message: error.to_string() }
    }

    /// Size, checksum and tag of an object; `None` if it is not there.
    async fn head(&self, key: &str) -> ObjectsResult<Option<Head>> {
        let request = self.client.head_object().bucket(&*self.bucket).key(key).checksum_mode(ChecksumMode::Enabled);
        match request.send().await {
            Ok(answer) => Ok(Some(Head {
                size_bytes: answer.content_length.and_then(|size| u64::try_from(size).ok()),
                crc64: answer.checksum_crc64_nvme,
                e_tag: answer.e_tag,
            })),
            Err(error) => match self.failed("look at an object", error) {
                ObjectsError::NotFound { .. } => Ok(None),
                error => Err(error),
            },
        }
    }

    fn failed<E>(&self, action: &'static str, error: aws_sdk_s3::error::SdkError<E>) -> ObjectsError
    where
        E: std::error::Error + aws_sdk_s3::error::ProvideErrorMetadata + Send + Sync + 'static,
    {
        ObjectsError::from_sdk(&self.bucket, action, error)
    }
}

/// What a store says of an object.
struct Head {
    size_bytes: Option<u64>,
    crc64: Option<String>,
    e_tag: Option<String>,
}

/// Retries, timeouts and checksums of every call.
fn with_patience(config: Builder) -> Builder {
    let timeouts =
        TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
    // By default all clients of a process share one budget of retries; one failing store would spend it for the others.
    let budget = RetryPartition::custom("storage").token_bucket(TokenBucket::unlimited()).build();
    config
        .retry_config(RetryConfig::standard().with_max_attempts(PATIENT_ATTEMPTS))
        .retry_partition(budget)
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALL_GRACE).build())
        // Parts carry the checksum that we computed; the SDK would add a CRC32 that other stores may not know.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}

/// Whether the installation's own bucket is reached by an endpoint other than AWS's.
fn has_endpoint(sdk: &SdkConfig) -> bool {
    let key = ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok();
    let of_service = sdk.service_config().zip(key).and_then(|(config, key)| config.load_config(key));
    sdk.endpoint_url().is_some() || of_service.is_some()
}

/// `attachment` with the name in both forms of [RFC 6266](https://www.rfc-editor.org/rfc/rfc6266#section-5).
fn content_disposition(file_name: &str) -> String {
    let plain: String =
        file_name.chars().map(|c| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' }).collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(file_name, NON_ALPHANUMERIC))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::AllowedNetworks;
    use crate::guard::Guard;

    fn bucket(endpoint: Option<&str>) -> Objects {
        let sdk = SdkConfig::builder().behavior_version(aws_config::BehaviorVersion::latest()).build();
        let (key, secret) = (Secret::new("AKIDEXAMPLE"), Secret::new("canary-secret"));
        let outside = Outside::new(Guard::new(AllowedNetworks::default()));
        Objects::new(&sdk, &outside, "backups", "eu-west-1", endpoint, Some((&key, &secret)))
    }

    #[tokio::test]
    async fn links_name_the_file_and_hold_no_secret() {
        let objects = bucket(Some("http://127.0.0.1:9000"));
        let link = objects.presign_get("a/b.tar", "b \"ü\".tar", Duration::from_secs(900)).await.unwrap();
        assert_eq!(link.path(), "/backups/a/b.tar");
        let query: std::collections::HashMap<_, _> = link.query_pairs().into_owned().collect();
        assert_eq!(
            query["response-content-disposition"],
            "attachment; filename=\"b ___.tar\"; filename*=UTF-8''b%20%22%C3%BC%22%2Etar"
        );
        assert_eq!(query["X-Amz-Expires"], "900");
        assert!(!link.as_str().contains("canary"));
        assert!(!format!("{objects:?}").contains("canary"));
    }

    #[tokio::test]
    async fn aws_buckets_are_addressed_by_name() {
        let link = bucket(None).presign_get("k", "k", Duration::from_secs(60)).await.unwrap();
        assert_eq!(link.host_str(), Some("backups.s3.eu-west-1.amazonaws.com"));
    }

    #[tokio::test]
    async fn a_link_lives_a_week_at_most() {
        let error = bucket(None).presign_get("k", "k", Duration::from_secs(8 * 86_400)).await.unwrap_err();
        assert!(matches!(error, ObjectsError::Unusable { .. }));
    }
}
