//! Limits: how often, how long, how large, and what browsers are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use holdfast_shared::aws::Aws;
use holdfast_shared::clock::Clock;
use holdfast_shared::config::Config;
use holdfast_shared::service::Service;
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::{Answer, Installation, Setup};
use http::{Method, Request};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tower::ServiceExt;

/// A clock that stands still until it is moved, so that no window ends by itself.
#[derive(Debug)]
struct Still(AtomicI64);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

impl Still {
    /// Two and a half seconds into a window.
    fn near(now: Timestamp) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(now.as_millisecond().div_euclid(10_000) * 10_000 + 2_500)))
    }

    fn advance(&self, by: SignedDuration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

/// An installation, a clock that stands still, and how many writes its table saw through [`Limited::router`].
struct Limited {
    installation: Installation,
    clock: Arc<Still>,
    writes: Arc<AtomicUsize>,
    proxy: Proxy,
}

impl Limited {
    async fn start() -> Self {
        let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
        let clock = Still::near(installation.service().clock.now());
        let writes = Arc::new(AtomicUsize::new(0));
        let counted = writes.clone();
        let proxy = Proxy::start(move |request, _| {
            let target = request.headers()["x-amz-target"].to_str().unwrap();
            if target.ends_with("UpdateItem") {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            Harm::None
        });
        let proxy = proxy.await;
        proxy.forward_to(&installation.endpoints().dynamodb);
        Self { installation, clock, writes, proxy }
    }

    /// The native surface as one more process would have it.
    fn router(&self, per_token: u32, per_account: u32) -> Router {
        let service = self.installation.service();
        let config = Config {
            requests_per_second: per_token,
            account_requests_per_second: per_account,
            ..(*service.config).clone()
        };
        let mut endpoints = self.installation.endpoints();
        endpoints.dynamodb = self.proxy.url.clone();
        let keys = self.installation.stack.aws().data().keys();
        let aws = Aws::at(endpoints, &keys.access_key, &keys.secret_key, &config);
        let service =
            Service { aws: Arc::new(aws), config: Arc::new(config), clock: self.clock.clone(), ..service.clone() };
        holdfast_functions::api::router(service)
    }

    async fn token(&self) -> String {
        let service = self.installation.service();
        let made = service.create_token(&self.installation.account(), "one", vec!["*".to_owned()]).await.unwrap();
        made.1.expose().to_owned()
    }
}

/// Asks for the account; answers the status and `Retry-After`.
async fn ask(router: &Router, token: &str) -> (u16, Option<String>) {
    let request = Request::get("/v1/account").header("authorization", format!("Bearer {token}"));
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let wait = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), wait)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_s_limit_holds_over_two_processes() {
    let limited = Limited::start().await;
    let processes = [limited.router(5, 100), limited.router(5, 100)];
    let token = limited.token().await;
    let mut passed = 0;
    for turn in 0..80 {
        let (status, wait) = ask(&processes[turn % 2], &token).await;
        match status {
            200 => passed += 1,
            // The window of ten seconds has seven and a half left.
            _ => assert_eq!((status, wait.as_deref()), (429, Some("8"))),
        }
    }
    // Five a second make fifty in a window, all at once if they like; a process may be left with unused permits.
    assert!((40..=50).contains(&passed), "{passed}");
    assert_eq!(ask(&processes[0], &token).await.0, 429);
    let other = limited.token().await;
    assert_eq!(ask(&processes[0], &other).await.0, 200, "another token has its own");
    limited.clock.advance(SignedDuration::from_millis(7_500));
    assert_eq!(ask(&processes[0], &token).await.0, 200, "the next window begins");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_gets_all_of_a_limit_for_a_few_writes() {
    let limited = Limited::start().await;
    let router = limited.router(50, 200);
    let token = limited.token().await;
    let mut passed = 0;
    while ask(&router, &token).await.0 == 200 {
        passed += 1;
    }
    assert_eq!(passed, 500);
    let writes = limited.writes.load(Ordering::SeqCst);
    // One of them may note that the token is in use.
    assert!(writes <= 40, "{writes} writes for {passed} requests");
    for _ in 0..20 {
        ask(&router, &token).await;
    }
    assert!(limited.writes.load(Ordering::SeqCst) <= writes + 1, "a token that is refused costs nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_s_limit_holds_over_its_tokens() {
    let limited = Limited::start().await;
    let router = limited.router(50, 4);
    let tokens = [limited.token().await, limited.token().await, limited.token().await];
    let mut passed = 0;
    for turn in 0..60 {
        passed += usize::from(ask(&router, &tokens[turn % 3]).await.0 == 200);
    }
    assert!((30..=40).contains(&passed), "{passed}");
    let (_, stranger) = limited.installation.service().open_account(new_account()).await.unwrap();
    assert_eq!(ask(&router, stranger.expose()).await.0, 200, "another account has its own");
}

fn new_account() -> holdfast_shared::domain::account::NewAccount {
    holdfast_shared::domain::account::NewAccount { name: "second".to_owned(), timezone: Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_guesses_tokens_waits_and_the_others_do_not() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let api = &installation.api;
    api.get("/v1/account").await.expect(200);
    let text = installation.stack.token().expose();
    let guess = format!("{}{}", &text[..text.len() - 4], "aaaa");
    let guesser = api.with_token(&guess);
    let mut refused = 0;
    let answer = loop {
        let answer = guesser.get("/v1/account").await;
        if answer.status != 401 {
            break answer.expect(429);
        }
        refused += 1;
        assert!(refused <= 200, "guessing goes on for ever");
    };
    assert!(answer.header("retry-after").parse::<u32>().unwrap() <= 60);
    // Known a moment ago, or known only to the table: the first is not held up by the neighbour.
    api.get("/v1/account").await.expect(200);
    installation.advance(SignedDuration::from_secs(61));
    guesser.get("/v1/account").await.expect(401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_long_is_refused_in_the_one_shape() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let api = &installation.api;
    let long = format!("/v1/jobs?x={}", "a".repeat(9_000));
    let answer = api.get(&long).await.expect(414);
    assert!(answer.json()["message"].is_string() && !answer.header("x-request-id").is_empty());
    let large = api.request(Method::GET, "/v1/jobs").header("x-large", "a".repeat(17_000));
    assert!(api.send(large, Bytes::new()).await.expect(431).json()["message"].is_string());
    let many = (0..101).fold(api.request(Method::GET, "/v1/jobs"), |all, n| all.header(format!("x-{n}"), "1"));
    api.send(many, Bytes::new()).await.expect(431);
    let deep = format!("{}{}", "{\"a\":".repeat(33), "1".to_owned() + &"}".repeat(33));
    let deep_request = api.request(Method::POST, "/v1/ssh-keys").header("content-type", "application/json");
    api.send(deep_request, Bytes::from(deep)).await.expect(400);
    let wide: serde_json::Map<_, _> = (0..101).map(|n| (format!("f{n}"), json!(1))).collect();
    api.post("/v1/ssh-keys", wide.into()).await.expect(400);

    let html = api.request(Method::GET, "/v1/jobs").header("accept", "text/html");
    assert!(api.send(html, Bytes::new()).await.expect(406).json()["message"].as_str().unwrap().contains("json"));
    let making = api.request(Method::POST, "/v1/ssh-keys").header("accept", "application/xml");
    let making = making.header("content-type", "application/json");
    api.send(making, Bytes::from_static(b"{\"name\": \"x\"}")).await.expect(406);
    assert_eq!(api.get("/v1/ssh-keys").await.json()["meta"]["total"], 0, "and nothing was made");
    let any = api.request(Method::GET, "/v1/jobs").header("accept", "text/html, */*;q=0.1");
    api.send(any, Bytes::new()).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_tells_browsers_to_be_careful() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let api = &installation.api;
    let answers = [
        api.get("/v1/account").await.expect(200),
        api.get("/healthz").await.expect(200),
        api.get("/nowhere").await.expect(404),
        api.get("/v1/downloads/x").await.expect(403),
        api.get("/objects/x").await.expect(404),
        api.with_token("").get("/v1/account").await.expect(401),
    ];
    for answer in answers {
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("strict-transport-security"), "", "not over plain http");
    }
    let preflight = api.request(Method::OPTIONS, "/v1/account").header("origin", "https://panel.example");
    let preflight = api.send(preflight.header("access-control-request-method", "GET"), Bytes::new()).await.expect(405);
    assert_eq!(preflight.header("access-control-allow-origin"), "");
}

/// Asserts the status, and that the answer is what every failure is documented to be.
fn assert_failure(answer: &Answer, status: u16) {
    let body = answer.clone().expect(status).json();
    assert_eq!(answer.header("content-type"), "application/json", "{status}");
    assert!(!answer.header("x-request-id").is_empty(), "{status}");
    let members: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{status}: {body}");
    if status != 422 {
        assert_eq!(members, ["message"], "{status}: {body}");
    } else {
        assert_eq!(members, ["errors", "message"], "{body}");
        let fields = body["errors"].as_object().unwrap();
        let is_told =
            |told: &Value| told.as_array().is_some_and(|told| !told.is_empty() && told.iter().all(Value::is_string));
        assert!(!fields.is_empty() && fields.values().all(is_told), "{body}");
    }
    let wanted = match status {
        401 => "www-authenticate",
        405 => "allow",
        429 | 503 => "retry-after",
        _ => "x-request-id",
    };
    assert!(!answer.header(wanted).is_empty(), "{status} without {wanted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failure_comes_in_the_one_shape() {
    let is_down = Arc::new(AtomicBool::new(false));
    let down = is_down.clone();
    let proxy =
        Proxy::start(move |_, _| if down.load(Ordering::SeqCst) { Harm::Unavailable } else { Harm::None }).await;
    let setup = Setup { no_worker: true, table_proxy: Some(proxy), ..Setup::default() };
    let installation = Installation::start_with(setup).await;
    let api = &installation.api;
    let typed = |kind: &str| api.request(Method::POST, "/v1/ssh-keys").header("content-type", kind);
    let (_, reader) = installation
        .service()
        .create_token(&installation.account(), "reader", vec!["read-jobs".to_owned()])
        .await
        .unwrap();
    let reader = api.with_token(reader.expose());
    api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201);
    let server = json!({"name": "x", "host": "10.0.0.1", "user": "root", "ssh_key": 1});
    api.post("/v1/servers", server).await.expect(201);
    let outdated = api.request(Method::PATCH, "/v1/servers/1").header("if-match", "\"7\"");
    let outdated = outdated.header("content-type", "application/json");
    let failures = [
        (400, api.send(typed("application/json"), Bytes::from_static(b"{")).await),
        (401, api.with_token("").get("/v1/jobs").await),
        (403, reader.get("/v1/servers").await),
        (404, api.get("/nowhere").await),
        (404, api.get("/v1/servers/99").await),
        (405, api.send(api.request(Method::PUT, "/v1/jobs"), Bytes::new()).await),
        (406, api.send(api.request(Method::GET, "/v1/jobs").header("accept", "text/html"), Bytes::new()).await),
        (409, api.delete("/v1/ssh-keys/1").await),
        (412, api.send(outdated, Bytes::from_static(b"{\"name\": \"y\"}")).await),
        (413, api.send(typed("application/json"), Bytes::from(vec![b' '; (1 << 20) + 1])).await),
        (414, api.get(&format!("/v1/jobs?x={}", "a".repeat(8 << 10))).await),
        (415, api.send(typed("text/csv"), Bytes::from_static(b"name")).await),
        (422, api.post("/v1/servers", json!({"port": 0})).await),
        (431, api.send(api.request(Method::GET, "/v1/jobs").header("x-a", "a".repeat(17_000)), Bytes::new()).await),
    ];
    for (status, answer) in failures {
        assert_failure(&answer, status);
    }
    let text = installation.stack.token().expose();
    let guesser = api.with_token(&format!("{}{}", &text[..text.len() - 4], "aaaa"));
    let mut answer = guesser.get("/v1/account").await;
    for _ in 0..200 {
        if answer.status == 401 {
            answer = guesser.get("/v1/account").await;
        }
    }
    assert_failure(&answer, 429);
    is_down.store(true, Ordering::SeqCst);
    assert_failure(&api.get("/v1/jobs").await, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_just_within_the_limits_is_read() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let api = &installation.api;
    let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let wide = |members: usize| Value::from_iter((0..members).map(|n| (format!("f{n}"), json!(1)))).to_string();
    let named = |bytes: usize| json!({"n".repeat(bytes): 1}).to_string();
    let bodies = [(nested(32), nested(33)), (wide(100), wide(101)), (named(255), named(256))];
    // What can be read is refused for its fields, and names them; what cannot, as a whole.
    for (within, beyond) in bodies {
        for (body, status) in [(within, 422), (beyond, 400)] {
            let request = api.request(Method::POST, "/v1/ssh-keys").header("content-type", "application/json");
            assert_failure(&api.send(request, Bytes::from(body)).await, status);
        }
    }
    let forms = [(100, 422), (101, 400)];
    for (fields, status) in forms {
        let form: Vec<_> = (0..fields).map(|n| format!("f{n}=1")).collect();
        assert_failure(&api.form("/v1/ssh-keys", &form.join("&")).await, status);
    }
    let url = |bytes: usize| format!("/v1/jobs?host={}", "a".repeat(bytes - "/v1/jobs?host=".len()));
    assert_failure(&api.get(&url(8 << 10)).await, 422);
    assert_failure(&api.get(&url((8 << 10) + 1)).await, 414);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_trickles_in_is_not_waited_for() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let address = installation.api.base_url().strip_prefix("http://").unwrap().to_owned();
    let head = format!(
        "POST /v1/ssh-keys HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: 1000000\r\n\r\n",
        installation.api.token()
    );
    let (mut reader, mut writer) = tokio::net::TcpStream::connect(&address).await.unwrap().into_split();
    let trickle = async {
        writer.write_all(head.as_bytes()).await.unwrap();
        // A byte now and then keeps it alive for as long as nobody looks at the whole.
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let answered = async { tokio::time::timeout(Duration::from_secs(60), reader.read_to_end(&mut answer)).await };
    tokio::select! {
        () = trickle => unreachable!(),
        // It may be that the connection is reset behind the answer.
        read = answered => drop(read.expect("it is still waited for")),
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("{\"message\":\"the body did not"), "{answer}");
}
