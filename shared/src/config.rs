//! What an installation is told by its environment. The only file that reads it.
//!
//! Regions, credentials and endpoints are the AWS SDK's own business: `AWS_REGION`, the usual credential chain, and one
//! overridable endpoint per service (`AWS_ENDPOINT_URL_DYNAMODB`, `_SQS`, `_S3`, `_SCHEDULER`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::domain::address::AllowedNetworks;

/// Names and addresses of an installation's resources.
#[derive(Debug, Clone)]
pub struct Config {
    /// `HOLDFAST_TABLE`: the DynamoDB table.
    pub table: String,
    /// `HOLDFAST_QUEUE_URL`: the work queue.
    pub queue_url: String,
    /// `HOLDFAST_QUEUE_ARN`: the same queue, as Scheduler targets name it.
    pub queue_arn: String,
    /// `HOLDFAST_DEAD_LETTER_QUEUE_URL`: where messages go that no worker could handle.
    pub dead_letter_queue_url: String,
    /// `HOLDFAST_DEAD_LETTER_QUEUE_ARN`: the same, for Scheduler's own failures to deliver.
    pub dead_letter_queue_arn: String,
    /// `HOLDFAST_SCHEDULE_GROUP`: the Scheduler group that holds every schedule.
    pub schedule_group: String,
    /// `HOLDFAST_SCHEDULE_ROLE_ARN`: the role that lets Scheduler send to the queue.
    pub schedule_role_arn: String,
    /// `HOLDFAST_BUCKET`: the installation's own bucket, which `provider: holdfast` storages use.
    pub bucket: String,
    /// `AWS_REGION`.
    pub region: String,
    /// `HOLDFAST_PUBLIC_URL`: what every link that is handed out starts with; no trailing slash.
    pub public_url: String,
    /// `HOLDFAST_DOWNLOAD_ORIGIN`: what presigned links to the installation's own bucket start with instead of their
    /// scheme and authority, where that bucket is not reachable by itself; no trailing slash. Unset on AWS.
    pub download_origin: Option<String>,
    /// `HOLDFAST_SEALING_KEYS`: seal secrets and sign download tickets.
    pub sealing_keys: SealingKeys,
    /// `HOLDFAST_REQUESTS_PER_SECOND`: how many HTTP requests one token may make, on average; 50 where unset.
    pub requests_per_second: u32,
    /// `HOLDFAST_ACCOUNT_REQUESTS_PER_SECOND`: how many all tokens of one account may make together, on average; 200 where
    /// unset.
    pub account_requests_per_second: u32,
    /// `HOLDFAST_CORS_ORIGINS`: the origins whose pages may call the surfaces from a browser, parted by commas; none where
    /// unset.
    pub cors_origins: Vec<String>,
    /// `HOLDFAST_ALLOW_NETWORKS`: networks outside the open internet that users may have us connect to, in CIDR form with
    /// commas between; none where unset.
    pub allow_networks: AllowedNetworks,
    /// `HOLDFAST_ALLOW_HTTP_STORAGES=true`: storages may have plain `http` endpoints, as on one's own machine.
    pub allow_http_storages: bool,
}

/// How many requests a token may make each second unless the operator says otherwise.
pub const DEFAULT_REQUESTS_PER_SECOND: u32 = 50;
/// How many requests all tokens of an account may make each second unless the operator says otherwise.
pub const DEFAULT_ACCOUNT_REQUESTS_PER_SECOND: u32 = 200;

/// The installation's master keys, the newest first: that one seals, all of them open. As text `2:BASE64,1:BASE64`,
/// each with the number that what it sealed begins with. Debug prints nothing of them.
#[derive(Debug, Clone)]
pub struct SealingKeys(Vec<(u32, SealingKey)>);

impl SealingKeys {
    /// These keys; `None` when there is none, or two have one number.
    pub fn new(keys: Vec<(u32, SealingKey)>) -> Option<Self> {
        let numbers: std::collections::BTreeSet<_> = keys.iter().map(|(number, _)| *number).collect();
        (!keys.is_empty() && numbers.len() == keys.len()).then_some(Self(keys))
    }

    /// Reads them as Display's counterpart [`SealingKeys::to_text`] writes them; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let key = |part: &str| {
            let (number, key) = part.trim().split_once(':')?;
            Some((number.parse().ok()?, SealingKey::from_base64(key)?))
        };
        Self::new(text.split(',').map(key).collect::<Option<_>>()?)
    }

    /// The keys as text. It is a secret.
    pub fn to_text(&self) -> String {
        let parts: Vec<_> = self.0.iter().map(|(number, key)| format!("{number}:{}", key.to_base64())).collect();
        parts.join(",")
    }

    /// All of them with their numbers, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &SealingKey)> {
        self.0.iter().map(|(number, key)| (*number, key))
    }
}

