//! The OpenAPI 3.1 document of a surface, made from its list of operations (<https://spec.openapis.org/oas/v3.1.1.html>).

mod examples;
mod page;

use http::StatusCode;
use serde_json::{Map, Value, json};

pub use page::page;

use crate::http::operation::{Access, Call, Content, Repeatable};
use crate::http::schema::{self, Member, Schema};

/// What there is to say of the native surface as a whole.
pub const ABOUT: &str = "Scheduled, verified backups of servers and databases.\n\n\
    Bodies can be JSON, `application/x-www-form-urlencoded` or `multipart/form-data`; in forms, text that spells a \
    number or a boolean is taken for one, and brackets nest: `config[root_path]=/`. Fields that are empty or null count \
    as absent, fields that are not known here are refused. Times are RFC 3339 in UTC. All faults of a request are told at \
    once, under `errors`, by field.";

/// What is documented of one surface.
#[derive(Debug)]
pub struct Surface<'a> {
    /// What it is called.
    pub title: &'a str,
    /// What holds for all of its calls.
    pub about: &'a str,
    /// Where it is reached.
    pub url: &'a str,
    /// Its calls.
    pub calls: Vec<Call>,
    /// The forms that they name.
    pub schemas: Vec<(&'static str, Schema)>,
}

/// The document.
pub fn document(surface: &Surface<'_>) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for call in &surface.calls {
        let entry = paths.entry(call.path).or_insert_with(|| json!({}));
        entry[call.method.as_str().to_ascii_lowercase()] = operation(call);
    }
    let schemas: Map<_, _> =
        surface.schemas.iter().map(|(name, schema)| ((*name).to_owned(), schema.0.clone())).collect();
    json!({
        "openapi": "3.1.0",
        "info": {"title": surface.title, "version": env!("CARGO_PKG_VERSION"), "description": surface.about},
        "servers": [{"url": surface.url}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {"Failure": {
                "description": "What went wrong, and by field what to do about it",
                "headers": request_id_header(),
                "content": {"application/json": {"schema": schema::named("Failure").0}},
            }},
        },
    })
}

fn operation(call: &Call) -> Value {
    let mut operation = json!({
        "operationId": operation_id(call),
        "tags": [tag(call)],
        "summary": call.summary,
        "parameters": parameters(call),
        "responses": responses(call),
    });
    match call.access {
        Access::Open => operation["security"] = json!([]),
        Access::AnyToken => {}
        Access::Needs(ability) => operation["description"] = json!(format!("Needs the ability `{ability}`.")),
    }
    if let Some(members) = &call.body {
        let required = members.iter().any(|member| member.required);
        let mut body = json!({"schema": schema::object(members.iter().cloned()).0});
        let examples = examples::requests(call);
        if !examples.is_empty() {
            body["examples"] = Value::Object(examples);
        }
        operation["requestBody"] = json!({"required": required, "content": {"application/json": body}});
    }
    operation
}

/// Method and path in words that a program can take for a name.
fn operation_id(call: &Call) -> String {
    let words = call.path.split(['/', '-', '.']).filter(|word| !word.is_empty() && *word != "v1");
    let words = words.map(|word| word.trim_matches(['{', '}']));
    words.fold(call.method.as_str().to_ascii_lowercase(), |id, word| format!("{id}_{word}"))
}

/// The resource that a call is about.
fn tag(call: &Call) -> &'static str {
    call.path.split('/').find(|segment| !segment.is_empty() && *segment != "v1").unwrap_or_default()
}

fn parameters(call: &Call) -> Vec<Value> {
    let in_path = path_parameters(call.path)
        .map(|(name, schema)| json!({"name": name, "in": "path", "required": true, "schema": schema.0}));
    let in_query = call.query.iter().map(|Member { name, schema, required }| {
        let style = if schema.0["type"] == "object" { "deepObject" } else { "form" };
        json!({"name": name, "in": "query", "required": required, "style": style, "explode": true, "schema": schema.0})
    });
    let header = |name: &str, words: &str| json!({"name": name, "in": "header", "required": false, "description": words, "schema": {"type": "string"}});
    let if_match = header("If-Match", "the ETag that you saw; 412 when it was changed since");
    let key = header("Idempotency-Key", "the same key and body answer the same for 24 hours");
    let headers = [(call.edits, if_match), (call.repeatable != Repeatable::No, key)];
    let headers = headers.into_iter().filter_map(|(there, header)| there.then_some(header));
    in_path.chain(in_query).chain(headers).collect()
}

