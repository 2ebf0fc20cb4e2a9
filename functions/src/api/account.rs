//! `/v1/account`: the account that the token belongs to.

use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::config::Config;
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::account::{Account, AccountEdit};
use holdfast_shared::domain::timezone::Timezone;
use holdfast_shared::service::{Service, WINDOW_SECS};
use http::StatusCode;
use serde_json::{Value, json};

use super::answers::{data, one};
use crate::http::body::MAX_BODY_BYTES;
use crate::http::fields::MAX_NAME_CHARS;
use crate::http::operation::also_post;
use crate::http::schema::{Schema, id, integer, line, named, object, optional, or_null, required, text, time};
use crate::http::{Answer, Body, Caller, IfMatch, Operation, etag, rfc3339};

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let (read, write) = (Ability::Read(Resource::Account), Ability::Write(Resource::Account));
    let show = Operation::get("/v1/account", show)
        .summary("Show the account")
        .needs(read)
        .answers(StatusCode::OK, one(named("Account")));
    let update = also_post("/v1/account", update, |operation| {
        operation
            .summary("Change the account")
            .needs(write)
            .body([
                optional("name", line(MAX_NAME_CHARS)),
                optional("timezone", text().described("an IANA name, as Europe/Berlin")),
                optional("company_id", id()),
            ])
            .answers(StatusCode::OK, one(named("Account")))
            .edits()
    });
    [show].into_iter().chain(update).collect()
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let limits = object([
        required("requests_per_second_per_token", integer().described("on average over the window")),
        required("requests_per_second", integer().described("of all tokens together, on average over the window")),
        required("window_seconds", integer()),
        required("body_bytes", integer()),
    ]);
    let account = object([
        required("id", text()),
        required("name", text()),
        required("timezone", text()),
        required("company_id", id()),
        required("created_at", time()),
        required("updated_at", or_null(time())),
        required("limits", limits),
    ]);
    vec![("Account", account)]
}

fn view(account: &Account, config: &Config) -> Value {
    json!({
        "id": account.id,
        "name": account.name,
        "timezone": account.timezone,
        "company_id": account.company_id,
        "created_at": rfc3339(account.created_at),
        "updated_at": account.updated_at.map(rfc3339),
        "limits": {
            "requests_per_second_per_token": config.requests_per_second,
            "requests_per_second": config.account_requests_per_second,
            "window_seconds": WINDOW_SECS,
            "body_bytes": MAX_BODY_BYTES,
        },
    })
}

fn answer(service: &Service, account: &Account) -> impl IntoResponse + use<> {
    (etag(account.revision), data(view(account, &service.config)))
}

pub(super) async fn show(caller: Caller, State(service): State<Service>) -> Answer<impl IntoResponse> {
    let account = service.account(&caller.account).await?;
    Ok(answer(&service, &account))
}

pub(super) async fn update(
    caller: Caller,
    State(service): State<Service>,
    IfMatch(expected): IfMatch,
    body: Body,
) -> Answer<impl IntoResponse> {
    let mut fields = body.fields();
    let edit = AccountEdit {
        name: fields.optional_text("name", MAX_NAME_CHARS),
        timezone: fields.optional("timezone", Timezone::parse),
        company_id: fields.optional_id("company_id"),
    };
    let edit = fields.finish(|| Some(edit))?;
    let account = service.update_account(&caller.account, edit, &expected).await?;
    Ok(answer(&service, &account))
}
