//! Buckets and listings.

use super::*;

#[tokio::test]
async fn buckets_are_listed_and_only_empty_ones_go() {
    on_stage(async |stage| {
        stage.s3.head_bucket().bucket(&stage.bucket).send().await.unwrap();
        let listed = stage.s3.list_buckets().send().await.unwrap();
        assert!(listed.buckets().iter().any(|bucket| bucket.name() == Some(&stage.bucket)));
        stage.put("k", "1").await;
        assert_eq!(refusal(stage.s3.delete_bucket().bucket(&stage.bucket).send()).await, "BucketNotEmpty");

        let missing = format!("{}-not", stage.bucket);
        let head = stage.s3.head_bucket().bucket(&missing).send().await.unwrap_err();
        assert!(head.as_service_error().unwrap().is_not_found());
        assert_eq!(refusal(stage.s3.list_objects_v2().bucket(&missing).send()).await, "NoSuchBucket");
        let put = stage.s3.put_object().bucket(&missing).key("k").body(Bytes::from_static(b"1").into());
        assert_eq!(refusal(put.send()).await, "NoSuchBucket");
    })
    .await;
}

#[tokio::test]
async fn a_listing_pages_through_1050_keys_in_order() {
    on_stage(async |stage| {
        let keys: Vec<String> = (0..1050).map(|n| format!("run/{n:04}")).collect();
        futures::stream::iter(keys.iter().rev()).for_each_concurrent(16, |key| stage.put(key, "x")).await;
        stage.put("later", "x").await;
        stage.put("sun", "x").await;

        let list = || stage.s3.list_objects_v2().bucket(&stage.bucket).prefix("run/");
        let first = list().send().await.unwrap();
        assert_eq!((first.key_count(), first.is_truncated()), (Some(1000), Some(true)));
        let token = first.next_continuation_token().unwrap();
        let second = list().continuation_token(token).send().await.unwrap();
        assert_eq!((second.key_count(), second.is_truncated()), (Some(50), Some(false)));
        assert!(second.next_continuation_token().is_none());
        let seen = first.contents().iter().chain(second.contents()).map(|object| object.key().unwrap());
        assert!(seen.eq(&keys));
        assert!(first.contents().iter().all(|object| object.size() == Some(1)));

        let mut pages = list().max_keys(100).into_paginator().send();
        let mut seen = Vec::new();
        while let Some(page) = pages.next().await {
            seen.extend(page.unwrap().contents().iter().map(|object| object.key().unwrap().to_owned()));
        }
        assert_eq!(seen, keys);

        let tail = list().start_after("run/1047").send().await.unwrap();
        assert!(tail.contents().iter().map(|object| object.key().unwrap()).eq(["run/1048", "run/1049"]));
    })
    .await;
}

#[tokio::test]
async fn a_delimiter_folds_keys_into_common_prefixes() {
    on_stage(async |stage| {
        for key in ["a", "b/1", "b/2", "b/c/3", "d/4", "e", "日/5", "日/6"] {
            stage.put(key, "x").await;
        }
        let list = |prefix: &str| stage.s3.list_objects_v2().bucket(&stage.bucket).prefix(prefix).delimiter("/");
        let whole = list("").send().await.unwrap();
        let prefixes = |page: &aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output| -> Vec<String> {
            page.common_prefixes().iter().map(|prefix| prefix.prefix().unwrap().to_owned()).collect()
        };
        let keys = |page: &aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output| -> Vec<String> {
            page.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
        };
        assert_eq!(
            (keys(&whole), prefixes(&whole)),
            (vec!["a".into(), "e".into()], vec!["b/".into(), "d/".into(), "日/".into()])
        );
        assert_eq!(whole.key_count(), Some(5));
        let inner = list("b/").send().await.unwrap();
        assert_eq!((keys(&inner), prefixes(&inner)), (vec!["b/1".into(), "b/2".into()], vec!["b/c/".into()]));

        let mut pages = list("").max_keys(1).into_paginator().send();
        let mut seen = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            assert_eq!(page.key_count(), Some(1));
            seen.extend(keys(&page));
            seen.extend(prefixes(&page));
        }
        assert_eq!(seen, ["a", "b/", "d/", "e", "日/"]);
    })
    .await;
}
