//! Multipart uploads.

use super::*;

#[tokio::test]
async fn parts_come_in_any_order_and_may_be_replaced() {
    on_stage(async |stage| {
        let (first, second, last) = (bytes(5 * MIB, 4), bytes(5 * MIB + 1, 5), bytes(100, 6));
        let upload = stage.start("k", None, None).await;
        let p7 = stage.part("k", &upload, 7, &last).await;
        stage.part("k", &upload, 2, b"to be replaced").await;
        let p1 = stage.part("k", &upload, 1, &first).await;
        let p2 = stage.part("k", &upload, 2, &second).await;

        let listed = stage.s3.list_parts().bucket(&stage.bucket).key("k").upload_id(&upload).send().await.unwrap();
        let listed: Vec<_> = listed.parts().iter().map(|p| (p.part_number().unwrap(), p.size().unwrap())).collect();
        assert_eq!(listed, [(1, first.len() as i64), (2, second.len() as i64), (7, 100)]);
        assert!(stage.keys().await.is_empty(), "an upload is no object before it is completed");

        let etags: Vec<u8> =
            [&p1, &p2, &p7].iter().flat_map(|p| hex::decode(p.e_tag().unwrap().trim_matches('"')).unwrap()).collect();
        let done = stage.complete("k", &upload, vec![p1, p2, p7]).send().await.unwrap();
        assert_eq!(done.e_tag().unwrap().len(), "\"\"".len() + 32 + "-3".len());
        assert!(done.e_tag().unwrap().ends_with("-3\""));
        assert_eq!(etags.len(), 48);

        let whole = [first, second, last].concat();
        assert_eq!(stage.get("k").await, whole);
        assert_eq!(stage.uploads().await, 0);
        let across = 5 * MIB - 3..10 * MIB + 5;
        let range = format!("bytes={}-{}", across.start, across.end - 1);
        let got = stage.s3.get_object().bucket(&stage.bucket).key("k").range(range).send().await.unwrap();
        assert_eq!(got.body.collect().await.unwrap().to_vec(), whole[across]);
        assert!(stage.files().is_none_or(|files| files == 3), "the replaced part is gone");
    })
    .await;
}

#[tokio::test]
async fn completing_twice_gives_the_same_answer() {
    on_stage(async |stage| {
        let upload = stage.start("k", None, None).await;
        let part = stage.part("k", &upload, 1, b"bytes").await;
        let first = stage.complete("k", &upload, vec![part.clone()]).send().await.unwrap();
        let second = stage.complete("k", &upload, vec![part.clone()]).send().await.unwrap();
        assert_eq!(first.e_tag(), second.e_tag());
        assert_eq!(stage.get("k").await, b"bytes");

        stage.s3.delete_object().bucket(&stage.bucket).key("k").send().await.unwrap();
        if stage.local.is_some() {
            assert_eq!(refusal(stage.complete("k", &upload, vec![part]).send()).await, "NoSuchUpload");
        }
    })
    .await;
}

