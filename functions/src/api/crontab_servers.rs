//! `/v1/crontab-servers`: machines that send their users' crontabs, and tell which commands did not do well.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::aws::table::{Cursor, Order, SortBy};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::crontab_server::{
    CrontabServer, CrontabServerEdit, MAX_COMMAND_BYTES, MAX_IDENTIFIER_CHARS, NewAlert, NewCrontabServer, PlainAlert,
    command, identifier, ip_address,
};
use holdfast_shared::domain::host::LoginName;
use holdfast_shared::service::Service;
use http::StatusCode;
use serde_json::{Value, json};

use super::answers::{SORT_KEYS, data, one, page_of, paging};
use crate::http::fields::MAX_NAME_CHARS;
use crate::http::operation::also_post;
use crate::http::paging::{Paging, SortKeys};
use crate::http::schema::{Schema, id, integer, line, named, object, optional, or_null, required, text, time};
use crate::http::{Answer, Body, Caller, IfMatch, Operation, Params, Query, etag, rfc3339};

const ALERT_SORT_KEYS: SortKeys = &[("id", SortBy::Id)];

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let (read, write) = (Ability::Read(Resource::Crontabs), Ability::Write(Resource::Crontabs));
    let server = || one(named("CrontabServer"));
    let address = || text().described("the IPv4 or IPv6 address that it sends from");
    let list = Operation::get("/v1/crontab-servers", list)
        .summary("List crontab servers")
        .needs(read)
        .query(paging(SORT_KEYS))
        .answers(StatusCode::OK, page_of(named("CrontabServer")));
    let create = Operation::post("/v1/crontab-servers", create)
        .summary("Add a server that sends crontabs")
        .needs(write)
        .body([
            required("name", line(MAX_NAME_CHARS)),
            required("ip_address", address()),
            required("identifier", line(MAX_IDENTIFIER_CHARS).described("what it calls itself; never changes")),
        ])
        .answers(StatusCode::CREATED, server())
        .creates();
    let show = Operation::get("/v1/crontab-servers/{id}", show)
        .summary("Show a crontab server")
        .needs(read)
        .answers(StatusCode::OK, server());
    let update = also_post("/v1/crontab-servers/{id}", update, |operation| {
        operation
            .summary("Change a crontab server")
            .needs(write)
            .body([optional("name", line(MAX_NAME_CHARS)), optional("ip_address", address())])
            .answers(StatusCode::OK, server())
            .edits()
    });
    let delete = Operation::delete("/v1/crontab-servers/{id}", delete)
        .summary("Delete a crontab server that has no crontabs, with its alerts")
        .needs(write)
        .answers_nothing()
        .edits();
    let alerts = Operation::get("/v1/crontab-servers/{id}/alerts", alerts)
        .summary("List the alerts of a crontab server, the newest first")
        .needs(read)
        .query(paging(ALERT_SORT_KEYS))
        .answers(StatusCode::OK, page_of(named("CrontabAlert")));
    let alert = Operation::post("/v1/crontab-servers/{id}/alerts", alert)
        .summary("Tell that a command of a crontab did not do well")
        .needs(write)
        .body([required("username", line(64)), required("command", line(MAX_COMMAND_BYTES))])
        .answers(StatusCode::CREATED, one(named("CrontabAlert")))
        .creates();
    [list, create, show, delete, alerts, alert].into_iter().chain(update).collect()
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let server = object([
        required("id", id()),
        required("name", text()),
        required("ip_address", text()),
        required("identifier", text()),
        required("alerts", integer()),
        required("created_at", time()),
        required("updated_at", time()),
    ]);
    let alert = object([
        required("id", id()),
        required("username", text()),
        required("command", or_null(text()).described("can hold passwords: null without the ability download")),
        required("created_at", time()),
    ]);
    vec![("CrontabServer", server), ("CrontabAlert", alert)]
}

fn view(server: &CrontabServer) -> Value {
    json!({
        "id": server.id,
        "name": server.name,
        "ip_address": server.ip_address,
        "identifier": server.identifier,
        "alerts": server.alerts,
        "created_at": rfc3339(server.created_at),
        "updated_at": rfc3339(server.updated_at),
    })
}

/// An alert; its command only to whoever may see the crontab that it stands in.
fn alert_view(PlainAlert { alert, command }: &PlainAlert, caller: &Caller) -> Value {
    json!({
        "id": alert.id,
        "username": &*alert.username,
        "command": caller.token.may(Ability::Download).then(|| command.expose()),
        "created_at": rfc3339(alert.created_at),
    })
}

fn answer(server: &CrontabServer) -> impl IntoResponse + use<> {
    (etag(server.revision), data(view(server)))
}

pub(super) async fn create(caller: Caller, State(service): State<Service>, body: Body) -> Answer<impl IntoResponse> {
    let mut fields = body.fields();
    let name = fields.required_text("name", MAX_NAME_CHARS);
    let identifier = fields.required("identifier", identifier);
    let ip_address: Option<IpAddr> = fields.required("ip_address", ip_address);
    let new =
        fields.finish(|| Some(NewCrontabServer { name: name?, identifier: identifier?, ip_address: ip_address? }))?;
    let server = service.create_crontab_server(&caller.account, new).await?;
    Ok((StatusCode::CREATED, answer(&server)))
}

pub(super) async fn list(caller: Caller, State(service): State<Service>, query: Query) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging::read(&mut fields, SORT_KEYS, Order { by: SortBy::Id, descending: false });
    let paging = fields.finish(|| Some(paging))?;
    let (service, account) = (&service, &caller.account);
    let order = paging.order;
    let fetch = |limit, after: Option<Cursor>| async move {
        service.list_crontab_servers(account, order, limit, after.as_ref()).await
    };
    let listing = paging.fetch(fetch).await?;
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, |server| view(&server))))
}

pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
) -> Answer<impl IntoResponse> {
    Ok(answer(&service.crontab_server(&caller.account, id).await?))
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
    let edit = CrontabServerEdit { name, ip_address: fields.optional("ip_address", ip_address) };
    if fields.has("identifier") {
        fields.fault("identifier", "cannot be changed, since the server calls itself so; add another crontab server");
    }
    let edit = fields.finish(|| Some(edit))?;
    Ok(answer(&service.update_crontab_server(&caller.account, id, edit, &expected).await?))
}

pub(super) async fn delete(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    IfMatch(expected): IfMatch,
) -> Answer<StatusCode> {
    service.delete_crontab_server(&caller.account, id, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn alerts(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    query: Query,
) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging::read(&mut fields, ALERT_SORT_KEYS, Order { by: SortBy::Id, descending: true });
    let paging = fields.finish(|| Some(paging))?;
    let (service, account) = (&service, &caller.account);
    let order = paging.order;
    let fetch = |limit, after: Option<Cursor>| async move {
        service.list_crontab_alerts(account, id, order, limit, after.as_ref()).await
    };
    let listing = paging.fetch(fetch).await?;
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, |alert| alert_view(&alert, &caller))))
}

pub(super) async fn alert(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    body: Body,
) -> Answer<impl IntoResponse> {
    // A server that is not there is told before what is wrong with the alert: another account's answers the same.
    service.crontab_server(&caller.account, id).await?;
    let mut fields = body.fields();
    let username = fields.required("username", LoginName::parse);
    let command = fields.required("command", command);
    let new = fields.finish(|| Some(NewAlert { username: username?, command: command? }))?;
    let alert = service.create_crontab_alert(&caller.account, id, new).await?;
    Ok((StatusCode::CREATED, data(alert_view(&alert, &caller))))
}
