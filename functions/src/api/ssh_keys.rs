//! `/v1/ssh-keys`: key pairs that log in to servers. Their private halves are never shown.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::aws::table::{Cursor, Order, SortBy};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::ssh_key::SshKey;
use holdfast_shared::service::Service;
use http::StatusCode;
use serde_json::{Value, json};

use super::answers::{SORT_KEYS, data, one, page_of, paging};
use crate::http::fields::MAX_NAME_CHARS;
use crate::http::paging::Paging;
use crate::http::schema::{Schema, id, line, named, object, or_null, required, text, time};
use crate::http::{Answer, Body, Caller, Operation, Params, Query, rfc3339};

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let (read, write) = (Ability::Read(Resource::SshKeys), Ability::Write(Resource::SshKeys));
    let key = || one(named("SshKey"));
    vec![
        Operation::get("/v1/ssh-keys", list)
            .summary("List SSH keys")
            .needs(read)
            .query(paging(SORT_KEYS))
            .answers(StatusCode::OK, page_of(named("SshKey"))),
        Operation::post("/v1/ssh-keys", create)
            .summary("Make an SSH key; its private half never leaves")
            .needs(write)
            .body([required("name", line(MAX_NAME_CHARS))])
            .answers(StatusCode::CREATED, key())
            .creates(),
        Operation::get("/v1/ssh-keys/{id}", show).summary("Show an SSH key").needs(read).answers(StatusCode::OK, key()),
        Operation::delete("/v1/ssh-keys/{id}", delete)
            .summary("Delete an SSH key that no server or proxy uses")
            .needs(write)
            .answers_nothing(),
    ]
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let key = object([
        required("id", id()),
        required("name", text()),
        required("public_key", text()),
        required("fingerprint", text()),
        required("created_at", time()),
        required("last_used", or_null(time())),
    ]);
    vec![("SshKey", key)]
}

/// A key as every answer shows it.
pub fn view(key: &SshKey) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "public_key": key.public_key,
        "fingerprint": key.fingerprint,
        "created_at": rfc3339(key.created_at),
        "last_used": key.last_used_at.map(rfc3339),
    })
}

pub(super) async fn create(caller: Caller, State(service): State<Service>, body: Body) -> Answer<impl IntoResponse> {
    let mut fields = body.fields();
    let name = fields.required_text("name", MAX_NAME_CHARS);
    let name = fields.finish(|| name)?;
    let key = service.create_ssh_key(&caller.account, &name).await?;
    Ok((StatusCode::CREATED, data(view(&key))))
}

pub(super) async fn list(caller: Caller, State(service): State<Service>, query: Query) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging::read(&mut fields, SORT_KEYS, Order { by: SortBy::Id, descending: false });
    let paging = fields.finish(|| Some(paging))?;
    let (service, account) = (&service, &caller.account);
    let order = paging.order;
    let fetch = |limit, after: Option<Cursor>| async move {
        service.list_ssh_keys(account, order, limit, after.as_ref()).await
    };
    let listing = paging.fetch(fetch).await?;
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, |key| view(&key))))
}

pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
) -> Answer<Json<Value>> {
    Ok(data(view(&service.ssh_key(&caller.account, id).await?)))
}

pub(super) async fn delete(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
) -> Answer<StatusCode> {
    service.delete_ssh_key(&caller.account, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
