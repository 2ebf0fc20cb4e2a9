//! Downloads: links that work as they are, for as long as they say, and for nothing else.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use bytes::Bytes;
use holdfast_local::stack::{Stack, StackOptions};
use holdfast_shared::clock::{Clock, SystemClock};
use holdfast_shared::domain::address::AllowedNetworks;
use holdfast_tests::installation::Host;
use holdfast_tests::{Answer, Client, Installation};
use http::Method;
use jiff::SignedDuration;
use serde_json::Value;

/// An installation with one completed backup.
struct Stored {
    installation: Installation,
    backup: Value,
    _host: Host,
}

impl Stored {
    async fn start() -> Self {
        let installation = Installation::start().await;
        let host = Host::start().await;
        host.write("index.html", "hello ".repeat(10_000));
        let job = installation.add_job(&host).await;
        let backup = installation.run(&job).await;
        assert_eq!(backup["status"], "completed", "{backup}");
        Self { installation, backup, _host: host }
    }

    fn link(&self) -> String {
        self.backup["files"][0]["url"].as_str().unwrap().to_owned()
    }

    fn base_url(&self) -> &str {
        self.installation.stack.base_url()
    }

    /// Where the link leads.
    async fn presigned(&self) -> String {
        self.installation.api.get(&self.link()).await.expect(302).header("location").to_owned()
    }

