use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_shared::aws::table::{Order, SortBy};
use holdfast_shared::aws::{Aws, Objects};
use holdfast_shared::clock::SystemClock;
use holdfast_shared::domain::address::AllowedNetworks;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::*;
use crate::data::DataError;

fn options() -> StackOptions {
    StackOptions {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        public_url: None,
        worker: None,
        maintenance: false,
        allow_networks: AllowedNetworks::default(),
    }
}

async fn start(dir: &Path) -> Stack {
    Stack::start(dir, Arc::new(SystemClock), options()).await.unwrap()
}

async fn ask(method: Method, url: &str, range: Option<&str>) -> (StatusCode, Bytes) {
    let mut request = Request::builder().method(method).uri(url);
    if let Some(range) = range {
        request = request.header("range", range);
    }
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    (response.status(), response.into_body().collect().await.unwrap().to_bytes())
}

#[test]
fn public_urls_are_kept_without_a_trailing_slash() {
    for (text, kept) in [
        ("https://backups.example.com", "https://backups.example.com"),
        ("http://10.0.0.5:8080/", "http://10.0.0.5:8080"),
        ("https://example.com/holdfast/", "https://example.com/holdfast"),
    ] {
        assert_eq!(public_url(text).unwrap(), kept);
    }
}

#[test]
fn what_no_link_can_start_with_is_refused() {
    for text in ["", "example.com", "ftp://example.com", "http://", "http://u:p@h", "http://h/?a=1", "http://h/#a"] {
        assert!(matches!(public_url(text), Err(StartError::PublicUrl(_))), "{text}");
    }
}

#[tokio::test]
async fn a_second_start_finds_the_same_account_and_token() {
    let home = tempfile::tempdir().unwrap();
    let first = start(home.path()).await;
    assert_eq!(ask(Method::GET, &format!("{}/healthz", first.base_url()), None).await.0, StatusCode::OK);
    let again = Stack::start(home.path(), Arc::new(SystemClock), options()).await;
    let in_use = matches!(again, Err(StartError::Embedded(EmbeddedError::Data(DataError::InUse(_)))));
    assert!(in_use, "a folder is open once");
    let token = first.token().clone();
    first.shutdown().await;

    let second = start(home.path()).await;
    assert!(second.token() == &token);
    let known = second.service().authenticate(token.expose()).await.unwrap();
    assert_eq!(known.account, second.aws().data().keys().account);
}

#[tokio::test]
async fn a_start_that_broke_off_before_the_token_is_made_good() {
    let home = tempfile::tempdir().unwrap();
    let first = start(home.path()).await;
    let (path, old) = (first.aws().data().token_path(), first.token().clone());
    first.shutdown().await;
    std::fs::remove_file(&path).unwrap();

    let second = start(home.path()).await;
    assert!(second.token() != &old);
    let account = second.service().authenticate(second.token().expose()).await.unwrap().account;
    let order = Order { by: SortBy::Id, descending: false };
    let storages = second.service().list_storages(&account, order, 10, None).await.unwrap();
    assert_eq!(storages.records.len(), 1, "the storage that was there is used");
}

#[tokio::test]
async fn presigned_links_work_through_the_public_listener_and_nothing_else_does() {
    let home = tempfile::tempdir().unwrap();
    let stack = start(home.path()).await;
    let (aws, config) = (&stack.service().aws, &stack.service().config);
    let bucket = Objects::new(&aws.sdk, &aws.outside, &config.bucket, &config.region, None, None);
    let key = "a folder/ünï code+plus.txt";
    bucket.put(key, Bytes::from_static(b"0123456789")).await.unwrap();
    let link = bucket.presign_get(key, "a.txt", Duration::from_secs(60)).await.unwrap();
    let path_and_query = &link[url::Position::BeforePath..];
    let link = format!("{}/objects{path_and_query}", stack.base_url());

    assert_eq!(ask(Method::GET, &link, None).await, (StatusCode::OK, Bytes::from_static(b"0123456789")));
    let part = ask(Method::GET, &link, Some("bytes=3-5")).await;
    assert_eq!(part, (StatusCode::PARTIAL_CONTENT, Bytes::from_static(b"345")));
    for method in [Method::HEAD, Method::PUT, Method::DELETE, Method::POST] {
        assert!(ask(method.clone(), &link, None).await.0.is_client_error(), "{method}");
    }
    let altered = link.replace("plus.txt", "plus.tx2");
    assert_eq!(ask(Method::GET, &altered, None).await.0, StatusCode::FORBIDDEN);
    let unsigned = link.split('?').next().unwrap();
    assert_eq!(ask(Method::GET, unsigned, None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_table_answers_only_whoever_has_its_key() {
    let home = tempfile::tempdir().unwrap();
    let stack = start(home.path()).await;
    let endpoints = stack.aws().endpoints.clone();
    assert_eq!(ask(Method::POST, &endpoints.dynamodb, None).await.0, StatusCode::FORBIDDEN);
    let stranger = Aws::at(endpoints, "AKIDSTRANGER", &Secret::new("guess"), &stack.service().config);
    assert!(!stranger.table.is_ready().await);
    assert!(stack.service().aws.table.is_ready().await);
}
