//! What the SDK does not send: requests signed by hand, to the embedded store only.

use super::*;

/// A request whose payload is announced as `payload`, signed with the key pair of the embedded store.
/// See <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
fn signed(address: &str, path: &str, payload: &str, extra: &[(&str, &str)], body: Bytes) -> Request<Full<Bytes>> {
    let now = SystemClock.now();
    let (date, time) = (now.strftime("%Y%m%d").to_string(), now.strftime("%Y%m%dT%H%M%SZ").to_string());
    let mut headers = vec![("host", address), ("x-amz-content-sha256", payload), ("x-amz-date", &time)];
    headers.extend(extra);
    headers.sort_unstable();
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let canonical = format!("PUT\n{path}\n\n{lines}\n{names}\n{payload}");
    let scope = format!("{date}/{REGION}/s3/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(sha256(canonical.as_bytes())));
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{SECRET_KEY}").as_bytes());
    for step in [date.as_str(), REGION, "s3", "aws4_request"] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, step.as_bytes()).as_ref());
    }
    let signature = hex::encode(hmac::sign(&key, to_sign.as_bytes()));
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope},SignedHeaders={names},Signature={signature}");
    let mut request = Request::put(format!("http://{address}{path}")).header("authorization", authorization);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Full::from(body)).unwrap()
}

#[tokio::test]
async fn an_unsigned_trailer_is_checked() {
    on_stage(async |stage| {
        let Some(local) = &stage.local else { return };
        let path = format!("/{}/k", stage.bucket);
        let put = |trailer: String| {
            let body = format!("5\r\nhello\r\n6\r\n world\r\n0\r\n{trailer}\r\n");
            let extra = [
                ("content-encoding", "aws-chunked"),
                ("x-amz-decoded-content-length", "11"),
                ("x-amz-trailer", "x-amz-checksum-crc64nvme"),
            ];
            http(signed(&local.address, &path, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", &extra, body.into()))
        };
        let (status, _, text) = put(format!("x-amz-checksum-crc64nvme:{}\r\n", crc64(b"others"))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(String::from_utf8_lossy(&text).contains("<Code>BadDigest</Code>"), "{text:?}");
        let (status, _, text) = put(String::new()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{text:?}");
        assert!(stage.keys().await.is_empty());
        let (status, headers, _) = put(format!("x-amz-checksum-crc64nvme:{}\r\n", crc64(b"hello world"))).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["x-amz-checksum-crc64nvme"], crc64(b"hello world"));
        assert_eq!(stage.get("k").await, b"hello world");
    })
    .await;
}

#[tokio::test]
async fn a_payload_that_is_not_what_was_signed_is_refused() {
    on_stage(async |stage| {
        let Some(local) = &stage.local else { return };
        let path = format!("/{}/k", stage.bucket);
        let claimed = hex::encode(sha256(b"bytes"));
        let (status, _, text) = http(signed(&local.address, &path, &claimed, &[], "other".into())).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(String::from_utf8_lossy(&text).contains("XAmzContentSHA256Mismatch"), "{text:?}");
        assert!(stage.keys().await.is_empty());
        assert_eq!(http(signed(&local.address, &path, &claimed, &[], "bytes".into())).await.0, StatusCode::OK);
    })
    .await;
}
