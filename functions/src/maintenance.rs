//! Maintenance as a function: one pass per invocation, whatever the event says.

use holdfast_shared::service::{Report, Service};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

/// Serves invocations until the runtime ends.
pub async fn run(service: Service) -> Result<(), Error> {
    lambda_runtime::run(service_fn(|_: LambdaEvent<Value>| pass(&service))).await
}

async fn pass(service: &Service) -> Result<Report, Error> {
    let report = service.maintain().await;
    tracing::info!(report = %serde_json::to_string(&report)?, "maintenance pass");
    Ok(report)
}
