//! Fields as clients write them: JSON and form alike, where a number or a flag can be text.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::error::FieldErrors;

/// What is told of a field that nobody knows.
pub(crate) const UNKNOWN: &str = "is not known here; check its spelling or leave it out";

/// Reads fields one by one and notes what is wrong with each. `None` is a field that is missing or wrong.
///
/// `null` and empty text count as missing.
#[derive(Debug, Default)]
pub(crate) struct FieldReader {
    /// What was found wrong so far.
    pub faults: FieldErrors,
}

impl FieldReader {
    /// Notes a fault; answers `None`, so that a reader can end with it.
    pub fn refuse<T>(&mut self, field: &str, message: impl Into<String>) -> Option<T> {
        self.faults.push(field, message);
        None
    }

    /// Every member of an object must be one of `known`.
    pub fn known(&mut self, path: &str, members: &Map<String, Value>, known: &[&str]) {
        for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
            self.faults.push(format!("{path}.{name}"), UNKNOWN);
        }
    }

    /// Text as it was written.
    pub fn text<'v>(&mut self, field: &str, value: Option<&'v Value>) -> Option<&'v str> {
        match present(value)? {
            Value::String(text) => Some(text),
            _ => self.refuse(field, "must be text"),
        }
    }

    /// One line of 1 to `max_chars` characters, without blanks around it and without control characters.
    pub fn line(&mut self, field: &str, value: Option<&Value>, max_chars: usize) -> Option<String> {
        let text = self.text(field, value)?.trim();
        if text.chars().any(char::is_control) {
            return self.refuse(field, "must not hold line breaks or other control characters");
        }
        if !(1..=max_chars).contains(&text.chars().count()) {
            return self.refuse(field, format!("must have 1 to {max_chars} characters"));
        }
        Some(text.to_owned())
    }

    /// A whole number within `range`.
    pub fn integer(&mut self, field: &str, value: Option<&Value>, range: RangeInclusive<u64>) -> Option<u64> {
        let number = match present(value)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None if *range.end() >= MAX_ID => {
                self.refuse(field, format!("must be a whole number from {}", range.start()))
            }
            None => self.refuse(field, format!("must be a whole number from {} to {}", range.start(), range.end())),
        }
    }

    /// The id of a resource.
    pub fn id(&mut self, field: &str, value: Option<&Value>) -> Option<u64> {
        self.integer(field, value, 1..=MAX_ID)
    }

    /// True or false, as JSON, as 1 or 0, or in words.
    pub fn flag(&mut self, field: &str, value: Option<&Value>) -> Option<bool> {
        let word = match present(value)? {
            Value::Bool(flag) => return Some(*flag),
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.trim().to_ascii_lowercase(),
            _ => String::new(),
        };
        match word.as_str() {
            "true" | "1" | "on" | "yes" => Some(true),
            "false" | "0" | "off" | "no" => Some(false),
            _ => self.refuse(field, "must be true or false"),
        }
    }

    /// An object.
    pub fn object<'v>(&mut self, field: &str, value: Option<&'v Value>) -> Option<&'v Map<String, Value>> {
        match present(value)? {
            Value::Object(members) => Some(members),
            _ => self.refuse(field, "must be an object"),
        }
    }

    /// An object in a list, where nothing counts as missing.
    pub fn element<'v>(&mut self, field: &str, value: &'v Value) -> Option<&'v Map<String, Value>> {
        match value {
            Value::Object(members) => Some(members),
            _ => self.refuse(field, "must be an object"),
        }
    }

    /// A list of at most `max` elements.
    pub fn list<'v>(&mut self, field: &str, value: Option<&'v Value>, max: usize) -> Option<&'v [Value]> {
        match present(value)? {
            Value::Array(elements) if elements.len() > max => {
                self.refuse(field, format!("must not have more than {max} entries"))
            }
            Value::Array(elements) => Some(elements),
            _ => self.refuse(field, "must be a list"),
        }
    }
}

/// The largest id: DynamoDB's and JSON's numbers both hold it exactly.
const MAX_ID: u64 = (1 << 53) - 1;

/// The value, unless it counts as missing.
pub(crate) fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null() && value.as_str() != Some(""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn forms_and_json_read_alike() {
        let mut fields = FieldReader::default();
        for value in [json!(5), json!("5"), json!(" 5 ")] {
            assert_eq!(fields.integer("n", Some(&value), 0..=9), Some(5));
        }
        for value in [json!(true), json!("True"), json!(1), json!("1"), json!("on")] {
            assert_eq!(fields.flag("f", Some(&value)), Some(true));
        }
        for value in [json!(null), json!("")] {
            assert_eq!(fields.text("t", Some(&value)), None);
        }
        assert!(fields.faults.is_empty());
    }

    #[test]
    fn what_is_wrong_is_noted() {
        let mut fields = FieldReader::default();
        assert_eq!(fields.integer("a", Some(&json!(10)), 0..=9), None);
        assert_eq!(fields.id("b", Some(&json!(-1))), None);
        assert_eq!(fields.flag("c", Some(&json!("maybe"))), None);
        assert_eq!(fields.line("d", Some(&json!("a\nb")), 9), None);
        assert_eq!(fields.list("e", Some(&json!([1, 2])), 1), None);
        let names: Vec<_> = fields.faults.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b", "c", "d", "e"]);
    }
}
