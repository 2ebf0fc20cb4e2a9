//! URL: what a web server answers to a `GET`, stored as it comes.
//!
//! The worker speaks HTTP itself, whatever the job's compute: without a server it connects from here, where the guard lets
//! it, anew for each redirect; with one the connections are made from that server, through its SSH, and nothing has to be
//! installed there.
//!
//! A download is whole when its length is the one that was told (or its last chunk has come) and every digest that the
//! server told fits. One that breaks off is resumed where a strong `ETag` makes sure that the rest belongs to it.

mod digest;
mod exchange;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use holdfast_shared::domain::object_key::FileName;
use holdfast_shared::domain::recipe::UrlConfig;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, ETAG, IF_RANGE, RANGE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::{sleep, timeout};
use tokio_util::io::StreamReader;

use super::{Asked, Dump, Judge, SourceError, SourceErrors};
use digest::Digests;
use exchange::{Answer, Client, Place};

/// The most that one download may have: what one object can hold, 5 TiB.
const MAX_BYTES: u64 = 5 << 40;
/// How long a server may take between two bytes.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);
/// How often one download is taken up again.
const MAX_RESUMES: u32 = 20;
/// The rest before it is; each further one without a byte in between doubles it, up to 32 s.
const RESUME_DELAY: Duration = Duration::from_millis(500);

/// Asks for the URL and follows it to an answer that can be stored: one dump.
pub(super) async fn plan(asked: &Asked<'_>, config: &UrlConfig) -> Result<Vec<Dump>, SourceError> {
    let no_url = || SourceError::Refused("the job has no url; set it".to_owned());
    let url = asked.secret("url", config.url.as_ref().ok_or_else(no_url)?)?;
    let place = Place::of(url.expose())?;
    let road = asked.road.ok_or_else(|| SourceError::Refused("there is no way to the url from here".to_owned()))?;
    let download = Download::start(Client::new(road.clone())?, place).await?;
    let (name, whole) = (download.name.clone(), download.whole.clone());
    let chunks = stream::try_unfold(download, |mut download| async {
        Ok::<_, io::Error>(download.next().await?.map(|chunk| (chunk, download)))
    });
    Ok(vec![Dump::of_bytes(name, StreamReader::new(Box::pin(chunks)), WasWhole(whole))])
}

/// Judges by what the download found out itself.
#[derive(Debug)]
struct WasWhole(Arc<AtomicBool>);

impl Judge for WasWhole {
    fn hear(&mut self, _: &str) {}

    fn judge(&self, _: i32, _: &[u8]) -> Result<SourceErrors, SourceError> {
        match self.0.load(Ordering::Acquire) {
            true => Ok(Vec::new()),
            false => Err(SourceError::Broken("the download did not come to its end".to_owned())),
        }
    }
}

/// A download under way.
struct Download {
    client: Client,
    place: Place,
    name: FileName,
    answer: Answer,
    /// How many bytes have come.
    position: u64,
    /// How many there are, where the server told.
    total: Option<u64>,
    /// What makes sure that the rest belongs to it; `None` where it cannot be resumed.
    tag: Option<HeaderValue>,
    digests: Digests,
    resumes: u32,
    /// Resumes without a byte in between.
    fruitless: u32,
    whole: Arc<AtomicBool>,
}

impl Download {
    async fn start(client: Client, place: Place) -> Result<Self, SourceError> {
        let named = known_ending(place.path());
        let (place, answer) = client.follow(place).await?;
        let headers = &answer.headers;
        let total = answer.body.size_hint().exact();
        if total.is_some_and(|total| total > MAX_BYTES) {
            return Err(SourceError::Refused(format!(
                "it is larger than {MAX_BYTES} bytes, which is more than is stored"
            )));
        }
        let digests = Digests::told_by(headers)?;
        let is_chunked = headers.contains_key(TRANSFER_ENCODING);
        if total.is_none() && !is_chunked && digests.is_empty() {
            let message = "the server tells neither a length nor a digest, so that its end could not be told from its \
                           breaking off; have it send Content-Length";
            return Err(SourceError::Refused(message.to_owned()));
        }
        let name = match headers.get(CONTENT_ENCODING).and_then(|coding| coding.to_str().ok()) {
            Some("gzip" | "x-gzip") if !named.as_str().ends_with("gz") => named.and("gz"),
            _ => named,
        };
        let tag = tag_to_resume(headers);
        let whole = Arc::default();
        let (position, resumes, fruitless) = (0, 0, 0);
        Ok(Self { client, place, name, answer, position, total, tag, digests, resumes, fruitless, whole })
    }

