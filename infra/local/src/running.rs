//! `DATA/endpoints`: where the services of a running installation are, for commands beside it.
//!
//! They listen on ports of the system's choice and want the key in `DATA/key`; whoever may read both files may use them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_shared::aws::{Aws, Endpoints, Sealer};
use holdfast_shared::clock::{SharedClock, SystemClock};
use holdfast_shared::config::Config;
use holdfast_shared::service::Service;
use serde::{Deserialize, Serialize};

use crate::data::{Data, DataError};
use crate::embedded::{EmbeddedAws, EmbeddedError, config};
use crate::key_file::Keys;

/// How often a command looks whether the folder is free, or its owner has said where it is.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often it looks before it gives up: half a minute, longer than an installation takes to start or to end.
const LOOKS: u32 = 600;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// What links start with.
    pub public_url: String,
    /// The table.
    pub dynamodb: String,
    /// The queues.
    pub sqs: String,
    /// The bucket.
    pub s3: String,
    /// The schedules.
    pub scheduler: String,
    /// The numbers of the sealing keys that it goes by, the newest first.
    #[serde(default)]
    pub sealing_keys: Vec<u32>,
}

impl Running {
    /// What there is to know of an installation that is reached at `public_url` and goes by these sealing keys.
    pub fn new(endpoints: &Endpoints, public_url: &str, sealing_keys: Vec<u32>) -> Self {
        let Endpoints { dynamodb, sqs, s3, scheduler } = endpoints.clone();
        Self { public_url: public_url.to_owned(), dynamodb, sqs, s3, scheduler, sealing_keys }
    }

    fn endpoints(&self) -> Endpoints {
        let Self { dynamodb, sqs, s3, scheduler, .. } = self.clone();
        Endpoints { dynamodb, sqs, s3, scheduler }
    }
}

/// Why a command cannot reach the installation. Display says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// There is none.
    #[error("{} holds no holdfast data; name its folder with --data, or make one with holdfast serve", .0.display())]
    Nothing(PathBuf),
    /// The data folder or a store in it.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The stores do not do what is asked of them.
    #[error("the installation cannot be set up: {}", .0.chain())]
    Setup(holdfast_shared::Error),
}

impl From<DataError> for ReachError {
    fn from(error: DataError) -> Self {
        Self::Embedded(error.into())
    }
}

/// The use cases of the installation in a data folder, whether it runs or not.
#[derive(Debug)]
pub struct Reached {
    /// The use cases, over the installation's own stores.
    pub service: Service,
    /// Its first account.
    pub first_account: holdfast_shared::domain::account::AccountId,
    /// The stores, where nobody else runs them.
    own: Option<EmbeddedAws>,
}

impl Reached {
    /// Reaches the installation in `dir`: through the stores of the process that runs it, else by opening them itself.
    pub async fn at(dir: &Path) -> Result<Self, ReachError> {
        if !Data::is_at(dir) {
            return Err(ReachError::Nothing(dir.to_owned()));
        }
        let clock: SharedClock = Arc::new(SystemClock);
        for _ in 0..LOOKS {
            match EmbeddedAws::start(dir, clock.clone()).await {
                Ok(own) => return Self::over(own, clock).await,
                Err(EmbeddedError::Data(DataError::InUse(_))) => {}
                Err(error) => return Err(error.into()),
            }
            // Its owner may be starting or ending, or be a command such as this one: then there is nothing to read yet.
            if let Some(running) = Data::running(dir)? {
                return Self::beside(dir, &running, clock);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(DataError::InUse(dir.to_owned()).into())
    }

    async fn over(own: EmbeddedAws, clock: SharedClock) -> Result<Self, ReachError> {
        // Links are handed out by whoever listens, and nobody does.
        let keys = own.data().keys();
        let config = own.config("http://127.0.0.1");
        let service = service(own.endpoints.clone(), keys, config, clock).map_err(ReachError::Setup)?;
        service.aws.table.create_if_missing().await.map_err(ReachError::Setup)?;
        Ok(Self { service, first_account: keys.account.clone(), own: Some(own) })
    }

    fn beside(dir: &Path, running: &Running, clock: SharedClock) -> Result<Self, ReachError> {
        let keys = Keys::read(dir)?;
        let config = config(&running.endpoints(), &keys, &running.public_url);
        let service = service(running.endpoints(), &keys, config, clock).map_err(ReachError::Setup)?;
        Ok(Self { service, first_account: keys.account, own: None })
    }

    /// Closes the stores, where they are this process's.
    pub async fn close(self) {
        if let Some(own) = self.own {
            own.stop().await;
        }
    }
}

/// The use cases over stores at `endpoints` that have these keys.
pub fn service(
    endpoints: Endpoints,
    keys: &Keys,
    config: Config,
    clock: SharedClock,
) -> holdfast_shared::Result<Service> {
    Ok(Service {
        aws: Arc::new(Aws::at(endpoints, &keys.access_key, &keys.secret_key, &config)),
        sealer: Arc::new(Sealer::new(keys.sealing.clone())?),
        clock,
        config: Arc::new(config),
    })
}
