//! `Accept`: whether a client can take what a call answers (RFC 9110, section 12.5.1).

use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};

use super::error::HttpError;
use super::operation::{Call, Content};

/// What every failure is, and most answers.
const JSON: &str = "application/json";

/// 406 when the header leaves room neither for JSON nor for what the call answers. Weights only count where they are 0;
/// a header that cannot be read excludes nothing.
pub(super) fn check(headers: &HeaderMap, call: &Call) -> Result<(), HttpError> {
    let texts = call.answers.iter().filter_map(|(_, content)| match content {
        Content::Text(media_type) => Some(*media_type),
        _ => None,
    });
    let mut offered: Vec<&str> = texts.collect();
    let only_empty = !call.answers.is_empty() && call.answers.iter().all(|(_, what)| matches!(what, Content::Empty));
    offered.push(JSON);
    let headers: Option<Vec<&str>> = headers.get_all(ACCEPT).iter().map(|value| value.to_str().ok()).collect();
    let Some(headers) = headers.filter(|all| all.iter().any(|text| !text.trim().is_empty())) else { return Ok(()) };
    if only_empty || offered.iter().any(|media_type| accepts(&headers, media_type)) {
        return Ok(());
    }
    let message = format!("this call answers {}; send an Accept that allows it, or none", offered.join(" or "));
    Err(HttpError::with_status(StatusCode::NOT_ACCEPTABLE, message))
}

/// Whether one of the ranges covers `media_type`. The most specific one decides, so that `*/*, application/json;q=0`
/// excludes JSON.
fn accepts(headers: &[&str], media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let main = essence.split('/').next().unwrap_or_default();
    let ranges = headers.iter().flat_map(|text| text.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.parse::<f32>() == Ok(0.0))
        });
        let specific = match name.as_str() {
            "*/*" | "*" => 0,
            name if name.strip_suffix("/*") == Some(main) => 1,
            name if name == essence || (essence == JSON && is_json(name)) => 2,
            _ => return None,
        };
        Some((specific, !refused))
    });
    ranges.max_by_key(|&(specific, allowed)| (specific, allowed)).is_some_and(|(_, allowed)| allowed)
}

/// Clients of other services ask for their own flavours of JSON.
fn is_json(name: &str) -> bool {
    name == "text/json" || name.starts_with("application/") && name.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use axum::handler::Handler;
    use http::HeaderValue;

    use super::super::operation::Operation;
    use super::super::schema::anything;
    use super::*;

    fn call(content: Option<&'static str>) -> Call {
        fn operation<H: Handler<T, super::super::App>, T: 'static>(handler: H) -> Operation {
            Operation::get("/x", handler)
        }
        let operation = operation(async || "");
        match content {
            Some(media_type) => operation.answers_text(media_type).call,
            None => operation.answers(StatusCode::OK, anything()).call,
        }
    }

    fn passes(call: &Call, accept: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
        check(&headers, call).is_ok()
    }

    #[test]
    fn json_must_not_be_excluded() {
        let call = call(None);
        assert!(check(&HeaderMap::new(), &call).is_ok());
        for accept in [
            "",
            "*/*",
            "application/*",
            "application/json",
            "Application/JSON; charset=utf-8",
            "text/html, application/xhtml+xml, */*;q=0.8",
            "application/vnd.api+json",
            "text/html;q=0.9, application/json;q=0.1",
        ] {
            assert!(passes(&call, accept), "{accept}");
        }
        for accept in ["text/html", "application/xml", "*/*, application/json;q=0", "application/json; q=0.0", "x"] {
            assert!(!passes(&call, accept), "{accept}");
        }
    }

    #[test]
    fn a_call_that_answers_text_may_be_asked_for_it() {
        let call = call(Some("text/plain; charset=utf-8"));
        for accept in ["text/plain", "text/*", "application/json", "*/*"] {
            assert!(passes(&call, accept), "{accept}");
        }
        assert!(!passes(&call, "image/png"));
    }
}
