//! URLs: downloads that come whole, break off, lead astray, or are not what they were told to be.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_local::demo::sshd::Sshd;
use holdfast_tests::installation::Host;
use holdfast_tests::tree::{noise, pipe};
use holdfast_tests::{Installation, Setup, leftovers};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Never to be seen in an answer, a log or a file's name.
const CANARY: &str = "hunter2";
/// Of `hello`.
const SHA256_OF_HELLO: &str = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";

/// A web server that does what its script says, down to the byte: it answers each request with these bytes, and then
/// closes the connection.
struct Web {
    port: u16,
    /// The heads of all requests.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn start(script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, script)
    }

    fn start_at(address: Ipv4Addr, script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<String>>>::default());
        let (heads, script) = (seen.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heads, script) = (heads.clone(), script.clone());
                std::thread::spawn(move || answer(stream, &heads, &*script));
            }
        });
        Self { port, seen }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, heads: &Mutex<Vec<String>>, script: &dyn Fn(&str) -> Vec<u8>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            // TLS does not begin with a letter.
            Ok(1) if byte[0] != 0x16 => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    heads.lock().unwrap().push(head.clone());
    let _ = stream.write_all(&script(&head));
}

/// An answer with a length, and the headers in `more`, each with its line end.
fn whole(body: &[u8], more: &str) -> Vec<u8> {
    reply("200 OK", &format!("content-length: {}\r\n{more}", body.len()), body)
}

fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\n{headers}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The same, but the connection closes after so many percent of the body.
fn cut(body: &[u8], percent: usize, more: &str) -> Vec<u8> {
    let missing = body.len() - body.len() * percent / 100;
    let mut bytes = whole(body, more);
    bytes.truncate(bytes.len() - missing);
    bytes
}

