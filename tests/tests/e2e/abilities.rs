//! Abilities: each call needs one, as its operation says, and no other lets it pass.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_functions::http::operation::{Access, Call};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_tests::installation::Host;
use holdfast_tests::{Answer, Client, Installation, Setup};
use http::Method;
use serde_json::{Value, json};

/// A client whose token has these abilities.
async fn client(installation: &Installation, abilities: impl IntoIterator<Item = Ability>) -> Client {
    let abilities = abilities.into_iter().map(|ability| ability.to_string()).collect();
    let (_, text) = installation.service().create_token(&installation.account(), "some", abilities).await.unwrap();
    installation.api.with_token(text.expose())
}

/// Makes a call on records that nobody has.
async fn make(client: &Client, call: &Call) -> Answer {
    let segments = call.path.split('/').map(|segment| if segment.starts_with('{') { "999999" } else { segment });
    let path = segments.collect::<Vec<_>>().join("/");
    let request = client.request(call.method.clone(), &path).header("content-type", "application/json");
    let has_body = matches!(call.method, Method::POST | Method::PATCH | Method::PUT);
    client.send(request, if has_body { Bytes::from_static(b"{}") } else { Bytes::new() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_needs_its_ability_and_no_other() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let mut calls: BTreeMap<String, (Ability, Vec<Call>)> = BTreeMap::new();
    for call in holdfast_functions::api::operations().into_iter().map(|operation| operation.call) {
        if let Access::Needs(ability) = call.access {
            calls.entry(ability.to_string()).or_insert((ability, Vec::new())).1.push(call);
        }
    }
    assert!(calls.len() > 10, "operations no longer say what they need: {:?}", calls.keys());
    for (name, (ability, calls)) in calls {
        let exactly = client(&installation, [ability]).await;
        let others = client(&installation, Ability::all().filter(|other| *other != ability)).await;
        for call in calls {
            let what = format!("{} {}", call.method, call.path);
            let answer = make(&others, &call).await;
            assert_eq!(answer.status, 403, "{what} without {name}: {}", answer.text());
            assert_eq!(answer.json()["message"], format!("this token lacks the ability {name}"), "{what}");
            let answer = make(&exactly, &call).await;
            assert!(!matches!(answer.status.as_u16(), 401 | 403 | 500..), "{what} with {name}: {}", answer.text());
        }
    }
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
