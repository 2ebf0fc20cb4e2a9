//! `/v1/stacks`: servers that belong together, and the databases on them. Passwords are never shown.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::Result;
use holdfast_shared::aws::table::{Cursor, Order, SortBy};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::sealed::Secret;
use holdfast_shared::domain::stack::{
    Database, DatabaseInput, DatabaseKind, DatabaseSpec, MAX_DATABASE_NAME_CHARS, MAX_USERNAME_CHARS, NewStack, Stack,
    StackEdit, StackRef, database_name,
};
use holdfast_shared::service::Service;
use http::StatusCode;
use serde_json::{Value, json};

use super::answers::{SORT_KEYS, data, one, page_of, paging};
use crate::http::fields::MAX_NAME_CHARS;
use crate::http::operation::also_post;
use crate::http::paging::Paging;
use crate::http::schema::{
    self, Member, NOT_SET, SET, Schema, id, line, named, object, one_of, optional, or_null, required, secret,
    secret_mark, text, time,
};
use crate::http::{Answer, Body, Caller, Fields, IfMatch, Operation, Params, Query, etag, rfc3339};

/// How long a password may be.
const MAX_PASSWORD_CHARS: usize = 512;

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let (read, write) = (Ability::Read(Resource::Stacks), Ability::Write(Resource::Stacks));
    let stack = || one(named("Stack"));
    let list = Operation::get("/v1/stacks", list)
        .summary("List stacks")
        .needs(read)
        .query(paging(SORT_KEYS))
        .answers(StatusCode::OK, page_of(named("Stack")));
    let create = Operation::post("/v1/stacks", create)
        .summary("Add a stack: servers that belong together, and the databases on them")
        .needs(write)
        .body([
            required("name", line(MAX_NAME_CHARS)),
            required("servers", schema::list(id())),
            optional("databases", schema::list(object(database_members()))),
        ])
        .answers(StatusCode::CREATED, stack())
        .creates();
    let show = Operation::get("/v1/stacks/{id}", show)
        .summary("Show a stack, by its id or its uid")
        .needs(read)
        .answers(StatusCode::OK, stack());
    let update = also_post("/v1/stacks/{id}", update, |operation| {
        let own_id = optional("id", id().described("of a database that stays: it keeps its password if none is sent"));
        let databases = schema::list(object([own_id].into_iter().chain(database_members())));
        operation
            .summary("Change a stack; lists replace those before")
            .needs(write)
            .body([
                optional("name", line(MAX_NAME_CHARS)),
                optional("servers", schema::list(id())),
                optional("databases", databases),
            ])
            .answers(StatusCode::OK, stack())
            .edits()
    });
    let delete = Operation::delete("/v1/stacks/{id}", delete)
        .summary("Delete a stack; its servers stay")
        .needs(write)
        .answers_nothing()
        .edits();
    [list, create, show, delete].into_iter().chain(update).collect()
}

/// What a body says of a database.
fn database_members() -> [Member; 6] {
    [
        required("type", one_of(&DatabaseKind::NAMES)),
        required("server_id", id().described("one of the stack's servers")),
        optional("replica_server_id", id().described("another of the stack's servers")),
        optional("name", line(MAX_DATABASE_NAME_CHARS).described("left out for all that the server has")),
        optional("username", line(MAX_USERNAME_CHARS)),
        optional("password", secret(MAX_PASSWORD_CHARS)),
    ]
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let database = object([
        required("id", id()),
        required("type", one_of(&DatabaseKind::NAMES)),
        required("server_id", id()),
        required("replica_server_id", or_null(id())),
        required("name", or_null(text())),
        required("username", or_null(text())),
        required("password", secret_mark()),
    ]);
    let stack = object([
        required("id", id()),
        required("uid", text().described("32 lowercase hexadecimal digits")),
        required("name", text()),
        required("servers", schema::list(id())),
        required("databases", schema::list(database)),
        required("created_at", time()),
        required("updated_at", time()),
    ]);
    vec![("Stack", stack)]
}

