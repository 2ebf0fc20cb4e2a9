//! Listing and sweeping: what lies below a prefix, and removing what no record names.

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::{Objects, ObjectsError, ObjectsResult};

/// How many deletions are under way at once.
const SWEEP_CONCURRENCY: usize = 8;

/// An object, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was written, if the store says so.
    pub modified_at: Option<Timestamp>,
}

/// A page of a listing, in the order of the keys' bytes; at most 1,000 objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The objects.
    pub objects: Vec<Listed>,
    /// What to ask for the next page with; `None` on the last one.
    pub next: Option<String>,
}

/// A multipart upload that was begun and neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingUpload {
    /// The key that it would get.
    pub key: String,
    /// The store's name for it.
    pub upload_id: String,
    /// When it was begun, if the store says so.
    pub initiated_at: Option<Timestamp>,
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many objects.
    pub objects: usize,
    /// How many multipart uploads.
    pub uploads: usize,
    /// How many objects it left, as a lock keeps them.
    pub locked: usize,
}

impl Objects {
    /// The objects below `prefix` that come after the key `after`.
    pub async fn list(&self, prefix: &str, after: Option<&str>) -> ObjectsResult<Page> {
        let request = self.client.list_objects_v2().bucket(&*self.bucket).prefix(prefix);
        let request = request.set_start_after(after.map(str::to_owned));
        let answer = request.send().await.map_err(|error| self.failed("list objects", error))?;
        let more = answer.is_truncated.unwrap_or(false);
        let objects: Vec<Listed> = answer
            .contents
            .unwrap_or_default()
            .into_iter()
            .filter_map(|object| {
                let size_bytes = object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
                Some(Listed { key: object.key?, size_bytes, modified_at: object.last_modified.and_then(timestamp) })
            })
            .collect();
        let next = if more { objects.last().map(|last| last.key.clone()) } else { None };
        Ok(Page { objects, next })
    }

    /// Every multipart upload below `prefix` that is under way.
    pub async fn list_uploads(&self, prefix: &str) -> ObjectsResult<Vec<PendingUpload>> {
        let mut uploads = Vec::new();
        let (mut key_marker, mut upload_id_marker) = (None, None);
        loop {
            let request = self.client.list_multipart_uploads().bucket(&*self.bucket).prefix(prefix);
            let request = request.set_key_marker(key_marker).set_upload_id_marker(upload_id_marker);
            let answer = request.send().await.map_err(|error| self.failed("list uploads", error))?;
            uploads.extend(answer.uploads.unwrap_or_default().into_iter().filter_map(|upload| {
                let initiated_at = upload.initiated.and_then(timestamp);
                Some(PendingUpload { key: upload.key?, upload_id: upload.upload_id?, initiated_at })
            }));
            if !answer.is_truncated.unwrap_or(false) || answer.next_key_marker.is_none() {
                return Ok(uploads);
            }
            (key_marker, upload_id_marker) = (answer.next_key_marker, answer.next_upload_id_marker);
        }
    }

    /// Aborts a multipart upload and frees its parts; one that is gone already is well.
    pub async fn abort_upload(&self, key: &str, upload_id: &str) -> ObjectsResult<()> {
        let request = self.client.abort_multipart_upload().bucket(&*self.bucket).key(key).upload_id(upload_id);
        match request.send().await.map_err(|error| self.failed("abort an upload", error)) {
            Ok(_) | Err(ObjectsError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes every object below `prefix` whose key `keep` refuses, and aborts every such upload. What a lock keeps is counted
    /// and left. Applying it twice is
    /// harmless; when it fails midway, what was removed stays removed.
    pub async fn sweep_prefix(&self, prefix: &str, keep: impl Fn(&str) -> bool) -> ObjectsResult<Swept> {
        let mut swept = Swept::default();
        // Uploads first: one that completes meanwhile is then found among the objects.
        for upload in self.list_uploads(prefix).await?.into_iter().filter(|upload| !keep(&upload.key)) {
            self.abort_upload(&upload.key, &upload.upload_id).await?;
            swept.uploads += 1;
        }
        let mut after = None;
        loop {
            let page = self.list(prefix, after.as_deref()).await?;
            let (after_page, page) = (page.next, page.objects.into_iter());
            let doomed: Vec<String> = page.map(|object| object.key).filter(|key| !keep(key)).collect();
            let deletions = futures::stream::iter(doomed.into_iter().map(|key| delete_owned(self.clone(), key)));
            let deleted: Vec<bool> = deletions.buffer_unordered(SWEEP_CONCURRENCY).try_collect().await?;
            let gone = deleted.iter().filter(|gone| **gone).count();
            swept.objects += gone;
            swept.locked += deleted.len() - gone;
            after = after_page;
            if after.is_none() {
                return Ok(swept);
            }
        }
    }
}

/// Whether it is gone; `false` where a lock keeps it.
async fn delete_owned(objects: Objects, key: String) -> ObjectsResult<bool> {
    match objects.delete(&key).await {
        Ok(()) => Ok(true),
        Err(ObjectsError::Locked { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn timestamp(time: aws_smithy_types::DateTime) -> Option<Timestamp> {
    Timestamp::from_millisecond(time.to_millis().ok()?).ok()
}
