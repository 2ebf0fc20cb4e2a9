//! What changes an object: put, copy, delete.

use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request};

use crate::objects::ObjectStore;
use crate::objects::checksum::{Algorithm, Checksum as ObjectChecksum, Claim, Kind, set_sums, sums_of, verify_md5};
use crate::objects::conditions::{Conditions, wire_time};
use crate::objects::fault::{Result, invalid, refused};
use crate::objects::object::{Headers, Object as Stored, Precondition, Segment, headers_of};
use crate::objects::receive::{Received, receive};

impl ObjectStore {
    pub(super) async fn on_put_object(&self, req: S3Request<PutObjectInput>) -> Result<PutObjectOutput> {
        let input = req.input;
        let claim = Claim::read(&sums_of!(input), &req.headers, req.trailing_headers)?;
        let headers = headers_of!(input, self.now())?;
        let bucket = input.bucket.clone();
        self.run(move |tx| tx.require_bucket(&bucket)).await?;

        let algorithm = claim.as_ref().map_or(Algorithm::Crc64Nvme, |claim| claim.algorithm);
        let received = receive(self.files(), input.body, &[algorithm]).await?;
        verify_md5(input.content_md5.as_deref(), received.md5)?;
        if let Some(claim) = claim {
            claim.verify(&received.sums)?;
        }
        let precondition = Precondition { if_match: input.if_match, if_none_match: input.if_none_match };
        let object = self.blocking(move |store| {
            store.commit((&input.bucket, &input.key), received, (algorithm, headers), &precondition)
        });
        Ok(put_output(object.await?))
    }

    /// Puts the file on the disk, then the object that names it.
    fn commit(
        &self,
        place: (&str, &str),
        received: Received,
        (algorithm, headers): (Algorithm, Headers),
        precondition: &Precondition,
    ) -> Result<Stored> {
        let Received { draft, size, md5, sums } = received;
        let value = algorithm.of(&sums).unwrap_or_default().to_owned();
        let object = Stored {
            size,
            etag: hex::encode(md5),
            modified: self.now(),
            headers,
            checksum: ObjectChecksum { algorithm, kind: Kind::FullObject, value },
            upload: None,
        };
        let segment = Segment { number: 1, file: draft.name().to_owned(), size };
        draft.seal()?;
        self.transact(|tx| tx.put_object(place, &object, &[segment], precondition))?;
        draft.keep();
        Ok(object)
    }

    /// Copies by naming the same files. ETag and checksum stay those of the source, also of a multipart one.
    pub(super) async fn on_copy_object(&self, input: CopyObjectInput) -> Result<CopyObjectOutput> {
        let CopySource::Bucket { bucket, key, .. } = &input.copy_source else {
            return Err(refused(S3ErrorCode::NotImplemented, "copy from an access point is not supported here"));
        };
        let source = (bucket.to_string(), key.to_string());
        let replaced = replaced_headers(&input, self.now())?;
        if replaced.is_none() && source.0 == input.bucket && source.1 == input.key {
            return Err(invalid(
                "This copy request is illegal because it is trying to copy an object to itself without changing \
                 the object's metadata, storage class, website redirect location or encryption attributes.",
            ));
        }
        let algorithm = input.checksum_algorithm.as_ref().map(Algorithm::parse).transpose()?;
        let conditions = Conditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let now = self.now();
        let copied = self.run(move |tx| {
            let (id, mut object) = tx.require_object(&source.0, &source.1)?;
            conditions.check_source(&object)?;
            if algorithm.is_some_and(|algorithm| algorithm != object.checksum.algorithm) {
                let message = "a copy keeps the checksum algorithm of its source here";
                return Err(refused(S3ErrorCode::NotImplemented, message));
            }
            object.modified = now;
            object.upload = None;
            object.headers = replaced.unwrap_or(object.headers);
            let segments = tx.segments(id)?;
            tx.put_object((&input.bucket, &input.key), &object, &segments, &Precondition::default())?;
            Ok(object)
        });
        let copied = copied.await?;
        let mut result = CopyObjectResult {
            e_tag: Some(copied.wire_etag()),
            last_modified: Some(wire_time(copied.modified)),
            ..CopyObjectResult::default()
        };
        result.checksum_type = set_sums!(result, copied.checksum.wire());
        Ok(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() })
    }

    pub(super) async fn on_delete_object(&self, input: DeleteObjectInput) -> Result<DeleteObjectOutput> {
        let now = self.now();
        self.run(move |tx| tx.delete_object((&input.bucket, &input.key), input.if_match.as_ref(), now)).await?;
        Ok(DeleteObjectOutput::default())
    }

    /// Deletes all of the named keys in one transaction.
    pub(super) async fn on_delete_objects(&self, input: DeleteObjectsInput) -> Result<DeleteObjectsOutput> {
        let quiet = input.delete.quiet.unwrap_or(false);
        let keys: Vec<String> = input.delete.objects.into_iter().map(|object| object.key).collect();
        if keys.is_empty() || keys.len() > 1000 {
            let message = "The XML you provided was not well-formed or did not validate against our published schema";
            return Err(refused(S3ErrorCode::MalformedXML, message));
        }
        let now = self.now();
        let deleted = self.run(move |tx| {
            tx.require_bucket(&input.bucket)?;
            for key in &keys {
                tx.delete_object((&input.bucket, key), None, now)?;
            }
            Ok(keys)
        });
        let deleted =
            deleted.await?.into_iter().map(|key| DeletedObject { key: Some(key), ..DeletedObject::default() });
        let deleted = (!quiet).then(|| deleted.collect());
        Ok(DeleteObjectsOutput { deleted, ..DeleteObjectsOutput::default() })
    }
}

fn replaced_headers(input: &CopyObjectInput, now: i64) -> Result<Option<Headers>> {
    match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
        None | Some(MetadataDirective::COPY) => Ok(None),
        Some(MetadataDirective::REPLACE) => headers_of!(input, now).map(Some),
        Some(_) => Err(S3Error::with_message(S3ErrorCode::InvalidArgument, "Unknown metadata directive.").into()),
    }
}

fn put_output(object: Stored) -> PutObjectOutput {
    let mut output = PutObjectOutput { e_tag: Some(object.wire_etag()), ..PutObjectOutput::default() };
    output.checksum_type = set_sums!(output, object.checksum.wire());
    output
}
