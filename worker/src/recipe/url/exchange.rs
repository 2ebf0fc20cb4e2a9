//! An exchange: one `GET` and the head of its answer, over a road, with redirects.
//!
//! Each request has a connection of its own. Nothing of a URL but its host is told to anybody.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use holdfast_shared::domain::host::Host;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HOST, HeaderName, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use tokio_util::task::AbortOnDropHandle;
use url::{Position, Url};

use super::SourceError;
use crate::remote::{Road, Stream};

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;
/// For connecting and for the head of an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// The most that the head of an answer may have.
const MAX_HEAD_BYTES: usize = 128 << 10;
/// How many headers it may have.
const MAX_HEADERS: usize = 200;

/// A URL that is asked for, and what logs in there.
#[derive(Clone)]
pub(super) struct Place {
    url: Url,
    host: Host,
    port: u16,
    /// Basic authentication, of the URL's own user and password.
    login: Option<HeaderValue>,
}

/// The head of an answer, and its body.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Incoming,
    /// What the body comes over.
    _connection: AbortOnDropHandle<()>,
}

/// Makes requests.
#[derive(Clone)]
pub(super) struct Client {
    road: Arc<Road>,
    tls: TlsConnector,
}

impl Place {
    /// A URL of a job.
    pub(super) fn of(text: &str) -> Result<Self, SourceError> {
        let form = || SourceError::Refused("the job's url is none of http or https; correct it".to_owned());
        let mut url = Url::parse(text).map_err(|_| form())?;
        let login = login_of(&url);
        let bare = url.set_username("").and_then(|()| url.set_password(None));
        bare.map_err(|()| form())?;
        Self::new(url, login).ok_or_else(form)
    }

    fn new(mut url: Url, login: Option<HeaderValue>) -> Option<Self> {
        url.set_fragment(None);
        let host = Host::parse(url.host_str()?).ok()?;
        let port = url.port_or_known_default()?;
        ["http", "https"].contains(&url.scheme()).then_some(Self { url, host, port, login })
    }

    /// Its path.
    pub(super) fn path(&self) -> &str {
        self.url.path()
    }

    /// Where a redirect leads. What logs in here is not told to others, and nothing that was encrypted goes on in the clear.
    fn redirected(&self, headers: &HeaderMap) -> Result<Self, SourceError> {
        let refused = |why: &str| SourceError::Refused(format!("{} redirects {why}", self.host));
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let location = location.ok_or_else(|| refused("without saying where to"))?;
        let mut url = self.url.join(location).map_err(|_| refused("to something that is no url"))?;
        if self.url.scheme() == "https" && url.scheme() == "http" {
            return Err(refused("from https to http"));
        }
        let login = self.login.clone().filter(|_| url.origin() == self.url.origin());
        // What a redirect gives of these is no login of the owner's.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        Self::new(url, login).ok_or_else(|| refused("to something that is no http or https"))
    }
}

fn login_of(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut login: Vec<u8> = percent_decode_str(url.username()).collect();
    login.push(b':');
    login.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(login))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Client {
    /// A client that trusts the authorities that this machine trusts.
    pub(super) fn new(road: Arc<Road>) -> Result<Self, SourceError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::trusting(road, roots)
    }

    fn trusting(road: Arc<Road>, roots: RootCertStore) -> Result<Self, SourceError> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions();
        let config = config.map_err(|error| SourceError::Broken(format!("TLS cannot be set up: {error}")))?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { road, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Asks until an answer is no redirect; that answer, and where it is. Anything but 200 is an error.
    pub(super) async fn follow(&self, mut place: Place) -> Result<(Place, Answer), SourceError> {
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.get(&place, &[]).await?;
            match answer.status {
                StatusCode::OK => return Ok((place, answer)),
                status if is_redirect(status) => place = place.redirected(&answer.headers)?,
                status => return Err(refused_by(&place.host, status)),
            }
        }
        Err(SourceError::Refused(format!("it was redirected more than {MAX_REDIRECTS} times; give the url at the end")))
    }

    /// One request, whatever its answer.
    pub(super) async fn get(
        &self,
        place: &Place,
        headers: &[(HeaderName, &HeaderValue)],
    ) -> Result<Answer, SourceError> {
        let asked = timeout(ANSWER_TIMEOUT, self.exchange(place, headers)).await;
        let late =
            || SourceError::Broken(format!("{} did not answer within {} s", place.host, ANSWER_TIMEOUT.as_secs()));
        asked.map_err(|_| late())?
    }

    async fn exchange(&self, place: &Place, more: &[(HeaderName, &HeaderValue)]) -> Result<Answer, SourceError> {
        let stream = self.connect(place).await?;
        let mut builder = http1::Builder::new();
        builder.max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD_BYTES);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| self.lost(place, &error))?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async {
            // Whoever reads the body is told how it ended.
            let _ = connection.await;
        }));
        let request = request(place, more).map_err(|error| SourceError::Refused(format!("the url has {error}")))?;
        let response = sender.send_request(request).await.map_err(|error| self.lost(place, &error))?;
        let (head, body) = response.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body, _connection: connection })
    }

    async fn connect(&self, place: &Place) -> Result<Stream, SourceError> {
        let stream = self.road.connect(&place.host, place.port).await?;
        if place.url.scheme() == "http" {
            return Ok(stream);
        }
        let host = &place.host;
        let name = ServerName::try_from(host.to_string());
        let name = name.map_err(|_| SourceError::Refused(format!("no certificate can name {host}")))?;
        match self.tls.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(match certificate_fault(&error) {
                Some(fault) => SourceError::Refused(format!("the certificate of {host} is not taken: {fault}")),
                None => self.road.trouble().map_or_else(
                    || SourceError::Broken(format!("{host} ended the connection while TLS began: {error}")),
                    SourceError::Remote,
                ),
            }),
        }
    }

    /// Why no answer came.
    fn lost(&self, place: &Place, error: &hyper::Error) -> SourceError {
        let host = &place.host;
        if error.is_parse_too_large() {
            return SourceError::Broken(format!("{host} answered with more headers than are read"));
        }
        if error.is_parse() {
            return SourceError::Broken(format!("{host} answered something that is not HTTP"));
        }
        match self.road.trouble() {
            Some(trouble) => trouble.into(),
            None => SourceError::Broken(format!("{host} ended the connection without an answer")),
        }
    }
}

