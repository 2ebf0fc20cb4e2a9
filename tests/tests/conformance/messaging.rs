//! Clients of SQS and Scheduler: of embedded ones on port 0 with a folder of their own, or of a given endpoint.

use std::sync::Arc;

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use holdfast_local::queue::QueueStore;
use holdfast_local::scheduler::SchedulerStore;
use holdfast_local::{service, signature};
use holdfast_shared::clock::SystemClock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Both services, and what they run on.
pub struct Messaging {
    pub sqs: aws_sdk_sqs::Client,
    pub scheduler: aws_sdk_scheduler::Client,
    /// Where the services are; another pair of keys can be tried there.
    pub endpoint: String,
    /// Stops the embedded services when it is dropped.
    _closing: tokio_util::sync::DropGuard,
    _dir: tempfile::TempDir,
}

impl Messaging {
    /// Starts the services, unless there is an endpoint to be tested instead.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let closing = CancellationToken::new();
        let endpoint = match std::env::var("HOLDFAST_CONFORMANCE_ENDPOINT") {
            Ok(endpoint) => endpoint,
            Err(_) => embedded(dir.path(), &closing).await,
        };
        let key = |name: &str| std::env::var(name).unwrap_or_else(|_| "conformance".to_owned());
        let keys = Credentials::new(key("AWS_ACCESS_KEY_ID"), key("AWS_SECRET_ACCESS_KEY"), None, None, "test");
        Self {
            sqs: sqs(&endpoint, keys.clone()),
            scheduler: scheduler(&endpoint, keys),
            endpoint,
            _closing: closing.drop_guard(),
            _dir: dir,
        }
    }

    /// A queue under a name of its own; answers its URL.
    pub async fn queue(&self, attributes: &[(&str, &str)]) -> String {
        let mut create = self.sqs.create_queue().queue_name(unique("queue"));
        for (name, value) in attributes {
            create = create.attributes((*name).into(), *value);
        }
        create.send().await.unwrap().queue_url.unwrap()
    }

    /// A queue's ARN.
    pub async fn arn(&self, url: &str) -> String {
        let name = aws_sdk_sqs::types::QueueAttributeName::QueueArn;
        let answer = self.sqs.get_queue_attributes().queue_url(url).attribute_names(name.clone()).send().await.unwrap();
        answer.attributes.unwrap()[&name].clone()
    }
}

/// A name that no other test uses.
pub fn unique(prefix: &str) -> String {
    let folder = tempfile::Builder::new().prefix("").rand_bytes(12).tempdir().unwrap();
    format!("{prefix}-{}", folder.path().file_name().unwrap().to_string_lossy())
}

/// An SQS client with these keys.
pub fn sqs(endpoint: &str, keys: Credentials) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder().behavior_version(BehaviorVersion::latest()).endpoint_url(endpoint);
    aws_sdk_sqs::Client::from_conf(config.region(Region::new("us-east-1")).credentials_provider(keys).build())
}

fn scheduler(endpoint: &str, keys: Credentials) -> aws_sdk_scheduler::Client {
    let config = aws_sdk_scheduler::Config::builder().behavior_version(BehaviorVersion::latest());
    let config = config.endpoint_url(endpoint).region(Region::new("us-east-1")).credentials_provider(keys);
    aws_sdk_scheduler::Client::from_conf(config.build())
}

/// Both services on one port, with the timer running.
pub async fn embedded(dir: &std::path::Path, closing: &CancellationToken) -> String {
    let queues = QueueStore::open(dir, Arc::new(SystemClock)).unwrap();
    let schedules = SchedulerStore::new(&queues);
    let keys =
        signature::Credentials { access_key_id: "conformance".to_owned(), secret_access_key: "conformance".to_owned() };
    let router = queues.router(keys.clone(), closing.clone()).merge(schedules.router(keys));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let timer = closing.clone();
    tokio::spawn(async move { schedules.run(timer).await });
    tokio::spawn(service::serve(listener, router, closing.clone()));
    endpoint
}
