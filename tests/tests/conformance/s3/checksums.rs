//! Checksums.

use super::*;

#[tokio::test]
async fn every_checksum_is_stored_verified_and_given_back() {
    on_stage(async |stage| {
        let body = bytes(200_000, 7);
        for algorithm in [
            ChecksumAlgorithm::Crc32,
            ChecksumAlgorithm::Crc32C,
            ChecksumAlgorithm::Crc64Nvme,
            ChecksumAlgorithm::Sha1,
            ChecksumAlgorithm::Sha256,
        ] {
            let key = algorithm.as_str();
            let put = stage.s3.put_object().bucket(&stage.bucket).key(key).body(body.clone().into());
            let put = put.checksum_algorithm(algorithm.clone()).send().await.unwrap();
            let head = stage.s3.head_object().bucket(&stage.bucket).key(key).checksum_mode(ChecksumMode::Enabled);
            let head = head.send().await.unwrap();
            let values = [
                (put.checksum_crc32(), head.checksum_crc32(), "CRC32"),
                (put.checksum_crc32_c(), head.checksum_crc32_c(), "CRC32C"),
                (put.checksum_crc64_nvme(), head.checksum_crc64_nvme(), "CRC64NVME"),
                (put.checksum_sha1(), head.checksum_sha1(), "SHA1"),
                (put.checksum_sha256(), head.checksum_sha256(), "SHA256"),
            ];
            for (sent, kept, name) in values {
                assert_eq!((sent.is_some(), sent), (name == key, kept), "{key} {name}");
            }
            assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
            let got = stage.s3.get_object().bucket(&stage.bucket).key(key).checksum_mode(ChecksumMode::Enabled);
            assert_eq!(got.send().await.unwrap().body.collect().await.unwrap().to_vec(), body);
        }
        let quiet = stage.s3.head_object().bucket(&stage.bucket).key("CRC32").send().await.unwrap();
        assert_eq!(quiet.checksum_crc32(), None, "checksums are given only when asked for");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_checksum_is_refused_and_leaves_nothing() {
    on_stage(async |stage| {
        let put = || stage.s3.put_object().bucket(&stage.bucket).key("k").body(Bytes::from_static(b"bytes").into());
        assert_eq!(refusal(put().checksum_crc64_nvme(crc64(b"others")).send()).await, "BadDigest");
        assert_eq!(refusal(put().checksum_crc32("AAAAAA==").send()).await, "BadDigest");
        assert_eq!(refusal(put().checksum_crc32("nonsense").send()).await, "InvalidRequest");
        let wrong = BASE64_STANDARD.encode(sha256(b"others"));
        assert_eq!(refusal(put().checksum_sha256(wrong).send()).await, "BadDigest");
        assert!(stage.keys().await.is_empty());

        let upload = stage.start("k", Some(ChecksumAlgorithm::Crc64Nvme), None).await;
        let part = || stage.s3.upload_part().bucket(&stage.bucket).key("k").upload_id(&upload).part_number(1);
        let part = || part().body(Bytes::from_static(b"bytes").into());
        assert_eq!(refusal(part().checksum_crc64_nvme(crc64(b"others")).send()).await, "BadDigest");
        assert_eq!(refusal(part().checksum_crc32("AAAAAA==").send()).await, "InvalidRequest");
        assert!(stage.files().is_none_or(|files| files == 0));
    })
    .await;
}

#[tokio::test]
async fn a_body_without_a_checksum_gets_crc64nvme() {
    on_stage(async |stage| {
        let url = presigned_put(stage, "k").await;
        let request = Request::put(url).body(Full::from("bytes")).unwrap();
        assert_eq!(http(request).await.0, StatusCode::OK);
        let head = stage.s3.head_object().bucket(&stage.bucket).key("k").checksum_mode(ChecksumMode::Enabled);
        let head = head.send().await.unwrap();
        assert_eq!(head.checksum_crc64_nvme(), Some(crc64(b"bytes").as_str()));
        assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
    })
    .await;
}

/// As the worker uploads: the payload unsigned, a CRC64NVME per part, one of the whole at the end.
#[tokio::test]
async fn the_crc64nvme_of_the_whole_is_checked_at_the_end() {
    on_stage(async |stage| {
        let (first, last) = (bytes(5 * MIB, 8), bytes(1000, 9));
        let whole = [first.clone(), last.clone()].concat();
        let upload = stage.start("k", Some(ChecksumAlgorithm::Crc64Nvme), Some(ChecksumType::FullObject)).await;
        let mut parts = Vec::new();
        for (number, body) in [(1, &first), (2, &last)] {
            let sent = stage.s3.upload_part().bucket(&stage.bucket).key("k").upload_id(&upload).part_number(number);
            let sent = sent.checksum_crc64_nvme(crc64(body)).body(body.clone().into());
            parts.push(completed(number, &sent.customize().disable_payload_signing().send().await.unwrap()));
        }
        let complete = || stage.complete("k", &upload, parts.clone()).checksum_type(ChecksumType::FullObject);
        assert_eq!(refusal(complete().checksum_crc64_nvme(crc64(b"others")).send()).await, "BadDigest");
        assert_eq!(refusal(complete().mpu_object_size(1).send()).await, "InvalidRequest");
        let done =
            complete().checksum_crc64_nvme(crc64(&whole)).mpu_object_size(whole.len() as i64).send().await.unwrap();
        assert_eq!(done.checksum_crc64_nvme(), Some(crc64(&whole).as_str()));

        let head = stage.s3.head_object().bucket(&stage.bucket).key("k").checksum_mode(ChecksumMode::Enabled);
        let head = head.send().await.unwrap();
        assert_eq!(head.checksum_crc64_nvme(), Some(crc64(&whole).as_str()));
        assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
        assert_eq!(head.content_length(), Some(whole.len() as i64));
    })
    .await;
}

#[tokio::test]
async fn a_composite_checksum_is_that_of_the_parts_checksums() {
    on_stage(async |stage| {
        let (first, last) = (bytes(5 * MIB, 10), bytes(1000, 11));
        let upload = stage.start("k", Some(ChecksumAlgorithm::Sha256), None).await;
        let mut parts = Vec::new();
        for (number, body) in [(1, &first), (2, &last)] {
            let sent = stage.s3.upload_part().bucket(&stage.bucket).key("k").upload_id(&upload).part_number(number);
            let sent = sent.checksum_algorithm(ChecksumAlgorithm::Sha256).body(body.clone().into());
            parts.push(completed(number, &sent.send().await.unwrap()));
        }
        let bare = parts.iter().map(|part| {
            CompletedPart::builder().part_number(part.part_number().unwrap()).e_tag(part.e_tag().unwrap()).build()
        });
        assert_eq!(refusal(stage.complete("k", &upload, bare.collect()).send()).await, "InvalidRequest");
        stage.complete("k", &upload, parts).send().await.unwrap();
        let head = stage.s3.head_object().bucket(&stage.bucket).key("k").checksum_mode(ChecksumMode::Enabled);
        let head = head.send().await.unwrap();
        let of_parts = sha256(&[sha256(&first).as_ref(), sha256(&last).as_ref()].concat());
        assert_eq!(head.checksum_sha256(), Some(format!("{}-2", BASE64_STANDARD.encode(of_parts)).as_str()));
        assert_eq!(head.checksum_type(), Some(&ChecksumType::Composite));
        let got = stage.s3.get_object().bucket(&stage.bucket).key("k").checksum_mode(ChecksumMode::Enabled);
        assert_eq!(got.send().await.unwrap().body.collect().await.unwrap().to_vec(), [first, last].concat());
    })
    .await;
}

/// Over plain HTTP the SDK signs each chunk of a file, and the trailer with its checksum.
#[tokio::test]
async fn a_streamed_file_carries_its_checksum_in_a_trailer() {
    on_stage(async |stage| {
        let body = bytes(3 * MIB + 17, 12);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &body).unwrap();
        let put = stage.s3.put_object().bucket(&stage.bucket).key("k");
        let put = put.body(ByteStream::from_path(file.path()).await.unwrap());
        let put = put.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).send().await.unwrap();
        assert_eq!(put.checksum_crc64_nvme(), Some(crc64(&body).as_str()));
        assert_eq!(stage.get("k").await, body);
        let head = stage.s3.head_object().bucket(&stage.bucket).key("k").send().await.unwrap();
        assert_eq!(head.content_encoding(), None, "the transfer's encoding is not stored");
    })
    .await;
}
