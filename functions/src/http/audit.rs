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

/// Finds the record in an answer of a surface: its envelope around it, undone.
pub type RecordIn = for<'a> fn(&'a Value) -> &'a Value;

/// What a handler tells of the record that its call was about, where no path of its surface shows that. It goes with the
/// answer, as an extension.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// The record before the call; `None` where there was none.
    pub before: Option<Value>,
    /// The record after it; `None` where it is gone.
    pub after: Option<Value>,
}

/// What the layer works with.
#[derive(Debug, Clone)]
pub struct Audit {
    /// The surface's calls that read, as their own router: who asks was let in already.
    pub reads: Router,
    /// The paths of those that show one record.
    pub shown: Arc<[&'static str]>,
    /// Where the surface's answers hold the record.
    pub record_in: RecordIn,
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
    let (mut response, answer) = read_answer(response).await;
    let shown = (audit.record_in)(&answer);
    let id = shown.get("id");
    event.status = response.status().as_u16();
    event.changes = match response.extensions_mut().remove::<Told>() {
        Some(Told { before, after }) => changes(before.as_ref(), after.as_ref()),
        None => {
            let made =
                || id.map(|id| format!("{}/{}", event.subject, id.as_str().map_or(id.to_string(), str::to_owned)));
            let after = match call.trace {
                Trace::Record => audit.view(subject.clone().or_else(made).as_deref(), &caller).await,
                Trace::Answer => Some(shown.clone()),
                Trace::Elsewhere => None,
            };
            changes(before.as_ref(), after.as_ref())
        }
    };
    // What a call made beside the record that it is about.
    let is_beside = subject.is_some() && response.status() == StatusCode::CREATED;
    for (name, id) in [("backup_id", answer.get("backup_id")), ("id", id.filter(|_| is_beside))] {
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
        found.then(|| (self.record_in)(&answer).clone())
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
