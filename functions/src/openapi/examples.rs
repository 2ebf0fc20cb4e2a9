//! Examples: the exchanges that the documentation of the API prints, which the tests replay.

use std::sync::LazyLock;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::http::operation::Call;

/// One printed exchange.
#[derive(Debug, Deserialize)]
struct Exchange {
    about: String,
    request: Request,
    response: Response,
}

#[derive(Debug, Deserialize)]
struct Request {
    method: String,
    path: String,
    body: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Response {
    status: u16,
    body: Option<Value>,
}

/// By name.
static EXCHANGES: LazyLock<Vec<(&'static str, Exchange)>> = LazyLock::new(|| {
    let texts = include!("../../../tests/fixtures/printed.rs");
    // A fixture that cannot be read is found by the tests; an answer goes without it.
    texts.into_iter().filter_map(|(name, text)| Some((name, serde_json::from_str(text).ok()?))).collect()
});

/// Bodies that are printed for a call, by the names of their exchanges.
pub(super) fn requests(call: &Call) -> Map<String, Value> {
    let of_call = EXCHANGES.iter().filter(|(_, exchange)| is_of(call, exchange));
    let examples = of_call.filter_map(|(name, Exchange { about, request, .. })| {
        let body = request.body.as_ref().filter(|body| body.is_object())?;
        Some(((*name).to_owned(), json!({"summary": about, "value": body})))
    });
    examples.collect()
}

/// Answers that are printed for a call and status, by the names of their exchanges.
pub(super) fn responses(call: &Call, status: StatusCode) -> Map<String, Value> {
    let of_call = EXCHANGES.iter().filter(|(_, exchange)| is_of(call, exchange) && exchange.response.status == status);
    let examples = of_call.filter_map(|(name, Exchange { about, response, .. })| {
        let body = response.body.as_ref().filter(|body| body.is_object())?;
        Some(((*name).to_owned(), json!({"summary": about, "value": body})))
    });
    examples.collect()
}

fn is_of(call: &Call, exchange: &Exchange) -> bool {
    let path = exchange.request.path.split('?').next().unwrap_or_default();
    let (own, printed): (Vec<_>, Vec<_>) = (call.path.split('/').collect(), path.split('/').collect());
    let same = |(own, printed): (&&str, &&str)| own == printed || (own.starts_with('{') && printed.starts_with('{'));
    call.method.as_str() == exchange.request.method && own.len() == printed.len() && own.iter().zip(&printed).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exchange_can_be_read() {
        assert_eq!(EXCHANGES.len(), 17);
    }
}
