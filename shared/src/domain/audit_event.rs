//! An audit event: who did what, from where. Events are added and never changed.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::account::AccountId;

/// The longest text of one changed field that is kept, characters; what is longer is cut off and says so.
const MAX_VALUE_CHARS: usize = 2_000;

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The token's id.
    pub token_id: u64,
    /// What the token's owner called it then; `None` for downloads, whose links only hold the id.
    pub token_name: Option<String>,
}

/// One thing that was done, or that was refused for want of an ability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// Random.
    pub id: Uuid,
    /// Whose it is.
    pub account: AccountId,
    /// When it was done.
    pub at: Timestamp,
    /// Who did it; of a download, whose token was shown the link.
    pub actor: Actor,
    /// Where the request came from, where that is known.
    pub address: Option<IpAddr>,
    /// The request's id, as its answer and the log have it.
    pub request_id: String,
    /// What was done: method and pattern of the call, or `download`.
    pub action: String,
    /// What it was done to: the path of the request.
    pub subject: String,
    /// The status that was answered.
    pub status: u16,
    /// What changed: by field, its value before and after. No secret is among them.
    #[serde(default)]
    pub changes: Map<String, Value>,
}

/// What differs between two views of one record: `{field: {"before": …, "after": …}}`. A record that was made has no
/// `before`, one that was deleted no `after`.
pub fn changes(before: Option<&Value>, after: Option<&Value>) -> Map<String, Value> {
    let members = |view: Option<&Value>| view.and_then(Value::as_object).cloned().unwrap_or_default();
    let (before, after) = (members(before), members(after));
    let mut changes = Map::new();
    for name in before.keys().chain(after.keys()) {
        let (old, new) = (before.get(name), after.get(name));
        if old == new || changes.contains_key(name) {
            continue;
        }
        let sides = [("before", old), ("after", new)].into_iter();
        let sides = sides.filter_map(|(side, value)| Some((side.to_owned(), bounded(value?))));
        changes.insert(name.clone(), Value::Object(sides.collect()));
    }
    changes
}

fn bounded(value: &Value) -> Value {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) => return value.clone(),
        Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    match text.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => Value::String(format!("{}… ({} bytes)", &text[..end], text.len())),
        None => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tells_what_differs() {
        let before = json!({"name": "a", "port": 22, "key": null, "same": [1]});
        let after = json!({"name": "b", "port": 22, "key": {"id": 1}, "same": [1]});
        let expected = json!({"name": {"before": "a", "after": "b"}, "key": {"before": null, "after": {"id": 1}}});
        assert_eq!(Value::Object(changes(Some(&before), Some(&after))), expected);
        assert_eq!(changes(None, Some(&json!({"id": 1})))["id"], json!({"after": 1}));
        assert_eq!(changes(Some(&json!({"id": 1})), None)["id"], json!({"before": 1}));
        assert!(changes(None, None).is_empty());
    }

    #[test]
    fn long_values_are_cut() {
        let long = changes(None, Some(&json!({"config": "ä".repeat(3_000)})));
        let text = long["config"]["after"].as_str().unwrap();
        assert!(text.ends_with("… (6000 bytes)") && text.chars().count() < 2_020, "{text}");
    }
}
