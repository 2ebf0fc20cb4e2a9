//! What the table can do to a request, and what can stand in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::table::RawTable;
use holdfast_tests::{Installation, Setup};
use serde_json::json;

/// An installation whose table does `harm` to the next requests, as many as are set.
async fn behind(harm: Harm) -> (Installation, Arc<AtomicUsize>) {
    let left = Arc::new(AtomicUsize::new(0));
    let counting = left.clone();
    let proxy = Proxy::start(move |_, _| {
        let harmed = counting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if harmed { harm } else { Harm::None }
    });
    let setup = Setup { table_proxy: Some(proxy.await), no_worker: true, ..Setup::default() };
    (Installation::start_with(setup).await, left)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_does_not_answer_is_a_503_that_says_when_to_come_again() {
    for harm in [Harm::Unavailable, Harm::Throttled] {
        let (installation, left) = behind(harm).await;
        let api = &installation.api;
        left.store(usize::MAX, Ordering::SeqCst);
        for answer in [api.get("/v1/jobs").await, api.post("/v1/ssh-keys", json!({"name": "a"})).await] {
            let answer = answer.expect(503);
            assert_eq!(answer.header("retry-after"), "5");
            assert!(!answer.header("x-request-id").is_empty());
            assert!(answer.json()["message"].as_str().unwrap().contains("try again"), "{}", answer.text());
        }
        left.store(0, Ordering::SeqCst);
        assert_eq!(api.get("/v1/ssh-keys").await.expect(200).json()["meta"]["total"], 0);
        assert!(api.get("/v1/audit-events").await.expect(200).data().as_array().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moment_of_it_is_ridden_out() {
    for harm in [Harm::Unavailable, Harm::Throttled, Harm::Reset] {
        let (installation, left) = behind(harm).await;
        left.store(1, Ordering::SeqCst);
        installation.api.post("/v1/ssh-keys", json!({"name": "a"})).await.expect(201);
        assert_eq!(left.load(Ordering::SeqCst), 0, "{harm:?}: nothing was harmed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_is_lost_takes_place_once() {
    let losing = Arc::new(AtomicBool::new(false));
    let armed = losing.clone();
    let proxy = Proxy::start(move |request, _| {
        let target = request.headers().get("x-amz-target").map(|target| target.to_str().unwrap_or_default());
        let is_transaction = target.is_some_and(|target| target.ends_with("TransactWriteItems"));
        if is_transaction && armed.swap(false, Ordering::SeqCst) { Harm::LoseAnswer } else { Harm::None }
    });
    let setup = Setup { table_proxy: Some(proxy.await), no_worker: true, ..Setup::default() };
    let installation = Installation::start_with(setup).await;
    losing.store(true, Ordering::SeqCst);
    installation.api.post("/v1/ssh-keys", json!({"name": "a"})).await.expect(201);
    assert!(!losing.load(Ordering::SeqCst), "nothing was lost");
    let keys = installation.api.get("/v1/ssh-keys").await.expect(200).json();
    assert_eq!((keys["data"].as_array().unwrap().len(), &keys["meta"]["total"]), (1, &json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_another_version_is_told_and_left_as_it_is() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let api = &installation.api;
    api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201);
    api.post("/v1/servers", json!({"name": "web", "host": "127.0.0.1", "user": "a", "ssh_key": 1})).await.expect(201);
    let table = RawTable::of(&installation);
    let mut item = table.item("#SERVERS", "1").await;
    assert_eq!(item["v"], AttributeValue::N("1".to_owned()));
    item.insert("v".to_owned(), AttributeValue::N("2".to_owned()));
    item.insert("new".to_owned(), AttributeValue::S("unknown here".to_owned()));
    table.put(item.clone()).await;
    let answers = [
        api.get("/v1/servers/1").await,
        api.get("/v1/servers").await,
        api.patch("/v1/servers/1", json!({"name": "www"})).await,
        api.delete("/v1/servers/1").await,
        api.post("/v1/servers/1/check", json!({})).await,
    ];
    for answer in answers {
        let answer = answer.expect(500);
        assert!(answer.json()["message"].as_str().unwrap().contains("another version"), "{}", answer.text());
        assert!(!answer.header("x-request-id").is_empty());
    }
    assert_eq!(table.item("#SERVERS", "1").await, item);
}
