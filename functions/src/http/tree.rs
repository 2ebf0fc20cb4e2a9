//! One tree for every kind of body: what a client sent, before anything is known about its fields.

use holdfast_shared::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

/// How many pairs a form or a query may hold; PHP's `max_input_vars`.
const MAX_PAIRS: usize = 1000;
/// How deep brackets may nest.
const MAX_DEPTH: usize = 8;
/// How deep a JSON document may nest, its own object included.
const MAX_JSON_DEPTH: usize = 32;
/// How many members one object may have.
const MAX_MEMBERS: usize = 100;
/// How long the name of a member may be, bytes. What its value may be, its reader says.
const MAX_MEMBER_NAME_BYTES: usize = 255;

/// Named values as they came: of a JSON object, or of a form or query whose names nest by brackets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tree(pub Map<String, Value>);

impl Tree {
    /// Takes a JSON document, which must be an object.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        match serde_json::from_slice(bytes) {
            Ok(document @ Value::Object(_)) => Self::bounded(document),
            Ok(_) => Err(malformed("the body must be a JSON object")),
            // The parser's own words give place and cause, and quote nothing of the body.
            Err(error) => Err(malformed(format!("the body is not valid JSON: {error}"))),
        }
    }

    /// Reads `a=1&b[c]=2`: percent-encoded UTF-8 with `+` for a space.
    pub fn from_urlencoded(text: &[u8]) -> Result<Self> {
        Self::from_pairs(urlencoded_pairs(text)?)
    }

    /// Nests pairs by the brackets in their names, as PHP reads them: `a[b]` is a member, `a[]` appends, `a[0][b]` is a
    /// member of an element. A name that comes twice keeps its last value.
    pub fn from_pairs(pairs: Vec<(String, String)>) -> Result<Self> {
        if pairs.len() > MAX_PAIRS {
            return Err(malformed(format!("more than {MAX_PAIRS} fields")));
        }
        let mut root = Map::new();
        for (name, value) in pairs {
            let path = bracket_path(&name);
            if path.len() > MAX_DEPTH {
                return Err(malformed(format!("field names nest deeper than {MAX_DEPTH} levels")));
            }
            insert(&mut root, &path, value);
        }
        Self::bounded(Value::Object(root.into_iter().map(|(name, value)| (name, lists(value))).collect()))
    }

    fn bounded(document: Value) -> Result<Self> {
        check_bounds(&document, 1)?;
        match document {
            Value::Object(map) => Ok(Self(map)),
            _ => Err(malformed("the body must be a JSON object")),
        }
    }
}

/// Refuses what nests too deep or has too many members, so that nothing below has to be afraid of it.
fn check_bounds(value: &Value, depth: usize) -> Result<()> {
    let deeper = |value| check_bounds(value, depth + 1);
    match value {
        Value::Object(_) | Value::Array(_) if depth > MAX_JSON_DEPTH => {
            Err(malformed(format!("the body nests deeper than {MAX_JSON_DEPTH} levels")))
        }
        Value::Object(members) if members.len() > MAX_MEMBERS => {
            Err(malformed(format!("an object has more than {MAX_MEMBERS} fields")))
        }
        Value::Object(members) if members.keys().any(|name| name.len() > MAX_MEMBER_NAME_BYTES) => {
            Err(malformed(format!("a field's name is longer than {MAX_MEMBER_NAME_BYTES} bytes")))
        }
        Value::Object(members) => members.values().try_for_each(deeper),
        Value::Array(elements) => elements.iter().try_for_each(deeper),
        _ => Ok(()),
    }
}

/// Name and value of each pair, decoded, in the order they came. Bytes that are not UTF-8 are refused.
pub fn urlencoded_pairs(text: &[u8]) -> Result<Vec<(String, String)>> {
    text.split(|&byte| byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let middle = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
            let value = pair.get(middle + 1..).unwrap_or_default();
            Ok((decode(&pair[..middle])?, decode(value)?))
        })
        .collect()
}

fn decode(text: &[u8]) -> Result<String> {
    let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    let bytes: Vec<u8> = percent_encoding::percent_decode(&spaced).collect();
    String::from_utf8(bytes).map_err(|_| malformed("a form field is not valid UTF-8"))
}

/// `a[b][]` → `a`, `b`, ``. A name whose brackets do not pair up stands for itself.
fn bracket_path(name: &str) -> Vec<&str> {
    let Some((head, rest)) = name.split_once('[') else { return vec![name] };
    let Some(inner) = rest.strip_suffix(']') else { return vec![name] };
    if head.is_empty() {
        return vec![name];
    }
    let mut path = vec![head];
    path.extend(inner.split("]["));
    path
}

