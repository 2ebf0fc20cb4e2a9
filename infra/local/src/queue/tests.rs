use axum::body::Bytes;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::set_clock::SetClock;

const URL: &str = "http://localhost/000000000000/work";

/// One call, as the wire makes it.
pub(crate) async fn act(store: &QueueStore, action: &str, request: Value) -> Result<Value, Fault> {
    let body = Bytes::from(request.to_string());
    wire::act(store, &CancellationToken::new(), action, "http://localhost".to_owned(), &body).await
}

/// Makes a queue of that name, with these attributes.
pub(crate) async fn make(store: &QueueStore, name: &str, attributes: Value) {
    act(store, "CreateQueue", json!({"QueueName": name, "Attributes": attributes})).await.unwrap();
}

/// Receives once from a queue without waiting.
pub(crate) async fn receive(store: &QueueStore, name: &str) -> Vec<Value> {
    let request = json!({
        "QueueUrl": name, "MaxNumberOfMessages": 10, "AttributeNames": ["All"], "MessageAttributeNames": ["All"],
    });
    let mut answer = act(store, "ReceiveMessage", request).await.unwrap();
    serde_json::from_value(answer["Messages"].take()).unwrap()
}

struct Bench {
    dir: tempfile::TempDir,
    clock: Arc<SetClock>,
    store: QueueStore,
}

impl Bench {
    async fn new(attributes: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = SetClock::at("2026-01-01T00:00:00Z");
        let store = QueueStore::open(dir.path(), clock.clone()).unwrap();
        make(&store, "work", attributes).await;
        Self { dir, clock, store }
    }

    async fn act(&self, action: &str, mut request: Value) -> Result<Value, Fault> {
        request["QueueUrl"] = json!(URL);
        act(&self.store, action, request).await
    }

    async fn send(&self, body: &str) {
        self.act("SendMessage", json!({"MessageBody": body})).await.unwrap();
    }

    async fn receive(&self) -> Vec<Value> {
        receive(&self.store, URL).await
    }

    async fn counts(&self) -> [String; 3] {
        let all = self.act("GetQueueAttributes", json!({"AttributeNames": ["All"]})).await.unwrap();
        ["", "NotVisible", "Delayed"].map(|suffix| {
            all["Attributes"][format!("ApproximateNumberOfMessages{suffix}")].as_str().unwrap().to_owned()
        })
    }
}

fn code<T: std::fmt::Debug>(answer: Result<T, Fault>) -> &'static str {
    answer.unwrap_err().code
}

#[tokio::test]
async fn hidden_until_the_visibility_runs_out() {
    let bench = Bench::new(json!({"VisibilityTimeout": "30"})).await;
    bench.send("a").await;
    assert_eq!(bench.counts().await, ["1", "0", "0"]);
    let first = bench.receive().await;
    assert_eq!(first[0]["Attributes"]["ApproximateReceiveCount"], "1");
    assert_eq!(bench.counts().await, ["0", "1", "0"]);
    bench.clock.advance(29);
    assert!(bench.receive().await.is_empty());
    bench.clock.advance(1);
    let second = bench.receive().await;
    assert_eq!(second[0]["Attributes"]["ApproximateReceiveCount"], "2");
    assert_eq!(second[0]["Attributes"]["ApproximateFirstReceiveTimestamp"], "1767225600000");
    assert_ne!(second[0]["ReceiptHandle"], first[0]["ReceiptHandle"]);
}

#[tokio::test]
async fn an_old_receipt_neither_deletes_nor_extends() {
    let bench = Bench::new(json!({})).await;
    bench.send("a").await;
    let old = bench.receive().await[0]["ReceiptHandle"].clone();
    bench.clock.advance(30);
    let extend = |handle: &Value| json!({"ReceiptHandle": handle, "VisibilityTimeout": 60});
    assert_eq!(
        code(bench.act("ChangeMessageVisibility", extend(&old)).await),
        "AWS.SimpleQueueService.MessageNotInflight"
    );
    let new = bench.receive().await[0]["ReceiptHandle"].clone();
    assert_eq!(code(bench.act("ChangeMessageVisibility", extend(&old)).await), "InvalidParameterValue");
    bench.act("DeleteMessage", json!({"ReceiptHandle": old})).await.unwrap();
    assert_eq!(bench.counts().await, ["0", "1", "0"]);
    // The newest receipt still deletes after its visibility ran out.
    bench.clock.advance(31);
    bench.act("DeleteMessage", json!({"ReceiptHandle": new})).await.unwrap();
    bench.act("DeleteMessage", json!({"ReceiptHandle": new})).await.unwrap();
    assert_eq!(bench.counts().await, ["0", "0", "0"]);
    assert_eq!(code(bench.act("DeleteMessage", json!({"ReceiptHandle": "x"})).await), "ReceiptHandleIsInvalid");
}

