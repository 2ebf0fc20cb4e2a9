//! Upload: one object in parts. It does not exist until [`Upload::complete`] has proved that it does, and is whole.
//!
//! Each part carries its CRC64NVME, which the store checks before it answers, and the whole object has one too
//! ([full-object checksums](https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html)). The
//! payload is then not hashed a second time for the signature. A store that does not know this checksum gets the
//! signature's SHA-256 over each part instead, which it checks as well, and is read back by size and ETag.

use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::create_multipart_upload::CreateMultipartUploadError;
use aws_sdk_s3::operation::upload_part::{UploadPartError, UploadPartOutput};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use aws_smithy_types::timeout::TimeoutConfig;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc64Nvme;

use super::{Head, Objects, ObjectsError, ObjectsResult};

/// A part gets two minutes and as long as its bytes take at this rate, per try.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;

/// A part of an object with its checksum. The bytes are shared, so that one part goes to several storages.
#[derive(Debug, Clone)]
pub struct Part {
    /// Counts from 1.
    pub number: u32,
    /// Its content.
    pub bytes: Bytes,
    /// CRC64NVME of the content.
    pub crc64: u64,
}

impl Part {
    /// Computes the checksum: about 10 GB/s.
    pub fn new(number: u32, bytes: Bytes) -> Self {
        let crc64 = crc_fast::checksum(Crc64Nvme, &bytes);
        Self { number, bytes, crc64 }
    }
}

/// CRC64NVME of bytes with checksum `head` followed by `tail_bytes` bytes with checksum `tail`.
pub fn crc64_of_joined(head: u64, tail: u64, tail_bytes: u64) -> u64 {
    crc_fast::checksum_combine(Crc64Nvme, head, tail, tail_bytes)
}

/// An object that was completed and read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its key.
    pub key: String,
    /// Its size in bytes, as the store told it.
    pub size_bytes: u64,
    /// How its content was proved: `crc64nvme BASE64`, or `etag "…"` where the store knows no CRC64NVME.
    pub checksum: String,
}

/// An object that is being uploaded. Dropping it leaves parts behind: end it by [`Upload::complete`] or
/// [`Upload::abort`].
#[derive(Debug)]
pub struct Upload {
    objects: Objects,
    key: String,
    upload_id: String,
    integrity: Integrity,
    parts: Mutex<Vec<CompletedPart>>,
}

/// What lets the store check each part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Integrity {
    /// A CRC64NVME header; the signature leaves the payload out.
    Crc64,
    /// The SHA-256 in the signature.
    Signature,
}

impl Objects {
    /// Begins an object.
    pub async fn start_upload(&self, key: &str) -> ObjectsResult<Upload> {
        let request = || self.keep_upload(self.client.create_multipart_upload().bucket(&*self.bucket).key(key));
        let checked =
            request().checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).checksum_type(ChecksumType::FullObject);
        let (answer, integrity) = match checked.send().await {
            Ok(answer) => (answer, Integrity::Crc64),
            Err(error) if refuses_checksum(&error) => {
                let answer = request().send().await.map_err(|error| self.failed("begin an upload", error))?;
                (answer, Integrity::Signature)
            }
            Err(error) => return Err(self.failed("begin an upload", error)),
        };
        let upload_id = answer.upload_id.ok_or_else(|| ObjectsError::Unavailable {
            bucket: self.bucket.to_string(),
            action: "begin an upload",
            source: "the store named no upload id".into(),
        })?;
        Ok(Upload { objects: self.clone(), key: key.to_owned(), upload_id, integrity, parts: Mutex::default() })
    }
}

impl Upload {
    /// The key that the object will have.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Sends a part; several may be on their way at once, in any order. The store has checked the bytes when this
    /// returns. Sending a number again replaces the part.
    pub async fn put_part(&self, part: &Part) -> ObjectsResult<()> {
        let answer = self.send_part(part).await.map_err(|error| self.objects.failed("write a part", error))?;
        let completed = CompletedPart::builder()
            .part_number(number(part))
            .set_e_tag(answer.e_tag)
            .set_checksum_crc64_nvme((self.integrity == Integrity::Crc64).then(|| encoded(part.crc64)))
            .build();
        let mut parts = self.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        parts.retain(|other| other.part_number != completed.part_number);
        parts.push(completed);
        Ok(())
    }

    async fn send_part(&self, part: &Part) -> Result<UploadPartOutput, SdkError<UploadPartError>> {
        let slowest = Duration::from_secs(120 + part.bytes.len() as u64 / SLOWEST_BYTES_PER_SECOND);
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(slowest).build();
        let patience = aws_sdk_s3::config::Config::builder().timeout_config(timeouts);
        let request = self.objects.client.upload_part().bucket(&*self.objects.bucket).key(&self.key);
        let request = request.upload_id(&self.upload_id).part_number(number(part)).body(part.bytes.clone().into());
        match self.integrity {
            Integrity::Crc64 => {
                let request = request.checksum_crc64_nvme(encoded(part.crc64)).customize();
                request.disable_payload_signing().config_override(patience).send().await
            }
            Integrity::Signature => request.customize().config_override(patience).send().await,
        }
    }

