//! A call of a surface, stated once: its route, who may make it, and how it is documented.
//!
//! The router, the check of abilities, the audit trail, the OpenAPI document and the tests that walk all routes are
//! made from the same list, so none of them can forget a call.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use axum::handler::Handler;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};
use holdfast_shared::domain::ability::Ability;
use http::{Method, StatusCode};

use super::audit::{self, Audit, RecordIn};
use super::schema::{Member, Schema};
use super::surface::App;
use super::{authentication, idempotency};

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever asks: the answer tells nothing of an account.
    Open,
    /// Every token of the account.
    AnyToken,
    /// Tokens that have this ability.
    Needs(Ability),
}

/// How a call honours `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeatable {
    /// It does not: it makes nothing new.
    No,
    /// Its answer is kept and given again.
    ByAnswer,
    /// It sees to that itself.
    ByItself,
}

/// Where the audit trail finds what a call changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// In the record that its path names, or that it made, as the surface shows it before and after.
    Record,
    /// In its own answer: what it made, as the surface would show it.
    Answer,
    /// In nothing that the record of its path shows: its answer names what it made.
    Elsewhere,
}

/// What an answer holds beside its status.
#[derive(Debug, Clone)]
pub enum Content {
    /// Nothing.
    Empty,
    /// JSON of this form.
    Json(Schema),
    /// Text of this media type.
    Text(&'static str),
}

/// What there is to know of a call without making it.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Its path, parameters in braces: `/v1/jobs/{id}`.
    pub path: &'static str,
    /// What it does, in an imperative sentence without a stop.
    pub summary: &'static str,
    /// Who may make it.
    pub access: Access,
    /// Parameters of the query.
    pub query: Vec<Member>,
    /// Members of the body; `None` where a body is not read.
    pub body: Option<Vec<Member>>,
    /// Statuses of success with what they hold.
    pub answers: Vec<(StatusCode, Content)>,
    /// How `Idempotency-Key` is honoured.
    pub repeatable: Repeatable,
    /// Whether it changes one record, so that `If-Match` is honoured.
    pub edits: bool,
    /// Where the audit trail finds what it changed.
    pub trace: Trace,
}

impl Call {
    /// Whether it can change anything.
    pub fn is_mutating(&self) -> bool {
        !self.method.is_safe()
    }
}

/// A call and what carries it out.
#[derive(Debug, Clone)]
pub struct Operation {
    /// What the call is.
    pub call: Call,
    handler: MethodRouter<App>,
}

impl Operation {
    /// A call that reads.
    pub fn get<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::GET, MethodFilter::GET, path, handler)
    }

    /// A call that makes or does something.
    pub fn post<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::POST, MethodFilter::POST, path, handler)
    }

    /// A call that changes a record, or replaces it.
    pub fn put<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::PUT, MethodFilter::PUT, path, handler)
    }

    /// A call that changes a record; see [`also_post`].
    pub fn patch<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::PATCH, MethodFilter::PATCH, path, handler)
    }

    /// A call that removes.
    pub fn delete<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::DELETE, MethodFilter::DELETE, path, handler)
    }

    fn new<H: Handler<T, App>, T: 'static>(
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        handler: H,
    ) -> Self {
        let call = Call {
            method,
            path,
            summary: "",
            access: Access::AnyToken,
            query: Vec::new(),
            body: None,
            answers: Vec::new(),
            repeatable: Repeatable::No,
            edits: false,
            trace: Trace::Record,
        };
        Self { call, handler: on(filter, handler) }
    }

    /// What it does, in an imperative sentence without a stop.
    #[must_use]
    pub fn summary(mut self, summary: &'static str) -> Self {
        self.call.summary = summary;
        self
    }

    /// The ability that a token needs.
    #[must_use]
    pub fn needs(mut self, ability: Ability) -> Self {
        self.call.access = Access::Needs(ability);
        self
    }

    /// Nobody needs a token.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.call.access = Access::Open;
        self
    }

    /// Parameters of the query, beside those that were named before.
    #[must_use]
    pub fn query(mut self, parameters: impl IntoIterator<Item = Member>) -> Self {
        self.call.query.extend(parameters);
        self
    }

    /// Members of the body.
    #[must_use]
    pub fn body(mut self, members: impl IntoIterator<Item = Member>) -> Self {
        self.call.body = Some(members.into_iter().collect());
        self
    }

    /// A status of success and the JSON that comes with it.
    #[must_use]
    pub fn answers(mut self, status: StatusCode, schema: Schema) -> Self {
        self.call.answers.push((status, Content::Json(schema)));
        self
    }

    /// Success has a status and nothing else: 204.
    #[must_use]
    pub fn answers_nothing(mut self) -> Self {
        self.call.answers.push((StatusCode::NO_CONTENT, Content::Empty));
        self
    }

    /// Success is text of that media type.
    #[must_use]
    pub fn answers_text(mut self, media_type: &'static str) -> Self {
        self.call.answers.push((StatusCode::OK, Content::Text(media_type)));
        self
    }

    /// It makes something new: the same `Idempotency-Key` answers the same for 24 hours.
    #[must_use]
    pub fn creates(mut self) -> Self {
        self.call.repeatable = Repeatable::ByAnswer;
        self
    }

    /// It makes something new, and sees to `Idempotency-Key` as part of the same transaction.
    #[must_use]
    pub fn creates_once(mut self) -> Self {
        self.call.repeatable = Repeatable::ByItself;
        self
    }

    /// It answers what it made as a call that shows it would, secrets left out: the audit trail need not ask for it.
    #[must_use]
    pub fn answers_what_it_made(mut self) -> Self {
        self.call.trace = Trace::Answer;
        self
    }

    /// It leaves what its path names as it is: the audit trail need not look at that.
    #[must_use]
    pub fn leaves_its_subject(mut self) -> Self {
        self.call.trace = Trace::Elsewhere;
        self
    }

    /// It changes one record: `If-Match` is honoured.
    #[must_use]
    pub fn edits(mut self) -> Self {
        self.call.edits = true;
        self
    }
}

