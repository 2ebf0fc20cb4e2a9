//! `/api/servers`: the machines that send crontabs, as the vendor's client adds them, and what they raise an alarm about.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::aws::table::{Cursor, Order, SortBy};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::crontab_server::{
    CrontabServer, MAX_COMMAND_BYTES, MAX_IDENTIFIER_CHARS, NewAlert, NewCrontabServer, command, identifier, ip_address,
};
use holdfast_shared::domain::host::LoginName;
use holdfast_shared::domain::revision::Expected;
use holdfast_shared::service::Service;
use holdfast_shared::{Error, Result};
use http::StatusCode;
use serde_json::{Value, json};

use crate::http::audit::Told;
use crate::http::fields::MAX_NAME_CHARS;
use crate::http::schema::{self, Schema, id, line, named, object, one_of, or_null, required, secret, text, time};
use crate::http::{Answer, Body, Caller, Operation, Params, rfc3339};

/// How many servers are read at a time for a list, which the vendor does not page.
const READ_AT_ONCE: i32 = 100;

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let (read, write) = (Ability::Read(Resource::Crontabs), Ability::Write(Resource::Crontabs));
    let list = Operation::get("/api/servers", list)
        .summary("List servers")
        .needs(read)
        .answers(StatusCode::OK, schema::list(named("Server")));
    let create = Operation::post("/api/servers", create)
        .summary("Add a server that sends crontabs")
        .needs(write)
        .body([
            required("name", line(MAX_NAME_CHARS)),
            required("ip_address", text().described("the IPv4 or IPv6 address that it sends from")),
            required("identifier", line(MAX_IDENTIFIER_CHARS).described("what it calls itself")),
        ])
        .answers(StatusCode::CREATED, named("Server"));
    let show = Operation::get("/api/servers/{server_id}", show)
        .summary("Show a server by its identifier, or by its number")
        .needs(read)
        .answers(StatusCode::OK, named("Server"));
    let delete = Operation::delete("/api/servers/{server_id}", delete)
        .summary("Delete a server that has no back-ups")
        .needs(write)
        .answers(StatusCode::OK, object([required("success", one_of(&["Server deleted"]))]));
    let alert = Operation::post("/api/servers/alert", alert)
        .summary("Tell of a command in a crontab that has changed or is missing")
        .needs(write)
        .body([
            required("username", line(64)),
            required("command", secret(MAX_COMMAND_BYTES)),
            required("server_id", line(MAX_IDENTIFIER_CHARS).described("the server's identifier")),
        ])
        .answers(StatusCode::OK, object([required("success", one_of(&["Alert received"]))]));
    vec![list, create, show, delete, alert]
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let server = object([
        required("id", id()),
        required("name", text()),
        required("ip_address", text()),
        required("identifier", text()),
        required("company_id", id()),
        required("deleted_at", or_null(time()).described("always null: what is deleted is gone")),
        required("created_at", time()),
        required("updated_at", time()),
    ]);
    vec![("Server", server)]
}

fn view(server: &CrontabServer, company: u64) -> Value {
    json!({
        "id": server.id,
        "name": server.name,
        "ip_address": server.ip_address,
        "identifier": server.identifier,
        "company_id": company,
        "deleted_at": null,
        "created_at": rfc3339(server.created_at),
        "updated_at": rfc3339(server.updated_at),
    })
}

async fn shown(service: &Service, caller: &Caller, server: &CrontabServer) -> Result<Value> {
    Ok(view(server, service.account(&caller.account).await?.company_id))
}

/// By identifier first: a name that was chosen counts more than a number that was given.
async fn find(service: &Service, caller: &Caller, name: &str) -> Result<CrontabServer> {
    if let Some(server) = service.crontab_server_of(&caller.account, name).await? {
        return Ok(server);
    }
    match name.parse() {
        Ok(id) => service.crontab_server(&caller.account, id).await,
        Err(_) => Err(Error::not_found("crontab server")),
    }
}

/// A body that names a server which is not there.
pub(super) fn unknown() -> Error {
    Error::invalid("server_id", "is not the identifier of a server")
}

async fn list(caller: Caller, State(service): State<Service>) -> Answer<Json<Vec<Value>>> {
    let company = service.account(&caller.account).await?.company_id;
    let order = Order { by: SortBy::Id, descending: false };
    let (mut all, mut after) = (Vec::new(), None::<Cursor>);
    loop {
        let page = service.list_crontab_servers(&caller.account, order, READ_AT_ONCE, after.as_ref()).await?;
        all.extend(page.records.iter().map(|server| view(server, company)));
        after = page.next;
        if after.is_none() {
            return Ok(Json(all));
        }
    }
}

async fn create(caller: Caller, State(service): State<Service>, body: Body) -> Answer<impl IntoResponse> {
    let mut fields = body.fields();
    let name = fields.required_text("name", MAX_NAME_CHARS);
    let identifier = fields.required("identifier", identifier);
    let ip_address = fields.required("ip_address", ip_address);
    let new =
        fields.finish(|| Some(NewCrontabServer { name: name?, identifier: identifier?, ip_address: ip_address? }))?;
    let server = service.create_crontab_server(&caller.account, new).await?;
    Ok((StatusCode::CREATED, Json(shown(&service, &caller, &server).await?)))
}

async fn show(caller: Caller, State(service): State<Service>, Params(name): Params<String>) -> Answer<Json<Value>> {
    let server = find(&service, &caller, &name).await?;
    Ok(Json(shown(&service, &caller, &server).await?))
}

async fn delete(caller: Caller, State(service): State<Service>, Params(name): Params<String>) -> Answer<Json<Value>> {
    let server = find(&service, &caller, &name).await?;
    service.delete_crontab_server(&caller.account, server.id, &Expected::Any).await?;
    Ok(Json(json!({"success": "Server deleted"})))
}

async fn alert(caller: Caller, State(service): State<Service>, body: Body) -> Answer<impl IntoResponse> {
    let mut fields = body.fields();
    let username = fields.required("username", LoginName::parse);
    let command = fields.required("command", command);
    let server = fields.required("server_id", identifier);
    let (server, new) = fields.finish(|| Some((server?, NewAlert { username: username?, command: command? })))?;
    let server = service.crontab_server_of(&caller.account, &server).await?.ok_or_else(unknown)?;
    let told = service.create_crontab_alert(&caller.account, server.id, new).await?.alert;
    let record = json!({"id": told.id, "server_id": server.id, "username": &*told.username});
    let told = Told { before: None, after: Some(record) };
    Ok((axum::Extension(told), Json(json!({"success": "Alert received"}))))
}
