//! What the worker and the maintenance rely on in SQS.

use aws_sdk_sqs::config::Credentials;
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::operation::delete_message::DeleteMessageError;
use aws_sdk_sqs::operation::receive_message::ReceiveMessageError;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, Message, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName,
    SendMessageBatchRequestEntry,
};

use crate::messaging::{Messaging, sqs, unique};

impl Messaging {
    async fn send(&self, url: &str, body: &str) {
        self.sqs.send_message().queue_url(url).message_body(body).send().await.unwrap();
    }

    /// Waits for one message.
    async fn receive(&self, url: &str) -> Message {
        let receive = self.sqs.receive_message().queue_url(url).wait_time_seconds(20);
        let receive = receive.message_attribute_names("All");
        let answer = receive.message_system_attribute_names(MessageSystemAttributeName::All).send().await.unwrap();
        answer.messages.unwrap().remove(0)
    }
}

#[tokio::test]
async fn a_message_goes_through_and_is_deleted() {
    let aws = Messaging::start().await;
    let url = aws.queue(&[]).await;
    let text = |value: &str| MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap();
    let bytes =
        MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([0, 1, 2])).build().unwrap();
    let send = aws.sqs.send_message().queue_url(&url).message_body("hello ☃").message_group_id("account-7");
    let sent = send.message_attributes("a", text("b")).message_attributes("raw", bytes.clone()).send().await.unwrap();
    let message = aws.receive(&url).await;
    assert_eq!(message.body(), Some("hello ☃"));
    assert_eq!(message.message_id(), sent.message_id());
    assert_eq!(message.md5_of_body(), sent.md5_of_message_body());
    assert_eq!(message.md5_of_message_attributes(), sent.md5_of_message_attributes());
    assert_eq!(message.message_attributes().unwrap()["raw"], bytes);
    let attributes = message.attributes().unwrap();
    assert_eq!(attributes[&MessageSystemAttributeName::MessageGroupId], "account-7");
    assert_eq!(attributes[&MessageSystemAttributeName::ApproximateReceiveCount], "1");
    assert!(attributes[&MessageSystemAttributeName::SentTimestamp].parse::<i64>().unwrap() > 1_600_000_000_000);

    let handle = message.receipt_handle().unwrap();
    aws.sqs.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
    let left = aws.sqs.receive_message().queue_url(&url).visibility_timeout(0).send().await.unwrap();
    assert!(left.messages().is_empty());
}

#[tokio::test]
async fn a_message_that_nobody_deletes_comes_again_and_ends_as_a_dead_letter() {
    let aws = Messaging::start().await;
    let dead = aws.queue(&[]).await;
    let policy = serde_json::json!({"deadLetterTargetArn": aws.arn(&dead).await, "maxReceiveCount": 2}).to_string();
    let url = aws.queue(&[("VisibilityTimeout", "1"), ("RedrivePolicy", &policy)]).await;
    aws.send(&url, "a").await;
    for count in ["1", "2"] {
        // The long poll returns when the visibility runs out, not at its own end.
        let message = aws.receive(&url).await;
        assert_eq!(message.attributes().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount], count);
    }
    let look = aws.sqs.receive_message().queue_url(&url).wait_time_seconds(2).send().await.unwrap();
    assert!(look.messages().is_empty());
    assert_eq!(aws.receive(&dead).await.body(), Some("a"));
}

#[tokio::test]
async fn visibility_is_changed_while_in_flight() {
    let aws = Messaging::start().await;
    let url = aws.queue(&[]).await;
    aws.send(&url, "a").await;
    let message = aws.receive(&url).await;
    let handle = message.receipt_handle().unwrap();
    let change = |seconds| {
        let change = aws.sqs.change_message_visibility().queue_url(&url).receipt_handle(handle);
        change.visibility_timeout(seconds).send()
    };
    change(600).await.unwrap();
    change(0).await.unwrap();
    assert_eq!(aws.receive(&url).await.message_id(), message.message_id());
}

#[tokio::test]
async fn a_waiting_receiver_gets_what_is_sent_meanwhile() {
    let aws = Messaging::start().await;
    let url = aws.queue(&[]).await;
    let started = std::time::Instant::now();
    let (message, ()) = tokio::join!(aws.receive(&url), aws.send(&url, "a"));
    assert_eq!(message.body(), Some("a"));
    assert!(started.elapsed().as_secs() < 10, "woke only at the end of its wait");
}

