//! The store behind a listener: signatures, limits, connections, a graceful end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Error, S3ErrorCode, S3Result};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{Credentials, ObjectStore};

/// How long requests may go on after the shutdown was asked for.
const GRACE: Duration = Duration::from_secs(10);

/// How long to wait after `accept` failed, so that a lack of descriptors is not met with a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl ObjectStore {
    /// Answers S3 requests on `listener` until `shutdown`; then lets open requests end for at most 10 s. A failed
    /// connection ends that connection only.
    pub async fn serve(
        self,
        listener: TcpListener,
        credentials: Credentials,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let service = self.service(credentials);
        let connections = GracefulShutdown::new();
        // Ends every connection with this call, however it ends: they hold the store.
        let cut = CancellationToken::new();
        let _cut_at_the_end = cut.clone().drop_guard();
        while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => answer(stream, service.clone(), &connections, cut.clone()),
                Err(error) => {
                    tracing::warn!(%error, "a connection to the object store could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        if tokio::time::timeout(GRACE, connections.shutdown()).await.is_err() {
            tracing::warn!("requests to the object store were still open at its end and are cut off");
        }
        Ok(())
    }
}

fn answer(stream: TcpStream, service: S3Service, connections: &GracefulShutdown, cut: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection to the object store will answer in larger steps");
    }
    let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        if let Some(Err(error)) = cut.run_until_cancelled(connection).await {
            tracing::debug!(%error, "a connection to the object store ended early");
        }
    });
}

/// The protocol over `store`.
pub(super) fn service(store: ObjectStore, credentials: Credentials) -> S3Service {
    // A list of 10,000 parts with checksums fits; browser forms, which s3s holds in memory, are not for us.
    let mut config = S3Config::default();
    config.xml_max_body_size = 8 * 1024 * 1024;
    config.post_object_max_file_size = 0;
    let mut builder = S3ServiceBuilder::new(store);
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_auth(OneKey(credentials));
    builder.build()
}

struct OneKey(Credentials);

#[async_trait::async_trait]
impl S3Auth for OneKey {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.0.access_key {
            return Ok(self.0.secret_key.as_str().into());
        }
        let message = "The AWS Access Key Id you provided does not exist in our records.";
        Err(S3Error::with_message(S3ErrorCode::InvalidAccessKeyId, message))
    }
}
