//! `/v1/servers`: SSH hosts.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::Result;
use holdfast_shared::aws::table::{Cursor, Order, SortBy};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::server::{DEFAULT_MAX_PARALLEL, MAX_PARALLEL_LIMIT, NewServer, Server, ServerEdit};
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
use crate::http::schema::{
    Member, Schema, id, integer, integer_in, named, object, optional, or_null, required, text, time,
};
use crate::http::{Answer, Body, Caller, Fields, IfMatch, Operation, Params, Query, etag, rfc3339};

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let (read, write) = (Ability::Read(Resource::Servers), Ability::Write(Resource::Servers));
    let server = || one(named("Server"));
    let list = Operation::get("/v1/servers", list)
        .summary("List servers")
        .needs(read)
        .query(paging(SORT_KEYS))
        .answers(StatusCode::OK, page_of(named("Server")));
    let create = Operation::post("/v1/servers", create)
        .summary("Add a server")
        .needs(write)
        .body(members(required))
        .answers(StatusCode::CREATED, server())
        .creates();
    let show =
        Operation::get("/v1/servers/{id}", show).summary("Show a server").needs(read).answers(StatusCode::OK, server());
    let update = also_post("/v1/servers/{id}", update, |operation| {
        operation
            .summary("Change a server")
            .needs(write)
            .body(members(optional))
            .answers(StatusCode::OK, server())
            .edits()
    });
    let delete = Operation::delete("/v1/servers/{id}", delete)
        .summary("Delete a server that no job uses")
        .needs(write)
        .answers_nothing()
        .edits();
    let check = Operation::post("/v1/servers/{id}/check", check)
        .summary("Have a worker connect to a server and report what it finds")
        .needs(write)
        .answers(StatusCode::ACCEPTED, server());
    let accept = Operation::post("/v1/servers/{id}/host-key", accept_host_key)
        .summary("Accept a server's new host key; without one, whichever the next connection sees")
        .needs(write)
        .body([optional("host_key", text())])
        .answers(StatusCode::OK, server());
    [list, create, show, delete, check, accept].into_iter().chain(update).collect()
}

/// The members of a body, where those that a server cannot do without are `demanded`.
fn members(demanded: fn(&'static str, Schema) -> Member) -> Vec<Member> {
    let max_parallel = integer_in(1..=i64::from(MAX_PARALLEL_LIMIT)).default(DEFAULT_MAX_PARALLEL);
    logins::members(demanded).into_iter().chain([optional("max_parallel", max_parallel)]).collect()
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let server = object([
        required("id", id()),
        required("host", text()),
        required("user", text()),
        required("port", integer()),
        required("name", text()),
        required("created_at", time()),
        required("updated_at", time()),
        required("last_used", or_null(time())),
        required("status", or_null(text())),
        required("max_parallel", integer()),
        required("host_key", or_null(logins::host_key_schema())),
        required("check", or_null(named("Check"))),
        required("key", named("SshKey")),
    ]);
    vec![("Server", server), ("Check", answers::check_schema())]
}

/// A server as every answer shows it.
pub fn view(server: &Server, key: &SshKey) -> Value {
    let mut view = json!({
        "id": server.id,
        "host": server.login.host,
        "user": server.login.user,
        "port": server.login.port,
        "name": server.name,
        "created_at": rfc3339(server.created_at),
        "updated_at": rfc3339(server.updated_at),
        "last_used": server.last_used_at.map(rfc3339),
        "status": server.status,
        "max_parallel": server.max_parallel,
    });
    view["host_key"] = server.login.host_key.as_ref().map(logins::host_key).into();
    view["check"] = server.check.as_ref().map(answers::check).into();
    view["key"] = ssh_keys::view(key);
    view
}

async fn answer(service: &Service, account: &AccountId, server: &Server) -> Result<impl IntoResponse + use<>> {
    let key = service.ssh_key(account, server.login.ssh_key_id).await?;
    Ok((etag(server.revision), data(view(server, &key))))
}

pub(super) async fn create(caller: Caller, State(service): State<Service>, body: Body) -> Answer<impl IntoResponse> {
    let from = from(&service, &caller.account).await?;
    let new = read_new(&service, from, logins::aliased(body.fields()))?;
    let server = service.create_server(&caller.account, new).await?;
    Ok((StatusCode::CREATED, answer(&service, &caller.account, &server).await?))
}

pub(super) async fn list(caller: Caller, State(service): State<Service>, query: Query) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging::read(&mut fields, SORT_KEYS, Order { by: SortBy::Id, descending: false });
    let paging = fields.finish(|| Some(paging))?;
    let (service, account) = (&service, &caller.account);
    let order = paging.order;
    let fetch =
        |limit, after: Option<Cursor>| async move { service.list_servers(account, order, limit, after.as_ref()).await };
    let listing = paging.fetch(fetch).await?;
    let ids: Vec<_> = listing.records.iter().map(|server| server.login.ssh_key_id).collect();
    let keys = logins::keys_of(service, account, ids).await?;
    let shown = |server: Server| keys.get(&server.login.ssh_key_id).map(|key| view(&server, key));
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, shown)))
}

pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
) -> Answer<impl IntoResponse> {
    let server = service.server(&caller.account, id).await?;
    Ok(answer(&service, &caller.account, &server).await?)
}

pub(super) async fn update(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    IfMatch(expected): IfMatch,
    body: Body,
) -> Answer<impl IntoResponse> {
    let from = from(&service, &caller.account).await?;
    let edit = read_edit(&service, from, logins::aliased(body.fields()))?;
    let server = service.update_server(&caller.account, id, edit, &expected).await?;
    Ok(answer(&service, &caller.account, &server).await?)
}

pub(super) async fn delete(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    IfMatch(expected): IfMatch,
) -> Answer<StatusCode> {
    service.delete_server(&caller.account, id, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn check(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
) -> Answer<impl IntoResponse> {
    let server = service.check_server(&caller.account, id).await?;
    Ok((StatusCode::ACCEPTED, answer(&service, &caller.account, &server).await?))
}

/// Accepts the key in `host_key`; without one, whichever the next connection sees.
pub(super) async fn accept_host_key(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    body: Body,
) -> Answer<impl IntoResponse> {
    let key = logins::read_accepted(&service, body.fields())?;
    let server = service.accept_host_key(&caller.account, id, key).await?;
    Ok(answer(&service, &caller.account, &server).await?)
}

/// Where servers of an account may be reached from: only one that has a proxy can have any on an inner network.
async fn from(service: &Service, account: &AccountId) -> Result<ReachedFrom> {
    Ok(if service.has_proxy(account).await? { ReachedFrom::Proxy } else { ReachedFrom::Here })
}

fn read_new(service: &Service, from: ReachedFrom, mut fields: Fields<'_>) -> Result<NewServer> {
    let name = fields.required_text("name", MAX_NAME_CHARS);
    let login = logins::read_new(service, from, &mut fields);
    let max_parallel = read_max_parallel(&mut fields).unwrap_or(DEFAULT_MAX_PARALLEL);
    fields.finish(|| Some(NewServer { name: name?, login: login?, max_parallel }))
}

fn read_edit(service: &Service, from: ReachedFrom, mut fields: Fields<'_>) -> Result<ServerEdit> {
    let edit = ServerEdit {
        name: fields.optional_text("name", MAX_NAME_CHARS),
        login: logins::read_edit(service, from, &mut fields),
        max_parallel: read_max_parallel(&mut fields),
    };
    fields.finish(|| Some(edit))
}

fn read_max_parallel(fields: &mut Fields<'_>) -> Option<u32> {
    let count = fields.optional_integer("max_parallel", 1..=i64::from(MAX_PARALLEL_LIMIT));
    count.and_then(|count| u32::try_from(count).ok())
}
