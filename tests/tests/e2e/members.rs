//! The places in a body or a query, as an operation's schema states them.

use holdfast_functions::http::schema::Member;
use serde_json::{Value, json};

/// A place in a body, however deep, or a parameter of a query. Of a list it is the first element.
#[derive(Debug, Clone)]
pub struct Place {
    /// The names on the way to it; `0` in a list.
    pub path: Vec<String>,
    /// What stands there; null beside something else is taken off.
    pub schema: Value,
    /// Whether it must be there.
    pub is_required: bool,
    /// Whether it may be null, which then says something.
    pub is_nullable: bool,
}

impl Place {
    /// Its name as errors tell it: `storage.0.storage_id`.
    pub fn dotted(&self) -> String {
        self.path.join(".")
    }

    /// What it is called, without where it is: of an element, what its list is called.
    pub fn name(&self) -> &str {
        self.path.iter().rev().find(|step| *step != "0").unwrap()
    }

    /// What the object or list that it is in is called, if it is in one.
    pub fn parent(&self) -> Option<&str> {
        self.path.iter().rev().filter(|step| *step != "0").nth(1).map(String::as_str)
    }

    /// Whether it is an element of a list.
    pub fn is_element(&self) -> bool {
        self.path.last().is_some_and(|step| step == "0")
    }

    /// What stands there, `object`, `string` …; empty where it can be anything.
    pub fn kind(&self) -> &str {
        self.schema["type"].as_str().unwrap_or_default()
    }

    /// What a body has there.
    pub fn get<'a>(&self, body: &'a Value) -> Option<&'a Value> {
        self.path.iter().try_fold(body, |at, step| match at {
            Value::Array(elements) => elements.first(),
            at => at.get(step),
        })
    }

    /// The body with `value` there; `None` takes away what is there.
    pub fn put(&self, body: &Value, value: Option<Value>) -> Value {
        let mut body = body.clone();
        put(&mut body, &self.path, value);
        body
    }
}

fn put(at: &mut Value, path: &[String], value: Option<Value>) {
    let Some((step, rest)) = path.split_first() else {
        *at = value.unwrap_or_default();
        return;
    };
    if rest.is_empty() && value.is_none() {
        at.as_object_mut().unwrap().remove(step);
        return;
    }
    if step != "0" {
        if !at.is_object() {
            *at = json!({});
        }
        return put(at.as_object_mut().unwrap().entry(step).or_insert(Value::Null), rest, value);
    }
    if at.as_array().is_none_or(Vec::is_empty) {
        *at = json!([null]);
    }
    put(&mut at[0], rest, value);
}

/// Every place in a body or a query with these members, those that hold others before what they hold.
pub fn places(members: &[Member]) -> Vec<Place> {
    let mut places = Vec::new();
    for member in members {
        add(&mut places, vec![member.name.to_owned()], member.schema.0.clone(), member.required);
    }
    places
}

fn add(places: &mut Vec<Place>, path: Vec<String>, schema: Value, is_required: bool) {
    let is_nullable = schema["anyOf"].is_array();
    let schema = if is_nullable { schema["anyOf"][0].clone() } else { schema };
    places.push(Place { path: path.clone(), schema: schema.clone(), is_required, is_nullable });
    let below = |step: &str| path.iter().cloned().chain([step.to_owned()]).collect::<Vec<_>>();
    if let Some(items) = schema.get("items") {
        add(places, below("0"), items.clone(), true);
    }
    let needed: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        add(places, below(name), schema.clone(), needed.contains(&name.as_str()));
    }
}

#[test]
fn places_are_found_and_filled_in() {
    use holdfast_functions::http::schema::{id, list, object, optional, or_null, required};
    let members = [required("all", list(object([required("id", id())]))), optional("key_id", or_null(id()))];
    let places = places(&members);
    let names: Vec<_> = places.iter().map(Place::dotted).collect();
    assert_eq!(names, ["all", "all.0", "all.0.id", "key_id"]);
    assert!(places[2].is_required && places[3].is_nullable && !places[3].is_required);
    assert_eq!((places[2].name(), places[2].parent()), ("id", Some("all")));
    assert_eq!(places[2].put(&json!({}), Some(json!(7))), json!({"all": [{"id": 7}]}));
    assert_eq!(places[2].put(&json!({"all": [{"id": 7, "x": 1}]}), None), json!({"all": [{"x": 1}]}));
    assert_eq!(places[1].get(&json!({"all": [{"id": 7}]})), Some(&json!({"id": 7})));
}
