//! `/v1/storages`, also `/v1/storage`: buckets that copies go to. Credentials are never shown.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::Result;
use holdfast_shared::aws::table::{Cursor, Order, SortBy};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::sealed::Secret;
use holdfast_shared::domain::storage::{
    NewStorage, PlainCredentials, Provider, Storage, StorageEdit, bucket, endpoint, region,
};
use holdfast_shared::domain::storage_options::{STORAGE_CLASSES, ServerSideEncryption};
use holdfast_shared::guard::Guard;
use holdfast_shared::service::Service;
use http::StatusCode;
use serde_json::{Value, json};

use super::answers::{self, SORT_KEYS, data, one, page_of, paging};
use super::storage_options;
use crate::http::fields::MAX_NAME_CHARS;
use crate::http::operation::{also_at, also_post};
use crate::http::paging::Paging;
use crate::http::schema::{
    Member, Schema, id, line, named, object, one_of, optional, or_null, required, secret, secret_mark, text, time,
};
use crate::http::{Answer, Body, Caller, Fields, IfMatch, Operation, Params, Query, etag, rfc3339};

/// How long an access key or its secret may be.
const MAX_CREDENTIAL_CHARS: usize = 512;

/// Every call, each also at `/v1/storage`.
pub(super) fn operations() -> Vec<Operation> {
    let (read, write) = (Ability::Read(Resource::Storages), Ability::Write(Resource::Storages));
    let storage = || one(named("Storage"));
    let list = Operation::get("/v1/storages", list)
        .summary("List storages")
        .needs(read)
        .query(paging(SORT_KEYS))
        .answers(StatusCode::OK, page_of(named("Storage")));
    let create = Operation::post("/v1/storages", create)
        .summary("Add a storage")
        .needs(write)
        .body([required("provider", one_of(&Provider::NAMES))].into_iter().chain(members(required)))
        .answers(StatusCode::CREATED, storage())
        .creates();
    let show = Operation::get("/v1/storages/{id}", show)
        .summary("Show a storage")
        .needs(read)
        .answers(StatusCode::OK, storage());
    let update = also_post("/v1/storages/{id}", update, |operation| {
        operation
            .summary("Change a storage")
            .needs(write)
            .body(members(optional))
            .answers(StatusCode::OK, storage())
            .edits()
    });
    let delete = Operation::delete("/v1/storages/{id}", delete)
        .summary("Delete a storage that no job uses")
        .needs(write)
        .answers_nothing()
        .edits();
    let check = Operation::post("/v1/storages/{id}/check", check)
        .summary("Have a worker write, read and delete a probe object")
        .needs(write)
        .answers(StatusCode::ACCEPTED, storage());
    let operations: Vec<_> = [list, create, show, delete, check].into_iter().chain(update).collect();
    let again = also_at(&operations, |path| match path {
        "/v1/storages" => "/v1/storage",
        "/v1/storages/{id}" => "/v1/storage/{id}",
        _ => "/v1/storage/{id}/check",
    });
    operations.into_iter().chain(again).collect()
}

