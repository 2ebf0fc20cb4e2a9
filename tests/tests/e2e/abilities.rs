//! Abilities: each call needs one, as its operation says, and no other lets it pass.

use std::collections::BTreeMap;

use holdfast_functions::http::operation::{Access, Call};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::hooks::Hook;
use holdfast_tests::installation::Host;
use holdfast_tests::table::RawTable;
use holdfast_tests::{Client, Installation};
use serde_json::{Value, json};

use crate::world::{self, World, calls, route};

/// A client whose token has these abilities.
pub async fn client(installation: &Installation, abilities: impl IntoIterator<Item = Ability>) -> Client {
    let abilities = abilities.into_iter().map(|ability| ability.to_string()).collect();
    let (_, text) = installation.service().create_token(&installation.account(), "some", abilities).await.unwrap();
    installation.api.with_token(text.expose())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_needs_its_ability_and_no_other() {
    let installation = world::installation().await;
    let world = World::first(&installation).await;
    let table = RawTable::of(&installation);
    let mut needed: BTreeMap<String, (Ability, Vec<Call>)> = BTreeMap::new();
    for call in calls() {
        if let Access::Needs(ability) = call.access {
            needed.entry(ability.to_string()).or_insert((ability, Vec::new())).1.push(call);
        }
    }
    assert!(needed.len() > 10, "operations no longer say what they need: {:?}", needed.keys());
    for (name, (ability, calls)) in needed {
        let exactly = client(&installation, [ability]).await;
        let others = client(&installation, Ability::all().filter(|other| *other != ability)).await;
        let mut sound = Vec::new();
        for call in calls {
            let path = if call.is_mutating() { world.fresh_path(&call).await } else { world.path(&call) };
            let mut body = world.body(&call);
            if let Some(abilities) = body.as_mut().and_then(|body| body.get_mut("abilities")) {
                // A token can give no more than it has.
                *abilities = json!([name]);
            }
            if let Some(members) = body.as_mut().and_then(Value::as_object_mut) {
                // These take an ability of their own beside that of the call.
                members.retain(|member, _| Hook::ALL.iter().all(|hook| hook.field() != member));
            }
            sound.push((call, path, body));
        }
        let before = all_but_the_trail(&table).await;
        for (call, path, body) in &sound {
            let answer = world.call_as(&others, &call.method, path, body.as_ref()).await;
            assert_eq!(answer.status, 403, "{} without {name}: {}", route(call), answer.text());
            let words = format!("this token lacks the ability {name}");
            assert_eq!(answer.json()["message"], words, "{}", route(call));
        }
        assert!(all_but_the_trail(&table).await == before, "something was changed without {name}");
        for (call, path, body) in &sound {
            let answer = world.call_as(&exactly, &call.method, path, body.as_ref()).await;
            assert!(answer.status.is_success(), "{} with {name}: {} {}", route(call), answer.status, answer.text());
        }
    }
}

/// All records but the audit trail, in which refusals stand too.
pub async fn all_but_the_trail(table: &RawTable) -> BTreeMap<(String, String), String> {
    let records = table.records("A#").await.into_iter();
    records.filter(|((pk, _), _)| !pk.contains("#AUDIT#")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_reads_cannot_start_download_or_see_links() {
    let installation = Installation::start().await;
    let host = Host::start().await;
    host.write("a", "a");
    let job = installation.add_job(&host).await;
    let backup = installation.run(&job).await["id"].as_str().unwrap().to_owned();
    let reader = client(&installation, Resource::ALL.map(Ability::Read)).await;

    let refused = reader.post(&format!("/v1/jobs/{job}/backups/start"), json!({})).await.expect(403).json();
    assert!(refused["message"].as_str().unwrap().contains("run-backups"), "{refused}");
    let urls = |backup: &Value| backup["files"].as_array().unwrap().iter().map(|file| file["url"].clone()).collect();
    let listed = reader.get(&format!("/v1/jobs/{job}/backups")).await.expect(200);
    let shown = reader.get(&format!("/v1/backups/{backup}")).await.expect(200);
    let seen: [Vec<Value>; 2] = [urls(&listed.data()[0]), urls(&shown.data())];
    assert_eq!(seen, [vec![Value::Null], vec![Value::Null]]);
    for answer in [&listed, &shown, &reader.get(&format!("/v1/jobs/{job}")).await] {
        assert!(!answer.text().contains("/v1/downloads/"), "{}", answer.text());
    }
    let shown = installation.api.get(&format!("/v1/backups/{backup}")).await.expect(200).data();
    assert!(shown["files"][0]["url"].is_string(), "whoever may download sees the link");
}