/// The parameters of a path with their forms: what they are follows from the segment before.
fn path_parameters(path: &'static str) -> impl Iterator<Item = (&'static str, Schema)> {
    let segments = || path.split('/');
    segments().zip(segments().skip(1)).filter_map(|(before, segment)| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        let schema = match before {
            "jobs" | "backups" => schema::uuid(),
            "downloads" | "stacks" => schema::text(),
            _ => schema::id(),
        };
        Some((name, schema))
    })
}

fn responses(call: &Call) -> Map<String, Value> {
    let mut succeeded: Map<String, Value> = Map::new();
    for (status, content) in &call.answers {
        let empty = json!({
            "description": status.canonical_reason().unwrap_or_default(),
            "headers": request_id_header(),
        });
        let response = succeeded.entry(status.as_str()).or_insert(empty);
        if let Some((media_type, media)) = success(call, *status, content) {
            response["content"][media_type] = media;
        }
    }
    let failed = failures(call)
        .into_iter()
        .map(|status| (status.as_str().to_owned(), json!({"$ref": "#/components/responses/Failure"})));
    // Where a status is described by both, what the call says of it goes before.
    failed.chain(succeeded).collect()
}

/// What an answer holds, by its media type.
fn success(call: &Call, status: StatusCode, content: &Content) -> Option<(&'static str, Value)> {
    match content {
        Content::Empty => None,
        Content::Text(media_type) => Some((media_type, json!({"schema": {"type": "string"}}))),
        Content::Json(schema) => {
            let mut media = json!({"schema": schema.0});
            let examples = examples::responses(call, status);
            if !examples.is_empty() {
                media["examples"] = Value::Object(examples);
            }
            Some(("application/json", media))
        }
    }
}

fn request_id_header() -> Value {
    json!({"X-Request-Id": {"description": "finds the request in the log", "schema": {"type": "string"}}})
}

/// The statuses with which a call can fail.
fn failures(call: &Call) -> Vec<StatusCode> {
    let has_body = call.body.is_some();
    let needs_token = call.access != Access::Open;
    let all = [
        (StatusCode::BAD_REQUEST, true),
        (StatusCode::UNAUTHORIZED, needs_token),
        (StatusCode::FORBIDDEN, needs_token),
        (StatusCode::NOT_FOUND, call.path.contains('{')),
        (StatusCode::NOT_ACCEPTABLE, true),
        (StatusCode::REQUEST_TIMEOUT, has_body),
        (StatusCode::CONFLICT, call.is_mutating()),
        (StatusCode::PRECONDITION_FAILED, call.edits),
        (StatusCode::PAYLOAD_TOO_LARGE, has_body),
        (StatusCode::URI_TOO_LONG, true),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, has_body),
        (StatusCode::UNPROCESSABLE_ENTITY, call.is_mutating() || !call.query.is_empty()),
        (StatusCode::TOO_MANY_REQUESTS, needs_token),
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, true),
        (StatusCode::INTERNAL_SERVER_ERROR, true),
        (StatusCode::SERVICE_UNAVAILABLE, true),
    ];
    all.into_iter().filter_map(|(status, can)| can.then_some(status)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api;

    fn native() -> Value {
        let calls = api::operations().into_iter().map(|operation| operation.call).collect();
        document(&Surface {
            title: "Holdfast",
            about: ABOUT,
            url: "https://holdfast.example",
            calls,
            schemas: api::schemas(),
        })
    }

    #[test]
    fn every_call_is_described_once() {
        let document = native();
        let paths = document["paths"].as_object().unwrap();
        let described = paths.values().flat_map(|methods| methods.as_object().unwrap().values());
        let ids: Vec<_> = described.clone().map(|operation| operation["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), api::operations().len());
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
        for operation in described {
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{operation}");
            let statuses = operation["responses"].as_object().unwrap().keys();
            assert!(statuses.into_iter().any(|status| status.starts_with('2')), "{operation}");
        }
    }

    #[test]
    fn every_name_that_is_referred_to_is_there() {
        let document = native();
        let text = document.to_string();
        for reference in text.split("\"#/components/").skip(1) {
            let pointer = format!("/components/{}", reference.split('"').next().unwrap());
            assert!(document.pointer(&pointer).is_some(), "{pointer}");
        }
    }

    #[test]
    fn the_documented_examples_stand_beside_their_calls() {
        let document = native();
        let create = &document["paths"]["/v1/jobs"]["post"];
        let examples = create["requestBody"]["content"]["application/json"]["examples"].as_object().unwrap();
        assert!(examples.values().any(|example| example["value"]["name"] == "Demo File Backup"), "{examples:?}");
        let shown = &document["paths"]["/v1/jobs/{id}"]["get"]["responses"]["200"]["content"]["application/json"];
        assert!(shown["examples"].is_object());
    }
}
