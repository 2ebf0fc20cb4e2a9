//! `/v1/proxies`: jump hosts, which proxies are reached through.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::Result;
use holdfast_shared::aws::table::{Cursor, Order, SortBy};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::proxy::{NewProxy, Proxy, ProxyEdit};
use holdfast_shared::domain::ssh_key::SshKey;
use holdfast_shared::service::Service;
use http::StatusCode;
use serde_json::{Value, json};

use super::answers::{self, SORT_KEYS, data, one, page_of, paging};
use super::logins::{self, ReachedFrom};
use super::ssh_keys;
use crate::http::fields::MAX_NAME_CHARS;
use crate::http::operation::also_post;
use crate::http::paging::Paging;
use crate::http::schema::{Schema, id, integer, named, object, optional, or_null, required, text, time};
use crate::http::{Answer, Body, Caller, Fields, IfMatch, Operation, Params, Query, etag, rfc3339};

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let (read, write) = (Ability::Read(Resource::Proxies), Ability::Write(Resource::Proxies));
    let proxy = || one(named("Proxy"));
    let list = Operation::get("/v1/proxies", list)
        .summary("List proxies")
        .needs(read)
        .query(paging(SORT_KEYS))
        .answers(StatusCode::OK, page_of(named("Proxy")));
    let create = Operation::post("/v1/proxies", create)
        .summary("Add a proxy")
        .needs(write)
        .body(logins::members(required))
        .answers(StatusCode::CREATED, proxy())
        .creates();
    let show =
        Operation::get("/v1/proxies/{id}", show).summary("Show a proxy").needs(read).answers(StatusCode::OK, proxy());
    let update = also_post("/v1/proxies/{id}", update, |operation| {
        operation
            .summary("Change a proxy")
            .needs(write)
            .body(logins::members(optional))
            .answers(StatusCode::OK, proxy())
            .edits()
    });
    let delete = Operation::delete("/v1/proxies/{id}", delete)
        .summary("Delete a proxy that no job uses")
        .needs(write)
        .answers_nothing()
        .edits();
    let check = Operation::post("/v1/proxies/{id}/check", check)
        .summary("Have a worker connect to a proxy and report whether it lets connections through")
        .needs(write)
        .answers(StatusCode::ACCEPTED, proxy());
    let accept = Operation::post("/v1/proxies/{id}/host-key", accept_host_key)
        .summary("Accept a proxy's new host key; without one, whichever the next connection sees")
        .needs(write)
        .body([optional("host_key", text())])
        .answers(StatusCode::OK, proxy());
    [list, create, show, delete, check, accept].into_iter().chain(update).collect()
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let proxy = object([
        required("id", id()),
        required("host", text()),
        required("user", text()),
        required("port", integer()),
        required("name", text()),
        required("created_at", time()),
        required("updated_at", time()),
        required("last_used", or_null(time())),
        required("status", or_null(text())),
        required("host_key", or_null(logins::host_key_schema())),
        required("check", or_null(named("Check"))),
        required("key", named("SshKey")),
    ]);
    vec![("Proxy", proxy)]
}

/// A proxy as every answer shows it.
fn view(proxy: &Proxy, key: &SshKey) -> Value {
    json!({
        "id": proxy.id,
        "host": proxy.login.host,
        "user": proxy.login.user,
        "port": proxy.login.port,
        "name": proxy.name,
        "created_at": rfc3339(proxy.created_at),
        "updated_at": rfc3339(proxy.updated_at),
        "last_used": proxy.last_used_at.map(rfc3339),
        "status": proxy.status,
        "host_key": proxy.login.host_key.as_ref().map(logins::host_key),
        "check": proxy.check.as_ref().map(answers::check),
        "key": ssh_keys::view(key),
    })
}

async fn answer(service: &Service, account: &AccountId, proxy: &Proxy) -> Result<impl IntoResponse + use<>> {
    let key = service.ssh_key(account, proxy.login.ssh_key_id).await?;
    Ok((etag(proxy.revision), data(view(proxy, &key))))
}

pub(super) async fn create(caller: Caller, State(service): State<Service>, body: Body) -> Answer<impl IntoResponse> {
    let new = read_new(&service, logins::aliased(body.fields()))?;
    let proxy = service.create_proxy(&caller.account, new).await?;
    Ok((StatusCode::CREATED, answer(&service, &caller.account, &proxy).await?))
}

pub(super) async fn list(caller: Caller, State(service): State<Service>, query: Query) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging::read(&mut fields, SORT_KEYS, Order { by: SortBy::Id, descending: false });
    let paging = fields.finish(|| Some(paging))?;
    let (service, account) = (&service, &caller.account);
    let order = paging.order;
    let fetch =
        |limit, after: Option<Cursor>| async move { service.list_proxies(account, order, limit, after.as_ref()).await };
    let listing = paging.fetch(fetch).await?;
    let ids: Vec<_> = listing.records.iter().map(|proxy| proxy.login.ssh_key_id).collect();
    let keys = logins::keys_of(service, account, ids).await?;
    let shown = |proxy: Proxy| keys.get(&proxy.login.ssh_key_id).map(|key| view(&proxy, key));
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, shown)))
}

pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
) -> Answer<impl IntoResponse> {
    let proxy = service.proxy(&caller.account, id).await?;
    Ok(answer(&service, &caller.account, &proxy).await?)
}

pub(super) async fn update(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    IfMatch(expected): IfMatch,
    body: Body,
) -> Answer<impl IntoResponse> {
    let edit = read_edit(&service, logins::aliased(body.fields()))?;
    let proxy = service.update_proxy(&caller.account, id, edit, &expected).await?;
    Ok(answer(&service, &caller.account, &proxy).await?)
}

pub(super) async fn delete(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    IfMatch(expected): IfMatch,
) -> Answer<StatusCode> {
    service.delete_proxy(&caller.account, id, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn check(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
) -> Answer<impl IntoResponse> {
    let proxy = service.check_proxy(&caller.account, id).await?;
    Ok((StatusCode::ACCEPTED, answer(&service, &caller.account, &proxy).await?))
}

/// Accepts the key in `host_key`; without one, whichever the next connection sees.
pub(super) async fn accept_host_key(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    body: Body,
) -> Answer<impl IntoResponse> {
    let key = logins::read_accepted(&service, body.fields())?;
    let proxy = service.accept_proxy_host_key(&caller.account, id, key).await?;
    Ok(answer(&service, &caller.account, &proxy).await?)
}

fn read_new(service: &Service, mut fields: Fields<'_>) -> Result<NewProxy> {
    let name = fields.required_text("name", MAX_NAME_CHARS);
    let login = logins::read_new(service, ReachedFrom::Here, &mut fields);
    fields.finish(|| Some(NewProxy { name: name?, login: login? }))
}

fn read_edit(service: &Service, mut fields: Fields<'_>) -> Result<ProxyEdit> {
    let name = fields.optional_text("name", MAX_NAME_CHARS);
    let edit = ProxyEdit { name, login: logins::read_edit(service, ReachedFrom::Here, &mut fields) };
    fields.finish(|| Some(edit))
}