#[tokio::test]
async fn visibility_is_extended_and_given_back() {
    let bench = Bench::new(json!({})).await;
    bench.send("a").await;
    let handle = bench.receive().await[0]["ReceiptHandle"].clone();
    let change = |seconds: i64| json!({"ReceiptHandle": handle, "VisibilityTimeout": seconds});
    bench.act("ChangeMessageVisibility", change(120)).await.unwrap();
    bench.clock.advance(119);
    assert!(bench.receive().await.is_empty());
    assert_eq!(code(bench.act("ChangeMessageVisibility", change(43_200)).await), "InvalidParameterValue");
    bench.act("ChangeMessageVisibility", change(0)).await.unwrap();
    assert_eq!(bench.receive().await.len(), 1);
}

#[tokio::test]
async fn delays_of_queue_and_message() {
    let bench = Bench::new(json!({"DelaySeconds": "10"})).await;
    bench.send("queue's").await;
    bench.act("SendMessage", json!({"MessageBody": "own", "DelaySeconds": 20})).await.unwrap();
    bench.act("SendMessage", json!({"MessageBody": "none", "DelaySeconds": 0})).await.unwrap();
    assert_eq!(bench.counts().await, ["1", "0", "2"]);
    for (body, seconds) in [("none", 10), ("queue's", 10), ("own", 0)] {
        let received = bench.receive().await;
        assert_eq!((received.len(), &received[0]["Body"]), (1, &json!(body)));
        bench.clock.advance(seconds);
    }
    let long = json!({"MessageBody": "a", "DelaySeconds": 901});
    assert_eq!(code(bench.act("SendMessage", long).await), "InvalidParameterValue");
}

#[tokio::test]
async fn too_many_receives_end_in_the_dead_letter_queue() {
    let bench = Bench::new(json!({})).await;
    make(&bench.store, "dead", json!({})).await;
    let policy = json!({"deadLetterTargetArn": queue_arn("dead"), "maxReceiveCount": 2}).to_string();
    bench.act("SetQueueAttributes", json!({"Attributes": {"RedrivePolicy": policy}})).await.unwrap();
    for body in ["a", "b", "c"] {
        bench.send(body).await;
    }
    for _ in 0..2 {
        assert_eq!(bench.receive().await.len(), 3);
        bench.clock.advance(30);
    }
    bench.send("fresh").await;
    let left = bench.receive().await;
    assert_eq!((left.len(), &left[0]["Body"]), (1, &json!("fresh")));
    let dead = receive(&bench.store, "dead").await;
    assert_eq!(dead.len(), 3);
    assert_eq!(dead[0]["Attributes"]["DeadLetterQueueSourceArn"], queue_arn("work"));
    assert_eq!(dead[0]["Attributes"]["SentTimestamp"], "1767225600000");
    let own = json!({"deadLetterTargetArn": queue_arn("work"), "maxReceiveCount": 2}).to_string();
    let own = bench.act("SetQueueAttributes", json!({"Attributes": {"RedrivePolicy": own}})).await;
    assert_eq!(code(own), "InvalidParameterValue");
}

#[tokio::test]
async fn retention_counts_from_sending() {
    let bench = Bench::new(json!({"MessageRetentionPeriod": "60"})).await;
    bench.send("a").await;
    bench.clock.advance(59);
    assert_eq!(bench.receive().await.len(), 1);
    bench.clock.advance(30);
    assert!(bench.receive().await.is_empty());
    assert_eq!(bench.counts().await, ["0", "0", "0"]);
}

