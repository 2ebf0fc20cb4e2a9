//! JSON Schemas (2020-12, as OpenAPI 3.1 has them) in few words: what bodies hold and what answers look like.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

/// A JSON Schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema(pub Value);

/// A named part of an object, a parameter of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its name on the wire.
    pub name: &'static str,
    /// What it holds.
    pub schema: Schema,
    /// Whether it must be there.
    pub required: bool,
}

/// A member that must be there.
pub fn required(name: &'static str, schema: Schema) -> Member {
    Member { name, schema, required: true }
}

/// A member that may be left out.
pub fn optional(name: &'static str, schema: Schema) -> Member {
    Member { name, schema, required: false }
}

/// Text.
pub fn text() -> Schema {
    Schema(json!({"type": "string"}))
}

/// Text of 1 to `max_chars` characters.
pub fn line(max_chars: usize) -> Schema {
    Schema(json!({"type": "string", "minLength": 1, "maxLength": max_chars}))
}

/// Text that is sent and never shown.
pub fn secret(max_chars: usize) -> Schema {
    Schema(json!({"type": "string", "writeOnly": true, "minLength": 1, "maxLength": max_chars}))
}

/// What answers show in place of a secret that is there.
pub const SET: &str = "**set**";
/// What answers show in place of a secret that is not there.
pub const NOT_SET: &str = "**not set**";

/// Text that shows whether a secret is there.
pub fn secret_mark() -> Schema {
    one_of(&[SET, NOT_SET])
}

/// One of these words.
pub fn one_of(words: &[&str]) -> Schema {
    Schema(json!({"type": "string", "enum": words}))
}

/// A whole number.
pub fn integer() -> Schema {
    Schema(json!({"type": "integer"}))
}

/// A whole number within a range.
pub fn integer_in(range: RangeInclusive<i64>) -> Schema {
    Schema(json!({"type": "integer", "minimum": range.start(), "maximum": range.end()}))
}

/// The id of a resource that is counted per account.
pub fn id() -> Schema {
    Schema(json!({"type": "integer", "minimum": 1}))
}

/// The id of a job or a backup.
pub fn uuid() -> Schema {
    Schema(json!({"type": "string", "format": "uuid"}))
}

/// `true` or `false`; in forms also in words and as 1 and 0.
pub fn boolean() -> Schema {
    Schema(json!({"type": "boolean"}))
}

/// A time: RFC 3339, UTC, microseconds.
pub fn time() -> Schema {
    Schema(json!({"type": "string", "format": "date-time"}))
}

/// Whatever JSON can hold.
pub fn anything() -> Schema {
    Schema(json!({}))
}

/// A list.
pub fn list(items: Schema) -> Schema {
    Schema(json!({"type": "array", "items": items.0}))
}

/// An object with these members; others may come with it.
pub fn object(members: impl IntoIterator<Item = Member>) -> Schema {
    let mut properties = Map::new();
    let mut needed = Vec::new();
    for Member { name, schema, required } in members {
        if required {
            needed.push(name);
        }
        properties.insert(name.to_owned(), schema.0);
    }
    Schema(json!({"type": "object", "properties": properties, "required": needed}))
}

/// An object whose members are named by its user, all of one form.
pub fn map_of(values: Schema) -> Schema {
    Schema(json!({"type": "object", "additionalProperties": values.0}))
}

/// The schema, or null.
pub fn or_null(schema: Schema) -> Schema {
    Schema(json!({"anyOf": [schema.0, {"type": "null"}]}))
}

/// A schema that the document holds under this name.
pub fn named(name: &str) -> Schema {
    Schema(json!({"$ref": format!("#/components/schemas/{name}")}))
}

impl Schema {
    /// The same text with at least so many characters.
    #[must_use]
    pub fn at_least(mut self, min_chars: usize) -> Self {
        if let Some(members) = self.0.as_object_mut() {
            members.insert("minLength".to_owned(), json!(min_chars));
        }
        self
    }

    /// The same with words about it.
    #[must_use]
    pub fn described(mut self, words: &str) -> Self {
        if let Some(members) = self.0.as_object_mut() {
            members.insert("description".to_owned(), json!(words));
        }
        self
    }

    /// The same with what it is where nothing is sent.
    #[must_use]
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        if let Some(members) = self.0.as_object_mut() {
            members.insert("default".to_owned(), value.into());
        }
        self
    }
}