#[tokio::test]
async fn batches_succeed_and_fail_by_entry() {
    let aws = Messaging::start().await;
    let url = aws.queue(&[("MaximumMessageSize", "1024")]).await;
    let entry =
        |id: &str, body: &str| SendMessageBatchRequestEntry::builder().id(id).message_body(body).build().unwrap();
    let send = aws.sqs.send_message_batch().queue_url(&url);
    let sent = send.entries(entry("a", "a")).entries(entry("b", &"b".repeat(1025))).send().await.unwrap();
    assert_eq!((sent.successful()[0].id(), sent.failed()[0].id()), ("a", "b"));
    assert_eq!((sent.failed()[0].sender_fault(), sent.failed()[0].code()), (true, "InvalidParameterValue"));
    let message = aws.receive(&url).await;
    let handle = message.receipt_handle().unwrap();
    let delete = DeleteMessageBatchRequestEntry::builder().id("a").receipt_handle(handle).build().unwrap();
    let deleted = aws.sqs.delete_message_batch().queue_url(&url).entries(delete).send().await.unwrap();
    assert_eq!(deleted.successful()[0].id(), "a");
    assert!(deleted.failed().is_empty());
}

#[tokio::test]
async fn queues_are_found_counted_emptied_and_deleted() {
    let aws = Messaging::start().await;
    let name = unique("found");
    let create = || aws.sqs.create_queue().queue_name(&name).send();
    let url = create().await.unwrap().queue_url.unwrap();
    assert_eq!(create().await.unwrap().queue_url.unwrap(), url);
    assert_eq!(aws.sqs.get_queue_url().queue_name(&name).send().await.unwrap().queue_url.unwrap(), url);
    assert_eq!(
        aws.sqs.list_queues().queue_name_prefix(&name).send().await.unwrap().queue_urls(),
        std::slice::from_ref(&url)
    );
    aws.send(&url, "a").await;
    let attributes = aws.sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::All);
    let attributes = attributes.send().await.unwrap().attributes.unwrap();
    assert_eq!(attributes[&QueueAttributeName::ApproximateNumberOfMessages], "1");
    assert_eq!(attributes[&QueueAttributeName::VisibilityTimeout], "30");
    aws.sqs.purge_queue().queue_url(&url).send().await.unwrap();
    let set = aws.sqs.set_queue_attributes().queue_url(&url).attributes(QueueAttributeName::DelaySeconds, "900");
    set.send().await.unwrap();
    aws.send(&url, "a").await;
    assert!(aws.sqs.receive_message().queue_url(&url).send().await.unwrap().messages().is_empty());
    aws.sqs.delete_queue().queue_url(&url).send().await.unwrap();
}

#[tokio::test]
async fn a_mebibyte_passes_however_it_is_escaped() {
    let aws = Messaging::start().await;
    let url = aws.queue(&[]).await;
    // Each of these takes two bytes in the request.
    let body = "\"".repeat(1_048_576);
    aws.send(&url, &body).await;
    assert!(aws.receive(&url).await.body() == Some(&body));
}

#[tokio::test]
async fn errors_reach_the_sdk_under_their_names() {
    let aws = Messaging::start().await;
    let url = aws.queue(&[]).await;
    let absent = format!("{url}-absent");
    let error = aws.sqs.receive_message().queue_url(&absent).send().await.unwrap_err().into_service_error();
    assert!(matches!(error, ReceiveMessageError::QueueDoesNotExist(_)), "{error:?}");
    let error = aws.sqs.delete_message().queue_url(&url).receipt_handle("?").send().await.unwrap_err();
    let error = error.into_service_error();
    assert!(matches!(error, DeleteMessageError::ReceiptHandleIsInvalid(_)), "{error:?}");
    let error = aws.sqs.send_message().queue_url(&url).message_body("a".repeat(1_048_577)).send().await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidParameterValue"));
}

#[tokio::test]
async fn strangers_are_refused() {
    let aws = Messaging::start().await;
    for (key, secret, code) in
        [("stranger", "conformance", "UnrecognizedClientException"), ("conformance", "wrong", "SignatureDoesNotMatch")]
    {
        let client = sqs(&aws.endpoint, Credentials::new(key, secret, None, None, "test"));
        let error = client.list_queues().send().await.unwrap_err();
        // A real AWS knows neither key.
        let external = std::env::var("HOLDFAST_CONFORMANCE_ENDPOINT").is_ok();
        assert!(external || error.code() == Some(code), "{error:?}");
    }
}