#[tokio::test]
async fn a_batch_fails_entry_by_entry() {
    let bench = Bench::new(json!({"MaximumMessageSize": "1024"})).await;
    let entries = json!([
        {"Id": "good", "MessageBody": "a", "MessageGroupId": "account-7"},
        {"Id": "big", "MessageBody": "a".repeat(1025)},
        {"Id": "empty", "MessageBody": ""},
    ]);
    let answer = bench.act("SendMessageBatch", json!({"Entries": entries})).await.unwrap();
    assert_eq!(answer["Successful"][0]["Id"], "good");
    assert_eq!(answer["Successful"][0]["MD5OfMessageBody"], "0cc175b9c0f1b6a831c399e269772661");
    assert_eq!((&answer["Failed"][0]["Id"], &answer["Failed"][0]["SenderFault"]), (&json!("big"), &json!(true)));
    assert_eq!(answer["Failed"][1]["Code"], "MissingParameter");
    let received = bench.receive().await;
    assert_eq!(received[0]["Attributes"]["MessageGroupId"], "account-7");

    let deletes =
        json!([{"Id": "a", "ReceiptHandle": received[0]["ReceiptHandle"]}, {"Id": "b", "ReceiptHandle": "?"}]);
    let answer = bench.act("DeleteMessageBatch", json!({"Entries": deletes})).await.unwrap();
    assert_eq!((&answer["Successful"][0]["Id"], &answer["Failed"][0]["Id"]), (&json!("a"), &json!("b")));
    assert_eq!(bench.counts().await, ["0", "0", "0"]);

    let entry = |id: &str| json!({"Id": id, "MessageBody": "a"});
    let eleven: Vec<Value> = (0..11).map(|id| entry(&id.to_string())).collect();
    for (entries, expected) in [
        (json!([]), "AWS.SimpleQueueService.EmptyBatchRequest"),
        (json!(eleven), "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"),
        (json!([entry("a"), entry("a")]), "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
        (json!([entry("a b")]), "AWS.SimpleQueueService.InvalidBatchEntryId"),
    ] {
        assert_eq!(code(bench.act("SendMessageBatch", json!({"Entries": entries})).await), expected);
    }
    let half = "a".repeat(600_000);
    let entries = json!([{"Id": "a", "MessageBody": half}, {"Id": "b", "MessageBody": half}]);
    let answer = bench.act("SendMessageBatch", json!({"Entries": entries})).await;
    assert_eq!(code(answer), "AWS.SimpleQueueService.BatchRequestTooLong");
}

#[tokio::test]
async fn size_counts_body_and_attributes_up_to_a_mebibyte() {
    let bench = Bench::new(json!({})).await;
    bench.send(&"a".repeat(1_048_576)).await;
    let attributes = json!({"k": {"DataType": "String", "StringValue": "v"}});
    let request = |length: usize| json!({"MessageBody": "a".repeat(length), "MessageAttributes": attributes});
    bench.act("SendMessage", request(1_048_576 - 8)).await.unwrap();
    assert_eq!(code(bench.act("SendMessage", request(1_048_576 - 7)).await), "InvalidParameterValue");
    assert_eq!(code(bench.act("SendMessage", json!({"MessageBody": "\u{1}"})).await), "InvalidMessageContents");
}

#[tokio::test]
async fn attributes_come_back_as_asked_with_their_checksum() {
    let bench = Bench::new(json!({})).await;
    let attributes = json!({
        "trace.id": {"DataType": "String", "StringValue": "abc"},
        "trace.n": {"DataType": "Number", "StringValue": "7"},
        "raw": {"DataType": "Binary", "BinaryValue": "AAEC"},
    });
    let sent = bench.act("SendMessage", json!({"MessageBody": "a", "MessageAttributes": attributes})).await.unwrap();
    let request = json!({"MessageAttributeNames": ["trace.*"], "VisibilityTimeout": 0});
    let received = bench.act("ReceiveMessage", request).await.unwrap();
    let names: Vec<&String> = received["Messages"][0]["MessageAttributes"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["trace.id", "trace.n"]);
    let all = bench.receive().await;
    assert_eq!(all[0]["MessageAttributes"], attributes);
    assert_eq!(all[0]["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"]);
    let wrong = json!({"MessageBody": "a", "MessageAttributes": {"n": {"DataType": "Number", "StringValue": "x"}}});
    assert_eq!(code(bench.act("SendMessage", wrong).await), "InvalidParameterValue");
}

#[tokio::test]
async fn a_long_poll_wakes_for_a_message_and_for_one_given_back() {
    let bench = Bench::new(json!({"ReceiveMessageWaitTimeSeconds": "20"})).await;
    let poll = |store: QueueStore| tokio::spawn(async move { receive(&store, URL).await });
    let waiting = poll(bench.store.clone());
    bench.send("a").await;
    let handle = waiting.await.unwrap()[0]["ReceiptHandle"].clone();

    let waiting = poll(bench.store.clone());
    let give_back = json!({"ReceiptHandle": handle, "VisibilityTimeout": 0});
    bench.act("ChangeMessageVisibility", give_back).await.unwrap();
    assert_eq!(waiting.await.unwrap().len(), 1);

    let waiting = poll(bench.store.clone());
    bench.clock.advance(30);
    bench.store.wake();
    assert_eq!(waiting.await.unwrap()[0]["Attributes"]["ApproximateReceiveCount"], "3");
}

#[tokio::test]
async fn a_long_poll_ends_with_its_queue_and_with_the_server() {
    let bench = Bench::new(json!({"ReceiveMessageWaitTimeSeconds": "20"})).await;
    let closing = CancellationToken::new();
    closing.cancel();
    let body = Bytes::from(json!({"QueueUrl": URL}).to_string());
    let answer = wire::act(&bench.store, &closing, "ReceiveMessage", String::new(), &body).await.unwrap();
    assert_eq!(answer, json!({"Messages": []}));
    bench.act("DeleteQueue", json!({})).await.unwrap();
    let missing = "AWS.SimpleQueueService.NonExistentQueue";
    assert_eq!(code(bench.act("ReceiveMessage", json!({})).await), missing);
    assert_eq!(code(bench.act("DeleteQueue", json!({})).await), missing);
}

#[tokio::test]
async fn creating_again_finds_the_queue_unless_it_differs() {
    let bench = Bench::new(json!({"VisibilityTimeout": "60"})).await;
    let create = |attributes: Value| bench.act("CreateQueue", json!({"QueueName": "work", "Attributes": attributes}));
    assert_eq!(create(json!({})).await.unwrap()["QueueUrl"], URL);
    create(json!({"VisibilityTimeout": "60", "DelaySeconds": "0"})).await.unwrap();
    assert_eq!(code(create(json!({"VisibilityTimeout": "61"})).await), "QueueAlreadyExists");
    assert_eq!(code(create(json!({"VisibilityTimeout": "43201"})).await), "InvalidAttributeValue");
    assert_eq!(code(create(json!({"Colour": "red"})).await), "InvalidAttributeName");
    let fifo = bench.act("CreateQueue", json!({"QueueName": "work.fifo"})).await;
    assert_eq!(code(fifo), "AWS.SimpleQueueService.UnsupportedOperation");
    assert_eq!(code(bench.act("CreateQueue", json!({"QueueName": "a b"})).await), "InvalidParameterValue");
}

#[tokio::test]
async fn ensuring_changes_what_is_there() {
    let bench = Bench::new(json!({})).await;
    let attributes = |seconds: &str| BTreeMap::from([("VisibilityTimeout".to_owned(), seconds.to_owned())]);
    bench.store.ensure_queue("work", attributes("60")).await.unwrap();
    bench.store.ensure_queue("new", attributes("60")).await.unwrap();
    assert_eq!(code(bench.store.ensure_queue("new", attributes("x")).await), "InvalidAttributeValue");
    let asked = json!({"AttributeNames": ["VisibilityTimeout"]});
    assert_eq!(bench.act("GetQueueAttributes", asked).await.unwrap()["Attributes"], json!(attributes("60")));
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let bench = Bench::new(json!({"VisibilityTimeout": "30"})).await;
    bench.send("hidden").await;
    let handle = bench.receive().await[0]["ReceiptHandle"].clone();
    bench.send("visible").await;
    // The files as they lie at this instant are what a killed process leaves; the log was never checkpointed.
    let after = tempfile::tempdir().unwrap();
    for name in ["queue.sqlite", "queue.sqlite-wal"] {
        std::fs::copy(bench.dir.path().join(name), after.path().join(name)).unwrap();
    }
    let store = QueueStore::open(after.path(), bench.clock.clone()).unwrap();
    let received = receive(&store, URL).await;
    assert_eq!((received.len(), &received[0]["Body"]), (1, &json!("visible")));
    act(&store, "DeleteMessage", json!({"QueueUrl": URL, "ReceiptHandle": handle})).await.unwrap();
    bench.clock.advance(30);
    assert_eq!(receive(&store, URL).await.len(), 1);
}
