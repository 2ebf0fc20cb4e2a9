//! A storage: an S3-compatible bucket that copies go to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::sealed::Sealed;

/// Who runs the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The installation's own bucket: reached with the installation's own credentials.
    Holdfast,
    /// DigitalOcean Spaces.
    Digitalocean,
    /// Amazon S3 with credentials of the account's own.
    Aws,
    /// Wasabi.
    Wasabi,
    /// Backblaze B2.
    B2,
    /// Filebase.
    Filebase,
    /// UpCloud.
    Upcloud,
    /// Scaleway.
    Scaleway,
    /// Exoscale.
    Exoscale,
    /// Any S3-compatible endpoint.
    Custom,
}

/// Sealed credentials of a bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StorageCredentials {
    /// Access key id, sealed.
    pub key: Sealed,
    /// Secret access key, sealed.
    pub secret: Sealed,
}

/// A bucket that copies go to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Storage {
    /// Integer id, counted per account.
    pub id: u64,
    /// What its owner calls it.
    pub name: String,
    /// Who runs it.
    pub provider: Provider,
    /// The bucket's name.
    pub bucket: String,
    /// The bucket's region.
    pub region: String,
    /// `https://host[:port]`, for `custom` only.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// `None` for the installation's own bucket.
    #[serde(default)]
    pub credentials: Option<StorageCredentials>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its owner last changed it.
    pub updated_at: Timestamp,
    /// The last check.
    #[serde(default)]
    pub check: Option<Check>,
}
