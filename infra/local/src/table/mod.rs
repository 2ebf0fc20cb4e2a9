//! DynamoDB for one machine: the engine of `dynoxide` behind a wire of our own.
//!
//! Its own server takes any caller and blocks the async threads; this one wants a signature, since other users of the
//! machine reach a loopback port too, and runs the engine where it may block. SQLite stands at `synchronous = FULL`,
//! its default: an answer is on disk before it is given.

mod consumed;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use axum::{Router, middleware};
use dynoxide::{Database, DynoxideError, ImportOptions};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use self::consumed::Consumed;
use self::consumed::Meter;
use crate::signature::{self, Credentials};

/// How often items whose TTL passed are removed. AWS takes up to days.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// A request of DynamoDB is at most 16 MB.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// All tables of one data folder; cheap to clone. The file is closed when the last clone is dropped.
#[derive(Clone)]
pub struct TableStore {
    database: Database,
    meter: Arc<Meter>,
}

impl std::fmt::Debug for TableStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableStore").field("meter", &self.meter).finish_non_exhaustive()
    }
}

impl TableStore {
    /// Opens, or makes, `table.sqlite` in `dir`. The folder must exist.
    pub fn open(dir: &Path) -> Result<Self, DynoxideError> {
        let database = Database::new(&dir.join("table.sqlite").to_string_lossy())?;
        Ok(Self { database, meter: Arc::default() })
    }

    /// What all callers consumed since it was opened.
    pub fn consumed(&self) -> Consumed {
        self.meter.read()
    }

    /// Puts items that come in DynamoDB's JSON into a table, all or none: what its import from S3 does. The API makes every
    /// item a transaction of its own, and each is on disk before it is answered; this is one for all of them.
    pub async fn import(&self, table: &str, items: Vec<Value>) -> Result<(), DynoxideError> {
        let table = table.to_owned();
        let import = move |database: &Database| {
            let items = items.into_iter().map(serde_json::from_value).collect::<Result<Vec<_>, _>>();
            let items = items.map_err(|error| DynoxideError::SerializationException(error.to_string()))?;
            database.import_items(&table, items, ImportOptions::default()).map(drop)
        };
        self.run(import).await
    }

    /// The DynamoDB protocol over these tables, for requests signed with `credentials` and no others.
    pub fn router(&self, credentials: Credentials) -> Router {
        Router::new()
            .route("/", post(wire::handle))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .layer(middleware::from_fn_with_state(Arc::new(credentials), signature::require))
            .with_state(self.clone())
    }

    /// Removes items whose TTL passed, each minute until `closing`.
    pub async fn sweep(self, closing: CancellationToken) {
        while closing.run_until_cancelled(tokio::time::sleep(SWEEP_EVERY)).await.is_some() {
            match self.run(|database| database.sweep_ttl()).await {
                Ok(0) => {}
                Ok(items) => tracing::debug!(items, "removed items whose time had come"),
                Err(error) => tracing::warn!(%error, "items whose time has come were not removed"),
            }
        }
    }

    /// Runs `work` where it may block, to its end even if nobody waits for it any more.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, DynoxideError> + Send + 'static,
    ) -> Result<T, DynoxideError> {
        let database = self.database.clone();
        let task = tokio::task::spawn_blocking(move || work(&database));
        task.await.unwrap_or_else(|error| Err(DynoxideError::InternalServerError(error.to_string())))
    }
}