#[tokio::test]
async fn an_aborted_upload_leaves_nothing() {
    on_stage(async |stage| {
        let upload = stage.start("k", None, None).await;
        let part = stage.part("k", &upload, 1, b"bytes").await;
        assert_eq!(stage.uploads().await, 1);
        let abort = || stage.s3.abort_multipart_upload().bucket(&stage.bucket).key("k").upload_id(&upload).send();
        abort().await.unwrap();
        assert_eq!(stage.uploads().await, 0);
        assert!(stage.files().is_none_or(|files| files == 0));
        assert_eq!(refusal(stage.complete("k", &upload, vec![part]).send()).await, "NoSuchUpload");
        let late = stage.s3.upload_part().bucket(&stage.bucket).key("k").upload_id(&upload).part_number(2);
        assert_eq!(refusal(late.body(Bytes::from_static(b"late").into()).send()).await, "NoSuchUpload");
        if stage.local.is_some() {
            assert_eq!(refusal(abort()).await, "NoSuchUpload");
        }
        assert!(stage.keys().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_completed_is_refused_and_stays_open() {
    on_stage(async |stage| {
        let upload = stage.start("k", None, None).await;
        let small = stage.part("k", &upload, 1, b"too small").await;
        let last = stage.part("k", &upload, 2, b"last").await;
        let parts = |parts: &[&CompletedPart]| parts.iter().copied().cloned().collect::<Vec<_>>();
        let complete = |named: Vec<CompletedPart>| stage.complete("k", &upload, named).send();
        assert_eq!(refusal(complete(parts(&[&small, &last]))).await, "EntityTooSmall");
        assert_eq!(refusal(complete(parts(&[&last, &small]))).await, "InvalidPartOrder");
        let missing = CompletedPart::builder().part_number(3).e_tag(last.e_tag().unwrap()).build();
        assert_eq!(refusal(complete(vec![missing])).await, "InvalidPart");
        let wrong = CompletedPart::builder().part_number(1).e_tag(last.e_tag().unwrap()).build();
        assert_eq!(refusal(complete(vec![wrong])).await, "InvalidPart");
        assert_eq!(refusal(complete(Vec::new())).await, "MalformedXML");
        let zero = stage.s3.upload_part().bucket(&stage.bucket).key("k").upload_id(&upload).part_number(10_001);
        assert_eq!(refusal(zero.body(Bytes::from_static(b"x").into()).send()).await, "InvalidArgument");
        complete(vec![last]).await.unwrap();
        assert_eq!(stage.get("k").await, b"last");
        assert!(stage.files().is_none_or(|files| files == 1), "parts that were not chosen are gone");
    })
    .await;
}

#[tokio::test]
async fn a_conditional_complete_does_not_overwrite() {
    on_stage(async |stage| {
        let upload = stage.start("k", None, None).await;
        let part = stage.part("k", &upload, 1, b"second").await;
        stage.put("k", "first").await;
        let complete = || stage.complete("k", &upload, vec![part.clone()]).if_none_match("*").send();
        assert_eq!(refusal(complete()).await, "PreconditionFailed");
        assert_eq!(stage.get("k").await, b"first");
        stage.s3.delete_object().bucket(&stage.bucket).key("k").send().await.unwrap();
        if stage.local.is_some() {
            complete().await.unwrap();
            assert_eq!(stage.get("k").await, b"second");
        }
    })
    .await;
}

#[tokio::test]
async fn open_uploads_and_parts_are_listed_in_pages() {
    on_stage(async |stage| {
        for key in ["x/b", "x/a", "x/a", "y"] {
            stage.start(key, None, None).await;
        }
        let list = || stage.s3.list_multipart_uploads().bucket(&stage.bucket).prefix("x/").max_uploads(2);
        let first = list().send().await.unwrap();
        let keys: Vec<_> = first.uploads().iter().map(|upload| upload.key().unwrap()).collect();
        assert_eq!((keys, first.is_truncated()), (vec!["x/a", "x/a"], Some(true)));
        assert!(first.uploads().iter().all(|upload| upload.initiated().is_some()));
        let (key, id) = (first.next_key_marker().unwrap(), first.next_upload_id_marker().unwrap());
        let second = list().key_marker(key).upload_id_marker(id).send().await.unwrap();
        let keys: Vec<_> = second.uploads().iter().map(|upload| upload.key().unwrap()).collect();
        assert_eq!((keys, second.is_truncated()), (vec!["x/b"], Some(false)));

        let upload = stage.start("parts", None, None).await;
        for number in [3, 1, 2] {
            stage.part("parts", &upload, number, b"x").await;
        }
        let mut pages = stage
            .s3
            .list_parts()
            .bucket(&stage.bucket)
            .key("parts")
            .upload_id(&upload)
            .max_parts(2)
            .into_paginator()
            .send();
        let mut numbers = Vec::new();
        while let Some(page) = pages.next().await {
            numbers.push(page.unwrap().parts().iter().map(|part| part.part_number().unwrap()).collect::<Vec<_>>());
        }
        assert_eq!(numbers, [vec![1, 2], vec![3]]);
    })
    .await;
}
