//! Every exchange that a vendor's documentation prints, replayed as printed and compared member by member.
//!
//! A fixture holds `request` {`method`, `path`, `headers`, `body`: a document, text that is sent as it is, or
//! {`multipart`: [[name, value], …]}} and `response` {`status`, `body`}. `{placeholders}` stand for what this installation
//! has in their place, in requests and answers. Every printed member must be there with the printed value, and no other
//! member. What `varies` names by JSON pointer (`*` for every element or member) need only be of the printed type and,
//! where it is text, of the printed form: digits where digits were.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use holdfast_tests::{Answer, Client};
use http::Method;
use serde_json::{Value, json};

/// What placeholders stand for.
pub type Values = BTreeMap<&'static str, Value>;

/// One exchange.
pub struct Fixture {
    /// Its file's name without the ending.
    pub name: String,
    text: Value,
}

/// All exchanges of a vendor, by name.
pub fn fixtures(vendor: &str) -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(vendor);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    let mut fixtures: Vec<_> = files
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = serde_json::from_str(&fs::read_to_string(&path).unwrap());
            Fixture { text: text.unwrap_or_else(|error| panic!("{name}: {error}")), name }
        })
        .collect();
    fixtures.sort_by(|a, b| a.name.cmp(&b.name));
    fixtures
}

impl Fixture {
    /// Sends the request as printed and panics with every difference of the answer from the printed one.
    pub async fn replay(&self, api: &Client, values: &Values) -> Answer {
        let request = &self.text["request"];
        let method: Method = request["method"].as_str().unwrap().parse().unwrap();
        let mut call = api.request(method, fill(&request["path"], values).as_str().unwrap());
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            call = call.header(name, value.as_str().unwrap());
        }
        let (kind, body) = body(&fill(&request["body"], values));
        if let Some(kind) = kind {
            call = call.header("content-type", kind);
        }
        let answer = api.send(call, body).await;
        let differences = self.differences(&answer, values);
        assert!(differences.is_empty(), "{}: {}\n{}", self.name, differences.join("\n"), answer.text());
        answer
    }

    fn differences(&self, answer: &Answer, values: &Values) -> Vec<String> {
        let printed = &self.text["response"];
        if answer.status.as_u16() != printed["status"] {
            return vec![format!("printed {}, answered {}", printed["status"], answer.status)];
        }
        let varies = self.text["varies"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut comparison = Comparison { varies: varies.collect(), differences: Vec::new() };
        comparison.compare("", &fill(&printed["body"], values), &answer.json());
        comparison.differences
    }
}

/// The Content-Type that goes with a body, unless the fixture's headers name it, and its bytes.
fn body(document: &Value) -> (Option<String>, Bytes) {
    match document {
        Value::Null => (None, Bytes::new()),
        Value::String(text) => (None, Bytes::from(text.clone())),
        Value::Object(members) if members.contains_key("multipart") => {
            let part = |pair: &Value| {
                let [name, value] = [&pair[0], &pair[1]].map(|text| text.as_str().unwrap());
                format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            };
            let parts: String = members["multipart"].as_array().unwrap().iter().map(part).collect();
            (Some("multipart/form-data; boundary=B".to_owned()), Bytes::from(format!("{parts}--B--\r\n")))
        }
        document => (None, Bytes::from(document.to_string())),
    }
}

/// The value with its placeholders filled in: one that stands alone becomes what it stands for, number or text.
fn fill(value: &Value, values: &Values) -> Value {
    match value {
        Value::String(text) => values.get(text.as_str()).cloned().unwrap_or_else(|| {
            let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            json!(values.iter().fold(text.clone(), |text, (name, value)| text.replace(name, &plain(value))))
        }),
        Value::Array(all) => all.iter().map(|one| fill(one, values)).collect(),
        Value::Object(all) => all.iter().map(|(name, one)| (name.clone(), fill(one, values))).collect(),
        other => other.clone(),
    }
}

/// Compares an answer with a printed one and notes what differs, by JSON pointer.
struct Comparison<'a> {
    varies: Vec<&'a str>,
    differences: Vec<String>,
}

impl Comparison<'_> {
    fn compare(&mut self, path: &str, printed: &Value, seen: &Value) {
        match (printed, seen) {
            (Value::Object(printed), Value::Object(seen)) => {
                for (name, value) in printed {
                    match seen.get(name) {
                        Some(found) => self.compare(&format!("{path}/{name}"), value, found),
                        None => self.differences.push(format!("{path}/{name} is missing")),
                    }
                }
                let more = seen.keys().filter(|name| !printed.contains_key(*name));
                self.differences.extend(more.map(|name| format!("{path}/{name} is not printed")));
            }
            (Value::Array(printed), Value::Array(seen)) if printed.len() == seen.len() => {
                for (at, (printed, seen)) in printed.iter().zip(seen).enumerate() {
                    self.compare(&format!("{path}/{at}"), printed, seen);
                }
            }
            (printed, seen) => {
                let same = if self.varies(path) { form(printed) == form(seen) } else { printed == seen };
                if !same {
                    self.differences.push(format!("{path}: printed {printed}, answered {seen}"));
                }
            }
        }
    }

    fn varies(&self, path: &str) -> bool {
        let fits = |pattern: &&str| {
            let (mine, theirs): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
            mine.len() == theirs.len() && mine.iter().zip(&theirs).all(|(mine, theirs)| *mine == "*" || mine == theirs)
        };
        self.varies.iter().any(fits)
    }
}

/// What a value looks like to whoever parses it.
fn form(value: &Value) -> String {
    match value {
        Value::String(text) => text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect(),
        Value::Number(number) if number.is_u64() || number.is_i64() => "an integer".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        other => other.to_string(),
    }
}

#[test]
fn a_comparison_sees_what_is_missing_more_or_of_another_form() {
    let printed = json!({"id": 1, "at": "2024-03-04T18:19:56.000000Z", "all": [{"a": "x"}], "none": null});
    let told = |name: &str, value: Option<Value>| {
        let mut seen = printed.clone();
        match value {
            Some(value) => seen[name] = value,
            None => drop(seen.as_object_mut().unwrap().remove(name)),
        }
        let mut comparison = Comparison { varies: vec!["/id", "/at"], differences: Vec::new() };
        comparison.compare("", &printed, &seen);
        comparison.differences.len()
    };
    assert_eq!([told("id", Some(json!(7))), told("at", Some(json!("2026-11-21T00:00:00.123456Z")))], [0, 0]);
    assert_eq!([told("id", Some(json!("1"))), told("at", Some(json!("2026-11-21T00:00:00Z")))], [1, 1]);
    assert_eq!([told("none", None), told("more", Some(json!(1))), told("none", Some(json!(1)))], [1, 1, 1]);
    assert_eq!([told("all", Some(json!([]))), told("all", Some(json!([{"a": "y"}])))], [1, 1]);
}
