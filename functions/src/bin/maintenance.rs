//! The Lambda function `maintenance`.

use holdfast_functions::maintenance;
use holdfast_shared::config::log_filter;
use holdfast_shared::service::Service;
use holdfast_shared::telemetry::{self, Format};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::init(Format::Json, &log_filter());
    maintenance::run(Service::from_env().await?).await
}
