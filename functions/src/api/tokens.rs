//! `/v1/tokens`: what acts for the account. A text is shown once, where it is made.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::aws::table::{Cursor, Order, SortBy};
use holdfast_shared::domain::ability::{Ability, EVERYTHING, Resource, granted_by};
use holdfast_shared::domain::token::{NewToken, Token, TokenEdit};
use holdfast_shared::service::Service;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::answers::{SORT_KEYS, data, one, page_of, paging};
use crate::http::fields::MAX_NAME_CHARS;
use crate::http::operation::also_post;
use crate::http::paging::Paging;
use crate::http::schema::{Schema, id, line, list as list_of, named, object, optional, or_null, required, text, time};
use crate::http::{Answer, Body, Caller, Fields, IfMatch, Operation, Params, Query, etag, rfc3339};

/// How many abilities a body may name: more than there are.
const MAX_ABILITIES: usize = 100;

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let (read, write) = (Ability::Read(Resource::Tokens), Ability::Write(Resource::Tokens));
    let token = || one(named("Token"));
    let abilities = || list_of(text()).described("read-, write- and a resource, run-backups, download, or * for all");
    let list = Operation::get("/v1/tokens", list)
        .summary("List tokens")
        .needs(read)
        .query(paging(SORT_KEYS))
        .answers(StatusCode::OK, page_of(named("Token")));
    let create = Operation::post("/v1/tokens", create)
        .summary("Make a token; its text is shown this once, and it may do no more than the one that makes it")
        .needs(write)
        .body([
            required("name", line(MAX_NAME_CHARS)),
            required("abilities", abilities()),
            optional("expires_at", time().described("never by default, but not after the one that makes it")),
        ])
        .answers(StatusCode::CREATED, one(named("NewToken")))
        .creates();
    let show =
        Operation::get("/v1/tokens/{id}", show).summary("Show a token").needs(read).answers(StatusCode::OK, token());
    let update = also_post("/v1/tokens/{id}", update, |operation| {
        operation
            .summary("Rename a token or change what it may do")
            .needs(write)
            .body([optional("name", line(MAX_NAME_CHARS)), optional("abilities", abilities())])
            .answers(StatusCode::OK, token())
            .edits()
    });
    let delete = Operation::delete("/v1/tokens/{id}", delete)
        .summary("Revoke a token; it is refused within seconds")
        .needs(write)
        .answers_nothing()
        .edits();
    [list, create, show, delete].into_iter().chain(update).collect()
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let members = || {
        vec![
            required("id", id()),
            required("name", text()),
            required("prefix", text().described("how its text begins")),
            required("abilities", list_of(text())),
            required("last_used_at", or_null(time()).described("give or take a minute")),
            required("expires_at", or_null(time())),
            required("created_at", time()),
        ]
    };
    let new = members().into_iter().chain([required("token", text().described("shown this once"))]);
    vec![("Token", object(members())), ("NewToken", object(new))]
}

/// A token as every answer shows it.
pub(crate) fn view(token: &Token) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "prefix": token.prefix,
        "abilities": token.abilities,
        "last_used_at": token.last_used_at.map(rfc3339),
        "expires_at": token.expires_at.map(rfc3339),
        "created_at": rfc3339(token.created_at),
    })
}

fn answer(token: &Token) -> impl IntoResponse + use<> {
    (etag(token.revision), data(view(token)))
}

pub(super) async fn create(caller: Caller, State(service): State<Service>, body: Body) -> Answer<impl IntoResponse> {
    let mut fields = body.fields();
    let name = fields.required_text("name", MAX_NAME_CHARS);
    let abilities = read_abilities(&mut fields);
    if !fields.has("abilities") {
        fields.fault("abilities", "is required");
    }
    let expires_at = read_expiry(&mut fields, service.clock.now()).or(caller.token.expires_at);
    let new = fields.finish(|| Some(NewToken { name: name?, abilities: abilities?, expires_at }))?;
    caller.token.may_give(&new.abilities, new.expires_at)?;
    let (token, text) = service.issue_token(&caller.account, new).await?;
    let mut shown = view(&token);
    shown["token"] = Value::from(text.expose());
    Ok((StatusCode::CREATED, etag(token.revision), data(shown)))
}

