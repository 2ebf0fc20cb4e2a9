//! The routes of the source: each wants a token, and each is called by some test.
//!
//! They come from the list that makes the router, so that a new route without a test fails here by its name.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use holdfast_functions::dialects;
use holdfast_functions::http::operation::Access;
use holdfast_tests::{Installation, Setup};
use http::Method;
use serde_json::Value;

/// The routes that answer whoever asks: they tell nothing of an account, or their path is the authentication.
const OPEN: [&str; 4] = ["/docs", "/healthz", "/v1/downloads/{ticket}", "/v1/openapi.json"];

fn is_open(path: &str) -> bool {
    OPEN.contains(&path) || dialects::ALL.iter().any(|dialect| dialect.document == path)
}

/// How far before a path its method may stand, bytes.
const REACH: usize = 120;

/// A method and a pattern such as `/v1/jobs/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub method: Method,
    pub pattern: String,
}

impl Route {
    fn new(method: &str, pattern: &str) -> Self {
        Self { method: method.to_uppercase().parse().unwrap(), pattern: pattern.to_owned() }
    }

    /// Whether this route is what a test calls when it writes `path`: parameters stand for anything, words for themselves.
    fn is_called_by(&self, call: &Route) -> bool {
        let path = call.pattern.split('?').next().unwrap();
        let (mine, theirs): (Vec<_>, Vec<_>) = (self.pattern.split('/').collect(), path.split('/').collect());
        let fits = |(mine, theirs): (&&str, &&str)| mine.starts_with('{') && !theirs.is_empty() || mine == theirs;
        self.method == call.method && mine.len() == theirs.len() && mine.iter().zip(&theirs).all(fits)
    }
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every route of the product.
pub fn all() -> Vec<Route> {
    let native = holdfast_functions::api::operations().into_iter();
    let native = native.map(|operation| Route::new(operation.call.method.as_str(), operation.call.path));
    let mut routes: Vec<_> = native.chain([Route::new("GET", "/v1/downloads/{ticket}")]).collect();
    routes.sort_by(|a, b| (&a.pattern, a.method.as_str()).cmp(&(&b.pattern, b.method.as_str())));
    routes
}

/// Every call that a test or a fixture makes, as far as its method and path stand together.
fn calls() -> Vec<Route> {
    let mut calls = Vec::new();
    for folder in ["tests/src", "tests/tests/e2e", "tests/tests/e2e/dialects", "tests/fixtures/snapshooter"] {
        for entry in fs::read_dir(top().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            // What this file says about routes is not a call of them.
            if path.is_dir() || path.ends_with("routes.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            if path.extension().is_some_and(|ending| ending == "json") {
                let fixture: Value = serde_json::from_str(&text).unwrap();
                let [method, path] = ["method", "path"].map(|name| fixture["request"][name].as_str().unwrap());
                calls.push(Route::new(method, path));
            } else {
                calls.extend(calls_in(&text));
            }
        }
    }
    calls
}

fn calls_in(text: &str) -> Vec<Route> {
    let literals = text.match_indices("\"/").filter_map(|(start, _)| {
        let path = text[start + 1..].split('"').next()?;
        let mut from = start.saturating_sub(REACH);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        Some((&text[from..start], path))
    });
    literals.filter_map(|(before, path)| Some(Route::new(method_in(before)?, path))).collect()
}

/// The method that is named last in the text before a path.
fn method_in(before: &str) -> Option<&'static str> {
    let words = [
        (".get(", "GET"),
        (".delete(", "DELETE"),
        (".post(", "POST"),
        (".form(", "POST"),
        (".patch(", "PATCH"),
        ("Method::GET", "GET"),
        ("Method::POST", "POST"),
        ("Method::PATCH", "PATCH"),
        ("Method::DELETE", "DELETE"),
    ];
    let found = words.into_iter().filter_map(|(word, method)| before.rfind(word).map(|place| (place, method)));
    found.max_by_key(|(place, _)| *place).map(|(_, method)| method)
}

#[test]
fn calls_are_read() {
    let routes = [Route::new("get", "/v1/x"), Route::new("post", "/v1/x"), Route::new("post", "/v1/x/{id}")];
    let calls = calls_in("api.get(\"/v1/x\").await; api.post(&format!(\"/v1/x/{made}\"), json!({}))");
    assert!(routes[0].is_called_by(&calls[0]) && routes[2].is_called_by(&calls[1]));
    assert!(!routes[1].is_called_by(&calls[0]) && !routes[0].is_called_by(&calls[1]));
}

#[test]
fn every_route_is_called_by_a_test() {
    let (routes, calls) = (all(), calls());
    assert!(routes.len() > 30, "routes are no longer where this test reads them: {routes:?}");
    let untested: Vec<_> = routes.iter().filter(|route| !calls.iter().any(|call| route.is_called_by(call))).collect();
    assert!(untested.is_empty(), "no test calls {untested:#?}");
}

/// The rows of the README's table: calls of one path that need and do the same stand in one row.
fn rows() -> Vec<String> {
    let mut rows: Vec<(Vec<String>, String)> = Vec::new();
    for call in holdfast_functions::api::operations().into_iter().map(|operation| operation.call) {
        let needs = match call.access {
            Access::Open => "no token".to_owned(),
            Access::AnyToken => "any token".to_owned(),
            Access::Needs(ability) => format!("`{ability}`"),
        };
        let rest = format!("`{}` | {needs} | {} |", call.path, call.summary);
        match rows.iter_mut().find(|(_, other)| *other == rest) {
            Some((methods, _)) => methods.push(call.method.to_string()),
            None => rows.push((vec![call.method.to_string()], rest)),
        }
    }
    let ticket = "`/v1/downloads/{ticket}` | no token: the ticket | Get a file by a link that lives an hour |";
    rows.push((vec!["GET".to_owned()], ticket.to_owned()));
    rows.into_iter().map(|(methods, rest)| format!("| {} | {rest}", methods.join(", "))).collect()
}

#[test]
fn the_readme_has_a_row_for_every_call() {
    let readme = fs::read_to_string(top().join("README.md")).unwrap();
    let (_, table) =
        readme.split_once("| call | path | needs | what it does |\n|---|---|---|---|\n").expect("no table");
    let table: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(table, rows(), "the table has to be\n{}", rows().join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_wants_a_token() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let stranger = installation.api.with_token("");
    for Route { method, pattern } in all().into_iter().filter(|route| !is_open(&route.pattern)) {
        let path = pattern.replace("{schedule}", "1").replace("{number}", "1").replace("{id}", "1");
        let answer = stranger.send(stranger.request(method.clone(), &path), Bytes::new()).await;
        // An id that cannot be read names nothing, whoever asks; it must not tell that before the token is seen.
        assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text());
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{method} {path}");
    }
}
