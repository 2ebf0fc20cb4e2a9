//! Where the services are, for an installation that is not on AWS.

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use super::Aws;
use crate::config::Config;
use crate::domain::sealed::Secret;

/// One address per service, `http://host:port`. On AWS the SDK finds them itself, or reads `AWS_ENDPOINT_URL_<SERVICE>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The table.
    pub dynamodb: String,
    /// The queues.
    pub sqs: String,
    /// The installation's own bucket.
    pub s3: String,
    /// The schedules.
    pub scheduler: String,
}

impl LoadServiceConfig for Endpoints {
    /// Answers as the environment would, had it one `AWS_ENDPOINT_URL_<SERVICE>` each.
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let endpoint = match (key.env(), key.service_id()) {
            ("AWS_ENDPOINT_URL", "DynamoDB") => &self.dynamodb,
            ("AWS_ENDPOINT_URL", "SQS") => &self.sqs,
            ("AWS_ENDPOINT_URL", "S3") => &self.s3,
            ("AWS_ENDPOINT_URL", "Scheduler") => &self.scheduler,
            _ => return None,
        };
        Some(endpoint.clone())
    }
}

impl Aws {
    /// The resources that `config` names, at `endpoints`, with one fixed key pair.
    pub fn at(endpoints: Endpoints, access_key: &str, secret_key: &Secret, config: &Config) -> Self {
        let credentials = Credentials::new(access_key, secret_key.expose(), None, None, "holdfast");
        let sdk = aws_config::SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .service_config(endpoints)
            .build();
        Self::new(sdk, config)
    }
}
