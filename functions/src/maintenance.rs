//! Maintenance as a function: a pass per scheduled invocation, and the operator's commands.
//!
//! An event with a `command` is one of [`Command`]; every other event, as Scheduler's, is a pass. Who may invoke the
//! function is said by IAM.

use holdfast_shared::service::Service;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

use crate::administration::Command;

/// Serves invocations until the runtime ends.
pub async fn run(service: Service) -> Result<(), Error> {
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| handle(&service, event.payload))).await
}

/// Answers one event: the report of a pass, or what the command answers. A command that is refused fails with its reason.
pub async fn handle(service: &Service, event: Value) -> Result<Value, Error> {
    if event.get("command").is_none() {
        return pass(service).await;
    }
    // Serde's own words name the field and the commands that there are, and hold no secret: commands have none.
    let command: Command = serde_json::from_value(event).map_err(|error| format!("no such command: {error}"))?;
    command.carry_out(service).await.map_err(|error| reason(&error).into())
}

/// An error in one line: its message, then each field's.
pub fn reason(error: &holdfast_shared::Error) -> String {
    let fields = error.fields().into_iter().flat_map(|fields| fields.iter());
    let fields = fields.map(|(name, messages)| format!("{name} {}", messages.join(", ")));
    let told: Vec<String> = fields.collect();
    match told.is_empty() {
        true => error.message.clone(),
        false => told.join("; "),
    }
}

async fn pass(service: &Service) -> Result<Value, Error> {
    let report = serde_json::to_value(service.maintain().await)?;
    tracing::info!(%report, "maintenance pass");
    Ok(report)
}
