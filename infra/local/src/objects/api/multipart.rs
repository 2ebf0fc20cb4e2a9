//! Multipart uploads.

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request};

use super::lists::{Escape, page_limit};
use crate::objects::ObjectStore;
use crate::objects::checksum::{Claim, Kind, Scheme, set_sums, sums_of, verify_md5};
use crate::objects::conditions::{length, wire_time};
use crate::objects::fault::{Result, invalid, refused};
use crate::objects::object::{Precondition, headers_of};
use crate::objects::receive::{Received, receive};
use crate::objects::upload::{Completion, Part as Stored, Upload, Wanted};

/// Part numbers go from 1 to this.
const MAX_PART: i32 = 10_000;

impl ObjectStore {
    pub(super) async fn on_create_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> Result<CreateMultipartUploadOutput> {
        let scheme = Scheme::choose(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
        let now = self.now();
        let upload = Upload::new(input.key.clone(), headers_of!(input, now)?, scheme, now);
        let (id, bucket) = (upload.id.clone(), input.bucket.clone());
        self.run(move |tx| tx.create_upload(&bucket, &upload)).await?;
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: scheme.declared.then(|| ChecksumAlgorithm::from_static(scheme.algorithm.name())),
            checksum_type: scheme.declared.then(|| scheme.kind.wire()),
            ..CreateMultipartUploadOutput::default()
        })
    }

    pub(super) async fn on_upload_part(&self, req: S3Request<UploadPartInput>) -> Result<UploadPartOutput> {
        let input = req.input;
        if !(1..=MAX_PART).contains(&input.part_number) {
            let message = "Part number must be an integer between 1 and 10000, inclusive";
            return Err(refused(S3ErrorCode::InvalidArgument, message));
        }
        let claim = Claim::read(&sums_of!(input), &req.headers, req.trailing_headers)?;
        let scheme = self.scheme_of(&input).await?;
        check_claim(scheme, claim.as_ref())?;

        let mut algorithms = vec![scheme.algorithm];
        algorithms.extend(claim.as_ref().map(|claim| claim.algorithm).filter(|&claimed| claimed != scheme.algorithm));
        let received = receive(self.files(), input.body, &algorithms).await?;
        verify_md5(input.content_md5.as_deref(), received.md5)?;
        if let Some(claim) = &claim {
            claim.verify(&received.sums)?;
        }

        let mut output = UploadPartOutput::default();
        if let Some(claim) = claim {
            let value = claim.algorithm.of(&received.sums).unwrap_or_default();
            let _: Option<ChecksumType> = set_sums!(output, claim.algorithm.with(value.to_owned()));
        }
        let (bucket, key, upload) = (input.bucket, input.key, input.upload_id);
        let etag = self
            .blocking(move |store| store.commit_part((&bucket, &key, &upload), input.part_number, scheme, received));
        output.e_tag = Some(ETag::Strong(etag.await?));
        Ok(output)
    }

    async fn scheme_of(&self, input: &UploadPartInput) -> Result<Scheme> {
        let (bucket, key, upload) = (input.bucket.clone(), input.key.clone(), input.upload_id.clone());
        let upload = self.run(move |tx| tx.require_upload(&bucket, &key, &upload)).await?;
        Ok(upload.scheme)
    }

    /// Puts the file on the disk, then the part that names it; answers its ETag.
    fn commit_part(
        &self,
        (bucket, key, upload): (&str, &str, &str),
        number: i32,
        scheme: Scheme,
        received: Received,
    ) -> Result<String> {
        let Received { draft, size, md5, sums } = received;
        let part = Stored {
            number,
            file: draft.name().to_owned(),
            size,
            etag: hex::encode(md5),
            checksum: scheme.algorithm.of(&sums).unwrap_or_default().to_owned(),
            modified: self.now(),
        };
        draft.seal()?;
        self.transact(|tx| tx.put_part(bucket, key, upload, &part))?;
        draft.keep();
        Ok(part.etag)
    }

    pub(super) async fn on_complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> Result<CompleteMultipartUploadOutput> {
        let wanted = completion(&input, self.now())?;
        let object = self.run(move |tx| tx.complete_upload(&wanted)).await?;
        let mut output = CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(object.wire_etag()),
            ..CompleteMultipartUploadOutput::default()
        };
        output.checksum_type = set_sums!(output, object.checksum.wire());
        Ok(output)
    }

    pub(super) async fn on_abort_upload(&self, input: AbortMultipartUploadInput) -> Result<AbortMultipartUploadOutput> {
        self.run(move |tx| tx.abort_upload(&input.bucket, &input.key, &input.upload_id)).await?;
        Ok(AbortMultipartUploadOutput::default())
    }

    pub(super) async fn on_list_parts(&self, input: ListPartsInput) -> Result<ListPartsOutput> {
        let limit = page_limit(input.max_parts, "max-parts")?;
        let after = input.part_number_marker.unwrap_or(0);
        let (bucket, key, id) = (input.bucket.clone(), input.key.clone(), input.upload_id.clone());
        let listed = self.run(move |tx| {
            let upload = tx.require_upload(&bucket, &key, &id)?;
            Ok((upload.scheme, tx.parts(&id, after, i64::from(limit) + 1)?))
        });
        let (scheme, mut parts) = listed.await?;
        let truncated = cut(&mut parts, limit);
        Ok(ListPartsOutput {
            is_truncated: Some(truncated),
            next_part_number_marker: parts.last().filter(|_| truncated).map(|part| part.number),
            parts: Some(parts.into_iter().map(|part| wire_part(part, scheme)).collect()),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: Some(limit),
            part_number_marker: Some(after),
            checksum_algorithm: scheme.declared.then(|| ChecksumAlgorithm::from_static(scheme.algorithm.name())),
            checksum_type: scheme.declared.then(|| scheme.kind.wire()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..ListPartsOutput::default()
        })
    }

    pub(super) async fn on_list_uploads(&self, input: ListMultipartUploadsInput) -> Result<ListMultipartUploadsOutput> {
        if input.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty()) {
            return Err(refused(S3ErrorCode::NotImplemented, "uploads cannot be grouped by a delimiter here"));
        }
        let limit = page_limit(input.max_uploads, "max-uploads")?;
        let after = marker(&input);
        let (bucket, prefix) = (input.bucket.clone(), input.prefix.clone().unwrap_or_default());
        let listed = self.run(move |tx| tx.uploads(&bucket, &prefix, (&after.0, &after.1), i64::from(limit) + 1));
        let mut uploads = listed.await?;
        let truncated = cut(&mut uploads, limit);
        let escape = Escape::of(input.encoding_type.as_ref());
        let last = uploads.last().filter(|_| truncated);
        Ok(ListMultipartUploadsOutput {
            is_truncated: Some(truncated),
            next_key_marker: last.map(|upload| escape.key(upload.key.clone())),
            next_upload_id_marker: last.map(|upload| upload.id.clone()),
            uploads: Some(uploads.into_iter().map(|upload| wire_upload(upload, escape)).collect()),
            bucket: Some(input.bucket),
            prefix: input.prefix.map(|prefix| escape.key(prefix)),
            key_marker: input.key_marker.map(|key| escape.key(key)),
            upload_id_marker: input.upload_id_marker,
            max_uploads: Some(limit),
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        })
    }
}

