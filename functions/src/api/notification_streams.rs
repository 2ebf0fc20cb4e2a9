//! `/v1/notification-streams`: where to tell what came of backups. URLs and tokens are never shown.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::Result;
use holdfast_shared::aws::table::{Cursor, Order, SortBy};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::notification_stream::{
    MAX_SETTING_CHARS, NewNotificationStream, NotificationStream, NotificationStreamEdit, Setting, SettingValues,
    StreamEvent, StreamKind, check_events,
};
use holdfast_shared::domain::sealed::Secret;
use holdfast_shared::service::Service;
use http::StatusCode;
use serde_json::{Value, json};

use super::answers::{SORT_KEYS, data, one, page_of, paging};
use crate::http::fields::MAX_NAME_CHARS;
use crate::http::operation::also_post;
use crate::http::paging::Paging;
use crate::http::schema::{
    self, Member, NOT_SET, SET, Schema, boolean, id, line, named, object, one_of, optional, or_null, required, secret,
    secret_mark, text, time,
};
use crate::http::{Answer, Body, Caller, Fields, IfMatch, Operation, Params, Query, etag, rfc3339};

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let resource = Resource::NotificationStreams;
    let (read, write) = (Ability::Read(resource), Ability::Write(resource));
    let stream = || one(named("NotificationStream"));
    let list = Operation::get("/v1/notification-streams", list)
        .summary("List notification streams")
        .needs(read)
        .query(paging(SORT_KEYS))
        .answers(StatusCode::OK, page_of(named("NotificationStream")));
    let create = Operation::post("/v1/notification-streams", create)
        .summary("Add a notification stream; which settings it needs follows from its type")
        .needs(write)
        .body([required("name", line(MAX_NAME_CHARS)), required("type", one_of(&StreamKind::NAMES))])
        .answers(StatusCode::CREATED, stream())
        .creates();
    let create = with_members(create);
    let show = Operation::get("/v1/notification-streams/{id}", show)
        .summary("Show a notification stream")
        .needs(read)
        .answers(StatusCode::OK, stream());
    let update = also_post("/v1/notification-streams/{id}", update, |operation| {
        with_members(
            operation
                .summary("Change a notification stream; its type stays")
                .needs(write)
                .body([optional("name", line(MAX_NAME_CHARS))])
                .answers(StatusCode::OK, stream())
                .edits(),
        )
    });
    let delete = Operation::delete("/v1/notification-streams/{id}", delete)
        .summary("Delete a notification stream")
        .needs(write)
        .answers_nothing()
        .edits();
    [list, create, show, delete].into_iter().chain(update).collect()
}

/// The operation with the members that bodies to make and to change a stream have in common.
fn with_members(mut operation: Operation) -> Operation {
    let members = operation.call.body.get_or_insert_default();
    members.extend(Setting::ALL.iter().map(|setting| optional(setting.name, described(setting))));
    let default = json!(StreamEvent::DEFAULT);
    members.push(optional("events", schema::list(one_of(&StreamEvent::NAMES)).default(default)));
    members.push(optional("enabled", boolean().default(true)));
    operation
}

fn described(setting: &Setting) -> Schema {
    let kinds = StreamKind::ALL.into_iter().zip(StreamKind::NAMES).filter(|(kind, _)| kind.has(setting.name));
    let kinds: Vec<_> = kinds.map(|(_, name)| name).collect();
    let form = if setting.is_secret { secret(MAX_SETTING_CHARS) } else { line(MAX_SETTING_CHARS) };
    match setting.is_required {
        true => form.described(&format!("required for {}", kinds.join(", "))),
        false => or_null(form).described(&format!("optional for {}; null takes it away", kinds.join(", "))),
    }
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let setting = |setting: &Setting| -> Member {
        let shown = if setting.is_secret { secret_mark() } else { text() };
        required(setting.name, or_null(shown).described("null where the type has no such setting"))
    };
    let before = [required("id", id()), required("name", text()), required("type", one_of(&StreamKind::NAMES))];
    let after = [
        required("events", schema::list(one_of(&StreamEvent::NAMES))),
        required("enabled", boolean()),
        required("created_at", time()),
        required("updated_at", time()),
    ];
    let stream = object(before.into_iter().chain(Setting::ALL.iter().map(setting)).chain(after));
    vec![("NotificationStream", stream)]
}

fn view(stream: &NotificationStream) -> Value {
    let mut view = json!({
        "id": stream.id,
        "name": stream.name,
        "type": stream.kind,
        "events": stream.events,
        "enabled": stream.enabled,
        "created_at": rfc3339(stream.created_at),
        "updated_at": rfc3339(stream.updated_at),
    });
    for setting in Setting::ALL {
        let mark = if stream.secrets.contains_key(setting.name) { SET } else { NOT_SET };
        view[setting.name] = match (stream.kind.has(setting.name), setting.is_secret) {
            (false, _) => Value::Null,
            (true, true) => json!(mark),
            (true, false) => json!(stream.settings.get(setting.name)),
        };
    }
    view
}

