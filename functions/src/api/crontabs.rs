//! `/v1/crontabs`: what servers send of their users' crontabs, kept as snapshots. Texts are shown only to tokens that may
//! download: crontabs hold passwords.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::Result;
use holdfast_shared::aws::table::{Cursor, Order, SortBy};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::crontab::{Crontab, SentCrontab, Snapshot, content};
use holdfast_shared::domain::crontab_server::{MAX_IDENTIFIER_CHARS, identifier};
use holdfast_shared::domain::host::LoginName;
use holdfast_shared::domain::sealed::Secret;
use holdfast_shared::service::Service;
use http::header::CONTENT_TYPE;
use http::{HeaderName, StatusCode};
use serde_json::{Value, json};

use super::answers::{data, one, page_of, paging};
use crate::http::paging::{Paging, SortKeys};
use crate::http::schema::{Schema, id, integer, line, named, object, optional, required, text, time};
use crate::http::{Answer, Caller, Fields, IfMatch, Operation, Params, Query, TextBody, etag, rfc3339};

const SORT_KEYS: SortKeys =
    &[("id", SortBy::Id), ("server", SortBy::Name), ("created_at", SortBy::Created), ("updated_at", SortBy::Changed)];
const SNAPSHOT_SORT_KEYS: SortKeys = &[("number", SortBy::Id)];

const PLAIN_TEXT: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "text/plain; charset=utf-8")];

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let (read, write) = (Ability::Read(Resource::Crontabs), Ability::Write(Resource::Crontabs));
    let list = Operation::get("/v1/crontabs", list)
        .summary("List crontabs")
        .needs(read)
        .query(paging(SORT_KEYS))
        .answers(StatusCode::OK, page_of(named("Crontab")));
    let content = text().described("kept byte by byte, may be empty; instead, the whole body can be it, as text/plain");
    let in_query = "where the body is the text itself, as text/plain of at most 1 MiB";
    let send = Operation::post("/v1/crontabs", send)
        .summary("Send a user's crontab: 201 where it is new or has changed, 200 where it has not")
        .needs(write)
        .query(["server", "username"].map(|name| optional(name, text().described(in_query))))
        .body([
            required("server", line(MAX_IDENTIFIER_CHARS).described("the identifier of a crontab server")),
            required("username", line(64)),
            required("content", content),
        ])
        .answers(StatusCode::CREATED, one(named("Crontab")))
        .answers(StatusCode::OK, one(named("Crontab")))
        .creates();
    let show = Operation::get("/v1/crontabs/{id}", show)
        .summary("Show a crontab, without its text")
        .needs(read)
        .answers(StatusCode::OK, one(named("Crontab")));
    let text = Operation::get("/v1/crontabs/{id}/content", text_of)
        .summary("Read a crontab as it was sent last")
        .needs(Ability::Download)
        .answers_text("text/plain");
    let delete = Operation::delete("/v1/crontabs/{id}", delete)
        .summary("Delete a crontab with all of its snapshots")
        .needs(write)
        .answers_nothing()
        .edits();
    let snapshots = Operation::get("/v1/crontabs/{id}/snapshots", snapshots)
        .summary("List a crontab's snapshots, the newest first")
        .needs(read)
        .query(paging(SNAPSHOT_SORT_KEYS))
        .answers(StatusCode::OK, page_of(named("Snapshot")));
    let snapshot = Operation::get("/v1/crontabs/{id}/snapshots/{number}", snapshot)
        .summary("Show a snapshot with its text")
        .needs(Ability::Download)
        .answers(StatusCode::OK, one(named("SnapshotWithContent")));
    let diff = Operation::get("/v1/crontabs/{id}/snapshots/{number}/diff", diff)
        .summary("Tell what a snapshot changed of the one before, as a unified diff")
        .needs(Ability::Download)
        .answers_text("text/plain");
    vec![list, send, show, text, delete, snapshots, snapshot, diff]
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let crontab = object([
        required("id", id()),
        required("server_id", id()),
        required("server", text().described("the identifier of the crontab server")),
        required("username", text()),
        required("snapshots", integer().described("how many there are")),
        required("newest_snapshot", id().described("the number of the newest one")),
        required("size_bytes", integer()),
        required("created_at", time()),
        required("updated_at", time()),
    ]);
    let snapshot = || [required("number", id()), required("size_bytes", integer()), required("created_at", time())];
    let with_content = snapshot().into_iter().chain([required("content", text())]);
    vec![("Crontab", crontab), ("Snapshot", object(snapshot())), ("SnapshotWithContent", object(with_content))]
}