    /// The next bytes; `None` once everything has come, and is what was told.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match timeout(STALL_TIMEOUT, self.answer.body.frame()).await {
                Ok(None) => return self.end().map(|()| None),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return self.take(data).map(Some),
                    _ => {}
                },
                Ok(Some(Err(_))) => self.resume("the connection broke off").await?,
                Err(_) => self.resume("the server fell silent").await?,
            }
        }
    }

    fn take(&mut self, data: Bytes) -> io::Result<Bytes> {
        self.fruitless = 0;
        self.position += data.len() as u64;
        if self.position > self.total.unwrap_or(MAX_BYTES) {
            return Err(io::Error::other(format!("more than {} bytes came", self.total.unwrap_or(MAX_BYTES))));
        }
        self.digests.update(&data);
        Ok(data)
    }

    fn end(&mut self) -> io::Result<()> {
        if let Some(total) = self.total.filter(|total| *total != self.position) {
            return Err(io::Error::other(format!("only {} of {total} bytes came", self.position)));
        }
        self.digests.check().map_err(io::Error::other)?;
        self.whole.store(true, Ordering::Release);
        Ok(())
    }

    /// Asks for the rest, until the server gives it or something else than it.
    async fn resume(&mut self, why: &str) -> io::Result<()> {
        let total = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
        let so_far = format!("{why} after {}{total} bytes", self.position);
        let Some(tag) = self.tag.clone() else {
            return Err(io::Error::other(format!("{so_far}, and the server cannot resume it")));
        };
        let range = HeaderValue::try_from(format!("bytes={}-", self.position)).map_err(io::Error::other)?;
        while self.resumes < MAX_RESUMES {
            sleep(RESUME_DELAY * (1 << self.fruitless.min(6))).await;
            self.resumes += 1;
            self.fruitless += 1;
            let answer = match self.client.get(&self.place, &[(RANGE, &range), (IF_RANGE, &tag)]).await {
                Ok(answer) if answer.status.is_server_error() => continue,
                Ok(answer) => answer,
                Err(error) => {
                    tracing::debug!(%error, "a download cannot be resumed yet");
                    continue;
                }
            };
            if answer.status != StatusCode::PARTIAL_CONTENT || !self.continues(&answer.headers) {
                return Err(io::Error::other(format!("{so_far}, and what the server has now is something else")));
            }
            tracing::info!(position = self.position, resumes = self.resumes, "a download is resumed");
            self.answer = answer;
            return Ok(());
        }
        Err(io::Error::other(format!("{so_far}, and could not be resumed")))
    }

    /// Whether a part begins where the last one ended, and is one of the same thing.
    fn continues(&self, headers: &HeaderMap) -> bool {
        let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
        let Some((first, rest)) = range.strip_prefix("bytes ").and_then(|range| range.split_once('-')) else {
            return false;
        };
        let last_and_total = rest.split_once('/').map(|(last, total)| (last.parse::<u64>(), total.parse::<u64>().ok()));
        let Some((Ok(last), total)) = last_and_total else { return false };
        let is_to_the_end =
            total.is_none_or(|total| last + 1 == total) && self.total.is_none_or(|total| last + 1 == total);
        let same_tag = headers.get(ETAG).is_none_or(|tag| Some(tag) == self.tag.as_ref());
        first.parse() == Ok(self.position) && is_to_the_end && same_tag
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").field("position", &self.position).field("total", &self.total).finish_non_exhaustive()
    }
}

/// A strong `ETag`, unless the server says that it knows no ranges ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5)).
fn tag_to_resume(headers: &HeaderMap) -> Option<HeaderValue> {
    let refuses = headers.get(ACCEPT_RANGES).is_some_and(|ranges| ranges == "none");
    headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"") && !refuses).cloned()
}

/// `download` with the ending of the path, where that is a known one: anything else of a URL may be secret.
fn known_ending(path: &str) -> FileName {
    const PACKED: [&str; 9] = ["gz", "tgz", "zst", "xz", "bz2", "zip", "7z", "lz4", "br"];
    const PLAIN: [&str; 24] = [
        "tar", "sql", "dump", "csv", "tsv", "json", "jsonl", "xml", "yaml", "yml", "txt", "log", "html", "pdf", "db",
        "sqlite", "rdb", "archive", "bak", "iso", "img", "parquet", "ics", "bin",
    ];
    let mut words = path.rsplit('/').next().unwrap_or_default().rsplit('.').map(str::to_ascii_lowercase);
    let last = words.next().unwrap_or_default();
    if PLAIN.contains(&last.as_str()) {
        return FileName::of("download", &last);
    }
    if !PACKED.contains(&last.as_str()) {
        return FileName::of("download", "bin");
    }
    match words.next().filter(|inner| PLAIN.contains(&inner.as_str())) {
        Some(inner) => FileName::of("download", &inner).and(&last),
        None => FileName::of("download", &last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_endings_are_told() {
        let cases = [
            ("/dump.sql.gz", "download.sql.gz"),
            ("/a/b.TAR.GZ", "download.tar.gz"),
            ("/x.tgz", "download.tgz"),
            ("/hunter2.zip", "download.zip"),
            ("/hunter2.hunter3.gz", "download.gz"),
            ("/data.json", "download.json"),
            ("/eyJhbGciOi.hunter2", "download.bin"),
            ("/", "download.bin"),
            ("/gz", "download.gz"),
        ];
        for (path, name) in cases {
            assert_eq!(known_ending(path).as_str(), name, "{path}");
        }
    }

    #[test]
    fn only_strong_tags_resume() {
        let with = |tag: &str, ranges: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(ETAG, HeaderValue::from_str(tag).unwrap());
            if let Some(ranges) = ranges {
                headers.insert(ACCEPT_RANGES, HeaderValue::from_str(ranges).unwrap());
            }
            tag_to_resume(&headers).is_some()
        };
        assert!(with("\"a\"", None) && with("\"a\"", Some("bytes")));
        assert!(!with("W/\"a\"", Some("bytes")) && !with("\"a\"", Some("none")) && !with("a", None));
        assert!(tag_to_resume(&HeaderMap::new()).is_none());
    }
}
