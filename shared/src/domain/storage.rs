//! A storage: an S3-compatible bucket that copies go to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::sealed::{Sealed, Secret};
use super::storage_options::{StorageOptions, StorageOptionsEdit};

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

/// Every provider that an account may name; the installation's own bucket is given, not made.
const NAMED: [(&str, Provider); 9] = [
    ("digitalocean", Provider::Digitalocean),
    ("aws", Provider::Aws),
    ("wasabi", Provider::Wasabi),
    ("b2", Provider::B2),
    ("filebase", Provider::Filebase),
    ("upcloud", Provider::Upcloud),
    ("scaleway", Provider::Scaleway),
    ("exoscale", Provider::Exoscale),
    ("custom", Provider::Custom),
];

impl Provider {
    /// The provider that `word` names; the error lists them.
    pub fn parse(word: &str) -> Result<Self, String> {
        NAMED.into_iter().find(|(name, _)| *name == word).map(|(_, provider)| provider).ok_or_else(|| {
            let names: Vec<_> = NAMED.into_iter().map(|(name, _)| name).collect();
            format!("must be one of {}", names.join(", "))
        })
    }

    /// The words that an account may send.
    pub const NAMES: [&str; 9] =
        ["digitalocean", "aws", "wasabi", "b2", "filebase", "upcloud", "scaleway", "exoscale", "custom"];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        NAMED.into_iter().find(|(_, provider)| *provider == self).map_or("holdfast", |(name, _)| name)
    }

    /// Whether the owner has to give the endpoint, because no region tells it.
    ///
    /// UpCloud gives every instance a host name of its own
    /// (<https://upcloud.com/docs/guides/best-practices-object-storage/>).
    pub fn needs_endpoint(self) -> bool {
        matches!(self, Self::Custom | Self::Upcloud)
    }

    /// Where the provider takes S3 calls for a region; `None` where the SDK knows (Amazon) or the owner says.
    pub fn endpoint(self, region: &str) -> Option<String> {
        match self {
            Self::Holdfast | Self::Aws | Self::Custom | Self::Upcloud => None,
            // <https://docs.digitalocean.com/products/spaces/reference/s3-compatibility/>
            Self::Digitalocean => Some(format!("https://{region}.digitaloceanspaces.com")),
            // <https://docs.wasabi.com/docs/what-are-the-service-urls-for-wasabis-different-storage-regions>
            Self::Wasabi => Some(format!("https://s3.{region}.wasabisys.com")),
            // <https://www.backblaze.com/docs/cloud-storage-call-the-s3-compatible-api>
            Self::B2 => Some(format!("https://s3.{region}.backblazeb2.com")),
            // <https://filebase.com/docs/s3-api/overview>
            Self::Filebase => Some("https://s3.filebase.io".to_owned()),
            // <https://www.scaleway.com/en/docs/object-storage/concepts/#endpoint>
            Self::Scaleway => Some(format!("https://s3.{region}.scw.cloud")),
            // <https://community.exoscale.com/product/storage/object-storage/>
            Self::Exoscale => Some(format!("https://sos-{region}.exo.io")),
        }
    }

    /// The region that signs requests where the owner names none: there is only one, or the server does not care.
    pub fn default_region(self) -> Option<&'static str> {
        matches!(self, Self::Filebase | Self::Custom | Self::Upcloud).then_some("us-east-1")
    }
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
    /// `https://host[:port]`, where the owner had to say it.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// `None` for the installation's own bucket.
    #[serde(default)]
    pub credentials: Option<StorageCredentials>,
    /// How it is asked to keep what is written to it.
    #[serde(default)]
    pub options: StorageOptions,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its owner last changed it.
    pub updated_at: Timestamp,
    /// Counts its owner's edits, from 1: each one states the revision that it read, and loses to an edit in between.
    pub revision: u64,
    /// The last check.
    #[serde(default)]
    pub check: Option<Check>,
}

