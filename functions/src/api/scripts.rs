//! `/v1/jobs/{id}/scripts`: what runs before and after a job's runs, for whoever may set it.

use axum::Json;
use axum::extract::State;
use holdfast_shared::domain::ability::Ability;
use holdfast_shared::domain::hooks::{Hook, MAX_SCRIPT_BYTES};
use holdfast_shared::domain::sealed::{Sealed, Secret};
use holdfast_shared::service::Service;
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answers::{data, one};
use crate::http::schema::{NOT_SET, SET, Schema, object, or_null, required, secret, text};
use crate::http::{Answer, Caller, Operation, Params};

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let texts = object([required("pre_script", or_null(text())), required("post_script", or_null(text()))]);
    let show = Operation::get("/v1/jobs/{id}/scripts", show)
        .summary("Show the scripts that run before and after a job's runs")
        .needs(Ability::Scripts)
        .answers(StatusCode::OK, one(texts));
    vec![show]
}

/// A script that is sent.
pub(super) fn sent(words: &str) -> Schema {
    let longest =
        format!("sh, at most {MAX_SCRIPT_BYTES} bytes; {words}. Needs the ability scripts; null takes it away");
    secret(MAX_SCRIPT_BYTES).described(&longest)
}

/// What a job shows in place of a secret.
pub(super) fn mark(secret: Option<&Sealed>) -> &'static str {
    if secret.is_some() { SET } else { NOT_SET }
}

/// The scripts as they were sent: for whoever may set them.
pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<Uuid>,
) -> Answer<Json<Value>> {
    let hooks = service.open_hooks(&service.job(&caller.account, id).await?)?;
    let text = |hook| hooks.get(hook).map(Secret::expose);
    Ok(data(json!({ "pre_script": text(Hook::Pre), "post_script": text(Hook::Post) })))
}
