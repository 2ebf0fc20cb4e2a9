//! Objects of one piece.

use super::*;

#[tokio::test]
async fn an_object_comes_back_with_its_bytes_headers_and_metadata() {
    on_stage(async |stage| {
        let body = bytes(300_000, 1);
        let put = stage.s3.put_object().bucket(&stage.bucket).key("a/ü b+c%41").body(body.clone().into());
        let put = put.content_type("application/zstd").content_encoding("identity").cache_control("no-store");
        let put =
            put.content_disposition("attachment; filename=\"x\"").metadata("backup", "b-1").metadata("attempt", "2");
        let put = put.send().await.unwrap();

        let got = stage.s3.get_object().bucket(&stage.bucket).key("a/ü b+c%41").send().await.unwrap();
        assert_eq!(got.e_tag(), put.e_tag());
        assert_eq!(got.content_length(), Some(300_000));
        assert_eq!(got.content_type(), Some("application/zstd"));
        assert_eq!(got.content_encoding(), Some("identity"));
        assert_eq!(got.cache_control(), Some("no-store"));
        assert_eq!(got.content_disposition(), Some("attachment; filename=\"x\""));
        let metadata = HashMap::from([("backup".into(), "b-1".into()), ("attempt".into(), "2".into())]);
        assert_eq!(got.metadata(), Some(&metadata));
        let age = now().duration_since(SystemTime::try_from(*got.last_modified().unwrap()).unwrap());
        assert!(age.unwrap_or_default() < Duration::from_secs(60));
        assert_eq!(got.body.collect().await.unwrap().to_vec(), body);
    })
    .await;
}

