//! `auth`: logs in with an account and one of its tokens, for an hour from each use.

use axum::Json;
use axum::extract::State;
use holdfast_shared::service::Service;
use http::StatusCode;
use serde_json::{Value, json};

use crate::http::schema::{anything, object, optional, required, secret, text};
use crate::http::{Answer, Caller, Operation};

/// Every function. That it is called at all means that the password was right: see `request.rs`.
pub(super) fn operations() -> Vec<Operation> {
    let auth = Operation::get("/auth", open)
        .summary("Log in; the session goes with each call as auth")
        .body([optional("username", text().described("the account's id")), optional("password", secret(255))])
        .answers(StatusCode::OK, object([required("doc", anything())]));
    vec![auth]
}

async fn open(caller: Caller, State(service): State<Service>) -> Answer<Json<Value>> {
    let session = service.open_session(&caller.token).await?;
    Ok(Json(json!({"doc": {"auth": {"$id": session.expose()}}})))
}
