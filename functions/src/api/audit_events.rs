//! `/v1/audit-events`: what was done, by whom, from where. Nobody can change it.

use axum::Json;
use axum::extract::State;
use holdfast_shared::aws::table::{AuditFilter, Cursor, Order, SortBy};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::audit_event::AuditEvent;
use holdfast_shared::service::Service;
use http::StatusCode;
use serde_json::{Value, json};

use super::answers::{page_of, paging};
use crate::http::paging::{Paging, SortKeys};
use crate::http::schema::{
    Schema, anything, id, integer, line, map_of, named, object, optional, or_null, required, text, time, uuid,
};
use crate::http::timestamp::parse_time;
use crate::http::{Answer, Caller, Operation, Query, rfc3339};

/// The trail is walked in one order only.
const SORT_KEYS: SortKeys = &[("id", SortBy::Id)];
const NEWEST_FIRST: Order = Order { by: SortBy::Id, descending: true };
const MAX_FILTER_CHARS: usize = 255;

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let filters = [
        optional("token_id", id()),
        optional("action", line(MAX_FILTER_CHARS).described("such as POST /v1/jobs, or download")),
        optional("subject", line(MAX_FILTER_CHARS).described("a path, and all that is below it")),
        optional("since", time()),
        optional("until", time()),
    ];
    let list = Operation::get("/v1/audit-events", list)
        .summary("List what was done, the newest first")
        .needs(Ability::Read(Resource::AuditEvents))
        .query(paging(SORT_KEYS).into_iter().filter(|parameter| parameter.name != "sort"))
        .query(filters)
        .answers(StatusCode::OK, page_of(named("AuditEvent")));
    vec![list]
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let token = object([required("id", id()), required("name", or_null(text()))]);
    let event = object([
        required("id", uuid()),
        required("at", time()),
        required("token", token),
        required("address", or_null(text())),
        required("request_id", text()),
        required("action", text()),
        required("subject", text()),
        required("status", integer()),
        required("changes", map_of(anything()).described("by field, its value before and after")),
    ]);
    vec![("AuditEvent", event)]
}

pub(super) async fn list(caller: Caller, State(service): State<Service>, query: Query) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging { order: NEWEST_FIRST, ..Paging::read(&mut fields, SORT_KEYS, NEWEST_FIRST) };
    let filter = AuditFilter {
        token_id: fields.optional_id("token_id"),
        action: fields.optional_text("action", MAX_FILTER_CHARS),
        subject: fields.optional_text("subject", MAX_FILTER_CHARS),
        since: fields.optional("since", parse_time),
        until: fields.optional("until", parse_time),
    };
    let paging = fields.finish(|| Some(paging))?;
    let (service, account, filter) = (&service, &caller.account, &filter);
    let fetch = |limit, after: Option<Cursor>| async move {
        service.list_audit_events(account, filter, limit, after.as_ref()).await
    };
    let listing = paging.fetch(fetch).await?;
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, |event| view(&event))))
}

fn view(event: &AuditEvent) -> Value {
    json!({
        "id": event.id,
        "at": rfc3339(event.at),
        "token": {"id": event.actor.token_id, "name": event.actor.token_name},
        "address": event.address,
        "request_id": event.request_id,
        "action": event.action,
        "subject": event.subject,
        "status": event.status,
        "changes": event.changes,
    })
}
