//! The Lambda function `zomro`.

use holdfast_functions::dialects::zomro::DIALECT;
use holdfast_shared::config::log_filter;
use holdfast_shared::service::Service;
use holdfast_shared::telemetry::{self, Format};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init(Format::Json, &log_filter());
    lambda_http::run((DIALECT.router)(Service::from_env().await?)).await
}
