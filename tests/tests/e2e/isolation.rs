//! Accounts: what belongs to one does not exist for another.
//!
//! Generated from the list of operations: wherever one takes an id, another account's answers as one that nobody has.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_functions::http::operation::Call;
use holdfast_functions::http::schema;
use holdfast_tests::installation::Host;
use holdfast_tests::table::RawTable;
use holdfast_tests::{Answer, Installation};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::members::{Place, places};
use crate::world::{World, calls, fill_in, installation, parameters, route, text};

/// Members that look like ids and name no record, with what they are.
const NO_IDS: [(&str, &str, &str); 9] = [
    ("/v1/account", "company_id", "a number of the account's own books"),
    ("/v1/jobs", "recipe_id", "recipes are the same for all accounts"),
    ("/v1/jobs/{id}", "recipe_id", "recipes are the same for all accounts"),
    ("/v1/storages", "kms_key_id", "the name of a key in the provider's account"),
    ("/v1/storages/{id}", "kms_key_id", "the name of a key in the provider's account"),
    ("/v1/storage", "kms_key_id", "the name of a key in the provider's account"),
    ("/v1/storage/{id}", "kms_key_id", "the name of a key in the provider's account"),
    ("/v1/notification-streams", "chat_id", "Telegram's number"),
    ("/v1/notification-streams/{id}", "chat_id", "Telegram's number"),
];
/// Members that take the names of records and do not look it.
const NAMES: [&str; 4] = ["server", "servers", "ssh_key", "subject"];

/// Which records a member of a body or a query names; `None` where it names none.
fn kind_of(call: &Call, place: &Place, in_query: bool) -> Option<&'static str> {
    let mut form = schema::Schema(place.schema.clone());
    form.0.as_object_mut().map(|members| members.remove("description"));
    let name = place.name();
    let looks_it = name == "id" || name.ends_with("_id") || form == schema::id() || form == schema::uuid();
    let is_host = in_query && name == "host";
    let is_none = NO_IDS.iter().any(|(path, no_id, _)| *path == call.path && *no_id == name);
    let holds_others = matches!(place.kind(), "array" | "object");
    if holds_others || is_none || !(looks_it || is_host || NAMES.contains(&name)) {
        return None;
    }
    Some(match (place.parent(), name) {
        (_, "servers" | "server_id" | "replica_server_id") => "servers",
        (_, "ssh_key") => "ssh-keys",
        (_, "storage_id") => "storages",
        (_, "encryption_key_id" | "encryption_key_ids") => "encryption-keys",
        (_, "proxy_id") => "proxies",
        (_, "token_id") => "tokens",
        (_, "server") => "identifiers",
        (_, "subject") => "subjects",
        (_, "host") => "hosts",
        (Some("databases"), "id") => "databases",
        (Some("schedules"), "id") => "schedules",
        _ => panic!("{}: isolation.rs does not know whose id {} is", route(call), place.dotted()),
    })
}

/// An id of the same form that nobody has.
pub fn unknown(id: &Value) -> Value {
    let Some(name) = id.as_str() else {
        let nines = "9".repeat(id.to_string().len());
        return json!(nines.parse::<u64>().unwrap());
    };
    if name.parse::<Uuid>().is_ok() {
        let other = Uuid::new_v4();
        return json!(if name.contains('-') { other.to_string() } else { other.simple().to_string() });
    }
    if let Some((start, id)) = name.rsplit_once('/') {
        return json!(format!("{start}/{}", text(&unknown(&json!(id)))));
    }
    json!(format!("{}zz", &name[..name.len() - 2]))
}

/// All of an answer that could tell something, where `id` was asked for.
pub fn telling(answer: &Answer, id: &Value) -> String {
    let told = answer.headers.iter().filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"));
    let headers: Vec<_> = told.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    let encoded = utf8_percent_encode(&text(id), NON_ALPHANUMERIC).to_string();
    let body = answer.text().replace(&text(id), "ID").replace(&encoded, "ID");
    format!("{} {headers:?} {body}", answer.status)
}

/// Two accounts with a world in each, and all that the table holds of the second one.
struct Two {
    first: World,
    second: World,
    table: RawTable,
    before: BTreeMap<(String, String), String>,
    _installation: Installation,
}

impl Two {
    async fn start() -> Self {
        let installation = installation().await;
        let first = World::first(&installation).await;
        let second = World::second(&installation).await;
        let table = RawTable::of(&installation);
        let before = table.records(&format!("A#{}", second.account)).await;
        Self { first, second, table, before, _installation: installation }
    }

