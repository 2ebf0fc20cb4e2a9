//! Typed reading of a [`Tree`], which finds every fault before it gives up. What nobody asked for is a fault too: a
//! misspelt field must not be passed over in silence.
//!
//! ```
//! # use holdfast_functions::http::{Fields, Tree};
//! let body = Tree::from_urlencoded(b"port=70000").unwrap();
//! let mut fields = Fields::new(&body);
//! let name = fields.required_text("name", 100);
//! let port = fields.optional_integer("port", 1..=65_535);
//! let error = fields.finish(|| Some((name?, port))).unwrap_err();
//! assert_eq!(error.fields().unwrap().iter().count(), 2);
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::RangeInclusive;

use holdfast_shared::{Error, FieldErrors};
use serde_json::{Map, Value};

use super::tree::Tree;

/// How long a name of anything may be.
pub const MAX_NAME_CHARS: usize = 255;

/// Reads members of an object and remembers what was wrong with each, and which of them somebody asked for.
///
/// Forms know only text, so text that spells a number or a boolean is taken for one wherever it comes from. `null` and
/// empty text count as absent. A reader answers `None` for what is absent or wrong; [`Fields::finish`] tells them apart.
#[derive(Debug)]
pub struct Fields<'a> {
    members: &'a Map<String, Value>,
    aliases: BTreeMap<&'a str, &'a str>,
    asked: BTreeSet<String>,
    errors: FieldErrors,
}

impl<'a> Fields<'a> {
    /// Starts reading at the root.
    pub fn new(tree: &'a Tree) -> Self {
        Self::of(&tree.0)
    }

    fn of(members: &'a Map<String, Value>) -> Self {
        Self { members, aliases: BTreeMap::new(), asked: BTreeSet::new(), errors: FieldErrors::default() }
    }

    /// Reads `alias` wherever `name` is asked for and absent; a fault is then told under the alias.
    #[must_use]
    pub fn alias(mut self, name: &'a str, alias: &'a str) -> Self {
        self.asked.insert(alias.to_owned());
        if present(self.members, name).is_none() && present(self.members, alias).is_some() {
            self.aliases.insert(name, alias);
        }
        self
    }

    /// Whether the client sent the member with anything in it.
    pub fn has(&mut self, name: &str) -> bool {
        self.find(name).1.is_some()
    }

    /// Whether the client sent the member as `null`: for what an edit can take away.
    pub fn is_null(&mut self, name: &str) -> bool {
        self.asked.insert(name.to_owned());
        self.members.get(name).is_some_and(Value::is_null)
    }

    /// Text of at most `max_chars` characters, without control characters.
    pub fn required_text(&mut self, name: &str, max_chars: usize) -> Option<String> {
        self.required(name, |text| line(text, max_chars))
    }

    /// As [`Fields::required_text`], but may be absent.
    pub fn optional_text(&mut self, name: &str, max_chars: usize) -> Option<String> {
        self.optional(name, |text| line(text, max_chars))
    }

