//! `/v1/encryption-keys`: public keys that backups are encrypted to. Private halves are refused.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::aws::table::{Cursor, Order, SortBy};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::encryption_key::{EncryptionKey, NewEncryptionKey};
use holdfast_shared::domain::public_key::{MAX_PUBLIC_KEY_CHARS, PublicKey, PublicKeyKind};
use holdfast_shared::service::Service;
use http::StatusCode;
use serde_json::{Value, json};

use super::answers::{SORT_KEYS, data, one, page_of, paging};
use crate::http::fields::MAX_NAME_CHARS;
use crate::http::operation::also_post;
use crate::http::paging::Paging;
use crate::http::schema::{Schema, id, line, named, object, one_of, optional, required, text, time};
use crate::http::{Answer, Body, Caller, IfMatch, Operation, Params, Query, etag, rfc3339};

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let (read, write) = (Ability::Read(Resource::EncryptionKeys), Ability::Write(Resource::EncryptionKeys));
    let key = || one(named("EncryptionKey"));
    let list = Operation::get("/v1/encryption-keys", list)
        .summary("List encryption keys")
        .needs(read)
        .query(paging(SORT_KEYS))
        .answers(StatusCode::OK, page_of(named("EncryptionKey")));
    let public_key = line(MAX_PUBLIC_KEY_CHARS).described(
        "an age recipient, an ssh-ed25519 or ssh-rsa line, or an RSA key in PEM, also as base64 of it; never a private key",
    );
    let create = Operation::post("/v1/encryption-keys", create)
        .summary("Add a public key that backups can be encrypted to")
        .needs(write)
        .body([required("name", line(MAX_NAME_CHARS)), required("public_key", public_key)])
        .answers(StatusCode::CREATED, key())
        .creates();
    let show = Operation::get("/v1/encryption-keys/{id}", show)
        .summary("Show an encryption key")
        .needs(read)
        .answers(StatusCode::OK, key());
    let update = also_post("/v1/encryption-keys/{id}", update, |operation| {
        operation
            .summary("Rename an encryption key")
            .needs(write)
            .body([optional("name", line(MAX_NAME_CHARS))])
            .answers(StatusCode::OK, key())
            .edits()
    });
    let delete = Operation::delete("/v1/encryption-keys/{id}", delete)
        .summary("Delete an encryption key that no job uses")
        .needs(write)
        .answers_nothing()
        .edits();
    [list, create, show, delete].into_iter().chain(update).collect()
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let key = object([
        required("id", id()),
        required("name", text()),
        required("kind", one_of(&PublicKeyKind::NAMES)),
        required("public_key", text()),
        required("fingerprint", text()),
        required("created_at", time()),
        required("updated_at", time()),
    ]);
    vec![("EncryptionKey", key)]
}

fn view(key: &EncryptionKey) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "kind": key.key.kind,
        "public_key": key.key.public_key,
        "fingerprint": key.key.fingerprint,
        "created_at": rfc3339(key.created_at),
        "updated_at": rfc3339(key.updated_at),
    })
}

fn answer(key: &EncryptionKey) -> impl IntoResponse + use<> {
    (etag(key.revision), data(view(key)))
}

pub(super) async fn create(caller: Caller, State(service): State<Service>, body: Body) -> Answer<impl IntoResponse> {
    let mut fields = body.fields();
    let name = fields.required_text("name", MAX_NAME_CHARS);
    let key = fields.required("public_key", PublicKey::parse);
    let new = fields.finish(|| Some(NewEncryptionKey { name: name?, key: key? }))?;
    let key = service.create_encryption_key(&caller.account, new).await?;
    Ok((StatusCode::CREATED, answer(&key)))
}

pub(super) async fn list(caller: Caller, State(service): State<Service>, query: Query) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging::read(&mut fields, SORT_KEYS, Order { by: SortBy::Id, descending: false });
    let paging = fields.finish(|| Some(paging))?;
    let (service, account) = (&service, &caller.account);
    let order = paging.order;
    let fetch = |limit, after: Option<Cursor>| async move {
        service.list_encryption_keys(account, order, limit, after.as_ref()).await
    };
    let listing = paging.fetch(fetch).await?;
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, |key| Some(view(&key)))))
}

pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
) -> Answer<impl IntoResponse> {
    Ok(answer(&service.encryption_key(&caller.account, id).await?))
}

pub(super) async fn update(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    IfMatch(expected): IfMatch,
    body: Body,
) -> Answer<impl IntoResponse> {
    let mut fields = body.fields();
    let name = fields.optional_text("name", MAX_NAME_CHARS);
    if fields.has("public_key") {
        fields.fault("public_key", "cannot be changed, since what it encrypted needs its other half; add another key");
    }
    let name = fields.finish(|| Some(name))?;
    Ok(answer(&service.rename_encryption_key(&caller.account, id, name, &expected).await?))
}

pub(super) async fn delete(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    IfMatch(expected): IfMatch,
) -> Answer<StatusCode> {
    service.delete_encryption_key(&caller.account, id, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}
