//! What an installation is told by its environment. The only file that reads it.
//!
//! Regions, credentials and endpoints are the AWS SDK's own business: `AWS_REGION`, the usual credential chain, and one
//! overridable endpoint per service (`AWS_ENDPOINT_URL_DYNAMODB`, `_SQS`, `_S3`, `_SCHEDULER`, `_KMS`).

use crate::domain::address::AllowedNetworks;
use crate::domain::sealing_key::StoredKeys;

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
    /// `HOLDFAST_SEALING_KEYS`: seal secrets and sign download tickets. Those that KMS encrypted are decrypted at the start.
    pub sealing_keys: StoredKeys,
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
            sealing_keys: StoredKeys::parse(&required("HOLDFAST_SEALING_KEYS")?).ok_or(ConfigError::Unreadable {
                name: "HOLDFAST_SEALING_KEYS",
                expected: "numbered keys, the newest first, each 32 bytes in base64 or what KMS made of them: 2:kms:BASE64,1:BASE64",
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