    /// Text that `parse` accepts; its error is the field's message.
    pub fn required<T, E: Display>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        self.demand(name);
        self.optional(name, parse)
    }

    /// As [`Fields::required`], but empty text is text: only a member that was not sent, or `null`, is absent.
    pub fn required_even_empty<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if self.members.get(name).is_none_or(Value::is_null) {
            self.demand(name);
        }
        self.optional_even_empty(name, parse)
    }

    /// As [`Fields::required_even_empty`], but may be absent.
    pub fn optional_even_empty<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if self.members.get(name).and_then(Value::as_str) != Some("") {
            return self.optional(name, parse);
        }
        self.asked.insert(name.to_owned());
        self.note(name, parse("").map_err(|error| error.to_string()))
    }

    /// As [`Fields::required`], but may be absent.
    pub fn optional<T, E: Display>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let text = self.read(name, |value| match value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            _ => Err("must be text".to_owned()),
        })?;
        let parsed = parse(&text).map_err(|error| error.to_string());
        self.note(name, parsed)
    }

    /// A whole number within `range`.
    pub fn required_integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Option<i64> {
        self.demand(name);
        self.optional_integer(name, range)
    }

    /// As [`Fields::required_integer`], but may be absent.
    pub fn optional_integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Option<i64> {
        self.read(name, |value| {
            let number = integer(value).ok_or_else(|| "must be a whole number".to_owned())?;
            let (low, high) = (range.start(), range.end());
            match range.contains(&number) {
                true => Ok(number),
                false if *high == i64::MAX => Err(format!("must be at least {low}")),
                false => Err(format!("must be between {low} and {high}")),
            }
        })
    }

    /// The id of a resource: a whole number from 1.
    pub fn required_id(&mut self, name: &str) -> Option<u64> {
        self.demand(name);
        self.optional_id(name)
    }

    /// As [`Fields::required_id`], but may be absent.
    pub fn optional_id(&mut self, name: &str) -> Option<u64> {
        self.optional_integer(name, 1..=i64::MAX).and_then(|id| u64::try_from(id).ok())
    }

    /// `true` or `false`, as JSON, as 1 or 0, or in words: `true`, `yes`, `on` and their opposites, in any case.
    pub fn optional_boolean(&mut self, name: &str) -> Option<bool> {
        self.read(name, |value| boolean(value).ok_or_else(|| "must be true or false".to_owned()))
    }

    /// An object, read by `read`; its faults are told below `name`.
    pub fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Fields<'a>) -> Option<T>) -> Option<T> {
        let (used, value) = self.find(name);
        match value? {
            Value::Object(members) => self.nested(used, members, read),
            _ => self.note(name, Err("must be an object".to_owned())),
        }
    }

    /// A list of objects, each read by `read`; faults are told below `name.0`, `name.1` …. An absent list is `None`.
    pub fn list<T>(&mut self, name: &str, mut read: impl FnMut(&mut Fields<'a>) -> Option<T>) -> Option<Vec<T>> {
        let (used, value) = self.find(name);
        let Value::Array(elements) = value? else { return self.note(name, Err("must be a list".to_owned())) };
        let mut all = Some(Vec::with_capacity(elements.len()));
        for (index, element) in elements.iter().enumerate() {
            let path = format!("{used}.{index}");
            let one = match element {
                Value::Object(members) => self.nested(&path, members, &mut read),
                _ => {
                    self.errors.push(path, "must be an object");
                    None
                }
            };
            all = all.zip(one).map(|(mut all, one)| {
                all.push(one);
                all
            });
        }
        all
    }

    /// A list of ids; faults are told at `name.0`, `name.1` …. An absent list is `None`.
    pub fn ids(&mut self, name: &str) -> Option<Vec<u64>> {
        self.elements(name, |value| {
            let id = integer(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
            id.ok_or_else(|| "must be an id: a whole number from 1".to_owned())
        })
    }

    /// A list of texts that `parse` accepts; faults are told at `name.0`, `name.1` …. An absent list is `None`.
    pub fn texts<T, E: Display>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>> {
        self.elements(name, |value| {
            let text = value.as_str().ok_or_else(|| "must be text".to_owned())?;
            parse(text).map_err(|error| error.to_string())
        })
    }

    fn elements<T>(&mut self, name: &str, take: impl Fn(&Value) -> Result<T, String>) -> Option<Vec<T>> {
        let (used, value) = self.find(name);
        let Value::Array(elements) = value? else { return self.note(name, Err("must be a list".to_owned())) };
        let mut taken = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            match take(element) {
                Ok(one) => taken.push(one),
                Err(message) => self.errors.push(format!("{used}.{index}"), message),
            }
        }
        (taken.len() == elements.len()).then_some(taken)
    }

    /// Adds a fault that reading alone does not find.
    pub fn fault(&mut self, name: &str, message: impl Into<String>) {
        let used = self.find(name).0.to_owned();
        self.errors.push(used, message);
    }

    /// Adds every fault that a rule of the domain found, below `name`; empty means this object itself.
    pub fn faults(&mut self, name: &str, errors: FieldErrors) {
        self.errors.extend(name, errors);
    }

    /// What `build` makes of the values read, or every fault found. `build` may answer `None` only after a fault.
    pub fn finish<T>(mut self, build: impl FnOnce() -> Option<T>) -> holdfast_shared::Result<T> {
        self.refuse_unknown();
        self.errors.check(())?;
        build().ok_or_else(|| Error::internal("a required field is absent, but no fault was told"))
    }

    fn nested<T>(
        &mut self,
        path: &str,
        members: &'a Map<String, Value>,
        read: impl FnOnce(&mut Fields<'a>) -> Option<T>,
    ) -> Option<T> {
        let mut fields = Fields::of(members);
        let answer = read(&mut fields);
        fields.refuse_unknown();
        let sound = fields.errors.is_empty();
        self.errors.extend(path, fields.errors);
        answer.filter(|_| sound)
    }

    fn refuse_unknown(&mut self) {
        for name in self.members.keys().filter(|name| !self.asked.contains(*name)) {
            self.errors.push(name, "is not known here; check its spelling or leave it out");
        }
    }

    /// The name that the client used, and what it sent there.
    fn find<'n>(&mut self, name: &'n str) -> (&'n str, Option<&'a Value>)
    where
        'a: 'n,
    {
        self.asked.insert(name.to_owned());
        let used = self.aliases.get(name).copied().unwrap_or(name);
        (used, present(self.members, used))
    }

    fn demand(&mut self, name: &str) {
        if !self.has(name) {
            self.fault(name, "is required");
        }
    }

    fn read<T>(&mut self, name: &str, take: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        let value = self.find(name).1?;
        self.note(name, take(value))
    }

    fn note<T>(&mut self, name: &str, outcome: Result<T, String>) -> Option<T> {
        outcome.map_err(|message| self.fault(name, message)).ok()
    }
}