fn path_of(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn body() -> Vec<u8> {
    noise(3 << 20, 11)
}

/// An installation that may connect to 127.0.0.1 only.
async fn start() -> Installation {
    let allow_networks = Some("127.0.0.1/32".parse().unwrap());
    Installation::start_with(Setup { allow_networks, ..Setup::default() }).await
}

fn serverless() -> Value {
    json!({"type": "ss_serverless", "region": "EU"})
}

/// Runs a job without a server to its end.
async fn run(installation: &Installation, config: Value) -> Value {
    let job = installation.add_job_with(0, json!({"recipe": "url-backups", "config": config, "compute": serverless()}));
    installation.run(&job.await).await
}

async fn fails(installation: &Installation, url: &str, says: &[&str]) {
    let backup = run(installation, json!({ "url": url })).await;
    assert_eq!((&backup["status"], &backup["attempt"]), (&json!("failed"), &json!(1)), "{url}: {backup}");
    told(installation, &backup, says).await;
}

/// Runs to a failure that is tried again.
async fn waits(installation: &Installation, url: &str, says: &[&str]) {
    let job = json!({"recipe": "url-backups", "config": {"url": url}, "compute": serverless()});
    let job = installation.add_job_with(0, job).await;
    let backup = installation.start_backup(&job).await;
    let is_so = |backup: &Value| backup["status"] != "running" && backup["failure"].is_object();
    let waiting = installation.backup_when(&backup, is_so).await;
    assert_eq!((&waiting["status"], &waiting["attempt"]), (&json!("pending"), &json!(1)), "{url}: {waiting}");
    told(installation, &waiting, says).await;
    installation.api.post(&format!("/v1/backups/{backup}/cancel"), json!({})).await;
    installation.ended(&backup).await;
}

async fn told(installation: &Installation, backup: &Value, says: &[&str]) {
    let message = backup["failure"]["message"].as_str().unwrap();
    for word in says {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
    no_canary(installation, backup).await;
}

async fn no_canary(installation: &Installation, backup: &Value) {
    let log = installation.log(backup["id"].as_str().unwrap()).await;
    assert!(!log.contains(CANARY) && !backup.to_string().contains(CANARY), "{backup}\n{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_web_server_answers_is_stored_as_it_comes() {
    let installation = start().await;
    let web = Web::start(|head| {
        let body = body();
        match path_of(head) {
            "/plain/hunter2.sql.gz" => whole(&body, ""),
            "/from?hunter2" => reply("302 Found", "location: ../to\r\ncontent-length: 0\r\n", b""),
            "/to" => reply("301 Moved", "location: /plain/hunter2.sql.gz\r\ncontent-length: 2\r\n", b"no"),
            "/packed.sql" => whole(b"\x1f\x8bpacked", "content-encoding: gzip\r\n"),
            "/chunked" => {
                let mut chunks = reply("200 OK", "transfer-encoding: chunked\r\n", b"");
                for part in body.chunks(100_000) {
                    chunks.extend(format!("{:x}\r\n", part.len()).bytes());
                    chunks.extend(part);
                    chunks.extend(b"\r\n");
                }
                chunks.extend(b"0\r\n\r\n");
                chunks
            }
            "/slow" => {
                std::thread::sleep(Duration::from_secs(2));
                whole(&body, "")
            }
            "/digests" => {
                let digests = format!("repr-digest: sha-256=:{SHA256_OF_HELLO}:\r\n");
                whole(b"hello", &format!("{digests}content-md5: XUFAKrxLKna5cZ2REBfFkg==\r\n"))
            }
            "/empty" => whole(b"", ""),
            other => panic!("{other}"),
        }
    });
    let body = body();
    let cases: [(&str, &[u8], &str); 7] = [
        ("plain/hunter2.sql.gz", &body, "download.sql.gz"),
        ("from?hunter2", &body, "download.bin"),
        ("packed.sql", b"\x1f\x8bpacked", "download.sql.gz"),
        ("chunked", &body, "download.bin"),
        ("slow", &body, "download.bin"),
        ("digests", b"hello", "download.bin"),
        ("empty", b"", "download.bin"),
    ];
    for (path, content, name) in cases {
        let backup = run(&installation, json!({"url": web.url(path)})).await;
        assert_eq!((&backup["status"], &backup["files"][0]["name"]), (&json!("completed"), &json!(name)), "{backup}");
        assert!(installation.download(&backup).await == content, "{path}: other bytes");
        no_canary(&installation, &backup).await;
    }
    // As the API's documentation makes one, with a login, and compressed by us.
    let url = web.url("plain/hunter2.sql.gz").replace("//", "//user:hunter2%40x@");
    let config = json!({"url": url, "use_compression": true});
    let job = json!({"recipe_id": 1, "recipe": null, "config": config, "compute": serverless()});
    let job = installation.add_job_with(0, job).await;
    let backup = installation.run(&job).await;
    assert_eq!(backup["files"][0]["name"], "download.sql.gz.zst", "{backup}");
    assert!(pipe("zstd", &["-dc"], &installation.download(&backup).await) == body);
    let head = web.seen().pop().unwrap();
    assert_eq!(header(&head, "authorization"), Some("Basic dXNlcjpodW50ZXIyQHg="), "{head}");
    assert!(head.starts_with("GET /plain/hunter2.sql.gz HTTP/1.1\r\n") && !head.contains('%'), "{head}");
    assert_eq!(header(&head, "host"), Some(format!("127.0.0.1:{}", web.port).as_str()));
    no_canary(&installation, &backup).await;
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_stored_says_why() {
    let installation = start().await;
    let inside = Web::start_at(Ipv4Addr::new(127, 0, 0, 2), |_| whole(b"inside", ""));
    let inner = inside.port;
    let web = Web::start(move |head| match path_of(head) {
        "/404/hunter2" => reply("404 Not Found", "content-length: 0\r\n", b""),
        "/401" => reply("401 Unauthorized", "content-length: 0\r\n", b""),
        "/204" => reply("204 No Content", "", b""),
        "/500" => reply("500 Oops", "content-length: 0\r\n", b""),
        "/429" => reply("429 Slow", "content-length: 0\r\n", b""),
        "/loop?hunter2" => reply("302 Found", "location: /loop?hunter2\r\ncontent-length: 0\r\n", b""),
        "/inside" => reply("302 Found", &format!("location: http://127.0.0.2:{inner}/hunter2\r\n"), b""),
        "/name" => reply("307 Other", &format!("location: http://2130706434:{inner}/hunter2\r\n"), b""),
        "/file" => reply("302 Found", "location: file:///etc/hunter2\r\n", b""),
        "/headers" => reply("200 OK", &format!("x: {}\r\n", "x".repeat(1 << 20)), b""),
        "/noise" => b"SSH-2.0-hunter2\r\n".to_vec(),
        "/nothing" => Vec::new(),
        "/endless" => reply("200 OK", "connection: close\r\n", b"who knows where this ends"),
        "/digest" => whole(b"hullo", &format!("repr-digest: sha-256=:{SHA256_OF_HELLO}:\r\n")),
        "/chunks" => reply("200 OK", "transfer-encoding: chunked\r\n", b"5\r\nhello\r\n"),
        "/1" => cut(&body(), 1, ""),
        "/50" => cut(&body(), 50, "etag: W/\"weak\"\r\n"),
        "/99" => cut(&body(), 99, "etag: \"x\"\r\naccept-ranges: none\r\n"),
        other => panic!("{other}"),
    });
    let never: [(&str, &[&str]); 8] = [
        ("404/hunter2", &["127.0.0.1 answered 404"]),
        ("401", &["answered 401", "user and password"]),
        ("204", &["answered 204"]),
        ("loop?hunter2", &["redirected more than 5 times"]),
        ("inside", &["127.0.0.2 leads to a loopback address"]),
        ("name", &["loopback"]),
        ("file", &["redirects to something that is no http"]),
        ("endless", &["neither a length nor a digest"]),
    ];
    for (path, says) in never {
        fails(&installation, &web.url(path), says).await;
    }
    assert_eq!(inside.seen(), Vec::<String>::new(), "somebody connected");
    let later: [(&str, &[&str]); 10] = [
        ("500", &["answered 500"]),
        ("429", &["answered 429"]),
        ("headers", &["more headers"]),
        ("noise", &["not HTTP"]),
        ("nothing", &["without an answer"]),
        ("digest", &["SHA-256"]),
        ("chunks", &["broke off after 5 bytes", "cannot resume"]),
        ("1", &["broke off after 31457 of 3145728 bytes", "cannot resume"]),
        ("50", &["broke off after 1572864 of 3145728 bytes", "cannot resume"]),
        ("99", &["broke off after 3114270 of 3145728 bytes", "cannot resume"]),
    ];
    for (path, says) in later {
        waits(&installation, &web.url(path), says).await;
    }
    // A certificate is asked for where the scheme is left out, and this server has none.
    waits(&installation, &format!("127.0.0.1:{}/hunter2", web.port), &["while TLS began"]).await;
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_breaks_off_is_resumed() {
    let installation = start().await;
    // Each answer ends after a percent, a half and nearly all of what is left.
    let web = Web::start(|head| {
        let body = body();
        let tag = "etag: \"one\"\r\naccept-ranges: bytes\r\n";
        let Some(range) = header(head, "range") else { return cut(&body, 1, tag) };
        assert_eq!(header(head, "if-range"), Some("\"one\""));
        let first: usize = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
        let (rest, size) = (&body[first..], body.len());
        let headers =
            format!("content-length: {}\r\ncontent-range: bytes {first}-{}/{size}\r\n{tag}", rest.len(), size - 1);
        let sent = if first * 10 < size { rest.len() / 2 } else { rest.len() };
        let sent = if first * 10 > size * 9 || sent < rest.len() { sent } else { rest.len() * 99 / 100 };
        reply("206 Partial Content", &headers, &rest[..sent])
    });
    let backup = run(&installation, json!({"url": web.url("a.tgz")})).await;
    assert_eq!((&backup["status"], &backup["attempt"]), (&json!("completed"), &json!(1)), "{backup}");
    assert!(installation.download(&backup).await == body());
    assert_eq!(web.seen().len(), 4, "{:?}", web.seen());

    // Another thing than the one that was begun is not put behind it: all of it is read again.
    let begun = AtomicBool::new(false);
    let web = Web::start(move |_| match begun.swap(true, Ordering::SeqCst) {
        false => cut(&body(), 50, "etag: \"one\"\r\n"),
        true => whole(&noise(3 << 20, 12), "etag: \"two\"\r\n"),
    });
    let job = json!({"recipe": "url-backups", "config": {"url": web.url("")}, "compute": serverless()});
    let job = installation.add_job_with(0, job).await;
    let backup = installation.start_backup(&job).await;
    let waiting = installation.backup_when(&backup, |backup| backup["failure"].is_object()).await;
    assert!(waiting["failure"]["message"].as_str().unwrap().contains("something else"), "{waiting}");
    installation.backup_when(&backup, |backup| backup["status"] == "pending").await;
    installation.advance(jiff::SignedDuration::from_secs(60));
    let ended = installation.ended(&backup).await;
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(2)), "{ended}");
    assert!(installation.download(&ended).await == noise(3 << 20, 12));
    let ranges: Vec<_> = web.seen().iter().map(|head| header(head, "range").map(str::to_owned)).collect();
    assert_eq!(ranges, [None, Some("bytes=1572864-".to_owned()), None]);
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_with_a_server_downloads_from_there() {
    let installation = start().await;
    // Where the guard lets nobody go from here.
    let inside = Web::start_at(Ipv4Addr::new(127, 0, 0, 2), |head| match path_of(head) {
        "/from" => reply("302 Found", "location: /to\r\ncontent-length: 0\r\n", b""),
        _ => whole(&body(), ""),
    });
    let host = Host::start().await;
    let server = installation.add_server(&host).await;
    let url = format!("http://127.0.0.2:{}/from", inside.port);
    let job = json!({"recipe_id": 1, "recipe": null, "config": {"url": url}});
    let job = installation.add_job_with(server, job).await;
    let backup = installation.run(&job).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert!(installation.download(&backup).await == body());
    assert_eq!(inside.seen().len(), 2);

    let dir = TempDir::new().unwrap();
    let sshd = Sshd::start_with(dir.path(), "AllowTcpForwarding no").await.unwrap();
    let key = installation.api.get("/v1/ssh-keys/1").await.expect(200).data();
    sshd.authorize(key["public_key"].as_str().unwrap()).unwrap();
    let strict = json!({"host": "127.0.0.1", "port": sshd.port(), "name": "x", "user": sshd.user(), "ssh_key": 1});
    let strict = installation.api.post("/v1/servers", strict).await.expect(201).data()["id"].clone();
    let moved = json!({"compute": {"type": "server", "server_id": strict}});
    installation.api.patch(&format!("/v1/jobs/{job}"), moved).await.expect(204);
    let backup = installation.run(&job).await;
    assert_eq!((&backup["status"], &backup["failure"]["kind"]), (&json!("failed"), &json!("forwarding")), "{backup}");
    leftovers::assert_none(&installation).await;
}