    /// Calls a whole URL as somebody without a token does.
    async fn ask(&self, method: Method, url: &str, headers: &[(&str, &str)], body: &'static str) -> Answer {
        let mut request = self.installation.api.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.installation.api.send(request, Bytes::from_static(body.as_bytes())).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_works_with_a_plain_get() {
    let stored = Stored::start().await;
    let link = stored.link();
    assert!(link.starts_with(&format!("{}/v1/downloads/", stored.base_url())), "{link}");
    let redirect = stored.installation.api.get(&link).await.expect(302);
    assert_eq!(redirect.header("cache-control"), "no-store");
    let presigned = redirect.header("location");
    assert!(presigned.starts_with(&format!("{}/objects/", stored.base_url())), "{presigned}");
    let file = stored.installation.api.get(presigned).await.expect(200);
    let described = &stored.backup["files"][0];
    assert_eq!(file.body.len() as u64, described["stored_bytes"].as_u64().unwrap());
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &file.body);
    assert_eq!(hex::encode(hash), described["stored_sha256"].as_str().unwrap());
    let name = described["name"].as_str().unwrap();
    assert!(file.header("content-disposition").contains(name), "{:?}", file.headers);
    // Links are made anew with each answer, and each works.
    let id = stored.backup["id"].as_str().unwrap();
    let again = stored.installation.api.get(&format!("/v1/backups/{id}")).await.expect(200).data();
    assert_eq!(stored.installation.download(&again).await, file.body);
    assert_eq!(stored.installation.api.download(&link).await.expect(200).body, file.body, "it works more than once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_answers_head_and_ranges() {
    let stored = Stored::start().await;
    let whole = stored.installation.api.download(&stored.link()).await.expect(200).body;
    let head = stored.ask(Method::HEAD, &stored.link(), &[], "").await.expect(302);
    assert!(head.body.is_empty(), "{}", head.text());
    // The link that it leads to is signed for that method.
    let head = stored.ask(Method::HEAD, head.header("location"), &[], "").await.expect(200);
    assert_eq!(head.header("content-length"), whole.len().to_string());
    let presigned = stored.presigned().await;
    let part = stored.ask(Method::GET, &presigned, &[("range", "bytes=10-19")], "").await.expect(206);
    assert_eq!(part.body, whole[10..20]);
    assert_eq!(part.header("content-range"), format!("bytes 10-19/{}", whole.len()));
    let rest = stored.ask(Method::GET, &presigned, &[("range", "bytes=20-")], "").await.expect(206);
    assert_eq!(rest.body, whole[20..], "a download that broke off can go on");
    let end = stored.ask(Method::GET, &presigned, &[("range", "bytes=-5")], "").await.expect(206);
    assert_eq!(end.body, whole[whole.len() - 5..]);
    let beyond = format!("bytes={}-", whole.len());
    stored.ask(Method::GET, &presigned, &[("range", &beyond)], "").await.expect(416);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_altered_link_is_refused() {
    let stored = Stored::start().await;
    let link = stored.link();
    let (front, ticket) = link.rsplit_once('/').unwrap();
    for place in [0, ticket.len() / 2, ticket.len() - 2] {
        let mut altered = ticket.to_owned().into_bytes();
        altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
        let altered = format!("{front}/{}", String::from_utf8(altered).unwrap());
        let refused = stored.installation.api.get(&altered).await.expect(403);
        assert!(refused.text().contains("not valid"), "{}", refused.text());
    }
    for ticket in ["x", "AAAA", &ticket[..ticket.len() - 4], &format!("{ticket}AAAA")] {
        stored.installation.api.get(&format!("/v1/downloads/{ticket}")).await.expect(403);
    }
    stored.installation.api.get(front).await.expect(404);
    let refused = stored.ask(Method::POST, &link, &[], "").await.expect(405);
    assert_eq!(refused.header("allow"), "GET,HEAD");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_expires_after_an_hour() {
    let stored = Stored::start().await;
    let link = stored.link();
    stored.installation.advance(SignedDuration::from_mins(59));
    stored.installation.api.get(&link).await.expect(302);
    stored.installation.advance(SignedDuration::from_mins(2));
    let refused = stored.installation.api.get(&link).await.expect(403);
    assert!(refused.text().contains("expired"), "{}", refused.text());
    let id = stored.backup["id"].as_str().unwrap();
    let fresh = stored.installation.api.get(&format!("/v1/backups/{id}")).await.expect(200).data();
    stored.installation.api.get(fresh["files"][0]["url"].as_str().unwrap()).await.expect(302);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_link_leads_to_expires_after_a_quarter_of_an_hour() {
    let stored = Stored::start().await;
    let presigned = stored.presigned().await;
    assert!(presigned.contains("X-Amz-Expires=900&"), "{presigned}");
    // The store goes by the system's clock, so the link is signed in the past instead: by the same key, for as long.
    let path = presigned.split(['?']).next().unwrap().rsplit_once("/objects/holdfast/").unwrap().1.to_owned();
    let signed = async |minutes_ago: i64| {
        let start = std::time::SystemTime::from(SystemClock.now() - SignedDuration::from_mins(minutes_ago));
        let signing = PresigningConfig::builder().start_time(start).expires_in(Duration::from_secs(900)).build();
        let config = aws_sdk_s3::config::Builder::from(&*stored.installation.service().aws.sdk).force_path_style(true);
        let get = aws_sdk_s3::Client::from_conf(config.build()).get_object().bucket("holdfast").key(&path);
        let link = get.presigned(signing.unwrap()).await.unwrap().uri().to_owned();
        link.replace(&stored.installation.endpoints().s3, &format!("{}/objects", stored.base_url()))
    };
    let good = signed(14).await;
    stored.installation.api.get(&good).await.expect(200);
    let refused = stored.installation.api.get(&signed(16).await).await.expect(403);
    assert!(refused.text().to_lowercase().contains("expired"), "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_presigned_reads_reaches_the_objects() {
    let stored = Stored::start().await;
    let presigned = stored.presigned().await;
    for method in [Method::PUT, Method::DELETE, Method::POST, Method::PATCH] {
        let refused = stored.ask(method.clone(), &presigned, &[], "other bytes").await;
        assert!(refused.status.is_client_error(), "{method}: {} {}", refused.status, refused.text());
    }
    let unsigned = presigned.split('?').next().unwrap();
    let bucket = format!("{}/objects/holdfast", stored.base_url());
    let urls = [
        unsigned.to_owned(),
        format!("{unsigned}?X-Amz-Signature="),
        bucket.clone(),
        format!("{bucket}?list-type=2"),
        format!("{bucket}?uploads"),
        format!("{}/objects/", stored.base_url()),
        presigned.replace("X-Amz-Expires=900", "X-Amz-Expires=90000"),
        // The signature of one object is none of another, nor of the list of all.
        format!("{bucket}/other?{}", presigned.split('?').nth(1).unwrap()),
        format!("{bucket}?list-type=2&{}", presigned.split('?').nth(1).unwrap()),
    ];
    for url in urls {
        let refused = stored.ask(Method::GET, &url, &[], "").await;
        assert!(refused.status.is_client_error(), "{url}: {} {}", refused.status, refused.text());
    }
    // The API's own token opens nothing here.
    let token = format!("Bearer {}", stored.installation.stack.token().expose());
    let refused = stored.ask(Method::GET, unsigned, &[("authorization", &token)], "").await;
    assert!(refused.status.is_client_error(), "{}", refused.text());
    let after = stored.installation.api.get(&presigned).await.expect(200).body;
    assert_eq!(
        after.len() as u64,
        stored.backup["files"][0]["stored_bytes"].as_u64().unwrap(),
        "the object is as it was"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_header_does_not_change_links() {
    let stored = Stored::start().await;
    let api = &stored.installation.api;
    let id = stored.backup["id"].as_str().unwrap();
    let misled = async |path: &str| {
        let request = api.request(Method::GET, path);
        let request = request.header("host", "evil.example").header("x-forwarded-host", "evil.example");
        api.send(request, Bytes::new()).await
    };
    let shown = misled(&format!("/v1/backups/{id}")).await.expect(200);
    assert!(!shown.text().contains("evil"), "{}", shown.text());
    assert!(shown.data()["files"][0]["url"].as_str().unwrap().starts_with(stored.base_url()));
    let listed = misled("/v1/jobs").await.expect(200);
    assert!(!listed.text().contains("evil"), "{}", listed.text());
    assert!(listed.json()["links"]["first"].as_str().unwrap().starts_with(stored.base_url()));
    let redirect = misled(stored.link().strip_prefix(stored.base_url()).unwrap()).await.expect(302);
    assert!(redirect.header("location").starts_with(stored.base_url()), "{:?}", redirect.headers);
    api.get(redirect.header("location")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_start_with_the_public_url() {
    let stored = Stored::start().await;
    let id = stored.backup["id"].as_str().unwrap().to_owned();
    let Stored { installation, _host, .. } = stored;
    let (dir, _) = installation.stop().await;
    let options = StackOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        public_url: Some("https://backups.example.com/holdfast/".to_owned()),
        worker: None,
        maintenance: false,
        allow_networks: AllowedNetworks::default(),
    };
    let stack = Stack::start(dir.path(), std::sync::Arc::new(SystemClock), options).await.unwrap();
    let api = Client::new(stack.base_url(), stack.token().expose());
    let backup = api.get(&format!("/v1/backups/{id}")).await.expect(200).data();
    let link = backup["files"][0]["url"].as_str().unwrap();
    let path = link.strip_prefix("https://backups.example.com/holdfast").unwrap_or_else(|| panic!("{link}"));
    let listed = api.get("/v1/jobs").await.expect(200).json();
    let first = listed["links"]["first"].as_str().unwrap();
    assert!(first.starts_with("https://backups.example.com/holdfast/v1/jobs"), "{first}");
    // What stands behind that address hands the rest of the path on.
    let redirect = api.get(&format!("{}{path}", stack.base_url())).await.expect(302);
    let presigned = redirect.header("location");
    let path = presigned.strip_prefix("https://backups.example.com/holdfast").unwrap_or_else(|| panic!("{presigned}"));
    let file = api.get(&format!("{}{path}", stack.base_url())).await.expect(200);
    assert_eq!(file.body.len() as u64, backup["files"][0]["stored_bytes"].as_u64().unwrap());
}
