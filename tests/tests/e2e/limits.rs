//! Limits: how often, how long, how large, and what browsers are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use holdfast_shared::aws::Aws;
use holdfast_shared::clock::Clock;
use holdfast_shared::config::Config;
use holdfast_shared::service::Service;
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::{Installation, Setup};
use http::{Method, Request};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
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
        let service = Service { aws, config: Arc::new(config), clock: self.clock.clone(), ..service.clone() };
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