impl Storage {
    /// Where S3 calls go; `None` where the SDK knows.
    pub fn endpoint_url(&self) -> Option<String> {
        self.endpoint.clone().or_else(|| self.provider.endpoint(&self.region))
    }

    /// Whether all parts of an upload but the last must have one size, as at Cloudflare R2
    /// (<https://developers.cloudflare.com/r2/objects/multipart-objects/>).
    pub fn needs_equal_parts(&self) -> bool {
        let url = self.endpoint.as_deref().and_then(|endpoint| url::Url::parse(endpoint).ok());
        url.and_then(|url| url.host_str().map(|host| host.ends_with(".r2.cloudflarestorage.com"))).unwrap_or(false)
    }
}

/// Credentials as their owner gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainCredentials {
    /// Access key id.
    pub key: Secret,
    /// Secret access key.
    pub secret: Secret,
}

/// What its owner says of a new storage.
#[derive(Debug, Clone, PartialEq)]
pub struct NewStorage {
    /// What to call it.
    pub name: String,
    /// Who runs it.
    pub provider: Provider,
    /// The bucket's name; see [`bucket`].
    pub bucket: String,
    /// The bucket's region; see [`region`].
    pub region: String,
    /// Where [`Provider::needs_endpoint`]; see [`endpoint`].
    pub endpoint: Option<String>,
    /// What signs requests.
    pub credentials: PlainCredentials,
    /// How it is asked to keep what is written to it.
    pub options: StorageOptionsEdit,
}

/// What its owner changes of a storage; `None` leaves a part as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StorageEdit {
    /// What to call it.
    pub name: Option<String>,
    /// The bucket's name; see [`bucket`].
    pub bucket: Option<String>,
    /// The bucket's region; see [`region`].
    pub region: Option<String>,
    /// See [`endpoint`].
    pub endpoint: Option<String>,
    /// Access key id.
    pub key: Option<Secret>,
    /// Secret access key.
    pub secret: Option<Secret>,
    /// How it is asked to keep what is written to it.
    pub options: StorageOptionsEdit,
}

impl StorageEdit {
    /// Whether the edit would send copies elsewhere than where those of `seen` are.
    pub fn moves(&self, seen: &Storage) -> bool {
        let differs = |new: &Option<String>, old: &str| new.as_deref().is_some_and(|new| new != old);
        differs(&self.bucket, &seen.bucket)
            || differs(&self.region, &seen.region)
            || differs(&self.endpoint, seen.endpoint.as_deref().unwrap_or_default())
    }
}

/// Takes a bucket's name: 3 to 63 letters, digits, dots, dashes and underscores, a letter or digit at both ends.
pub fn bucket(text: &str) -> Result<String, &'static str> {
    let clean = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let ends = [text.bytes().next(), text.bytes().last()];
    let framed = ends.into_iter().flatten().all(|byte| byte.is_ascii_alphanumeric());
    if !(clean && framed && (3..=63).contains(&text.len())) || text.contains("..") {
        return Err("must be a bucket name: 3 to 63 letters, digits, dots and dashes");
    }
    Ok(text.to_owned())
}

/// Takes a region: 1 to 32 lowercase letters, digits and dashes. It becomes part of a host name.
pub fn region(text: &str) -> Result<String, &'static str> {
    let clean = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !clean || !(1..=32).contains(&text.len()) || text.starts_with('-') || text.ends_with('-') {
        return Err("must be a region such as eu-central-1: lowercase letters, digits and dashes");
    }
    Ok(text.to_owned())
}

