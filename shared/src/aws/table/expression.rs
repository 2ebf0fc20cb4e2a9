//! Conditions, updates and writes in words, and their rendering as DynamoDB expressions.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{self, AttributeValue, TransactWriteItem};
use serde::Serialize;

use super::{Item, Key, VERSION, VERSION_ATTRIBUTE, record_item, value};
use crate::error::{Error, Result};

/// Placeholders of one request.
#[derive(Default)]
pub(super) struct Expressions {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expressions {
    pub(super) fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#{attribute}");
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    pub(super) fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    /// Names and values; DynamoDB refuses empty maps, so an empty one is `None`.
    pub(super) fn into_parts(self) -> (Option<HashMap<String, String>>, Option<Item>) {
        ((!self.names.is_empty()).then_some(self.names), (!self.values.is_empty()).then_some(self.values))
    }
}

/// What must hold for a write to take place, or for an item to be answered.
#[derive(Debug, Clone)]
pub enum Condition {
    /// The item does not exist.
    Absent,
    /// The item exists.
    Exists,
    /// The attribute is not there.
    Missing(&'static str),
    /// The attribute has this value.
    Equals(&'static str, AttributeValue),
    /// The attribute is one of these values.
    OneOf(&'static str, Vec<AttributeValue>),
    /// The attribute is greater than or equal to this value.
    AtLeast(&'static str, AttributeValue),
    /// The attribute is less than this value.
    Below(&'static str, AttributeValue),
    /// Every one of these.
    All(Vec<Condition>),
    /// At least one of these.
    Any(Vec<Condition>),
}

impl Condition {
    /// The attribute has this value.
    pub fn equals(attribute: &'static str, expected: impl Serialize) -> Self {
        Self::Equals(attribute, value(expected))
    }

    /// The attribute has the value that was read; where none was read, it is still not there.
    pub fn unchanged<T: Serialize>(attribute: &'static str, seen: Option<T>) -> Self {
        match seen {
            Some(seen) => Self::equals(attribute, seen),
            None => Self::Any(vec![Self::Missing(attribute), Self::Equals(attribute, AttributeValue::Null(true))]),
        }
    }

    pub(super) fn render(self, expressions: &mut Expressions) -> String {
        match self {
            Self::Absent => "attribute_not_exists(pk)".to_owned(),
            Self::Exists => "attribute_exists(pk)".to_owned(),
            Self::Missing(attribute) => format!("attribute_not_exists({})", expressions.name(attribute)),
            Self::Equals(attribute, value) => compare(expressions, attribute, "=", value),
            Self::AtLeast(attribute, value) => compare(expressions, attribute, ">=", value),
            Self::Below(attribute, value) => compare(expressions, attribute, "<", value),
            Self::OneOf(attribute, values) => {
                let name = expressions.name(attribute);
                let values: Vec<_> = values.into_iter().map(|value| expressions.value(value)).collect();
                format!("{name} IN ({})", values.join(", "))
            }
            Self::All(conditions) => join(expressions, conditions, " AND "),
            Self::Any(conditions) => join(expressions, conditions, " OR "),
        }
    }
}

fn compare(expressions: &mut Expressions, attribute: &str, operator: &str, value: AttributeValue) -> String {
    format!("{} {operator} {}", expressions.name(attribute), expressions.value(value))
}

fn join(expressions: &mut Expressions, conditions: Vec<Condition>, word: &str) -> String {
    let parts: Vec<_> = conditions.into_iter().map(|condition| condition.render(expressions)).collect();
    format!("({})", parts.join(word))
}

/// A change of named attributes of one item.
#[derive(Debug)]
pub struct Update {
    key: Key,
    set: Vec<(String, AttributeValue)>,
    add: Vec<(String, i64)>,
    remove: Vec<String>,
    condition: Option<Condition>,
}

impl Update {
    /// No change yet.
    pub fn of(key: Key) -> Self {
        Self { key, set: Vec::new(), add: Vec::new(), remove: Vec::new(), condition: None }
    }

    /// Sets an attribute.
    #[must_use]
    pub fn set(mut self, attribute: &str, new: impl Serialize) -> Self {
        self.set.push((attribute.to_owned(), value(new)));
        self
    }

    /// Sets every attribute of a record, except those named in `but`.
    pub fn set_record<T: Serialize>(mut self, record: &T, but: &[&str]) -> Result<Self> {
        let item = record_item(record)?;
        self.set.extend(item.into_iter().filter(|(name, _)| !but.contains(&name.as_str())));
        Ok(self)
    }

    /// Adds to a number; a missing one counts as 0.
    #[must_use]
    pub fn add(mut self, attribute: impl Into<String>, amount: i64) -> Self {
        self.add.push((attribute.into(), amount));
        self
    }

    /// Removes an attribute.
    #[must_use]
    pub fn remove(mut self, attribute: impl Into<String>) -> Self {
        self.remove.push(attribute.into());
        self
    }

    /// Takes place only if `condition` holds.
    #[must_use]
    pub fn only_if(mut self, condition: Condition) -> Self {
        self.condition = Some(condition);
        self
    }

    fn render(&mut self, expressions: &mut Expressions) -> (String, Option<String>) {
        let mut clauses = Vec::new();
        let set: Vec<_> = std::mem::take(&mut self.set)
            .into_iter()
            .map(|(name, value)| format!("{} = {}", expressions.name(&name), expressions.value(value)))
            .collect();
        let add: Vec<_> = self
            .add
            .iter()
            .map(|(name, n)| format!("{} {}", expressions.name(name), expressions.value(value(n))))
            .collect();
        let remove: Vec<_> = self.remove.iter().map(|name| expressions.name(name)).collect();
        for (word, parts) in [("SET", set), ("ADD", add), ("REMOVE", remove)] {
            if !parts.is_empty() {
                clauses.push(format!("{word} {}", parts.join(", ")));
            }
        }
        let condition = self.condition.take().map(|condition| condition.render(expressions));
        (clauses.join(" "), condition)
    }

    pub(super) fn into_request(mut self, client: &Client, table: &str) -> Result<UpdateItemFluentBuilder> {
        let mut expressions = Expressions::default();
        let (update, condition) = self.render(&mut expressions);
        let (names, values) = expressions.into_parts();
        Ok(client
            .update_item()
            .table_name(table)
            .set_key(Some(self.key.attributes()))
            .update_expression(update)
            .set_condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values))
    }
}

/// One write of a transaction.
#[derive(Debug)]
pub enum Write {
    /// Writes a whole item.
    Put {
        /// The item, keys included.
        item: Item,
        /// What must hold.
        condition: Option<Condition>,
    },
    /// Changes named attributes.
    Update(Update),
    /// Removes an item.
    Delete {
        /// Which item.
        key: Key,
        /// What must hold.
        condition: Option<Condition>,
    },
    /// Changes nothing, but must hold.
    Check {
        /// Which item.
        key: Key,
        /// What must hold.
        condition: Condition,
    },
}

impl Write {
    /// A record under `key`, with further attributes (indexes, TTL).
    pub fn put<T: Serialize>(
        key: &Key,
        record: &T,
        more: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self> {
        let mut item = record_item(record)?;
        item.insert(VERSION_ATTRIBUTE.to_owned(), AttributeValue::N(VERSION.to_owned()));
        item.extend(key.attributes());
        item.extend(more.into_iter().map(|(name, text)| (name.to_owned(), AttributeValue::S(text))));
        Ok(Self::Put { item, condition: None })
    }

    /// The same, provided that nothing stands under `key` yet.
    pub fn put_new<T: Serialize>(
        key: &Key,
        record: &T,
        more: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self> {
        Ok(Self::put(key, record, more)?.only_if(Condition::Absent))
    }

    /// Takes place only if `condition` holds.
    #[must_use]
    pub fn only_if(mut self, new: Condition) -> Self {
        match &mut self {
            Self::Put { condition, .. } | Self::Delete { condition, .. } => *condition = Some(new),
            Self::Update(update) => update.condition = Some(new),
            Self::Check { condition, .. } => *condition = new,
        }
        self
    }

    /// Removes the item under `key`.
    pub fn delete(key: Key) -> Self {
        Self::Delete { key, condition: None }
    }

    /// As a request of its own; an internal error for everything but a put.
    pub(super) fn into_put(self, client: &Client, table: &str) -> Result<PutItemFluentBuilder> {
        let Self::Put { item, condition } = self else { return Err(Error::internal("this write is no put")) };
        let mut expressions = Expressions::default();
        let condition = condition.map(|condition| condition.render(&mut expressions));
        let (names, values) = expressions.into_parts();
        Ok(client
            .put_item()
            .table_name(table)
            .set_item(Some(item))
            .set_condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values))
    }

    pub(super) fn into_item(self, table: &str) -> Result<TransactWriteItem> {
        let mut expressions = Expressions::default();
        let item = TransactWriteItem::builder();
        let built = match self {
            Self::Put { item: attributes, condition } => {
                let condition = condition.map(|condition| condition.render(&mut expressions));
                let (names, values) = expressions.into_parts();
                types::Put::builder()
                    .table_name(table)
                    .set_item(Some(attributes))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .build()
                    .map(|put| item.put(put))
            }
            Self::Update(mut update) => {
                let (text, condition) = update.render(&mut expressions);
                let (names, values) = expressions.into_parts();
                types::Update::builder()
                    .table_name(table)
                    .set_key(Some(update.key.attributes()))
                    .update_expression(text)
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .build()
                    .map(|update| item.update(update))
            }
            Self::Delete { key, condition } => {
                let condition = condition.map(|condition| condition.render(&mut expressions));
                let (names, values) = expressions.into_parts();
                types::Delete::builder()
                    .table_name(table)
                    .set_key(Some(key.attributes()))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .build()
                    .map(|delete| item.delete(delete))
            }
            Self::Check { key, condition } => {
                let condition = condition.render(&mut expressions);
                let (names, values) = expressions.into_parts();
                types::ConditionCheck::builder()
                    .table_name(table)
                    .set_key(Some(key.attributes()))
                    .condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .build()
                    .map(|check| item.condition_check(check))
            }
        };
        Ok(built.map_err(Error::internal)?.build())
    }
}

impl From<Update> for Write {
    fn from(update: Update) -> Self {
        Self::Update(update)
    }
}
