//! Presigned links.

use super::*;

async fn link(stage: &Stage, key: &str, start: SystemTime) -> String {
    let config = PresigningConfig::builder().start_time(start).expires_in(Duration::from_secs(60)).build().unwrap();
    let get = stage.s3.get_object().bucket(&stage.bucket).key(key).response_content_disposition("attachment");
    get.presigned(config).await.unwrap().uri().to_owned()
}

/// The link with another last digit of its signature.
fn flipped(link: &str) -> String {
    let (rest, last) = link.split_at(link.len() - 1);
    format!("{rest}{}", if last == "0" { '1' } else { '0' })
}

async fn status(method: Method, url: &str) -> StatusCode {
    http(Request::builder().method(method).uri(url).body(Full::default()).unwrap()).await.0
}

#[tokio::test]
async fn a_presigned_link_gives_its_object_and_nothing_else() {
    on_stage(async |stage| {
        stage.put("mine", "bytes").await;
        stage.put("other", "secret").await;
        let good = link(stage, "mine", now()).await;
        let (code, headers, body) = http(Request::get(&good).body(Full::default()).unwrap()).await;
        assert_eq!((code, body.as_ref()), (StatusCode::OK, b"bytes".as_slice()));
        assert_eq!(headers["content-disposition"], "attachment");

        let expired = link(stage, "mine", now() - Duration::from_secs(120)).await;
        assert_eq!(status(Method::GET, &expired).await, StatusCode::FORBIDDEN);
        let future = link(stage, "mine", now() + Duration::from_secs(7200)).await;
        assert_eq!(status(Method::GET, &future).await, StatusCode::FORBIDDEN);
        for altered in [
            good.replace("/mine?", "/other?"),
            good.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"),
            good.replace("=attachment", "=inline"),
            flipped(&good),
            format!("{good}&versionId=1"),
        ] {
            assert_ne!(altered, good);
            assert_eq!(status(Method::GET, &altered).await, StatusCode::FORBIDDEN, "{altered}");
        }
        for method in [Method::PUT, Method::DELETE, Method::HEAD] {
            assert_eq!(status(method.clone(), &good).await, StatusCode::FORBIDDEN, "{method}");
        }
        let (bare, _) = good.split_once('?').unwrap();
        assert_eq!(status(Method::GET, bare).await, StatusCode::FORBIDDEN, "anonymous");
        assert_eq!(stage.keys().await, ["mine", "other"]);
    })
    .await;
}

#[tokio::test]
async fn presigned_heads_and_puts() {
    on_stage(async |stage| {
        let url = presigned_put(stage, "k").await;
        assert_eq!(status(Method::GET, &url).await, StatusCode::FORBIDDEN);
        let request = Request::put(url).body(Full::from("bytes")).unwrap();
        assert_eq!(http(request).await.0, StatusCode::OK);
        let config = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
        let head = stage.s3.head_object().bucket(&stage.bucket).key("k").presigned(config).await.unwrap();
        let (code, headers, body) = http(Request::head(head.uri()).body(Full::default()).unwrap()).await;
        assert_eq!((code, headers["content-length"].as_str(), body.len()), (StatusCode::OK, "5", 0));
    })
    .await;
}

#[tokio::test]
async fn only_the_right_key_pair_is_let_in() {
    on_stage(async |stage| {
        let Some(local) = &stage.local else { return };
        let with = |access: &str, secret: &str| {
            let keys = Credentials::new(access, secret, None, None, "conformance");
            let config = stage.s3.config().to_builder().credentials_provider(keys).build();
            Client::from_conf(config).list_buckets().send()
        };
        assert_eq!(refusal(with("AKIANOBODY", SECRET_KEY)).await, "InvalidAccessKeyId");
        assert_eq!(refusal(with(ACCESS_KEY, "wrong")).await, "SignatureDoesNotMatch");
        assert_eq!(status(Method::GET, &format!("http://{}/", local.address)).await, StatusCode::FORBIDDEN);
    })
    .await;
}