/// A part carries the checksum that its upload was created with; where none was chosen, any.
fn check_claim(scheme: Scheme, claim: Option<&Claim>) -> Result<()> {
    let fits = match claim {
        _ if !scheme.declared => true,
        Some(claim) => claim.algorithm == scheme.algorithm,
        None => scheme.kind == Kind::FullObject,
    };
    if fits {
        return Ok(());
    }
    let actual = claim.map_or_else(|| "null".to_owned(), |claim| claim.algorithm.lower());
    let expected = scheme.algorithm.lower();
    Err(invalid(format!(
        "Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {actual}"
    )))
}

fn completion(input: &CompleteMultipartUploadInput, now: i64) -> Result<Completion> {
    let named = input.multipart_upload.as_ref().and_then(|upload| upload.parts.clone()).unwrap_or_default();
    let parts = named.into_iter().map(wanted).collect::<Result<_>>()?;
    let kind = match input.checksum_type.as_ref().map(ChecksumType::as_str) {
        None => None,
        Some(ChecksumType::FULL_OBJECT) => Some(Kind::FullObject),
        Some(ChecksumType::COMPOSITE) => Some(Kind::Composite),
        Some(_) => return Err(invalid("Value for x-amz-checksum-type header is invalid.")),
    };
    Ok(Completion {
        bucket: input.bucket.clone(),
        key: input.key.clone(),
        upload: input.upload_id.clone(),
        parts,
        kind,
        sums: sums_of!(input),
        size: input.mpu_object_size.and_then(|size| u64::try_from(size).ok()),
        precondition: Precondition { if_match: input.if_match.clone(), if_none_match: input.if_none_match.clone() },
        now,
    })
}

fn wanted(part: CompletedPart) -> Result<Wanted> {
    let sums = sums_of!(part);
    match (part.part_number, part.e_tag) {
        (Some(number), Some(etag)) => Ok(Wanted { number, etag: etag.into_value(), sums }),
        _ => {
            let message = "The XML you provided was not well-formed or did not validate against our published schema";
            Err(refused(S3ErrorCode::MalformedXML, message))
        }
    }
}

/// The last upload of the page before. A key marker alone stands for all uploads of its key.
fn marker(input: &ListMultipartUploadsInput) -> (String, String) {
    let key = input.key_marker.clone().unwrap_or_default();
    let id = match &input.upload_id_marker {
        Some(id) if !key.is_empty() => id.clone(),
        _ if key.is_empty() => String::new(),
        _ => char::MAX.to_string(),
    };
    (key, id)
}

/// Cuts off what was read beyond the page; answers whether there was any.
fn cut<T>(items: &mut Vec<T>, limit: i32) -> bool {
    let limit = usize::try_from(limit).unwrap_or_default();
    let truncated = items.len() > limit && limit > 0;
    items.truncate(limit);
    truncated
}

fn wire_part(part: Stored, scheme: Scheme) -> Part {
    let mut wire = Part {
        part_number: Some(part.number),
        size: Some(length(part.size)),
        e_tag: Some(ETag::Strong(part.etag)),
        last_modified: Some(wire_time(part.modified)),
        ..Part::default()
    };
    if scheme.declared {
        let _: Option<ChecksumType> = set_sums!(wire, scheme.algorithm.with(part.checksum));
    }
    wire
}

fn wire_upload(upload: Upload, escape: Escape) -> MultipartUpload {
    MultipartUpload {
        key: Some(escape.key(upload.key)),
        upload_id: Some(upload.id),
        initiated: Some(wire_time(upload.initiated)),
        checksum_algorithm: upload
            .scheme
            .declared
            .then(|| ChecksumAlgorithm::from_static(upload.scheme.algorithm.name())),
        checksum_type: upload.scheme.declared.then(|| upload.scheme.kind.wire()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..MultipartUpload::default()
    }
}