/// The members of a body, where those that a storage cannot do without are `demanded`.
fn members(demanded: fn(&'static str, Schema) -> Member) -> Vec<Member> {
    vec![
        demanded("name", line(MAX_NAME_CHARS)),
        demanded("bucket", line(63)),
        optional("region", line(64).described("required where the provider has no default")),
        optional(
            "endpoint",
            line(2_048).described("required for the provider custom, refused for those that are known"),
        ),
        demanded("key", secret(MAX_CREDENTIAL_CHARS)),
        demanded("secret", secret(MAX_CREDENTIAL_CHARS)),
    ]
    .into_iter()
    .chain(storage_options::members())
    .collect()
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let storage = object([
        required("id", id()),
        required("name", text()),
        required("provider", text()),
        required("region", text()),
        required("bucket", text()),
        required("endpoint", or_null(text())),
        required("key", secret_mark()),
        required("secret", secret_mark()),
        required("storage_class", or_null(one_of(&STORAGE_CLASSES))),
        required("server_side_encryption", or_null(one_of(&ServerSideEncryption::NAMES))),
        required("kms_key_id", or_null(text())),
        required("object_lock", or_null(storage_options::lock_schema())),
        required("created_at", time()),
        required("updated_at", time()),
        required("check", or_null(named("Check"))),
    ]);
    vec![("Storage", storage)]
}

fn view(storage: &Storage) -> Value {
    let credential = if storage.credentials.is_some() { "**set**" } else { "**not set**" };
    json!({
        "id": storage.id,
        "name": storage.name,
        "provider": storage.provider,
        "region": storage.region,
        "bucket": storage.bucket,
        "endpoint": storage.endpoint,
        "key": credential,
        "secret": credential,
        "storage_class": storage.options.storage_class,
        "server_side_encryption": storage.options.server_side_encryption,
        "kms_key_id": storage.options.kms_key_id,
        "object_lock": storage.options.object_lock,
        "created_at": rfc3339(storage.created_at),
        "updated_at": rfc3339(storage.updated_at),
        "check": storage.check.as_ref().map(answers::check),
    })
}

fn answer(storage: &Storage) -> impl IntoResponse + use<> {
    (etag(storage.revision), data(view(storage)))
}

pub(super) async fn create(caller: Caller, State(service): State<Service>, body: Body) -> Answer<impl IntoResponse> {
    let new = read_new(body.fields(), &Reach::of(&service))?;
    let storage = service.create_storage(&caller.account, new).await?;
    Ok((StatusCode::CREATED, answer(&storage)))
}

pub(super) async fn list(caller: Caller, State(service): State<Service>, query: Query) -> Answer<Json<Value>> {
    let mut fields = query.fields();
    let paging = Paging::read(&mut fields, SORT_KEYS, Order { by: SortBy::Id, descending: false });
    let paging = fields.finish(|| Some(paging))?;
    let (service, account) = (&service, &caller.account);
    let order = paging.order;
    let fetch = |limit, after: Option<Cursor>| async move {
        service.list_storages(account, order, limit, after.as_ref()).await
    };
    let listing = paging.fetch(fetch).await?;
    Ok(Json(paging.answer(&query, &service.config.public_url, listing, |storage| view(&storage))))
}

pub(super) async fn show(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
) -> Answer<impl IntoResponse> {
    Ok(answer(&service.storage(&caller.account, id).await?))
}

pub(super) async fn update(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    IfMatch(expected): IfMatch,
    body: Body,
) -> Answer<impl IntoResponse> {
    let edit = read_edit(body.fields(), &Reach::of(&service))?;
    Ok(answer(&service.update_storage(&caller.account, id, edit, &expected).await?))
}

pub(super) async fn delete(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
    IfMatch(expected): IfMatch,
) -> Answer<StatusCode> {
    service.delete_storage(&caller.account, id, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn check(
    caller: Caller,
    State(service): State<Service>,
    Params(id): Params<u64>,
) -> Answer<impl IntoResponse> {
    let storage = service.check_storage(&caller.account, id).await?;
    Ok((StatusCode::ACCEPTED, answer(&storage)))
}

/// Which endpoints a storage may have.
struct Reach<'a> {
    guard: &'a Guard,
    allow_http: bool,
}

impl<'a> Reach<'a> {
    fn of(service: &'a Service) -> Self {
        Self { guard: &service.aws.outside.guard, allow_http: service.config.allow_http_storages }
    }
}

fn read_new(mut fields: Fields<'_>, reach: &Reach<'_>) -> Result<NewStorage> {
    let name = fields.required_text("name", MAX_NAME_CHARS);
    let provider = fields.required("provider", Provider::parse);
    let bucket = fields.required("bucket", bucket);
    let (key, secret) = (read_credential(&mut fields, "key"), read_credential(&mut fields, "secret"));
    for field in ["key", "secret"] {
        if !fields.has(field) {
            fields.fault(field, "is required");
        }
    }
    let region = match provider.and_then(Provider::default_region) {
        Some(default) => fields.optional("region", region).or_else(|| Some(default.to_owned())),
        None => fields.required("region", region),
    };
    let endpoint = read_endpoint(&mut fields, reach);
    let options = storage_options::read(&mut fields);
    match provider {
        Some(provider) if provider.needs_endpoint() && !fields.has("endpoint") => {
            fields.fault("endpoint", "is required for this provider");
        }
        Some(provider) if !provider.needs_endpoint() && fields.has("endpoint") => {
            fields.fault("endpoint", "is known for this provider; leave it out");
        }
        _ => {}
    }
    fields.finish(|| {
        let credentials = PlainCredentials { key: key?, secret: secret? };
        Some(NewStorage {
            name: name?,
            provider: provider?,
            bucket: bucket?,
            region: region?,
            endpoint,
            credentials,
            options,
        })
    })
}

fn read_edit(mut fields: Fields<'_>, reach: &Reach<'_>) -> Result<StorageEdit> {
    let edit = StorageEdit {
        name: fields.optional_text("name", MAX_NAME_CHARS),
        bucket: fields.optional("bucket", bucket),
        region: fields.optional("region", region),
        endpoint: read_endpoint(&mut fields, reach),
        key: read_credential(&mut fields, "key"),
        secret: read_credential(&mut fields, "secret"),
        options: storage_options::read(&mut fields),
    };
    if fields.has("provider") {
        fields.fault("provider", "cannot be changed; make another storage");
    }
    fields.finish(|| Some(edit))
}

fn read_endpoint(fields: &mut Fields<'_>, reach: &Reach<'_>) -> Option<String> {
    let read = |text: &str| {
        let endpoint = endpoint(text, reach.allow_http)?;
        reach.guard.url(text).map(|_| endpoint)
    };
    fields.optional("endpoint", read)
}

fn read_credential(fields: &mut Fields<'_>, name: &str) -> Option<Secret> {
    fields.optional_text(name, MAX_CREDENTIAL_CHARS).map(Secret::new)
}

#[cfg(test)]
mod tests {
    use holdfast_shared::domain::address::AllowedNetworks;
    use serde_json::json;

    use super::*;
    use crate::http::Tree;

    fn faults(body: Value) -> Vec<String> {
        let tree = Tree::from_json(body.to_string().as_bytes()).unwrap();
        let Err(error) =
            read_new(Fields::new(&tree), &Reach { guard: &Guard::new(AllowedNetworks::default()), allow_http: false })
        else {
            return Vec::new();
        };
        error.fields().unwrap().iter().map(|(field, all)| format!("{field} {}", all.join("; "))).collect()
    }

    #[test]
    fn names_every_fault() {
        let required = "bucket is required|key is required|name is required|provider is required|region is required|secret is required";
        assert_eq!(faults(json!({})).join("|"), required);
        let sound =
            json!({"name": "n", "provider": "aws", "bucket": "abc", "key": "k", "secret": "s", "region": "eu-west-1"});
        let with = |field: &str, value: Value| {
            let mut body = sound.clone();
            body[field] = value;
            faults(body)
        };
        assert!(faults(sound.clone()).is_empty());
        assert_eq!(
            with("endpoint", json!("https://s3.example")),
            ["endpoint is known for this provider; leave it out"]
        );
        assert_eq!(with("provider", json!("custom")), ["endpoint is required for this provider"]);
        assert!(with("provider", json!("gcs"))[0].starts_with("provider must be one of digitalocean, aws"));
        assert!(with("region", json!("EU"))[0].starts_with("region must be a region"));
        assert!(with("secret", json!("a\nb"))[0].starts_with("secret must not hold line breaks"));
    }
}
