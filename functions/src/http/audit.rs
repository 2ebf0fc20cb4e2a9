//! The audit trail of a surface: one event for each call that changed something or was forbidden.
//!
//! What changed is seen from outside: the surface is asked for the record before and after, so an event holds what any
//! answer could have shown, and no secret.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use holdfast_shared::domain::audit_event::{Actor, AuditEvent, changes};
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use tower::ServiceExt;
use uuid::Uuid;

use super::address::client_address;
use super::authentication::Caller;
use super::error::Answer;
use super::idempotency::IDEMPOTENT_REPLAYED;
use super::operation::{Call, Trace};
use super::request_id::RequestId;
use super::surface::App;

/// What the layer works with.
#[derive(Debug, Clone)]
pub struct Audit {
    /// The surface's calls that read, as their own router: who asks was let in already.
    pub reads: Router,
    /// The paths of those that show one record.
    pub shown: Arc<[&'static str]>,
    /// The rest.
    pub app: App,
}

/// Lets the call through and records what came of it.
pub async fn record(
    State(audit): State<Audit>,
    Extension(call): Extension<Arc<Call>>,
    request: Request,
    next: Next,
) -> Answer<Response> {
    let caller = request.extensions().get::<Caller>().filter(|_| call.is_mutating()).cloned();
    let Some(caller) = caller else { return Ok(next.run(request).await) };
    let mut event = AuditEvent {
        id: Uuid::new_v4(),
        account: caller.account.clone(),
        at: audit.app.service.clock.now(),
        actor: Actor { token_id: caller.token.id, token_name: Some(caller.token.name.clone()) },
        address: client_address(request.extensions()),
        request_id: RequestId::text(request.extensions()),
        action: format!("{} {}", call.method, call.path),
        subject: request.uri().path().to_owned(),
        status: StatusCode::FORBIDDEN.as_u16(),
        changes: Map::new(),
    };
    let subject = audit.subject_of(&call, request.uri().path());
    let looked_at = subject.as_deref().filter(|_| call.trace == Trace::Record);
    let before = audit.view(looked_at, &caller).await;
    let response = next.run(request).await;
    if response.status() == StatusCode::FORBIDDEN {
        audit.app.service.record_audit_event(&event).await;
    }
    if !response.status().is_success() || response.headers().contains_key(IDEMPOTENT_REPLAYED) {
        return Ok(response);
    }
    let (response, answer) = read_answer(response).await;
    let made =
        || answer["data"]["id"].as_u64().map(|id| id.to_string()).or(answer["data"]["id"].as_str().map(str::to_owned));
    let after = match (call.trace, &subject) {
        (Trace::Record, Some(_)) => audit.view(looked_at, &caller).await,
        (Trace::Record, None) => {
            audit.view(made().map(|id| format!("{}/{id}", event.subject)).as_deref(), &caller).await
        }
        (Trace::Answer, _) => answer.get("data").cloned(),
        (Trace::Elsewhere, _) => None,
    };
    event.status = response.status().as_u16();
    event.changes = changes(before.as_ref(), after.as_ref());
    // What a call made beside the record that it is about.
    let is_beside = subject.is_some() && response.status() == StatusCode::CREATED;
    for (name, id) in [("backup_id", answer.get("backup_id")), ("id", answer["data"].get("id").filter(|_| is_beside))] {
        if let Some(id) = id {
            event.changes.insert(name.to_owned(), json!({"after": id}));
        }
    }
    audit.app.service.record_audit_event(&event).await;
    Ok(response)
}

impl Audit {
    /// The path of the record that a call is about: the longest beginning of it that shows one.
    fn subject_of(&self, call: &Call, path: &str) -> Option<String> {
        let begins = |shown: &&&str| {
            call.path == **shown || call.path.strip_prefix(**shown).is_some_and(|rest| rest.starts_with('/'))
        };
        let pattern = self.shown.iter().filter(begins).max_by_key(|shown| shown.len())?;
        let segments = pattern.split('/').count();
        Some(path.split('/').take(segments).collect::<Vec<_>>().join("/"))
    }

    /// A record as the surface shows it; `None` when it is not there.
    async fn view(&self, path: Option<&str>, caller: &Caller) -> Option<Value> {
        let mut request = Request::builder().uri(path?).body(Body::empty()).ok()?;
        request.extensions_mut().insert(caller.clone());
        let response = match self.reads.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let found = response.status().is_success();
        let (_, answer) = read_answer(response).await;
        found.then(|| answer["data"].clone())
    }
}

/// The answer's body as JSON, null if it is none, and the answer as it was.
async fn read_answer(response: Response) -> (Response, Value) {
    let (parts, body) = response.into_parts();
    // An answer of ours is in memory and cannot fail.
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let answer = serde_json::from_slice(&bytes).unwrap_or_default();
    (Response::from_parts(parts, Body::from(bytes)).into_response(), answer)
}
