//! Buckets.

use s3s::S3ErrorCode;
use s3s::dto::*;

use crate::objects::ObjectStore;
use crate::objects::conditions::wire_time;
use crate::objects::fault::{Result, refused};

impl ObjectStore {
    pub(super) async fn on_create_bucket(&self, input: CreateBucketInput) -> Result<CreateBucketOutput> {
        let (name, now) = (input.bucket, self.now());
        let location = format!("/{name}");
        if !self.run(move |tx| tx.create_bucket(&name, now)).await? {
            let message = "Your previous request to create the named bucket succeeded and you already own it.";
            return Err(refused(S3ErrorCode::BucketAlreadyOwnedByYou, message));
        }
        Ok(CreateBucketOutput { location: Some(location) })
    }

    pub(super) async fn on_head_bucket(&self, input: HeadBucketInput) -> Result<HeadBucketOutput> {
        self.run(move |tx| tx.require_bucket(&input.bucket)).await?;
        Ok(HeadBucketOutput::default())
    }

    pub(super) async fn on_delete_bucket(&self, input: DeleteBucketInput) -> Result<DeleteBucketOutput> {
        self.run(move |tx| tx.delete_bucket(&input.bucket)).await?;
        Ok(DeleteBucketOutput::default())
    }

    pub(super) async fn on_list_buckets(&self, input: ListBucketsInput) -> Result<ListBucketsOutput> {
        let prefix = input.prefix.clone().unwrap_or_default();
        let buckets = self.run(|tx| tx.buckets()).await?;
        let buckets = buckets.into_iter().filter(|(name, _)| name.starts_with(&prefix)).map(|(name, created)| Bucket {
            name: Some(name),
            creation_date: Some(wire_time(created)),
            ..Bucket::default()
        });
        Ok(ListBucketsOutput { buckets: Some(buckets.collect()), prefix: input.prefix, ..ListBucketsOutput::default() })
    }
}