fn view(stack: &Stack) -> Value {
    json!({
        "id": stack.id,
        "uid": stack.uid.simple().to_string(),
        "name": stack.name,
        "servers": stack.servers,
        "databases": stack.databases.iter().map(database_view).collect::<Vec<_>>(),
        "created_at": rfc3339(stack.created_at),
        "updated_at": rfc3339(stack.updated_at),
    })
}

fn database_view(database: &Database) -> Value {
    json!({
        "id": database.id,
        "type": database.spec.kind,
        "server_id": database.spec.server_id,
        "replica_server_id": database.spec.replica_server_id,
        "name": database.spec.name,
        "username": database.spec.username,
        "password": if database.password.is_some() { SET } else { NOT_SET },
    })
}

fn answer(stack: &Stack) -> impl IntoResponse + use<> {
    (etag(stack.revision), data(view(stack)))
}

pub(super) async fn create(caller: Caller, State(service): State<Service>, body: Body) -> Answer<impl IntoResponse> {
    let stack = service.create_stack(&caller.account, read_new(body.fields())?).await?;
    Ok((StatusCode::CREATED, answer(&stack)))
}

pub(super) async fn list(caller: Caller, State(service): State<Service>, query: Query) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging::read(&mut fields, SORT_KEYS, Order { by: SortBy::Id, descending: false });
    let paging = fields.finish(|| Some(paging))?;
    let (service, account) = (&service, &caller.account);
    let order = paging.order;
    let fetch =
        |limit, after: Option<Cursor>| async move { service.list_stacks(account, order, limit, after.as_ref()).await };
    let listing = paging.fetch(fetch).await?;
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, |stack| view(&stack))))
}

pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(which): Params<StackRef>,
) -> Answer<impl IntoResponse> {
    Ok(answer(&service.stack(&caller.account, which).await?))
}

pub(super) async fn update(
    caller: Caller,
    State(service): State<Service>,
    Params(which): Params<StackRef>,
    IfMatch(expected): IfMatch,
    body: Body,
) -> Answer<impl IntoResponse> {
    let edit = read_edit(body.fields())?;
    Ok(answer(&service.update_stack(&caller.account, which, edit, &expected).await?))
}

pub(super) async fn delete(
    caller: Caller,
    State(service): State<Service>,
    Params(which): Params<StackRef>,
    IfMatch(expected): IfMatch,
) -> Answer<StatusCode> {
    service.delete_stack(&caller.account, which, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn read_new(mut fields: Fields<'_>) -> Result<NewStack> {
    let name = fields.required_text("name", MAX_NAME_CHARS);
    if !fields.has("servers") {
        fields.fault("servers", "is required");
    }
    let servers = fields.ids("servers");
    let databases = fields.list("databases", |database| read_database(database, None));
    fields.finish(|| Some(NewStack { name: name?, servers: servers?, databases: databases.unwrap_or_default() }))
}

fn read_edit(mut fields: Fields<'_>) -> Result<StackEdit> {
    let edit = StackEdit {
        name: fields.optional_text("name", MAX_NAME_CHARS),
        servers: fields.ids("servers"),
        databases: fields.list("databases", |database| {
            let id = database.optional_id("id");
            read_database(database, id)
        }),
    };
    fields.finish(|| Some(edit))
}

fn read_database(fields: &mut Fields<'_>, id: Option<u64>) -> Option<DatabaseInput> {
    let kind = fields.required("type", DatabaseKind::parse);
    let server_id = fields.required_id("server_id");
    let replica_server_id = fields.optional_id("replica_server_id");
    let name = fields.optional("name", database_name);
    let username = fields.optional_text("username", MAX_USERNAME_CHARS);
    let password = fields.optional_text("password", MAX_PASSWORD_CHARS);
    let shown = |text: &String| text == SET || text == NOT_SET;
    if id.is_none() && password.as_ref().is_some_and(shown) {
        fields
            .fault("password", "is what answers show in its place; send the password, or the database's id to keep it");
    }
    let password = password.filter(|text| !shown(text));
    let spec = DatabaseSpec { kind: kind?, server_id: server_id?, replica_server_id, name, username };
    Some(DatabaseInput { id, spec, password: password.map(Secret::new) })
}
