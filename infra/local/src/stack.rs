//! Everything on one machine: the surfaces, the maintenance and a worker over the embedded AWS.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use holdfast_shared::clock::SharedClock;
use holdfast_shared::config::Config;
use holdfast_shared::domain::address::AllowedNetworks;
use holdfast_shared::domain::sealed::Secret;
use holdfast_shared::service::{Report, Service};
use holdfast_worker::consumer::{self, ConsumerOptions};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::bootstrap::bootstrap;
use crate::embedded::{EmbeddedAws, EmbeddedError};
use crate::forward::Forward;
use crate::key_watch::follow;
use crate::listener::serve;
use crate::public::{self, Health};
use crate::running::{self, Running};

/// How often the maintenance runs.
const MAINTENANCE_EVERY: Duration = Duration::from_secs(60);
/// How long the worker has to abort its uploads and give its backups back, and requests and downloads to end.
const GRACE: Duration = Duration::from_secs(16);
/// How long the embedded services may take to close; with the above it stays under 20 s.
const STORE_GRACE: Duration = Duration::from_secs(3);

/// What is run over the embedded AWS.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Where the surfaces listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// What links start with; by default where it listens.
    pub public_url: Option<String>,
    /// The worker of this process; `None` runs none.
    pub worker: Option<ConsumerOptions>,
    /// Whether the maintenance runs at the start and each minute.
    pub maintenance: bool,
    /// Networks outside the open internet that users may have this connect to.
    pub allow_networks: AllowedNetworks,
}

/// Why it could not be started. Display says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; name another address with --listen")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Links cannot start with that.
    #[error("{0:?} is no public url; write http://host or https://host, with a port or path where needed")]
    PublicUrl(String),
    /// The data folder or a store in it.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The stores do not do what is asked of them.
    #[error("the installation cannot be set up: {}", .0.chain())]
    Setup(holdfast_shared::Error),
}

/// A running installation. Dropping it ends it as it stands, much as `kill` would; [`shutdown`](Self::shutdown) ends it
/// cleanly.
#[derive(Debug)]
pub struct Stack {
    base_url: String,
    service: Service,
    token: Secret,
    aws: EmbeddedAws,
    working: TaskTracker,
    answering: TaskTracker,
    stop_working: CancellationToken,
    stop_answering: CancellationToken,
    _ends_when_dropped: [DropGuard; 2],
}

impl Stack {
    /// Starts everything on the data folder `dir`. When this answers, all parts are ready.
    pub async fn start(dir: &Path, clock: SharedClock, options: StackOptions) -> Result<Self, StartError> {
        // A port that is taken or an odd url is told before the folder is touched.
        let listener = listen(options.listen).await?;
        let aws = EmbeddedAws::start(dir, clock).await?;
        Self::on(listener, aws, options).await
    }

    /// The same over services that run already; a test may have put something in front of them.
    pub async fn over(aws: EmbeddedAws, options: StackOptions) -> Result<Self, StartError> {
        Self::on(listen(options.listen).await?, aws, options).await
    }

    async fn on(listener: TcpListener, aws: EmbeddedAws, options: StackOptions) -> Result<Self, StartError> {
        let unusable = |source| StartError::Listen { address: options.listen, source };
        let base_url = format!("http://{}", listener.local_addr().map_err(unusable)?);
        let public_url = options.public_url.as_deref().map_or_else(|| Ok(base_url.clone()), public_url)?;
        let config = Config { allow_networks: options.allow_networks, ..aws.config(&public_url) };
        let service = running::service(aws.endpoints.clone(), aws.data().keys(), config, aws.clock().clone());
        let service = service.map_err(StartError::Setup)?;
        let token = bootstrap(&service, aws.data()).await.map_err(StartError::Setup)?;

        let (stop_working, stop_answering) = (CancellationToken::new(), CancellationToken::new());
        let (working, answering) = (TaskTracker::new(), TaskTracker::new());
        if options.maintenance {
            working.spawn(maintain(service.clone(), stop_working.clone()));
        }
        let worker_ended = options.worker.map(|worker| {
            let ended = CancellationToken::new();
            working.spawn(work(service.clone(), worker, stop_working.clone(), ended.clone().drop_guard()));
            ended
        });
        let downloads =
            Forward::new(&aws.endpoints.s3).ok_or_else(|| unusable(io::ErrorKind::AddrNotAvailable.into()))?;
        let routes = public::router(Health { service: service.clone(), worker_ended }, downloads);
        let closing = stop_answering.clone();
        answering.spawn(async move {
            if let Err(error) = serve(listener, routes, closing).await {
                tracing::error!(%error, "the public listener ended");
            }
        });
        let running = Running::new(&aws.endpoints, &public_url, service.sealer.numbers());
        aws.data().announce(&running).map_err(EmbeddedError::from)?;
        working.spawn(follow(aws.data().dir().to_owned(), service.sealer.clone(), running, stop_working.clone()));
        let _ends_when_dropped = [stop_working.clone().drop_guard(), stop_answering.clone().drop_guard()];
        Ok(Self { base_url, service, token, aws, working, answering, stop_working, stop_answering, _ends_when_dropped })
    }

    /// `http://address:port` of the listener, whatever links start with.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The use cases, over this installation's resources.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The first account's token.
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// The services below.
    pub fn aws(&self) -> &EmbeddedAws {
        &self.aws
    }

    /// One pass of the maintenance, now.
    pub async fn run_maintenance(&self) -> Report {
        self.service.maintain().await
    }

    /// Ends everything within 20 s: the worker aborts its uploads and gives its messages back, requests under way are
    /// answered, the stores are closed.
    pub async fn shutdown(self) {
        self.stop_working.cancel();
        self.stop_answering.cancel();
        self.working.close();
        self.answering.close();
        let (worked, answered) =
            tokio::join!(timeout(GRACE, self.working.wait()), timeout(GRACE, self.answering.wait()));
        if worked.is_err() {
            tracing::warn!("the worker did not end in time; its runs are taken up at the next start");
        }
        if answered.is_err() {
            tracing::warn!("requests were still under way and are cut off");
        }
        if timeout(STORE_GRACE, self.aws.stop()).await.is_err() {
            tracing::warn!("the embedded services did not end in time; nothing that was acknowledged is lost");
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

/// What links start with: no trailing slash, nothing that a path could not follow.
fn public_url(text: &str) -> Result<String, StartError> {
    let refused = || StartError::PublicUrl(text.to_owned());
    let url = Url::parse(text).map_err(|_| refused())?;
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    let fits = matches!(url.scheme(), "http" | "https") && url.has_host() && plain;
    fits.then(|| url.as_str().trim_end_matches('/').to_owned()).ok_or_else(refused)
}

/// Runs the maintenance now and each minute until `closing`. A pass that began is finished.
async fn maintain(service: Service, closing: CancellationToken) {
    loop {
        let report = service.maintain().await;
        tracing::debug!(?report, "maintenance ran");
        if closing.run_until_cancelled(tokio::time::sleep(MAINTENANCE_EVERY)).await.is_none() {
            return;
        }
    }
}

async fn work(service: Service, options: ConsumerOptions, closing: CancellationToken, _ended: DropGuard) {
    if let Err(error) = consumer::consume(service, options, closing).await {
        tracing::error!(error = error.chain(), "the worker ended");
    }
}

#[cfg(test)]
mod tests;