fn insert(node: &mut Map<String, Value>, path: &[&str], value: String) {
    let [name, rest @ ..] = path else { return };
    let name = if name.is_empty() { next_index(node) } else { (*name).to_owned() };
    if rest.is_empty() {
        node.insert(name, Value::String(value));
        return;
    }
    let child = node.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if !child.is_object() {
        *child = Value::Object(Map::new());
    }
    if let Value::Object(child) = child {
        insert(child, rest, value);
    }
}

fn next_index(node: &Map<String, Value>) -> String {
    let highest = node.keys().filter_map(|key| key.parse::<u64>().ok()).max();
    highest.map_or(0, |index| index.saturating_add(1)).to_string()
}

/// A member whose names are all numbers is a list, ordered by them.
fn lists(value: Value) -> Value {
    let Value::Object(map) = value else { return value };
    let numbered = map.keys().map(|key| key.parse::<u64>().ok()).collect::<Option<Vec<u64>>>();
    let members = map.into_iter().map(|(name, value)| (name, lists(value)));
    match numbered {
        Some(indexes) if !indexes.is_empty() => {
            let mut elements: Vec<_> = indexes.into_iter().zip(members.map(|(_, value)| value)).collect();
            elements.sort_by_key(|(index, _)| *index);
            Value::Array(elements.into_iter().map(|(_, value)| value).collect())
        }
        _ => Value::Object(members.collect()),
    }
}

/// A request that cannot be read at all.
pub(super) fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Malformed, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn reads(form: &str, expected: Value) {
        assert_eq!(Value::Object(Tree::from_urlencoded(form.as_bytes()).unwrap().0), expected, "{form}");
    }

    #[test]
    fn nests_by_brackets() {
        reads("", json!({}));
        reads("a=1&b=x+y%20z", json!({"a": "1", "b": "x y z"}));
        reads("a[b]=1&a[c][d]=2", json!({"a": {"b": "1", "c": {"d": "2"}}}));
        reads("a[]=1&a[]=2", json!({"a": ["1", "2"]}));
        reads("a[1][x]=late&a[0][x]=early", json!({"a": [{"x": "early"}, {"x": "late"}]}));
        reads("a[7][x]=only", json!({"a": [{"x": "only"}]}));
        reads("a%5Bb%5D=1", json!({"a": {"b": "1"}}));
        reads("flag&empty=", json!({"flag": "", "empty": ""}));
    }

    #[test]
    fn keeps_the_last_of_two() {
        reads("a=1&a=2", json!({"a": "2"}));
        reads("a=1&a[b]=2", json!({"a": {"b": "2"}}));
    }

    #[test]
    fn leaves_odd_brackets_alone() {
        reads("[a]=1&b[=2&c]=3", json!({"[a]": "1", "b[": "2", "c]": "3"}));
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        assert_eq!(Tree::from_urlencoded(b"a=%FF").unwrap_err().kind, ErrorKind::Malformed);
        let deep = format!("a{}=1", "[b]".repeat(MAX_DEPTH));
        assert!(Tree::from_urlencoded(deep.as_bytes()).unwrap_err().message.contains("deeper"));
        let many = "a=1&".repeat(MAX_PAIRS + 1);
        assert!(Tree::from_urlencoded(many.as_bytes()).unwrap_err().message.contains("more than"));
        let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert!(Tree::from_json(nested(MAX_JSON_DEPTH).as_bytes()).is_ok());
        assert!(Tree::from_json(nested(MAX_JSON_DEPTH + 1).as_bytes()).unwrap_err().message.contains("deeper"));
        assert!(Tree::from_json(nested(100_000).as_bytes()).is_err(), "the parser itself stops");
        let wide =
            |members: usize| json!({"a": (0..members).map(|n| (n.to_string(), n.into())).collect::<Map<_, _>>()});
        assert!(Tree::from_json(wide(MAX_MEMBERS).to_string().as_bytes()).is_ok());
        assert!(
            Tree::from_json(wide(MAX_MEMBERS + 1).to_string().as_bytes()).unwrap_err().message.contains("more than")
        );
        let long = json!({"a".repeat(MAX_MEMBER_NAME_BYTES + 1): 1});
        assert!(Tree::from_json(long.to_string().as_bytes()).unwrap_err().message.contains("longer"));
        assert!(Tree::from_json(b"[]").unwrap_err().message.contains("object"));
        assert!(Tree::from_json(b"{").unwrap_err().message.contains("line 1"));
    }
}