fn present<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).filter(|value| !value.is_null() && value.as_str() != Some(""))
}

fn line(text: &str, max_chars: usize) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("must not hold line breaks or other control characters".to_owned());
    }
    if text.trim().is_empty() {
        return Err("must not be blank".to_owned());
    }
    if text.chars().count() > max_chars {
        return Err(format!("must not be longer than {max_chars} characters"));
    }
    Ok(text.to_owned())
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(answer) => Some(*answer),
        Value::Number(number) => match number.as_i64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => Some(true),
            "false" | "0" | "off" | "no" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tree(value: Value) -> Tree {
        Tree::from_json(value.to_string().as_bytes()).unwrap()
    }

    fn told(fields: Fields<'_>) -> Vec<(String, String)> {
        let Err(error) = fields.finish(|| Some(())) else { return Vec::new() };
        error.fields().unwrap().iter().map(|(field, all)| (field.to_owned(), all.join("; "))).collect()
    }

    #[test]
    fn takes_text_for_numbers_and_booleans() {
        let body = tree(json!({"a": "22", "b": 22, "c": "True", "d": "on", "e": 0, "f": false, "g": "", "h": null}));
        let mut fields = Fields::new(&body);
        assert_eq!(fields.required_integer("a", 1..=99), Some(22));
        assert_eq!(fields.optional_integer("b", 1..=99), Some(22));
        assert_eq!(fields.optional_boolean("c"), Some(true));
        assert_eq!(fields.optional_boolean("d"), Some(true));
        assert_eq!(fields.optional_boolean("e"), Some(false));
        assert_eq!(fields.optional_boolean("f"), Some(false));
        assert_eq!(fields.optional_boolean("g"), None);
        assert_eq!(fields.optional_id("h"), None);
        assert_eq!(fields.optional_text("b", 9), Some("22".to_owned()));
        assert!(told(fields).is_empty());
    }

    #[test]
    fn tells_every_fault_at_once() {
        let body =
            tree(json!({"name": ["x"], "port": 65536, "number": 1.5, "flag": "maybe", "long": "abc", "lines": "a\nb"}));
        let mut fields = Fields::new(&body);
        fields.required_text("name", 9);
        fields.required_text("missing", 9);
        fields.optional_integer("port", 1..=65_535);
        fields.optional_integer("number", 0..=i64::MAX);
        fields.optional_boolean("flag");
        fields.optional_text("long", 2);
        fields.optional_text("lines", 9);
        let expected = [
            ("flag", "must be true or false"),
            ("lines", "must not hold line breaks or other control characters"),
            ("long", "must not be longer than 2 characters"),
            ("missing", "is required"),
            ("name", "must be text"),
            ("number", "must be a whole number"),
            ("port", "must be between 1 and 65535"),
        ];
        assert_eq!(told(fields), expected.map(|(field, message)| (field.to_owned(), message.to_owned())));
    }

    #[test]
    fn tells_faults_under_the_name_that_was_sent() {
        let body = tree(json!({"ssh_port": 0, "compute": {"server_id": "x"}, "schedules": [{"order": 1}, {}, 3]}));
        let mut fields = Fields::new(&body).alias("port", "ssh_port").alias("host", "ssh_host");
        fields.required_integer("port", 1..=65_535);
        fields.required_text("host", 9);
        fields.object("compute", |compute| compute.required_id("server_id"));
        let read = fields.list("schedules", |schedule| schedule.required_integer("order", 0..=9));
        assert_eq!(read, None);
        let names: Vec<_> = told(fields).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["compute.server_id", "host", "schedules.1.order", "schedules.2", "ssh_port"]);
    }

    #[test]
    fn reads_lists_of_texts() {
        let body = tree(json!({"good": ["1", "2"], "bad": ["1", "x", 3], "no": "1"}));
        let mut fields = Fields::new(&body);
        let number = |text: &str| text.parse::<u8>().map_err(|_| "must be a number");
        assert_eq!(fields.texts("good", number), Some(vec![1, 2]));
        for name in ["bad", "no", "absent"] {
            assert_eq!(fields.texts(name, number), None, "{name}");
        }
        let names: Vec<_> = told(fields).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["bad.1", "bad.2", "no"]);
    }

    #[test]
    fn refuses_what_nobody_asked_for() {
        let body =
            tree(json!({"host": "a", "ssh_host": "b", "hots": "c", "compute": {"type": "x", "server": 1}, "no": null}));
        let mut fields = Fields::new(&body).alias("host", "ssh_host");
        fields.required_text("host", 9);
        fields.object("compute", |compute| compute.required_text("type", 9));
        let names: Vec<_> = told(fields).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["compute.server", "hots", "no"]);
    }

    #[test]
    fn prefers_the_name_over_its_alias() {
        let body = tree(json!({"host": "a", "ssh_host": "b"}));
        let mut fields = Fields::new(&body).alias("host", "ssh_host");
        assert_eq!(fields.required_text("host", 9).as_deref(), Some("a"));
    }
}