    /// Asserts that `ask`, in the first account, answers of the second one's record what it answers of one that nobody
    /// has, and that it touches nothing of the second account. Answers what it answered.
    async fn same(&self, what: &str, id: &Value, ask: impl AsyncFn(&Value) -> Answer) -> Answer {
        let other = unknown(id);
        let (theirs, nobodys) = (ask(id).await, ask(&other).await);
        assert_eq!(telling(&theirs, id), telling(&nobodys, &other), "{what}: {id} is known");
        let after = self.table.records(&format!("A#{}", self.second.account)).await;
        assert!(after == self.before, "{what}: {id} was changed");
        theirs
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_in_a_path_of_another_account_is_unknown() {
    let two = Two::start().await;
    let mut asked = 0;
    for call in calls() {
        let parameters = parameters(&call);
        for (at, kind) in parameters.iter().enumerate() {
            for id in two.second.names(kind) {
                let ask = async |id: &Value| {
                    let ids = parameters.iter().enumerate();
                    let ids = ids.map(|(other, kind)| text(if other == at { id } else { two.first.id(kind) }));
                    let path = fill_in(&call, &ids.collect::<Vec<_>>());
                    two.first.call(&call.method, &path, two.first.body(&call).as_ref()).await
                };
                let answer = two.same(&route(&call), id, ask).await;
                assert_eq!(answer.status, 404, "{} of {id}: {}", route(&call), answer.text());
                asked += 1;
            }
        }
    }
    assert!(asked > 60, "only {asked} ids were asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_reads_finds_its_own() {
    let two = Two::start().await;
    for call in calls().into_iter().filter(|call| call.method == Method::GET) {
        for world in [&two.first, &two.second] {
            let answer = world.call(&call.method, &world.path(&call), None).await;
            assert_eq!(answer.status, 200, "{}: {}", route(&call), answer.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_in_a_body_of_another_account_is_unknown() {
    let two = Two::start().await;
    let mut asked = 0;
    for call in calls() {
        let path = two.first.fresh_path(&call).await;
        for place in places(call.body.as_deref().unwrap_or_default()) {
            let Some(kind) = kind_of(&call, &place, false) else { continue };
            let what = format!("{} {}", route(&call), place.dotted());
            let body = two.first.body(&call).unwrap();
            let ask =
                async |id: &Value| two.first.call(&call.method, &path, Some(&place.put(&body, Some(id.clone())))).await;
            let answer = two.same(&what, two.second.id(kind), ask).await;
            let told = answer.json()["errors"].as_object().cloned().unwrap_or_default();
            assert_eq!(answer.status, 422, "{what}: {}", answer.text());
            assert!(told.contains_key(&place.dotted()), "{what}: {}", answer.text());
            asked += 1;
        }
    }
    assert!(asked > 20, "only {asked} ids were asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_in_a_query_of_another_account_is_unknown() {
    let two = Two::start().await;
    let mut asked = 0;
    for call in calls() {
        for place in places(&call.query) {
            let Some(kind) = kind_of(&call, &place, true) else { continue };
            let (what, path) = (format!("{}?{}", route(&call), place.dotted()), two.first.path(&call));
            let ask = async |id: &Value| {
                let path = format!("{path}?username=root&{}={}", place.dotted(), text(id));
                // Only where the body is the text itself does such a call take a query.
                let request = two.first.api.request(call.method.clone(), &path).header("content-type", "text/plain");
                let path = path.replace("username=root&", "");
                match call.is_mutating() {
                    true => two.first.api.send(request, Bytes::from_static(b"text")).await,
                    false => two.first.call(&call.method, &path, None).await,
                }
            };
            let answer = two.same(&what, two.second.id(kind), ask).await;
            let is_empty = answer.status == 200 && answer.data() == json!([]);
            assert!(is_empty || answer.status == 422, "{what}: {}", answer.text());
            let own = ask(two.first.id(kind)).await;
            assert!(own.status.is_success() && own.data() != json!([]), "{what} finds its own: {}", own.text());
            asked += 1;
        }
    }
    assert!(asked >= 4, "only {asked} ids were asked for");
}

/// What cannot be an id at all is unknown too, and is no reason to fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_id_is_unknown() {
    let installation = installation().await;
    let world = World::first(&installation).await;
    let table = RawTable::of(&installation);
    let long = "9".repeat(300);
    let odd = ["0", "-1", "1.5", "one", "%31%00", "%20", "99999999999999999999", "18446744073709551615", &long];
    let odd = odd.into_iter().chain(["not-a-uuid", "00000000-0000-0000-0000-000000000000", "%E2%98%83", "*", "1;2"]);
    // And an id of something else.
    let others = ["jobs", "backups"].map(|kind| (kind, text(world.id(kind))));
    for call in calls() {
        let parameters = parameters(&call);
        let before = table.records("A#").await;
        for at in 0..parameters.len() {
            let others = others.iter().filter(|(kind, _)| *kind != parameters[at]).map(|(_, id)| id.as_str());
            for odd in odd.clone().chain(others) {
                let ids = parameters.iter().enumerate();
                let ids = ids.map(|(other, kind)| if other == at { odd.to_owned() } else { text(world.id(kind)) });
                let path = fill_in(&call, &ids.collect::<Vec<_>>());
                let answer = world.call(&call.method, &path, world.body(&call).as_ref()).await;
                assert_eq!(answer.status, 404, "{} {path}: {}", call.method, answer.text());
                let told = answer.json()["message"].as_str().is_some_and(|words| words.ends_with(" not found"));
                assert!(told, "{} {path}: {}", call.method, answer.text());
            }
        }
        assert_eq!(table.records("A#").await, before, "{} changed something", route(&call));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_idempotency_key_starts_a_backup_of_each_job() {
    let installation = Installation::start().await;
    let host = Host::start().await;
    host.write("a", "a");
    let first = installation.add_job(&host).await;
    let second = installation.add_job(&host).await;
    let mut started = Vec::new();
    for job in [&first, &second, &first] {
        let path = format!("/v1/jobs/{job}/backups/start");
        let request = installation.api.request(Method::POST, &path).header("idempotency-key", "same");
        let answer = installation.api.send(request, Bytes::new()).await.expect(202).json();
        started.push(answer["backup_id"].as_str().unwrap().to_owned());
    }
    assert_ne!(started[0], started[1]);
    assert_eq!(started[0], started[2]);
    for backup in &started[..2] {
        assert_eq!(installation.ended(backup).await["status"], "completed");
    }
}