/// Takes an endpoint `https://host[:port]`; plain `http` only where `allow_http`, as on one's own machine. Credentials,
/// a path or a query in it are refused.
pub fn endpoint(text: &str, allow_http: bool) -> Result<String, &'static str> {
    let form = "must be https://HOST or https://HOST:PORT";
    let url = url::Url::parse(text).map_err(|_| form)?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => return Err("must use https: plain http would show the copies to the network"),
        _ => return Err(form),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold credentials; send them as key and secret");
    }
    if url.host().is_none() || url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(form);
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_providers_match() {
        for (word, provider) in NAMED {
            assert_eq!(Provider::parse(word).unwrap(), provider);
            assert_eq!(provider.as_str(), word);
            assert_eq!(serde_json::to_value(provider).unwrap(), word);
        }
        assert!(Provider::parse("holdfast").unwrap_err().contains("digitalocean, aws"));
        assert_eq!(Provider::Holdfast.as_str(), "holdfast");
    }

    #[test]
    fn regions_tell_endpoints() {
        let cases = [
            (Provider::Digitalocean, "fra1", Some("https://fra1.digitaloceanspaces.com")),
            (Provider::Aws, "eu-west-1", None),
            (Provider::Wasabi, "eu-central-2", Some("https://s3.eu-central-2.wasabisys.com")),
            (Provider::B2, "eu-central-003", Some("https://s3.eu-central-003.backblazeb2.com")),
            (Provider::Filebase, "us-east-1", Some("https://s3.filebase.io")),
            (Provider::Upcloud, "us-east-1", None),
            (Provider::Scaleway, "nl-ams", Some("https://s3.nl-ams.scw.cloud")),
            (Provider::Exoscale, "ch-gva-2", Some("https://sos-ch-gva-2.exo.io")),
            (Provider::Custom, "us-east-1", None),
        ];
        assert_eq!(cases.map(|(provider, ..)| provider.as_str()).as_slice().len(), NAMED.len());
        for (provider, region, expected) in cases {
            assert_eq!(provider.endpoint(region).as_deref(), expected, "{provider:?}");
            // Where neither we nor the SDK know it, the owner has to.
            assert_eq!(provider.needs_endpoint(), expected.is_none() && provider != Provider::Aws, "{provider:?}");
        }
    }

    #[test]
    fn r2_wants_equal_parts() {
        let storage = |endpoint: &str| -> Storage {
            let at = "2026-01-01T00:00:00Z";
            serde_json::from_value(serde_json::json!({
                "id": 1, "name": "n", "provider": "custom", "bucket": "abc", "region": "auto", "endpoint": endpoint,
                "created_at": at, "updated_at": at, "revision": 1,
            }))
            .unwrap()
        };
        assert!(storage("https://0123.r2.cloudflarestorage.com").needs_equal_parts());
        assert!(storage("https://0123.eu.r2.cloudflarestorage.com").needs_equal_parts());
        assert!(!storage("https://r2.cloudflarestorage.com.example").needs_equal_parts());
    }

    #[test]
    fn takes_and_refuses_endpoints() {
        assert_eq!(endpoint("https://minio.example.com:9000/", false).unwrap(), "https://minio.example.com:9000");
        assert_eq!(endpoint("http://127.0.0.1:9000", true).unwrap(), "http://127.0.0.1:9000");
        let cases = [
            "http://127.0.0.1:9000",
            "minio.example.com",
            "https://",
            "ftp://a",
            "https://a:b@host",
            "https://a@host",
            "https://host/path",
            "https://host?x",
            "https://host#x",
            "",
            "https://ho st",
            "file:///etc/passwd",
        ];
        for text in cases {
            assert!(endpoint(text, false).is_err(), "{text:?}");
        }
        assert!(!endpoint("https://u:hunter2@host", false).unwrap_err().contains("hunter2"));
    }

    #[test]
    fn takes_and_refuses_buckets_and_regions() {
        for text in ["abc", "my-bucket.1", "Old_Bucket"] {
            assert_eq!(bucket(text).unwrap(), text);
        }
        for text in ["", "ab", "a/b", "-abc", "abc-", "a..b", "a b", "ä-bucket", &"a".repeat(64)] {
            assert!(bucket(text).is_err(), "{text:?}");
        }
        for text in ["eu-central-1", "fra1"] {
            assert_eq!(region(text).unwrap(), text);
        }
        for text in ["", "EU", "a.b", "evil.com/", "-a", "a\n"] {
            assert!(region(text).is_err(), "{text:?}");
        }
    }
}
