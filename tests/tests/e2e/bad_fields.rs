//! Bad values of every member of every body, generated from the schemas: each is refused by its name, and changes nothing.
//!
//! What only a person would think of is in `bad_input.rs`.

use std::collections::BTreeSet;

use holdfast_functions::http::operation::Call;
use holdfast_tests::Answer;
use holdfast_tests::table::RawTable;
use http::Method;
use serde_json::{Value, json};

use crate::members::{Place, places};
use crate::sound_bodies::CANARY;
use crate::world::{World, calls, installation, route};

/// A value that is refused, or that takes the member away, and what it is called.
pub type Bad = (&'static str, Option<Value>);

/// What is taken although it looks bad: path, member, what it is called, and why.
const TAKEN: [(&str, &str, &str, &str); 4] = [
    ("/v1/crontab-servers/{id}/alerts", "command", "a NUL", "a command is kept byte by byte"),
    ("/v1/crontabs", "content", "a NUL", "a crontab is kept byte by byte"),
    ("/v1/crontabs", "content", "too long", "its bound is that of the body"),
    ("/v1/crontabs", "content", "empty", "a crontab can be emptied"),
];

/// Members that decide which others are read: while one of them is wrong, those are not.
const DECIDE: [(&str, &str); 4] = [
    ("/v1/notification-streams", "type"),
    ("/v1/jobs", "compute.type"),
    ("/v1/jobs/{id}", "compute.type"),
    ("/v1/jobs/{id}", "recipe_id"),
];

/// What an operation may leave out only beside something else: path, member, and why.
const NEEDED: [(&str, &str, &str); 6] = [
    ("/v1/storages", "endpoint", "of the provider custom"),
    ("/v1/storage", "endpoint", "of the provider custom"),
    ("/v1/notification-streams", "url", "of the type webhook"),
    ("/v1/jobs", "recipe", "without recipe_id"),
    ("/v1/jobs", "compute.server_id", "of the type server"),
    ("/v1/jobs/{id}", "compute.server_id", "of the type server"),
];

/// Values of which each is refused wherever a member of that form may stand.
pub fn bad_values(place: &Place) -> Vec<Bad> {
    let schema = &place.schema;
    let mut bad: Vec<(&'static str, Value)> = match place.kind() {
        "string" => {
            let too_long = schema["maxLength"].as_u64().map_or(100_000, |most| most as usize + 1);
            let mut bad = vec![
                ("an object", json!({"a": 1})),
                ("a list", json!(["x"])),
                ("a boolean", json!(true)),
                ("a NUL", json!("a\0b")),
                ("too long", json!("x".repeat(too_long))),
            ];
            if schema["enum"].is_array() || schema["format"].is_string() {
                bad.push(("another word", json!("yesterday")));
            }
            bad
        }
        "integer" => {
            let mut bad = vec![
                ("a word", json!("many")),
                ("a fraction", json!(1.5)),
                ("a boolean", json!(true)),
                ("a list", json!([1])),
                ("an object", json!({"a": 1})),
                ("a huge number", json!(1e30)),
            ];
            bad.extend(schema["minimum"].as_i64().map(|least| ("too small", json!(least - 1))));
            bad.extend(schema["maximum"].as_i64().map(|most| ("too large", json!(most + 1))));
            bad
        }
        "boolean" => vec![
            ("a word", json!("maybe")),
            ("a number", json!(2)),
            ("a list", json!([true])),
            ("an object", json!({"a": true})),
        ],
        "array" => vec![("a word", json!("x")), ("a number", json!(7)), ("an object", json!({"a": 1}))],
        "object" => vec![("a word", json!("x")), ("a number", json!(7)), ("a list", json!([1]))],
        // Whatever JSON can hold.
        _ => Vec::new(),
    };
    if place.is_required {
        bad.push(("null", Value::Null));
        if matches!(place.kind(), "string" | "integer" | "boolean") {
            bad.push(("empty", json!("")));
        }
    }
    let is_missing = place.is_required && !place.is_element();
    let bad = bad.into_iter().map(|(what, value)| (what, Some(value)));
    bad.chain(is_missing.then_some(("missing", None))).collect()
}

/// Values that count as none where a member may be left out.
fn absent_values(place: &Place) -> Vec<Bad> {
    match place.is_required {
        true => Vec::new(),
        false => vec![("null", Some(Value::Null)), ("missing", None)],
    }
}

fn is_taken(call: &Call, name: &str, what: &str) -> bool {
    TAKEN.iter().any(|(path, member, value, _)| (*path, *member, *value) == (call.path, name, what))
}

/// The names that an answer tells faults of.
fn told(answer: &Answer) -> BTreeSet<String> {
    answer.json()["errors"].as_object().map(|errors| errors.keys().cloned().collect()).unwrap_or_default()
}

/// A world, and what was not as it should be.
struct Matrix {
    world: World,
    table: RawTable,
    wrong: Vec<String>,
    asked: usize,
}

impl Matrix {
    /// One body: 422, exactly these names, and words for each.
    async fn refused(&mut self, call: &Call, path: &str, what: &str, body: &Value, names: &[String]) {
        self.asked += 1;
        let answer = self.world.call(&call.method, path, Some(body)).await;
        let expected: BTreeSet<_> = names.iter().cloned().collect();
        if answer.status != 422 || told(&answer) != expected {
            let (told, text) = (told(&answer), answer.text().chars().take(300).collect::<String>());
            let missing: Vec<_> = expected.difference(&told).collect();
            self.wrong.push(format!("{} {what}: {}, not told {missing:?}: {text}", route(call), answer.status));
        }
        if answer.text().contains(CANARY) {
            self.wrong.push(format!("{} {what}: repeats a secret", route(call)));
        }
    }

    async fn taken(&mut self, call: &Call, what: &str, path: &str, body: &Value) {
        self.asked += 1;
        let answer = self.world.call(&call.method, path, Some(body)).await;
        if !answer.status.is_success() {
            self.wrong.push(format!("{} {what}: {} {}", route(call), answer.status, answer.text()));
        }
    }

    /// All bad values of all places in one body that is sound but for them.
    async fn body(&mut self, call: &Call, sound: &Value, places: &[Place]) {
        let path = self.world.fresh_path(call).await;
        let before = self.table.records("A#").await;
        for place in places {
            let name = place.dotted();
            for (what, value) in bad_values(place) {
                if !is_taken(call, &name, what) {
                    let body = place.put(sound, value);
                    self.refused(call, &path, &format!("{name} {what}"), &body, std::slice::from_ref(&name)).await;
                }
            }
            if matches!(place.kind(), "object") && place.get(sound).is_some() {
                let mut with = place.get(sound).unwrap().clone();
                with["colour"] = json!(1);
                let (body, unknown) = (place.put(sound, Some(with)), format!("{name}.colour"));
                self.refused(call, &path, &unknown, &body, std::slice::from_ref(&unknown)).await;
            }
            let first = place.get(sound).and_then(Value::as_array).and_then(|elements| elements.first());
            if let (Some(first), false) = (first, place.is_element()) {
                let many = place.put(sound, Some(json!(vec![first.clone(); 1_001])));
                let answer = self.world.call(&call.method, &path, Some(&many)).await;
                if answer.status != 422 || !told(&answer).iter().any(|told| told.starts_with(&name)) {
                    self.wrong.push(format!("{} {name} with 1001 elements: {}", route(call), answer.status));
                }
            }
        }
        let mut body = sound.clone();
        body["colour"] = json!(1);
        self.refused(call, &path, "colour", &body, &["colour".to_owned()]).await;
        // A body can be there to be refused whatever it holds.
        if !places.is_empty() {
            self.all_at_once(call, &path, sound, places).await;
        }
        if self.table.records("A#").await != before {
            self.wrong.push(format!("{} changed something that it refused", route(call)));
        }
    }

    /// Every leaf wrong at the same time: every one is told.
    async fn all_at_once(&mut self, call: &Call, path: &str, sound: &Value, places: &[Place]) {
        let is_leaf = |place: &&Place| {
            let holds = |other: &Place| other.path.len() > place.path.len() && other.path.starts_with(&place.path);
            !places.iter().any(holds) && !place.kind().is_empty() && place.schema.get("additionalProperties").is_none()
        };
        let decides = |place: &&Place| DECIDE.contains(&(call.path, place.dotted().as_str()));
        let leaves: Vec<_> = places.iter().filter(is_leaf).filter(|place| !decides(place)).collect();
        let wrong = |body, place: &&Place| place.put(&body, bad_values(place)[0].1.clone());
        let body = leaves.iter().fold(sound.clone(), wrong);
        let names: Vec<_> = leaves.iter().map(|place| place.dotted()).collect();
        self.refused(call, path, "all at once", &body, &names).await;
    }
}

/// One of the operations that read the same body at the same path: they differ in their method only.
fn with_bodies() -> Vec<Call> {
    let mut paths = BTreeSet::new();
    calls().into_iter().filter(|call| call.body.is_some() && paths.insert(call.path)).collect()
}

async fn matrix() -> (Matrix, holdfast_tests::Installation) {
    let installation = installation().await;
    let world = World::first(&installation).await;
    let table = RawTable::of(&installation);
    (Matrix { world, table, wrong: Vec::new(), asked: 0 }, installation)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_value_of_each_member_is_refused_by_its_name() {
    let (mut matrix, _installation) = matrix().await;
    for call in with_bodies() {
        let all = places(call.body.as_deref().unwrap());
        let bodies = matrix.world.bodies(call.path);
        for (index, body) in bodies.iter().enumerate() {
            // A member is tried in the first body that has it.
            let home = |place: &&Place| bodies.iter().position(|body| place.get(body).is_some()).unwrap_or(0) == index;
            matrix.body(&call, body, &all.iter().filter(home).cloned().collect::<Vec<_>>()).await;
        }
        for place in &all {
            for (what, value) in
                bad_values(place).into_iter().filter(|(what, _)| is_taken(&call, &place.dotted(), what))
            {
                let (path, sound) = (matrix.world.fresh_path(&call).await, matrix.world.body(&call).unwrap());
                matrix.taken(&call, what, &path, &place.put(&sound, value)).await;
            }
        }
    }
    let (wrong, asked) = (matrix.wrong, matrix.asked);
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked > 1_000, "only {asked} bodies were sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_may_be_left_out_may_be_null() {
    let (mut matrix, _installation) = matrix().await;
    for call in with_bodies() {
        for place in places(call.body.as_deref().unwrap()) {
            for (what, value) in absent_values(&place) {
                let (path, sound) = (matrix.world.fresh_path(&call).await, matrix.world.body(&call).unwrap());
                let name = place.dotted();
                let is_needed = NEEDED.iter().any(|(path, member, _)| *path == call.path && *member == name);
                if place.get(&sound).is_some() && !is_needed {
                    let body = place.put(&sound, value);
                    matrix.taken(&call, &format!("{} {what}", place.dotted()), &path, &body).await;
                }
            }
        }
    }
    assert!(matrix.wrong.is_empty(), "{}", matrix.wrong.join("\n"));
    assert!(matrix.asked > 100, "only {} bodies were sent", matrix.asked);
}

/// Values of a parameter of a query, where all is text.
fn bad_words(place: &Place) -> Vec<String> {
    let schema = &place.schema;
    let bounds = [("minimum", -1), ("maximum", 1)].map(|(name, by)| Some((schema[name].as_i64()? + by).to_string()));
    let mut bad: Vec<String> = bounds.into_iter().flatten().collect();
    bad.extend(schema["maxLength"].as_u64().map(|most| "x".repeat(most as usize + 1)));
    // Text without a bound means a place in something long: a cursor, a position in a log.
    let is_free = place.kind() == "string" && schema["maxLength"].is_u64();
    bad.extend((!is_free).then(|| "!".to_owned()));
    bad
}

/// A parameter as a query spells it: `tags[manual]`.
fn spelled(place: &Place) -> String {
    let below: String = place.path[1..].iter().map(|step| format!("[{step}]")).collect();
    format!("{}{below}", place.path[0])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_value_of_each_query_is_refused_by_its_name() {
    let (mut matrix, _installation) = matrix().await;
    for call in calls().into_iter().filter(|call| call.method == Method::GET && !call.query.is_empty()) {
        let places = places(&call.query);
        let mut queries = vec![(vec!["colour".to_owned()], "colour=1".to_owned())];
        for place in &places {
            let queries_of = |word: String| (vec![place.dotted()], format!("{}={word}", spelled(place)));
            queries.extend(bad_words(place).into_iter().map(queries_of));
        }
        let leaves: Vec<_> = places.iter().filter(|place| place.kind() != "object").collect();
        let all = leaves.iter().filter_map(|place| Some(format!("{}={}", spelled(place), bad_words(place).pop()?)));
        queries.push((leaves.iter().map(|place| place.dotted()).collect(), all.collect::<Vec<_>>().join("&")));
        for (names, query) in queries {
            matrix.asked += 1;
            let path = format!("{}?{query}", matrix.world.path(&call)).replace('[', "%5B").replace(']', "%5D");
            let answer = matrix.world.call(&call.method, &path, None).await;
            if answer.status != 422 || told(&answer) != names.into_iter().collect() {
                matrix.wrong.push(format!("{path}: {} {}", answer.status, answer.text()));
            }
        }
    }
    assert!(matrix.wrong.is_empty(), "{}", matrix.wrong.join("\n"));
    assert!(matrix.asked > 100, "only {} queries were sent", matrix.asked);
}

/// What `GET /v1/recipes` tells of a recipe's config is a schema too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_setting_of_each_recipe_is_refused_by_its_name() {
    let (mut matrix, _installation) = matrix().await;
    let create = calls().into_iter().find(|call| route(call) == "POST /v1/jobs").unwrap();
    let before = matrix.table.records("A#").await;
    for recipe in matrix.world.api.get("/v1/recipes").await.expect(200).data().as_array().unwrap() {
        let mut sound = matrix.world.body(&create).unwrap();
        (sound["recipe"], sound["config"]) = (recipe["recipe"].clone(), json!({}));
        let fields = recipe["fields"].as_array().unwrap();
        for field in fields.iter().filter(|field| field["required"] == true) {
            sound["config"][field["key"].as_str().unwrap()] = match field["key"].as_str().unwrap() {
                "root_path" | "sqlite_path" => json!("/srv/app"),
                "url" => json!("https://example.net/"),
                other => panic!("bad_fields.rs knows no sound {other}"),
            };
        }
        for field in fields {
            let path = ["config", field["key"].as_str().unwrap()].map(str::to_owned).to_vec();
            let schema = match field["type"].as_str().unwrap() {
                "number" => json!({"type": "integer", "minimum": 0}),
                "checkbox" => json!({"type": "boolean"}),
                "select" => json!({"type": "string", "enum": field["choices"]}),
                "text" | "textarea" | "password" => json!({"type": "string"}),
                other => panic!("bad_fields.rs knows no settings of the type {other}"),
            };
            let place = Place { path, schema, is_required: field["required"] == true, is_nullable: false };
            let name = place.dotted();
            for (what, value) in bad_values(&place) {
                let what = format!("{} {name} {what}", recipe["recipe"]);
                let body = place.put(&sound, value);
                matrix.refused(&create, create.path, &what, &body, std::slice::from_ref(&name)).await;
            }
        }
        sound["config"]["colour"] = json!(1);
        matrix.refused(&create, create.path, "config.colour", &sound, &["config.colour".to_owned()]).await;
    }
    if matrix.table.records("A#").await != before {
        matrix.wrong.push("something was changed".to_owned());
    }
    let (wrong, asked) = (matrix.wrong, matrix.asked);
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked > 200, "only {asked} bodies were sent");
}
