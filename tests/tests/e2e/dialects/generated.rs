//! What holds for every call of every dialect, generated from its operations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use holdfast_functions::dialects::Dialect;
use holdfast_functions::http::operation::{Access, Call};
use holdfast_shared::domain::ability::Ability;
use holdfast_shared::service::Window;
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::table::RawTable;
use holdfast_tests::{Answer, Client, Installation, Setup};
use http::Method;
use serde_json::Value;

use crate::abilities::{all_but_the_trail, client};
use crate::audit::events;
use crate::bad_fields::bad_values;
use crate::isolation::{telling, unknown};
use crate::members::places;
use crate::openapi::run_schemathesis;
use crate::sound_bodies::CANARY;
use crate::world::{World, fill_in, installation, route, text};

/// The token that an installation is made with.
const FIRST_TOKEN: u64 = 1;

/// How the generated tests speak a dialect.
pub trait Wire {
    /// Which one.
    const DIALECT: Dialect;
    /// Members whose bad values are taken after all, as `path member value`, for a reason that stands beside.
    const TAKEN: &'static [&'static str] = &[];

    /// What a call's path names, as [`World::names`] knows it, in order.
    fn kinds(call: &Call) -> Vec<&'static str>;

    /// A body that the call takes, with [`CANARY`] in every secret; `None` where it reads none.
    fn body(world: &World, call: &Call) -> Option<Value>;

    /// The call's path to records that were made for it alone.
    async fn fresh_path(world: &World, call: &Call) -> String;

    /// Its calls: those that it documents, unless one path takes them all.
    fn calls() -> Vec<Call> {
        (Self::DIALECT.operations)().into_iter().map(|operation| operation.call).collect()
    }

    /// The call's path to the records with these names, in order.
    fn path(call: &Call, names: &[String]) -> String {
        fill_in(call, names)
    }

    /// The request that makes the call: its method, its path and its body.
    fn request(call: &Call, path: &str, body: Option<&Value>) -> (Method, String, Option<Value>) {
        (call.method.clone(), path.to_owned(), body.cloned())
    }

    /// Panics unless the answer is a failure as the vendor words it, of what has this status on the native surface.
    fn assert_failure(answer: &Answer, status: u16, what: &str);
}

/// The call's path to the records of a world.
fn path<W: Wire>(world: &World, call: &Call) -> String {
    W::path(call, &W::kinds(call).into_iter().map(|kind| text(world.id(kind))).collect::<Vec<_>>())
}

async fn send<W: Wire>(world: &World, api: &Client, call: &Call, path: &str, body: Option<&Value>) -> Answer {
    let (method, path, body) = W::request(call, path, body);
    world.call_as(api, &method, &path, body.as_ref()).await
}

async fn target<W: Wire>(world: &World, call: &Call) -> String {
    if call.is_mutating() { W::fresh_path(world, call).await } else { path::<W>(world, call) }
}

/// Nothing of ours shows in a failure.
fn assert_clean(answer: &Answer, what: &str) {
    let text = answer.text();
    for word in ["panicked", "src/", "<html", "DynamoDb", CANARY] {
        assert!(!text.contains(word), "{what} tells {word}: {text}");
    }
    assert!(!answer.header("x-request-id").is_empty(), "{what} has no X-Request-Id");
}

pub async fn nobody_passes_without_a_token<W: Wire>() {
    let installation = installation().await;
    let world = World::first(&installation).await;
    let table = RawTable::of(&installation);
    for call in W::calls().iter().filter(|call| call.access != Access::Open) {
        let (path, body, what) = (path::<W>(&world, call), W::body(&world, call), route(call));
        let before = all_but_the_trail(&table).await;
        for token in ["", "hf_wrong"] {
            let answer = send::<W>(&world, &installation.api.with_token(token), call, &path, body.as_ref()).await;
            W::assert_failure(&answer, 401, &what);
            assert_clean(&answer, &what);
        }
        assert!(all_but_the_trail(&table).await == before, "{what} changed something");
        // So that the address is not held up: it failed often.
        installation.advance(jiff::SignedDuration::from_mins(2));
    }
}

