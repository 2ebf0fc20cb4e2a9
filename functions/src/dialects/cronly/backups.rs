//! `/api/backups`: crontabs, by server and user.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::aws::table::{Cursor, Order, SortBy};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::crontab::{Crontab, SentCrontab, Snapshot, content};
use holdfast_shared::domain::crontab_server::{MAX_IDENTIFIER_CHARS, identifier};
use holdfast_shared::domain::host::LoginName;
use holdfast_shared::domain::revision::Expected;
use holdfast_shared::domain::sealed::Secret;
use holdfast_shared::service::Service;
use holdfast_shared::{Error, ErrorKind, Result};
use http::StatusCode;
use serde_json::{Value, json};

use super::content::Sent;
use super::servers;
use crate::http::address::Peer;
use crate::http::audit::Told;
use crate::http::schema::{
    self, Schema, id, integer, line, named, object, one_of, optional, or_null, required, text, time,
};
use crate::http::{Answer, Caller, Operation, Params, rfc3339};

/// How many crontabs are read at a time for a list, which the vendor does not page.
const READ_AT_ONCE: i32 = 100;

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let (read, write) = (Ability::Read(Resource::Crontabs), Ability::Write(Resource::Crontabs));
    let content = || text().described("up to 1 MiB; as the last field of a form it need not be encoded");
    let list = Operation::get("/api/backups", list)
        .summary("List back-ups")
        .needs(read)
        .answers(StatusCode::OK, schema::list(named("ListedBackup")));
    let send = Operation::post("/api/backups", send)
        .summary("Send a user's crontab: makes a back-up, or a snapshot of it where the text has changed")
        .needs(write)
        .body([
            required("username", line(64)),
            required("server_id", line(MAX_IDENTIFIER_CHARS).described("the identifier of the server that sends it")),
            optional("file_content", content()),
        ])
        .answers(StatusCode::CREATED, named("Backup"))
        .answers(StatusCode::OK, named("Backup"));
    let show = Operation::get("/api/backups/{server_id}/{username}", show)
        .summary("Show a back-up")
        .needs(read)
        .answers(StatusCode::OK, named("Backup"));
    let delete = Operation::delete("/api/backups/{server_id}/{username}", delete)
        .summary("Delete a back-up with all that it ever held")
        .needs(write)
        .answers(StatusCode::OK, object([required("success", one_of(&["Back-up deleted"]))]));
    let send_again = Operation::post("/api/backups/{server_id}/content", send_again)
        .summary("Send the text of a back-up, which stands by its number in the path")
        .needs(write)
        .body([required("file_content", content())])
        .answers(StatusCode::OK, named("Backup"));
    let snapshots = Operation::get("/api/backups/{server_id}/snapshots", snapshots)
        .summary("List the snapshots of a back-up, which stands by its number in the path; the newest first")
        .needs(read)
        .answers(StatusCode::OK, schema::list(named("Snapshot")));
    let snapshot = Operation::get("/api/backups/{server_id}/snapshots/{number}", snapshot)
        .summary("Show a snapshot with its text")
        .needs(Ability::Download)
        .answers(StatusCode::OK, named("SnapshotWithContent"));
    vec![list, send, show, delete, send_again, snapshots, snapshot]
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let backup = |server_id: Schema| {
        object([
            required("id", id()),
            required("username", text()),
            required("company_id", id()),
            required("server_id", server_id),
            required("deleted_at", or_null(time()).described("always null: what is deleted is gone")),
            required("created_at", time()),
            required("updated_at", time()),
        ])
    };
    let snapshot = || {
        [required("id", id()), required("backup_id", id()), required("size", integer()), required("created_at", time())]
    };
    let with_content = snapshot().into_iter().chain([required("file_content", text())]);
    vec![
        ("ListedBackup", backup(id())),
        ("Backup", backup(text().described("the server's identifier"))),
        ("Snapshot", object(snapshot())),
        ("SnapshotWithContent", object(with_content)),
    ]
}

/// The vendor's list names a server by its number, everything else by its identifier.
fn view(crontab: &Crontab, company: u64, server: Value) -> Value {
    json!({
        "id": crontab.id,
        "username": &*crontab.username,
        "company_id": company,
        "server_id": server,
        "deleted_at": null,
        "created_at": rfc3339(crontab.created_at),
        "updated_at": rfc3339(crontab.updated_at),
    })
}

async fn shown(service: &Service, caller: &Caller, crontab: &Crontab) -> Result<Value> {
    let company = service.account(&caller.account).await?.company_id;
    Ok(view(crontab, company, json!(crontab.server)))
}

fn snapshot_view(crontab: u64, snapshot: &Snapshot) -> Value {
    json!({
        "id": snapshot.number,
        "backup_id": crontab,
        "size": snapshot.size_bytes,
        "created_at": rfc3339(snapshot.created_at),
    })
}