fn answer(stream: &NotificationStream) -> impl IntoResponse + use<> {
    (etag(stream.revision), data(view(stream)))
}

pub(super) async fn create(caller: Caller, State(service): State<Service>, body: Body) -> Answer<impl IntoResponse> {
    let stream = service.create_notification_stream(&caller.account, read_new(&service, body.fields())?).await?;
    Ok((StatusCode::CREATED, answer(&stream)))
}

pub(super) async fn list(caller: Caller, State(service): State<Service>, query: Query) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging::read(&mut fields, SORT_KEYS, Order { by: SortBy::Id, descending: false });
    let paging = fields.finish(|| Some(paging))?;
    let (service, account) = (&service, &caller.account);
    let order = paging.order;
    let fetch = |limit, after: Option<Cursor>| async move {
        service.list_notification_streams(account, order, limit, after.as_ref()).await
    };
    let listing = paging.fetch(fetch).await?;
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, |stream| view(&stream))))
}

pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
) -> Answer<impl IntoResponse> {
    Ok(answer(&service.notification_stream(&caller.account, id).await?))
}

pub(super) async fn update(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    IfMatch(expected): IfMatch,
    body: Body,
) -> Answer<impl IntoResponse> {
    // Its type never changes, so what was read of it stays true.
    let kind = service.notification_stream(&caller.account, id).await?.kind;
    let edit = read_edit(&service, body.fields(), kind)?;
    Ok(answer(&service.update_notification_stream(&caller.account, id, edit, &expected).await?))
}

pub(super) async fn delete(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    IfMatch(expected): IfMatch,
) -> Answer<StatusCode> {
    service.delete_notification_stream(&caller.account, id, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn read_new(service: &Service, mut fields: Fields<'_>) -> Result<NewNotificationStream> {
    let name = fields.required_text("name", MAX_NAME_CHARS);
    let kind = fields.required("type", StreamKind::parse);
    let settings = read_settings(service, &mut fields, kind, false);
    for setting in kind.iter().flat_map(|kind| kind.settings()).filter(|setting| setting.is_required) {
        if !fields.has(setting.name) {
            fields.fault(setting.name, "is required for this type");
        }
    }
    let events = read_events(&mut fields);
    let enabled = fields.optional_boolean("enabled").unwrap_or(true);
    fields.finish(|| {
        let events = events.unwrap_or_else(|| StreamEvent::DEFAULT.to_vec());
        Some(NewNotificationStream { name: name?, kind: kind?, settings, events, enabled })
    })
}

fn read_edit(service: &Service, mut fields: Fields<'_>, kind: StreamKind) -> Result<NotificationStreamEdit> {
    let optional = kind.settings().iter().filter(|setting| !setting.is_required).map(|setting| setting.name);
    let cleared = optional.filter(|name| fields.is_null(name)).collect();
    let edit = NotificationStreamEdit {
        name: fields.optional_text("name", MAX_NAME_CHARS),
        settings: read_settings(service, &mut fields, Some(kind), true),
        cleared,
        events: read_events(&mut fields),
        enabled: fields.optional_boolean("enabled"),
    };
    if fields.optional("type", StreamKind::parse).is_some_and(|other| other != kind) {
        fields.fault("type", "cannot be changed; add another stream");
    }
    fields.finish(|| Some(edit))
}

fn read_events(fields: &mut Fields<'_>) -> Option<Vec<StreamEvent>> {
    let events = fields.texts("events", StreamEvent::parse)?;
    fields.faults("", check_events(&events));
    Some(events)
}

/// Reads what the type knows and refuses what it does not. What an answer showed in place of a secret keeps it, where
/// there can be one.
fn read_settings(service: &Service, fields: &mut Fields<'_>, kind: Option<StreamKind>, keeps: bool) -> SettingValues {
    let mut values = SettingValues::new();
    for setting in Setting::ALL {
        let is_sent = fields.has(setting.name);
        match kind {
            Some(kind) if kind.has(setting.name) => {
                let parse = |text: &str| match setting.is_secret && (text == SET || text == NOT_SET) {
                    true if keeps => Ok(None),
                    true => Err("is what answers show in its place; send it itself".to_owned()),
                    false => read_setting(service, &setting, text).map(Some),
                };
                if let Some(value) = fields.optional(setting.name, parse).flatten() {
                    values.insert(setting.name, value);
                }
            }
            Some(_) if is_sent => fields.fault(setting.name, "is no setting of this type; leave it out"),
            _ => {}
        }
    }
    values
}

/// A value of its own form; a URL also leads nowhere where the guard would not let us connect.
fn read_setting(service: &Service, setting: &Setting, text: &str) -> std::result::Result<Secret, String> {
    let value = setting.parse(text, service.config.allow_http_storages)?;
    if setting.is_url() {
        service.aws.outside.guard.url(text)?;
    }
    Ok(value)
}