pub(super) async fn list(caller: Caller, State(service): State<Service>, query: Query) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging::read(&mut fields, SORT_KEYS, Order { by: SortBy::Id, descending: false });
    let paging = fields.finish(|| Some(paging))?;
    let (service, account) = (&service, &caller.account);
    let order = paging.order;
    let fetch =
        |limit, after: Option<Cursor>| async move { service.list_tokens(account, order, limit, after.as_ref()).await };
    let listing = paging.fetch(fetch).await?;
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, |token| view(&token))))
}

pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
) -> Answer<impl IntoResponse> {
    Ok(answer(&service.token(&caller.account, id).await?))
}

pub(super) async fn update(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    IfMatch(expected): IfMatch,
    body: Body,
) -> Answer<impl IntoResponse> {
    let mut fields = body.fields();
    let edit = TokenEdit { name: fields.optional_text("name", MAX_NAME_CHARS), abilities: read_abilities(&mut fields) };
    let edit = fields.finish(|| Some(edit))?;
    Ok(answer(&service.update_token(&caller.token, id, edit, &expected).await?))
}

pub(super) async fn delete(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    IfMatch(expected): IfMatch,
) -> Answer<StatusCode> {
    service.delete_token(&caller.account, id, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The abilities in our own names, each once; `*` alone says it all.
fn read_abilities(fields: &mut Fields<'_>) -> Option<Vec<String>> {
    let known = |name: &str| granted_by(name).ok_or("is no ability; see the list in the documentation");
    let named = fields.texts("abilities", known)?;
    if named.is_empty() || named.len() > MAX_ABILITIES {
        fields.fault("abilities", format!("must name between 1 and {MAX_ABILITIES} abilities"));
    }
    Some(without_repeats(named.into_iter().flatten()))
}

/// Abilities in the order in which they came, each once; `*` alone says it all.
pub(crate) fn without_repeats(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut abilities: Vec<String> = Vec::new();
    for name in names {
        if name == EVERYTHING {
            return vec![name];
        }
        if !abilities.contains(&name) {
            abilities.push(name);
        }
    }
    abilities
}

fn read_expiry(fields: &mut Fields<'_>, now: Timestamp) -> Option<Timestamp> {
    fields.optional("expires_at", |text| expiry(text, now))
}

/// An instant after `now`.
pub(crate) fn expiry(text: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    let at = text.parse::<Timestamp>().map_err(|_| "must be a time such as 2030-01-01T00:00:00Z")?;
    if at <= now {
        return Err("must be in the future");
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Tree;

    fn read(abilities: Value) -> holdfast_shared::Result<Vec<String>> {
        let body = Tree::from_json(json!({ "abilities": abilities }).to_string().as_bytes()).unwrap();
        let mut fields = Fields::new(&body);
        let abilities = read_abilities(&mut fields);
        fields.finish(|| abilities)
    }

    #[test]
    fn abilities_are_kept_in_our_names() {
        assert_eq!(read(json!(["read-jobs", "view-backup-tasks"])).unwrap(), ["read-jobs", "read-backups"]);
        assert_eq!(read(json!(["read-jobs", "*"])).unwrap(), ["*"]);
        assert!(read(json!(["manage-tags"])).unwrap().is_empty());
    }

    #[test]
    fn an_unknown_ability_is_named_by_its_place() {
        let refused = read(json!(["read-jobs", "read-job", 3])).unwrap_err();
        let fields: Vec<_> = refused.fields().unwrap().iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(fields, ["abilities.1", "abilities.2"]);
        assert!(read(json!([])).is_err());
    }

    #[test]
    fn tokens_expire_in_the_future() {
        let now = Timestamp::UNIX_EPOCH;
        assert!(expiry("1970-01-01T00:00:01Z", now).is_ok() && expiry("1970-01-02T00:00:00+01:00", now).is_ok());
        for text in ["1970-01-01T00:00:00Z", "1970-01-01", "tomorrow", ""] {
            assert!(expiry(text, now).is_err(), "{text}");
        }
    }
}