async fn list(caller: Caller, State(service): State<Service>) -> Answer<Json<Vec<Value>>> {
    let company = service.account(&caller.account).await?.company_id;
    let order = Order { by: SortBy::Id, descending: false };
    let (mut all, mut after) = (Vec::new(), None::<Cursor>);
    loop {
        let page = service.list_crontabs(&caller.account, order, READ_AT_ONCE, after.as_ref()).await?;
        all.extend(page.records.iter().map(|crontab| view(crontab, company, json!(crontab.server_id))));
        after = page.next;
        if after.is_none() {
            return Ok(Json(all));
        }
    }
}

async fn send(
    caller: Caller,
    State(service): State<Service>,
    Peer(peer): Peer,
    sent: Sent,
) -> Answer<impl IntoResponse> {
    let mut fields = sent.fields();
    let username = fields.required("username", LoginName::parse);
    let server = fields.required("server_id", identifier);
    let text = fields.optional_even_empty("file_content", content);
    let (username, server) = fields.finish(|| Some((username?, server?)))?;
    let at = service.crontab_server_at(&caller.account, &server, peer).await;
    let at = at.map_err(|error| if error.kind == ErrorKind::NotFound { servers::unknown() } else { error })?;
    let known = service.crontab_of(&caller.account, at.id, &username).await?;
    let status = if known.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let crontab = match (text, known) {
        // Nothing was sent that could be newer.
        (None, Some(known)) => known,
        (text, _) => {
            let content = text.unwrap_or_else(|| Secret::new(""));
            service.send_crontab(&caller.account, SentCrontab { server, username, content }).await?.0
        }
    };
    told(&service, &caller, status, &crontab).await
}

async fn send_again(
    caller: Caller,
    State(service): State<Service>,
    Peer(peer): Peer,
    Params(id): Params<u64>,
    sent: Sent,
) -> Answer<impl IntoResponse> {
    let known = service.crontab(&caller.account, id).await?;
    let mut fields = sent.fields();
    let text = fields.required_even_empty("file_content", content);
    let content = fields.finish(|| text)?;
    service.crontab_server_at(&caller.account, &known.server, peer).await?;
    let sent = SentCrontab { server: known.server, username: known.username, content };
    let (crontab, _) = service.send_crontab(&caller.account, sent).await?;
    told(&service, &caller, StatusCode::OK, &crontab).await
}

/// The crontab as it is now, and for the audit trail too: its text is no part of either.
async fn told(
    service: &Service,
    caller: &Caller,
    status: StatusCode,
    crontab: &Crontab,
) -> Answer<impl IntoResponse + use<>> {
    let view = shown(service, caller, crontab).await?;
    let told = Told { before: None, after: Some(view.clone()) };
    Ok((status, axum::Extension(told), Json(view)))
}

async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params((server, username)): Params<(String, String)>,
) -> Answer<Json<Value>> {
    let crontab = find(&service, &caller, &server, &username).await?;
    Ok(Json(shown(&service, &caller, &crontab).await?))
}

async fn delete(
    caller: Caller,
    State(service): State<Service>,
    Params((server, username)): Params<(String, String)>,
) -> Answer<Json<Value>> {
    let crontab = find(&service, &caller, &server, &username).await?;
    service.delete_crontab(&caller.account, crontab.id, &Expected::Any).await?;
    Ok(Json(json!({"success": "Back-up deleted"})))
}

async fn find(service: &Service, caller: &Caller, server: &str, username: &str) -> Result<Crontab> {
    let unknown = || Error::not_found("crontab");
    let server = service.crontab_server_of(&caller.account, server).await?.ok_or_else(unknown)?;
    service.crontab_of(&caller.account, server.id, username).await?.ok_or_else(unknown)
}

async fn snapshots(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
) -> Answer<Json<Vec<Value>>> {
    let order = Order { by: SortBy::Id, descending: true };
    let (mut all, mut after) = (Vec::new(), None::<Cursor>);
    loop {
        let page = service.list_snapshots(&caller.account, id, order, READ_AT_ONCE, after.as_ref()).await?;
        all.extend(page.records.iter().map(|snapshot| snapshot_view(id, snapshot)));
        after = page.next;
        if after.is_none() {
            return Ok(Json(all));
        }
    }
}

async fn snapshot(
    caller: Caller,
    State(service): State<Service>,
    Params((id, number)): Params<(u64, u64)>,
) -> Answer<Json<Value>> {
    let found = service.snapshot(&caller.account, id, number).await?;
    let mut view = snapshot_view(id, &found.snapshot);
    view["file_content"] = json!(found.content.expose());
    Ok(Json(view))
}