/// One master key. Debug prints nothing of it.
#[derive(Clone)]
pub struct SealingKey(pub [u8; 32]);

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

impl SealingKey {
    /// Reads 32 bytes in base64; `None` for anything else.
    pub fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text.trim()).ok()?.try_into().ok().map(Self)
    }

    /// The key in base64.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }
}

/// A variable that is missing or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not set.
    #[error("environment variable {0} is not set")]
    Missing(&'static str),
    /// Set to something else than what it must be.
    #[error("environment variable {name} must be {expected}")]
    Unreadable {
        /// The variable.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

impl Config {
    /// Reads the environment; the first variable that is missing or unreadable is named.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            table: required("HOLDFAST_TABLE")?,
            queue_url: required("HOLDFAST_QUEUE_URL")?,
            queue_arn: required("HOLDFAST_QUEUE_ARN")?,
            dead_letter_queue_url: required("HOLDFAST_DEAD_LETTER_QUEUE_URL")?,
            dead_letter_queue_arn: required("HOLDFAST_DEAD_LETTER_QUEUE_ARN")?,
            schedule_group: required("HOLDFAST_SCHEDULE_GROUP")?,
            schedule_role_arn: required("HOLDFAST_SCHEDULE_ROLE_ARN")?,
            bucket: required("HOLDFAST_BUCKET")?,
            region: required("AWS_REGION")?,
            public_url: required("HOLDFAST_PUBLIC_URL")?.trim_end_matches('/').to_owned(),
            download_origin: std::env::var("HOLDFAST_DOWNLOAD_ORIGIN").ok(),
            sealing_keys: SealingKeys::parse(&required("HOLDFAST_SEALING_KEYS")?).ok_or(ConfigError::Unreadable {
                name: "HOLDFAST_SEALING_KEYS",
                expected: "numbered keys of 32 bytes in base64, the newest first: 2:BASE64,1:BASE64",
            })?,
            requests_per_second: optional("HOLDFAST_REQUESTS_PER_SECOND", "a whole number")?
                .unwrap_or(DEFAULT_REQUESTS_PER_SECOND),
            account_requests_per_second: optional("HOLDFAST_ACCOUNT_REQUESTS_PER_SECOND", "a whole number")?
                .unwrap_or(DEFAULT_ACCOUNT_REQUESTS_PER_SECOND),
            cors_origins: cors_origins()?,
            allow_networks: allowed_networks()?.unwrap_or_default(),
            allow_http_storages: optional("HOLDFAST_ALLOW_HTTP_STORAGES", "true or false")?.unwrap_or(false),
        })
    }
}

/// `RUST_LOG`: what is logged, as `tracing_subscriber` reads it; `info` where unset.
pub fn log_filter() -> String {
    std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty()).unwrap_or_else(|| "info".to_owned())
}

/// `HOLDFAST_CORS_ORIGINS`, for an installation that reads nothing else of its environment.
pub fn cors_origins() -> Result<Vec<String>, ConfigError> {
    let text = std::env::var("HOLDFAST_CORS_ORIGINS").unwrap_or_default();
    let unreadable = ConfigError::Unreadable {
        name: "HOLDFAST_CORS_ORIGINS",
        expected: "origins such as https://example.com, parted by commas",
    };
    origins(&text).ok_or(unreadable)
}

/// Origins as browsers spell them; `None` if one is no such thing.
fn origins(text: &str) -> Option<Vec<String>> {
    let written = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    let is_origin = |origin: &str| {
        let parsed = url::Url::parse(origin).ok()?.origin();
        (parsed.is_tuple() && parsed.ascii_serialization() == origin).then(|| origin.to_owned())
    };
    written.map(is_origin).collect()
}

/// `HOLDFAST_ALLOW_NETWORKS`; `None` where it is unset.
pub fn allowed_networks() -> Result<Option<AllowedNetworks>, ConfigError> {
    optional("HOLDFAST_ALLOW_NETWORKS", "networks such as 10.0.0.0/8,fd00::/8, or none")
}

fn optional<T: std::str::FromStr>(name: &'static str, expected: &'static str) -> Result<Option<T>, ConfigError> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    value.map(|value| value.parse().map_err(|_| ConfigError::Unreadable { name, expected })).transpose()
}

fn required(name: &'static str) -> Result<String, ConfigError> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or(ConfigError::Missing(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_spelt_as_browsers_do() {
        assert_eq!(origins("").unwrap(), Vec::<String>::new());
        let two = origins("https://a.example, http://localhost:3000,").unwrap();
        assert_eq!(two, ["https://a.example", "http://localhost:3000"]);
        for text in ["*", "null", "a.example", "https://a.example/", "https://a.example:443", "https://A.example"] {
            assert!(origins(text).is_none(), "{text}");
        }
    }
}