pub async fn each_call_needs_its_ability_and_no_other<W: Wire>() {
    let installation = installation().await;
    let world = World::first(&installation).await;
    let table = RawTable::of(&installation);
    for call in W::calls() {
        let Access::Needs(ability) = call.access else { continue };
        let (what, path, body) = (route(&call), target::<W>(&world, &call).await, W::body(&world, &call));
        let exactly = client(&installation, [ability]).await;
        let others = client(&installation, Ability::all().filter(|other| *other != ability)).await;
        let before = all_but_the_trail(&table).await;
        let answer = send::<W>(&world, &others, &call, &path, body.as_ref()).await;
        W::assert_failure(&answer, 403, &what);
        assert!(all_but_the_trail(&table).await == before, "{what} changed something");
        let answer = send::<W>(&world, &exactly, &call, &path, body.as_ref()).await;
        assert!(answer.status.is_success(), "{what} with {ability}: {} {}", answer.status, answer.text());
    }
}

pub async fn what_another_account_has_is_unknown<W: Wire>() {
    let installation = installation().await;
    let (first, second) = (World::first(&installation).await, World::second(&installation).await);
    let table = RawTable::of(&installation);
    let before = table.records(&format!("A#{}", second.account)).await;
    for call in W::calls() {
        let (kinds, what) = (W::kinds(&call), route(&call));
        for (at, kind) in kinds.iter().enumerate() {
            for theirs in second.names(kind) {
                let ask = async |id: &Value| {
                    let ids = kinds.iter().enumerate();
                    let ids = ids.map(|(other, kind)| text(if other == at { id } else { first.id(kind) }));
                    let path = W::path(&call, &ids.collect::<Vec<_>>());
                    send::<W>(&first, &first.api, &call, &path, W::body(&first, &call).as_ref()).await
                };
                let nobodys = unknown(theirs);
                let (asked, expected) = (ask(theirs).await, ask(&nobodys).await);
                assert_eq!(telling(&asked, theirs), telling(&expected, &nobodys), "{what}: {theirs} is known");
                W::assert_failure(&asked, 404, &what);
            }
        }
    }
    assert!(table.records(&format!("A#{}", second.account)).await == before, "the second account was changed");
}

pub async fn each_mutating_call_is_one_event<W: Wire>() {
    let installation = installation().await;
    let world = World::first(&installation).await;
    for call in W::calls().iter().filter(|call| call.is_mutating()) {
        let (what, path, body) = (route(call), W::fresh_path(&world, call).await, W::body(&world, call));
        let before = events(&world.api, "").await;
        let answer = send::<W>(&world, &world.api, call, &path, body.as_ref()).await;
        assert!(answer.status.is_success(), "{what}: {} {}", answer.status, answer.text());
        let after = events(&world.api, "").await;
        let new: Vec<_> = after.iter().take_while(|event| Some(*event) != before.first()).collect();
        assert_eq!(new.len(), 1, "{what}: {new:?}");
        assert_eq!(
            (&new[0]["action"], new[0]["status"].as_u64()),
            (&what.clone().into(), Some(answer.status.as_u16().into()))
        );
        assert!(new[0]["changes"].as_object().is_some_and(|changes| !changes.is_empty()), "{what}: {}", new[0]);
        assert!(!new[0].to_string().contains(CANARY), "{what}: {}", new[0]);
    }
}

pub async fn bad_values_are_refused_and_change_nothing<W: Wire>() {
    let installation = installation().await;
    let world = World::first(&installation).await;
    let table = RawTable::of(&installation);
    for call in W::calls() {
        let Some(sound) = W::body(&world, &call) else { continue };
        let (route, path) = (route(&call), W::fresh_path(&world, &call).await);
        let before = table.records("A#").await;
        for place in places(call.body.as_deref().unwrap_or_default()) {
            for (value_name, value) in bad_values(&place) {
                let taken = format!("{} {} {value_name}", call.path, place.dotted());
                if W::TAKEN.contains(&taken.as_str()) {
                    continue;
                }
                let answer = send::<W>(&world, &world.api, &call, &path, Some(&place.put(&sound, value))).await;
                let what = format!("{route}: {} {value_name}", place.dotted());
                W::assert_failure(&answer, 422, &what);
                assert!(answer.text().contains(place.name()), "{what} does not name it: {}", answer.text());
                assert_clean(&answer, &what);
            }
        }
        assert!(table.records("A#").await == before, "{route} changed something that it refused");
    }
}

