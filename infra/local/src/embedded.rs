//! The embedded AWS: table, queues, schedules and objects of one data folder, on loopback ports of the system's choice.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use holdfast_shared::aws::Endpoints;
use holdfast_shared::clock::SharedClock;
use holdfast_shared::config::{Config, DEFAULT_ACCOUNT_REQUESTS_PER_SECOND, DEFAULT_REQUESTS_PER_SECOND, cors_origins};
use holdfast_shared::domain::address::AllowedNetworks;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::data::{Data, DataError};
use crate::key_file::Keys;
use crate::objects::{self, ObjectStore, StoreError};
use crate::queue::{QueueStore, REGION, queue_arn};
use crate::scheduler::SchedulerStore;
use crate::service::serve;
use crate::signature::Credentials;
use crate::table::{Consumed, TableStore};

/// The table, the schedule group, the work queue and the bucket all have this name.
const NAME: &str = "holdfast";
const DEAD_LETTERS: &str = "holdfast-dead-letters";

/// How long a message stays out of sight once received; workers extend it while they work.
const VISIBILITY_SECS: u32 = 120;
/// A message that was received so often goes to the dead letters.
const MAX_RECEIVES: u32 = 5;

/// Why the embedded services could not be started.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The data folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The table's file.
    #[error("the embedded table cannot be opened")]
    Table(#[from] dynoxide::DynoxideError),
    /// The queues' and schedules' file.
    #[error("the embedded queue cannot be opened")]
    Queue(#[from] rusqlite::Error),
    /// A queue or the schedule group could not be made.
    #[error("the embedded queue cannot be set up")]
    QueueSetup(#[from] crate::fault::Fault),
    /// The objects.
    #[error("the embedded object store cannot be opened")]
    Objects(#[from] StoreError),
    /// No loopback port.
    #[error("no port on the loopback interface is free")]
    Port(#[from] io::Error),
}

/// The running services. Dropping it ends them as they stand; [`stop`](Self::stop) waits for what is under way.
#[derive(Debug)]
pub struct EmbeddedAws {
    /// Where the services are. A test may put something between before it hands this to the stack.
    pub endpoints: Endpoints,
    data: Data,
    clock: SharedClock,
    table: TableStore,
    queues: QueueStore,
    scheduler: SchedulerStore,
    tasks: TaskTracker,
    closing: CancellationToken,
    _ends_when_dropped: DropGuard,
}

impl EmbeddedAws {
    /// Opens the data folder and starts all services on it; when this answers they do.
    pub async fn start(dir: &Path, clock: SharedClock) -> Result<Self, EmbeddedError> {
        let data = Data::open(dir)?;
        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        let key = Credentials {
            access_key_id: data.keys().access_key.clone(),
            secret_access_key: data.keys().secret_key.expose().to_owned(),
        };
        let table = TableStore::open(data.dir())?;
        let queues = QueueStore::open(data.dir(), clock.clone())?;
        make_queues(&queues).await?;
        let scheduler = SchedulerStore::new(&queues);
        let endpoints = Endpoints {
            dynamodb: spawn(&tasks, table.router(key.clone()), &closing).await?,
            sqs: spawn(&tasks, queues.router(key.clone(), closing.clone()), &closing).await?,
            scheduler: spawn(&tasks, scheduler.router(key), &closing).await?,
            s3: spawn_objects(&tasks, &data, clock.clone(), &closing).await?,
        };
        tasks.spawn(table.clone().sweep(closing.clone()));
        let (firing, ending) = (scheduler.clone(), closing.clone());
        tasks.spawn(async move { firing.run(ending).await });
        let ends_when_dropped = closing.clone().drop_guard();
        Ok(Self {
            endpoints,
            data,
            clock,
            table,
            queues,
            scheduler,
            tasks,
            closing,
            _ends_when_dropped: ends_when_dropped,
        })
    }

    /// The data folder.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The clock that all services go by.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Names and addresses of these services' resources, for an installation that is reached at `public_url`.
    pub fn config(&self, public_url: &str) -> Config {
        config(&self.endpoints, self.data.keys(), public_url)
    }

    /// What all callers consumed of the table so far.
    pub fn table_consumed(&self) -> Consumed {
        self.table.consumed()
    }

    /// Puts items that come in DynamoDB's JSON into the table, all or none; see [`TableStore::import`].
    pub async fn import(&self, items: Vec<serde_json::Value>) -> Result<(), EmbeddedError> {
        Ok(self.table.import(NAME, items).await?)
    }

    /// Lets queues and schedules look at the clock again; for tests that moved it.
    pub fn wake(&self) {
        self.queues.wake();
        self.scheduler.wake();
    }

    /// Ends all services after the requests under way, and closes their files.
    pub async fn stop(self) {
        if let Err(error) = self.data.withdraw() {
            tracing::warn!(%error, "commands beside this process may look for it in vain");
        }
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Names and addresses of the resources at `endpoints`, for an installation that is reached at `public_url`.
pub fn config(endpoints: &Endpoints, keys: &Keys, public_url: &str) -> Config {
    let queue_url = |name| format!("{}/{}/{name}", endpoints.sqs, crate::queue::ACCOUNT);
    Config {
        table: NAME.to_owned(),
        queue_url: queue_url(NAME),
        queue_arn: queue_arn(NAME),
        dead_letter_queue_url: queue_url(DEAD_LETTERS),
        dead_letter_queue_arn: queue_arn(DEAD_LETTERS),
        schedule_group: NAME.to_owned(),
        schedule_role_arn: format!("arn:aws:iam::{}:role/{NAME}", crate::queue::ACCOUNT),
        bucket: NAME.to_owned(),
        region: REGION.to_owned(),
        public_url: public_url.to_owned(),
        download_origin: Some(format!("{public_url}/objects")),
        sealing_keys: keys.sealing.clone().into(),
        requests_per_second: DEFAULT_REQUESTS_PER_SECOND,
        account_requests_per_second: DEFAULT_ACCOUNT_REQUESTS_PER_SECOND,
        // What cannot be read was told at the start; see `serve`.
        cors_origins: cors_origins().unwrap_or_default(),
        allow_networks: AllowedNetworks::loopback_and_private(),
        allow_http_storages: true,
    }
}

async fn make_queues(queues: &QueueStore) -> Result<(), EmbeddedError> {
    queues.ensure_queue(DEAD_LETTERS, BTreeMap::new()).await?;
    let redrive =
        format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":{MAX_RECEIVES}}}"#, queue_arn(DEAD_LETTERS));
    let attributes = [("VisibilityTimeout", VISIBILITY_SECS.to_string()), ("RedrivePolicy", redrive)];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value)).into();
    queues.ensure_queue(NAME, attributes).await?;
    Ok(())
}

/// Serves `router` on a loopback port and answers its address.
async fn spawn(tasks: &TaskTracker, router: axum::Router, closing: &CancellationToken) -> io::Result<String> {
    let (listener, endpoint) = listen().await?;
    let closing = closing.clone();
    tasks.spawn(async move { log_end(serve(listener, router, closing).await) });
    Ok(endpoint)
}

async fn spawn_objects(
    tasks: &TaskTracker,
    data: &Data,
    clock: SharedClock,
    closing: &CancellationToken,
) -> Result<String, EmbeddedError> {
    let store = ObjectStore::open(&data.subfolder("objects")?, clock)?;
    store.create_bucket(NAME)?;
    let key = objects::Credentials {
        access_key: data.keys().access_key.clone(),
        secret_key: data.keys().secret_key.expose().to_owned(),
    };
    let (listener, endpoint) = listen().await?;
    let closing = closing.clone();
    tasks.spawn(async move { log_end(store.serve(listener, key, closing).await) });
    Ok(endpoint)
}

async fn listen() -> io::Result<(TcpListener, String)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    Ok((listener, endpoint))
}

fn log_end(ended: io::Result<()>) {
    if let Err(error) = ended {
        tracing::error!(%error, "an embedded service ended");
    }
}
