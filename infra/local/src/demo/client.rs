//! An HTTP client for people to watch: it prints each call that it makes.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_lc_rs::digest::{Context as Digest, SHA256};
use bytes::Bytes;
use holdfast_shared::domain::sealed::Secret;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

/// Longest path that is printed whole; a ticket or a signature is longer and nothing to read.
const SHOWN_PATH: usize = 64;

/// A client of one installation.
#[derive(Debug)]
pub struct Client {
    http: Hyper<HttpConnector, Full<Bytes>>,
    base_url: String,
    token: Secret,
}

/// A file that was fetched.
#[derive(Debug)]
pub struct Fetched {
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it, lowercase hex.
    pub sha256: String,
}

impl Client {
    /// A client that calls `base_url` with `token`.
    pub fn new(base_url: &str, token: Secret) -> Self {
        let http = Hyper::builder(TokioExecutor::new()).build_http();
        Self { http, base_url: base_url.to_owned(), token }
    }

    /// Makes a call and prints it; an error unless the answer is a success.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let started = Instant::now();
        let response = self.ask(&method, path, body).await?;
        print_call(&method, path, response.status(), started.elapsed(), "");
        read(&method, path, response).await
    }

    /// Reads without printing, for what is looked at again and again.
    pub async fn look(&self, path: &str) -> Result<Value> {
        read(&Method::GET, path, self.ask(&Method::GET, path, None).await?).await
    }

    /// Follows a link as `curl -L -o FILE` does: without the token, redirects included.
    pub async fn fetch(&self, link: &str, file: &Path) -> Result<Fetched> {
        let mut link = link.to_owned();
        for _ in 0..3 {
            let started = Instant::now();
            let response = self.http.request(Request::get(&link).body(Full::default())?).await?;
            let (status, path) = (response.status(), link.strip_prefix(&self.base_url).unwrap_or(&link).to_owned());
            if status.is_redirection() {
                print_call(&Method::GET, &path, status, started.elapsed(), "");
                let location = response.headers().get(LOCATION).context("a redirect that leads nowhere")?;
                location.to_str()?.clone_into(&mut link);
                continue;
            }
            if status != StatusCode::OK {
                read(&Method::GET, &path, response).await?;
                bail!("GET {path} answered {status}");
            }
            let fetched = save(response.into_body(), file).await?;
            print_call(&Method::GET, &path, status, started.elapsed(), &megabytes(fetched.bytes));
            return Ok(fetched);
        }
        bail!("the download link redirects in circles")
    }

    async fn ask(&self, method: &Method, path: &str, body: Option<Value>) -> Result<Response<Incoming>> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base_url));
        let request = request.header(AUTHORIZATION, format!("Bearer {}", self.token.expose()));
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::from(body))?;
        self.http.request(request).await.with_context(|| format!("{method} {path} was not answered"))
    }
}

async fn read(method: &Method, path: &str, response: Response<Incoming>) -> Result<Value> {
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("{method} {path} answered {status}: {}", String::from_utf8_lossy(&body));
    }
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&body).with_context(|| format!("{method} {path} answered something else than JSON"))
}

async fn save(mut body: Incoming, path: &Path) -> Result<Fetched> {
    let mut file = tokio::fs::File::create(path).await?;
    let (mut digest, mut bytes) = (Digest::new(&SHA256), 0);
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            digest.update(data);
            bytes += data.len() as u64;
            file.write_all(data).await?;
        }
    }
    file.flush().await?;
    Ok(Fetched { bytes, sha256: hex::encode(digest.finish()) })
}

fn print_call(method: &Method, path: &str, status: StatusCode, took: Duration, more: &str) {
    let path = match path.char_indices().nth(SHOWN_PATH) {
        Some((end, _)) => format!("{}…", &path[..end]),
        None => path.to_owned(),
    };
    let call = format!("{:<4} {path:<66} {} {:>5} ms  {more}", method.as_str(), status.as_u16(), took.as_millis());
    println!("  {}", call.trim_end());
}

/// Bytes for a person.
pub fn megabytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(
            [0, 1, 999_999, 1_000_000, 7_260_000].map(megabytes),
            ["0 kB", "1 kB", "1000 kB", "1.0 MB", "7.2 MB"]
        );
    }
}