pub async fn what_is_no_request_is_refused<W: Wire>() {
    let installation = installation().await;
    let world = World::first(&installation).await;
    let api = &installation.api;
    let with_body = W::calls().into_iter().filter(|call| call.body.is_some());
    for call in with_body {
        let (what, path) = (route(&call), path::<W>(&world, &call));
        let (method, path, _) = W::request(&call, &path, None);
        let send = async |kind: &str, body: Bytes| {
            api.send(api.request(method.clone(), &path).header("content-type", kind), body).await
        };
        let large = Bytes::from(format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20)));
        let cases = [
            (send("application/json", Bytes::from_static(b"{\"a\":")).await, 400),
            (send("application/json", Bytes::from_static(b"[]")).await, 400),
            (send("application/xml", Bytes::from_static(b"<a/>")).await, 415),
            (send("application/json", large).await, 413),
        ];
        for (answer, status) in cases {
            W::assert_failure(&answer, status, &what);
            assert_clean(&answer, &what);
        }
    }
    for top in W::DIALECT.paths.iter().filter(|top| **top != "/") {
        let nowhere = api.get(&format!("{top}/1/2/3/4/nowhere")).await;
        W::assert_failure(&nowhere, 404, top);
        let odd = api.send(api.request(Method::TRACE, top), Bytes::new()).await;
        W::assert_failure(&odd, 405, top);
    }
}

pub async fn a_table_that_does_not_answer_and_a_full_window_are_told<W: Wire>() {
    let is_down = Arc::new(AtomicBool::new(false));
    let down = is_down.clone();
    let proxy = Proxy::start(move |_, _| if down.load(Ordering::SeqCst) { Harm::Unavailable } else { Harm::None });
    let setup = Setup { table_proxy: Some(proxy.await), no_worker: true, ..Setup::default() };
    let installation = Installation::start_with(setup).await;
    let world = World::first(&installation).await;
    let call = W::calls().into_iter().find(|call| call.method == Method::GET && call.access != Access::Open).unwrap();
    let path = path::<W>(&world, &call);
    is_down.store(true, Ordering::SeqCst);
    let answer = send::<W>(&world, &world.api, &call, &path, None).await;
    W::assert_failure(&answer, 503, &route(&call));
    assert_clean(&answer, &route(&call));
    assert!(!answer.header("retry-after").is_empty());
    is_down.store(false, Ordering::SeqCst);
    let (service, account) = (installation.service(), installation.account());
    for _ in 0..20 {
        let window = Window::at(service.clock.now());
        service.take_permits(&account, FIRST_TOKEN, window, 1_000_000).await.unwrap();
        let answer = send::<W>(&world, &world.api, &call, &path, None).await;
        // Another window may have begun meanwhile.
        if !answer.header("retry-after").is_empty() {
            return W::assert_failure(&answer, 429, &route(&call));
        }
    }
    panic!("no window was ever full");
}

pub async fn every_answer_is_as_documented<W: Wire>() {
    let installation = installation().await;
    let _world = World::first(&installation).await;
    let document = format!("/v1/openapi/{}.json", W::DIALECT.name);
    run_schemathesis(&installation, &document, (W::DIALECT.operations)().len()).await;
}

/// The tests of this file for one dialect.
macro_rules! generated {
    ($wire:ty: $($name:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::dialects::generated::$name::<$wire>().await;
            }
        )+
    };
    ($wire:ty) => {
        crate::dialects::generated::generated!(
            $wire:
            nobody_passes_without_a_token,
            each_call_needs_its_ability_and_no_other,
            what_another_account_has_is_unknown,
            each_mutating_call_is_one_event,
            bad_values_are_refused_and_change_nothing,
            what_is_no_request_is_refused,
            a_table_that_does_not_answer_and_a_full_window_are_told,
            every_answer_is_as_documented,
        );
    };
}
pub(super) use generated;
