//! `/v1/ssh-keys`: key pairs that log in to servers. Their private halves are never shown.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::aws::table::{Cursor, Order, SortBy};
use holdfast_shared::domain::ssh_key::SshKey;
use holdfast_shared::service::Service;
use http::StatusCode;
use serde_json::{Value, json};

use super::answers::{SORT_KEYS, data};
use crate::http::fields::MAX_NAME_CHARS;
use crate::http::paging::Paging;
use crate::http::{Answer, Body, Caller, Params, Query, rfc3339};

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