#[tokio::test]
async fn the_etag_of_one_piece_is_its_md5() {
    on_stage(async |stage| {
        let put = stage.s3.put_object().bucket(&stage.bucket).key("k").body(Bytes::from_static(b"hello").into());
        assert_eq!(put.send().await.unwrap().e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    })
    .await;
}

#[tokio::test]
async fn a_content_md5_is_checked() {
    on_stage(async |stage| {
        let put = |md5: &str| {
            let body = Bytes::from_static(b"hello").into();
            stage.s3.put_object().bucket(&stage.bucket).key("k").body(body).content_md5(md5).send()
        };
        put("XUFAKrxLKna5cZ2REBfFkg==").await.unwrap();
        assert_eq!(refusal(put("AAFAKrxLKna5cZ2REBfFkg==")).await, "BadDigest");
        assert_eq!(refusal(put("nonsense")).await, "InvalidDigest");
    })
    .await;
}

#[tokio::test]
async fn an_empty_object_is_an_object() {
    on_stage(async |stage| {
        stage.put("empty", Bytes::new()).await;
        assert_eq!(stage.get("empty").await, b"");
        let ranged = stage.s3.get_object().bucket(&stage.bucket).key("empty").range("bytes=0-0").send();
        assert_eq!(refusal(ranged).await, "InvalidRange");
    })
    .await;
}

#[tokio::test]
async fn a_put_replaces_what_was_there() {
    on_stage(async |stage| {
        stage.put("k", "first").await;
        stage.put("k", "second").await;
        assert_eq!(stage.get("k").await, b"second");
        assert_eq!(stage.keys().await, ["k"]);
        assert!(stage.files().is_none_or(|files| files == 1));
    })
    .await;
}

#[tokio::test]
async fn ranges_give_exactly_their_bytes() {
    on_stage(async |stage| {
        let body = bytes(1_000_000, 2);
        stage.put("k", body.clone()).await;
        let cases = [
            ("bytes=0-0", 0..1, "bytes 0-0/1000000"),
            ("bytes=262143-262145", 262_143..262_146, "bytes 262143-262145/1000000"),
            ("bytes=999990-", 999_990..1_000_000, "bytes 999990-999999/1000000"),
            ("bytes=-5", 999_995..1_000_000, "bytes 999995-999999/1000000"),
            ("bytes=999999-2000000", 999_999..1_000_000, "bytes 999999-999999/1000000"),
        ];
        for (range, expected, header) in cases {
            let got = stage.s3.get_object().bucket(&stage.bucket).key("k").range(range).send().await.unwrap();
            assert_eq!(got.content_range(), Some(header));
            assert_eq!(got.content_length(), Some(expected.len() as i64));
            assert_eq!(got.body.collect().await.unwrap().to_vec(), body[expected], "{range}");
        }
        let beyond = stage.s3.get_object().bucket(&stage.bucket).key("k").range("bytes=1000000-").send();
        assert_eq!(refusal(beyond).await, "InvalidRange");
    })
    .await;
}

#[tokio::test]
async fn conditional_reads_and_writes() {
    on_stage(async |stage| {
        stage.put("k", "first").await;
        let head = stage.s3.head_object().bucket(&stage.bucket).key("k").send().await.unwrap();
        let etag = head.e_tag().unwrap();
        let get = || stage.s3.get_object().bucket(&stage.bucket).key("k");
        get().if_match(etag).send().await.unwrap();
        assert_eq!(refusal(get().if_match("\"0123\"").send()).await, "PreconditionFailed");
        get().if_none_match("\"0123\"").send().await.unwrap();
        let unchanged = get().if_none_match(etag).send().await.unwrap_err();
        assert_eq!(unchanged.raw_response().unwrap().status().as_u16(), 304);

        let put =
            |key: &str| stage.s3.put_object().bucket(&stage.bucket).key(key).body(Bytes::from_static(b"second").into());
        assert_eq!(refusal(put("k").if_none_match("*").send()).await, "PreconditionFailed");
        assert_eq!(stage.get("k").await, b"first");
        put("new").if_none_match("*").send().await.unwrap();
        assert_eq!(refusal(put("k").if_match("\"0123\"").send()).await, "PreconditionFailed");
        assert_eq!(refusal(put("gone").if_match(etag).send()).await, "NoSuchKey");
        put("k").if_match(etag).send().await.unwrap();
        assert_eq!(stage.get("k").await, b"second");
    })
    .await;
}

#[tokio::test]
async fn deleting_is_idempotent_and_one_request_deletes_many() {
    on_stage(async |stage| {
        stage.put("a", "1").await;
        stage.put("b", "2").await;
        stage.put("c", "3").await;
        for _ in 0..2 {
            stage.s3.delete_object().bucket(&stage.bucket).key("a").send().await.unwrap();
        }
        let named = ["b", "never"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
        let delete = Delete::builder().set_objects(Some(named.to_vec())).build().unwrap();
        let deleted = stage.s3.delete_objects().bucket(&stage.bucket).delete(delete).send().await.unwrap();
        assert_eq!(deleted.deleted().len(), 2);
        assert!(deleted.errors().is_empty());
        assert_eq!(stage.keys().await, ["c"]);
        let gone = stage.s3.get_object().bucket(&stage.bucket).key("a").send();
        assert_eq!(refusal(gone).await, "NoSuchKey");
        let gone = stage.s3.head_object().bucket(&stage.bucket).key("a").send().await.unwrap_err();
        assert!(gone.as_service_error().unwrap().is_not_found());
    })
    .await;
}

#[tokio::test]
async fn a_download_outlives_the_deletion_of_its_object() {
    on_stage(async |stage| {
        let body = bytes(8 * MIB, 3);
        stage.put("k", body.clone()).await;
        let got = stage.s3.get_object().bucket(&stage.bucket).key("k").send().await.unwrap();
        stage.s3.delete_object().bucket(&stage.bucket).key("k").send().await.unwrap();
        assert_eq!(got.body.collect().await.unwrap().to_vec(), body);
    })
    .await;
}

#[tokio::test]
async fn a_copy_outlives_its_source() {
    on_stage(async |stage| {
        let put = stage.s3.put_object().bucket(&stage.bucket).key("from").body(Bytes::from_static(b"bytes").into());
        put.metadata("kept", "yes").send().await.unwrap();
        let source = format!("{}/from", stage.bucket);
        let copy = |to: &str| stage.s3.copy_object().bucket(&stage.bucket).key(to).copy_source(&source);
        copy("to").send().await.unwrap();
        copy("changed").metadata_directive(MetadataDirective::Replace).metadata("new", "1").send().await.unwrap();
        assert_eq!(refusal(copy("from").send()).await, "InvalidRequest");
        stage.s3.delete_object().bucket(&stage.bucket).key("from").send().await.unwrap();

        assert_eq!(stage.get("to").await, b"bytes");
        assert_eq!(stage.get("changed").await, b"bytes");
        let head = async |key: &str| stage.s3.head_object().bucket(&stage.bucket).key(key).send().await.unwrap();
        assert_eq!(head("to").await.metadata().unwrap()["kept"], "yes");
        assert_eq!(head("changed").await.metadata().unwrap(), &HashMap::from([("new".into(), "1".into())]));
        assert_eq!(refusal(copy("again").send()).await, "NoSuchKey");
    })
    .await;
}
