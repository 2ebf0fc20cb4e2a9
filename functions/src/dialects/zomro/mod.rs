//! Zomro's wire: BILLmanager's, in which one path takes every call and `func` says which one (<https://www.ispsystem.com/docs/b6c/developer-section/working-with-api>).
//!
//! What comes in is put into the form of an ordinary request to one of [`functions`], and what these answer becomes
//! `{"doc": …}`, or the same tree as XML.

mod document;
mod error;
mod request;
mod schedules;
mod session;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use holdfast_shared::service::Service;
use http::StatusCode;
use serde_json::Value;
use tower::ServiceExt;

use super::Dialect;
use crate::http::operation::{Operation, routes};
use crate::http::schema::{Schema, anything, object, one_of, optional, required, text};
use crate::http::{App, safe_for_browsers, surface};
use document::Out;
use request::Call;

/// What others need to know of it.
pub const DIALECT: Dialect = Dialect {
    name: "zomro",
    title: "Holdfast as Zomro",
    document: "/v1/openapi/zomro.json",
    paths: &["/"],
    operations,
    schemas,
    router,
};

/// The one path, as it is documented.
pub fn operations() -> Vec<Operation> {
    let functions = functions();
    let mut names: Vec<&str> = functions.iter().map(|function| name(function.call.path)).collect();
    names.sort_unstable();
    let members = || {
        let own = [
            required("func", one_of(&names)),
            optional("auth", text().described("a session, or a token; a header Authorization: Bearer does too")),
            optional("authinfo", text().described("ACCOUNT:TOKEN")),
            optional("out", one_of(&["json", "xml"]).default("json")),
        ];
        let mut all = Vec::from(own);
        for member in functions.iter().flat_map(|function| function.call.body.iter().flatten()) {
            if all.iter().all(|known| known.name != member.name) {
                all.push(optional(member.name, member.schema.clone()));
            }
        }
        all
    };
    let answer = || object([required("doc", anything().described("what was asked for, or error"))]);
    let by_query = Operation::get("/", dispatch_documented)
        .summary("Call a function by its name, with everything in the query")
        .open()
        .query(members())
        .answers(StatusCode::OK, answer())
        .answers_text("text/xml");
    let by_form = Operation::post("/", dispatch_documented)
        .summary("Call a function by its name, with everything in a form")
        .open()
        .body(members())
        .answers(StatusCode::OK, answer())
        .answers_text("text/xml");
    vec![by_query, by_form]
}

/// Never routed: [`router`] takes [`dispatch`].
async fn dispatch_documented() -> StatusCode {
    StatusCode::NOT_FOUND
}

/// Every function, at a path that is its name. Parameters are members of a body, whatever they came in.
pub fn functions() -> Vec<Operation> {
    session::operations().into_iter().chain(schedules::operations()).collect()
}

/// The forms of what its answers show, by name.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    vec![("Failure", error::schema())]
}

/// The surface.
pub fn router(service: Service) -> Router {
    let config = service.config.clone();
    let functions = routes(functions(), App::new(service), |answer| &answer["doc"]);
    let routes = Router::new().route("/", get(dispatch).post(dispatch)).with_state(functions);
    safe_for_browsers(surface(routes, error::failure), &config)
}

fn name(path: &str) -> &str {
    path.trim_start_matches('/')
}

/// Calls the function that is asked for and words its answer as asked.
async fn dispatch(State(routes): State<Router>, request: Request) -> Response {
    let (call, out) = match Call::read(request).await {
        Ok(call) => {
            let out = call.out;
            (call.into_request(), out)
        }
        Err(failure) => (Err(Arc::new(failure)), Out::Json),
    };
    let outcome = match call {
        Ok(request) => match routes.oneshot(request).await {
            Ok(response) => error::outcome(response).await,
            Err(never) => match never {},
        },
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(document) => document::answer(&document, out),
        Err(failure) => {
            failure.log();
            let mut response = document::answer(&error::document(&failure), out);
            failure.add_headers(&mut response);
            response
        }
    }
}

/// `{"$": text}`, as every value is printed.
fn value(text: impl ToString) -> Value {
    serde_json::json!({"$": text.to_string()})
}