/// A call that takes `POST` as well as `PATCH`, as the examples of the documented API do: both.
pub fn also_post<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    handler: H,
    say: impl Fn(Operation) -> Operation,
) -> [Operation; 2] {
    [say(Operation::patch(path, handler.clone())), say(Operation::post(path, handler))]
}

/// The same operations once more under another name: `/v1/storage` for `/v1/storages`. `rename` answers the other path.
pub fn also_at(operations: &[Operation], rename: impl Fn(&'static str) -> &'static str) -> Vec<Operation> {
    let again = operations.iter().cloned().map(|mut operation| {
        operation.call.path = rename(operation.call.path);
        operation
    });
    again.collect()
}

/// Routes for all operations. A request is authenticated, audited, authorised and, where it makes something, kept for
/// its repetitions, in that order.
/// `record_in` finds the record in an answer, for the audit trail.
pub fn routes(operations: Vec<Operation>, app: App, record_in: RecordIn) -> Router {
    let edited: BTreeSet<_> =
        operations.iter().map(|one| &one.call).filter(|one| one.edits).map(|one| one.path).collect();
    let is_record = |path: &str| path.ends_with('}') || edited.contains(path);
    let shows = |call: &Call| call.method == Method::GET && is_record(call.path);
    let (reads, shown): (Vec<_>, Vec<_>) = operations
        .iter()
        .filter(|operation| shows(&operation.call))
        .map(|operation| (operation.clone(), operation.call.path))
        .unzip();
    let reads = by_path(reads.into_iter().map(|Operation { call, handler }| (call.path, handler)));
    let audit = Audit { reads: reads.with_state(app.clone()), shown: shown.into(), record_in, app: app.clone() };
    let whole = operations.into_iter().map(|Operation { call, handler }| {
        let path = call.path;
        let handler = handler
            .layer::<_, Infallible>(from_fn_with_state(app.clone(), idempotency::repeat))
            .layer::<_, Infallible>(from_fn(authentication::authorise))
            .layer::<_, Infallible>(from_fn_with_state(audit.clone(), audit::record))
            .layer::<_, Infallible>(from_fn_with_state(app.clone(), authentication::authenticate))
            .layer(Extension(Arc::new(call)));
        (path, handler)
    });
    by_path(whole).with_state(app)
}

fn by_path(handlers: impl Iterator<Item = (&'static str, MethodRouter<App>)>) -> Router<App> {
    let mut by_path: BTreeMap<&'static str, MethodRouter<App>> = BTreeMap::new();
    for (path, handler) in handlers {
        let merged = match by_path.remove(path) {
            Some(others) => others.merge(handler),
            None => handler,
        };
        by_path.insert(path, merged);
    }
    // A suffix `.json` is taken off a request's path before it is routed.
    let routed = |path: &'static str| path.strip_suffix(".json").unwrap_or(path);
    by_path.into_iter().fold(Router::new(), |router, (path, handler)| router.route(routed(path), handler))
}