fn request(place: &Place, more: &[(HeaderName, &HeaderValue)]) -> http::Result<Request<Empty<Bytes>>> {
    let url = &place.url;
    let mut request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, concat!("holdfast/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        // What is stored is the thing itself, not a form of it for the way.
        .header(ACCEPT_ENCODING, "identity");
    if let Some(login) = &place.login {
        request = request.header(AUTHORIZATION, login);
    }
    for (name, value) in more {
        request = request.header(name, *value);
    }
    request.body(Empty::new())
}

fn is_redirect(status: StatusCode) -> bool {
    [301, 302, 303, 307, 308].contains(&status.as_u16())
}

/// An answer that is nothing to store. Those that can pass by themselves are asked again later.
fn refused_by(host: &Host, status: StatusCode) -> SourceError {
    let said = format!("{host} answered {status}");
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            SourceError::Broken(said)
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => SourceError::Refused(format!(
            "{said}; give a url that may be read, with user and password where it needs them"
        )),
        status if status.is_client_error() => SourceError::Refused(format!("{said}; correct the url")),
        status if status.is_server_error() => SourceError::Broken(said),
        _ => SourceError::Refused(format!("{said}, which is nothing to store")),
    }
}

/// What is wrong with a certificate, where that is what TLS failed for.
fn certificate_fault(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        fault @ rustls::Error::InvalidCertificate(_) => Some(fault.to_string()),
        _ => None,
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({} port {})", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(location: &str) -> HeaderMap {
        HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(location).unwrap())])
    }

    #[test]
    fn a_login_goes_to_its_own_origin_only() {
        let place = Place::of("https://u:p%40ss@example.com/a?b#c").unwrap();
        assert_eq!(place.url.as_str(), "https://example.com/a?b");
        assert_eq!(place.login.as_ref().unwrap(), "Basic dTpwQHNz");
        assert!(place.redirected(&headers("/other")).unwrap().login.is_some());
        for location in ["https://example.org/", "https://example.com:8443/", "https://x:y@example.org/"] {
            let next = place.redirected(&headers(location)).unwrap();
            assert!(next.login.is_none() && !next.url.as_str().contains('@'), "{location}");
        }
        assert!(Place::of("https://example.com/").unwrap().login.is_none());
        assert!(!format!("{place:?}").contains("a?b"));
    }

    #[test]
    fn redirects_lead_to_http_and_never_down() {
        let place = Place::of("https://example.com/hunter2").unwrap();
        for location in
            ["http://example.com/", "ftp://example.com/", "file:///etc/passwd", "https://", "https://-x.example/"]
        {
            let Err(error) = place.redirected(&headers(location)) else { panic!("{location}") };
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert!(place.redirected(&HeaderMap::new()).is_err());
        let up = Place::of("http://example.com/").unwrap().redirected(&headers("https://example.com/")).unwrap();
        assert_eq!(up.port, 443);
    }
}