fn view(crontab: &Crontab) -> Value {
    json!({
        "id": crontab.id,
        "server_id": crontab.server_id,
        "server": crontab.server,
        "username": &*crontab.username,
        "snapshots": crontab.snapshots,
        "newest_snapshot": crontab.newest,
        "size_bytes": crontab.size_bytes,
        "created_at": rfc3339(crontab.created_at),
        "updated_at": rfc3339(crontab.updated_at),
    })
}

fn snapshot_view(snapshot: &Snapshot) -> Value {
    json!({
        "number": snapshot.number,
        "size_bytes": snapshot.size_bytes,
        "created_at": rfc3339(snapshot.created_at),
    })
}

fn answer(crontab: &Crontab) -> impl IntoResponse + use<> {
    (etag(crontab.revision), data(view(crontab)))
}

pub(super) async fn send(
    caller: Caller,
    State(service): State<Service>,
    query: Query,
    body: TextBody,
) -> Answer<impl IntoResponse> {
    let sent = match &body {
        TextBody::Plain(text) => {
            read_sent(query.fields(), |fields| content(text).map_err(|message| fields.fault("content", message)).ok())?
        }
        TextBody::Members(body) => read_sent(body.fields(), |fields| fields.required_even_empty("content", content))?,
    };
    let (crontab, is_new) = service.send_crontab(&caller.account, sent).await?;
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, answer(&crontab)))
}

/// Reads whose crontab it is, and its text by `text`, which notes a fault where it answers none.
fn read_sent(mut fields: Fields<'_>, text: impl FnOnce(&mut Fields<'_>) -> Option<Secret>) -> Result<SentCrontab> {
    let server = fields.required("server", identifier);
    let username = fields.required("username", LoginName::parse);
    let content = text(&mut fields);
    fields.finish(|| Some(SentCrontab { server: server?, username: username?, content: content? }))
}

pub(super) async fn list(caller: Caller, State(service): State<Service>, query: Query) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging::read(&mut fields, SORT_KEYS, Order { by: SortBy::Id, descending: false });
    let paging = fields.finish(|| Some(paging))?;
    let (service, account) = (&service, &caller.account);
    let order = paging.order;
    let fetch = |limit, after: Option<Cursor>| async move {
        service.list_crontabs(account, order, limit, after.as_ref()).await
    };
    let listing = paging.fetch(fetch).await?;
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, |crontab| view(&crontab))))
}

pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
) -> Answer<impl IntoResponse> {
    Ok(answer(&service.crontab(&caller.account, id).await?))
}

pub(super) async fn text_of(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
) -> Answer<impl IntoResponse> {
    let content = service.crontab_content(&caller.account, id).await?;
    Ok((PLAIN_TEXT, content.expose().to_owned()))
}

pub(super) async fn delete(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    IfMatch(expected): IfMatch,
) -> Answer<StatusCode> {
    service.delete_crontab(&caller.account, id, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn snapshots(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    query: Query,
) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging::read(&mut fields, SNAPSHOT_SORT_KEYS, Order { by: SortBy::Id, descending: true });
    let paging = fields.finish(|| Some(paging))?;
    let (service, account) = (&service, &caller.account);
    let order = paging.order;
    let fetch = |limit, after: Option<Cursor>| async move {
        service.list_snapshots(account, id, order, limit, after.as_ref()).await
    };
    let listing = paging.fetch(fetch).await?;
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, |snapshot| snapshot_view(&snapshot))))
}

pub(super) async fn snapshot(
    caller: Caller,
    State(service): State<Service>,
    Params((id, number)): Params<(u64, u64)>,
) -> Answer<Json<Value>> {
    let found = service.snapshot(&caller.account, id, number).await?;
    let mut view = snapshot_view(&found.snapshot);
    view["content"] = json!(found.content.expose());
    Ok(data(view))
}

pub(super) async fn diff(
    caller: Caller,
    State(service): State<Service>,
    Params((id, number)): Params<(u64, u64)>,
) -> Answer<impl IntoResponse> {
    let diff = service.snapshot_diff(&caller.account, id, number).await?;
    Ok((PLAIN_TEXT, diff.expose().to_owned()))
}