    /// Makes the object out of its parts, then asks the store what it holds and compares size and checksum.
    ///
    /// A reply that was lost on the way is no failure: the store, asked again, no longer knows the upload, and what it
    /// holds decides. An upload that was aborted is a failure, since nothing is held.
    pub async fn complete(&self, total_bytes: u64, crc64: u64) -> ObjectsResult<Stored> {
        let answered_tag = match self.send_complete(total_bytes, crc64).await {
            Ok(tag) => tag,
            Err(ObjectsError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let head = self.objects.head(&self.key).await?;
        let head = head.ok_or_else(|| self.mismatch("there is nothing after the upload was completed".to_owned()))?;
        self.prove(&head, answered_tag, total_bytes, crc64)
    }

    async fn send_complete(&self, total_bytes: u64, crc64: u64) -> ObjectsResult<Option<String>> {
        let mut parts = self.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        parts.sort_by_key(|part| part.part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.objects.client.complete_multipart_upload().bucket(&*self.objects.bucket).key(&self.key);
        let mut request = request.upload_id(&self.upload_id).multipart_upload(parts);
        if self.integrity == Integrity::Crc64 {
            request = request.checksum_type(ChecksumType::FullObject).checksum_crc64_nvme(encoded(crc64));
            request = request.set_mpu_object_size(i64::try_from(total_bytes).ok());
        }
        let answer = request.send().await.map_err(|error| self.objects.failed("complete an upload", error))?;
        Ok(answer.e_tag)
    }

    /// Compares what the store says with what was sent. Without a CRC64NVME in its answer the ETag that completing
    /// answered must be the object's: then the object is the one made of our parts, each of which the store had checked.
    fn prove(&self, head: &Head, answered_tag: Option<String>, total_bytes: u64, crc64: u64) -> ObjectsResult<Stored> {
        if head.size_bytes != Some(total_bytes) {
            return Err(self.mismatch(format!("{:?} bytes instead of {total_bytes}", head.size_bytes)));
        }
        let checksum = match (&head.crc64, &head.e_tag, answered_tag) {
            (Some(held), _, _) if *held == encoded(crc64) => format!("crc64nvme {held}"),
            (Some(held), _, _) => {
                return Err(self.mismatch(format!("CRC64NVME {held} instead of {}", encoded(crc64))));
            }
            (None, Some(held), Some(answered)) if *held == answered => format!("etag {held}"),
            (None, held, answered) => {
                return Err(self.mismatch(format!("ETag {held:?} instead of {answered:?}")));
            }
        };
        Ok(Stored { key: self.key.clone(), size_bytes: total_bytes, checksum })
    }

    /// Gives the upload up and frees its parts. No part may be on its way any more. One that is completed already is
    /// left as it is.
    pub async fn abort(&self) -> ObjectsResult<()> {
        self.objects.abort_upload(&self.key, &self.upload_id).await
    }

    /// Removes every trace, whether it was completed or not.
    pub async fn discard(&self) -> ObjectsResult<()> {
        self.abort().await?;
        self.objects.delete(&self.key).await
    }

    fn mismatch(&self, what: String) -> ObjectsError {
        ObjectsError::Mismatch { bucket: self.objects.bucket.to_string(), key: self.key.clone(), what }
    }
}

/// The CRC64NVME of bytes, as S3 writes it.
pub(super) fn checksum_of(bytes: &[u8]) -> String {
    encoded(crc_fast::checksum(Crc64Nvme, bytes))
}

/// S3 writes a CRC64 as base64 of its eight bytes, the highest first.
fn encoded(crc64: u64) -> String {
    STANDARD.encode(crc64.to_be_bytes())
}

fn number(part: &Part) -> i32 {
    i32::try_from(part.number).unwrap_or(i32::MAX)
}

/// Whether a store turned the request down because it knows no CRC64NVME. Stores word it differently, so every plain
/// "I do not understand this" counts: the request is then repeated without, and what else was wrong fails again.
fn refuses_checksum(error: &SdkError<CreateMultipartUploadError>) -> bool {
    let status = error.raw_response().map(|response| response.status().as_u16());
    matches!(error, SdkError::ServiceError(_)) && matches!(status, Some(400 | 501))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_join() {
        // The check value of CRC-64/NVME in the catalogue of parametrised CRC algorithms.
        let whole = Part::new(1, Bytes::from_static(b"123456789"));
        assert_eq!(whole.crc64, 0xae8b_1486_0a79_9888);
        let (head, tail) = (Part::new(1, Bytes::from_static(b"1234")), Part::new(2, Bytes::from_static(b"56789")));
        assert_eq!(crc64_of_joined(head.crc64, tail.crc64, 5), whole.crc64);
        assert_eq!(crc64_of_joined(0, whole.crc64, 9), whole.crc64);
        assert_eq!(encoded(whole.crc64), "rosUhgp5mIg=");
    }
}
