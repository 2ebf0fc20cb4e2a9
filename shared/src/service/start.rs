//! Making a service from the environment, as every function and the worker do on AWS.

use std::sync::Arc;

use super::Service;
use crate::aws::{Aws, KmsError, Sealer};
use crate::clock::SystemClock;
use crate::config::{Config, ConfigError};
use crate::error::Error;

/// Why a service cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The environment lacks something.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// KMS does not give a sealing key out.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// A sealing key cannot be used.
    #[error("cannot derive the sealing keys")]
    Sealer(#[source] Error),
}

impl Service {
    /// A service on the resources that the environment names. Nothing is connected to yet but KMS, where sealing keys are
    /// to be decrypted by it.
    pub async fn from_env() -> Result<Self, StartError> {
        let config = Config::from_env()?;
        let aws = Aws::from_env(&config).await;
        let sealer = Sealer::new(aws.open_keys(&config.sealing_keys).await?).map_err(StartError::Sealer)?;
        Ok(Self {
            aws: Arc::new(aws),
            sealer: Arc::new(sealer),
            clock: Arc::new(SystemClock),
            config: Arc::new(config),
        })
    }
}
