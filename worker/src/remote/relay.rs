//! A relay: TLS that the worker speaks in place of a tool.
//!
//! A tool on the worker connects to a port of ours, so all that it could compare a certificate with is that port's
//! address. `redis-cli` compares nothing anyway, and MariaDB's tools go on in the clear where a server says that it has no
//! TLS, unless they check its name. So the tool speaks to the relay, and the relay to the server, with the job's own name
//! for it. PostgreSQL's tools need none: they take a name and an address apart.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use holdfast_shared::domain::host::Host;
use holdfast_shared::domain::recipe::{Tls, TlsMode};
use holdfast_shared::domain::retry::Retry;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::road::{Both, COPY_BYTES, Stream};
use super::verifier::Verifier;
use super::{RemoteError, certificate};

/// For the server's greeting and for agreeing on TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest packet before TLS that a database server or a tool sends.
const MAX_PACKET_BYTES: usize = 16 << 10;
/// Length and number of a packet of MySQL's.
const PACKET_HEAD_BYTES: usize = 4;
/// `SSLRequest`, with its head.
const TLS_REQUEST_BYTES: usize = PACKET_HEAD_BYTES + 32;
/// `CLIENT_SSL` in the lower half of a server's or a client's capabilities.
const CLIENT_SSL: u16 = 1 << 11;
/// What a greeting begins with, and what an error does.
const GREETING: u8 = 10;
/// Between the end of the version and the capabilities: the connection's number, half of the challenge, and a zero.
const BEFORE_CAPABILITIES: usize = 4 + 8 + 1;

/// How a database's protocol begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// With TLS; the tool speaks in the clear.
    Tls,
    /// With a greeting of the server's [in the clear], which the client answers by asking for TLS. The tool has to ask, too,
    /// as passwords are sent in another way otherwise.
    ///
    /// [in the clear]: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
    Mysql,
}

/// TLS to one server, as a job asks for it.
pub struct Relay {
    wire: Wire,
    mode: TlsMode,
    name: ServerName<'static>,
    connector: TlsConnector,
    /// For the tool, where it speaks TLS.
    acceptor: Option<TlsAcceptor>,
    /// Where it goes, for messages.
    place: String,
    /// The job's field that asks for it.
    field: &'static str,
}

impl Relay {
    /// To `host`, as `tls` asks for it, which stands in the job's field `field`. `None` where the job leaves it to the tool.
    pub fn new(
        wire: Wire,
        tls: &Tls,
        host: &Host,
        port: u16,
        field: &'static str,
    ) -> Result<Option<Self>, RemoteError> {
        if tls.mode < TlsMode::Require {
            return Ok(None);
        }
        let place = format!("{host} port {port}");
        let refused = |message| RemoteError::Tls { place: place.clone(), field, message, retry: Retry::Never };
        let name = ServerName::try_from(host.to_string());
        let name = name.map_err(|_| refused("no certificate can be for a host of that name".to_owned()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Verifier::new(tls, provider.clone()).map_err(refused)?;
        let connector = connector(verifier, provider.clone()).map_err(internal)?;
        let acceptor = match wire {
            Wire::Tls => None,
            Wire::Mysql => Some(acceptor(provider).map_err(internal)?),
        };
        let mode = tls.mode;
        Ok(Some(Self { wire, mode, name, connector, acceptor, place: place.clone(), field }))
    }

    /// Passes on what a tool and a server say to each other, until one of them ends. Fails where there is no TLS, or where
    /// it is not with whom the job means. A connection that ends before that has been found out is not told of here.
    pub(super) async fn pass(&self, near: TcpStream, far: Stream) -> Result<(), RemoteError> {
        let agreed = match (self.wire, &self.acceptor) {
            (Wire::Mysql, Some(acceptor)) => {
                timeout(HANDSHAKE_TIMEOUT, self.agree_for_mysql(acceptor, near, far)).await
            }
            _ => timeout(HANDSHAKE_TIMEOUT, async { Ok(self.agree(far).await?.map(|far| (boxed(near), far))) }).await,
        };
        let secs = HANDSHAKE_TIMEOUT.as_secs();
        let silent = format!("it did not agree on TLS within {secs} s; does it speak TLS on that port?");
        let silent = |_| self.failing(&silent, Retry::Later);
        if let Some((mut near, mut far)) = agreed.map_err(silent)?? {
            // Either side sees how the other one ended; that it did so early is for the protocol to tell.
            let _ = copy_bidirectional_with_sizes(&mut near, &mut far, COPY_BYTES, COPY_BYTES).await;
        }
        Ok(())
    }

    async fn agree(&self, far: Stream) -> Result<Option<TlsStream<Stream>>, RemoteError> {
        match self.connector.connect(self.name.clone(), far).await {
            Ok(far) => Ok(Some(far)),
            Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(why) => Err(self.failed(&self.explained(why))),
                None => Ok(None),
            },
        }
    }

    async fn agree_for_mysql(
        &self,
        acceptor: &TlsAcceptor,
        mut near: TcpStream,
        mut far: Stream,
    ) -> Result<Option<(Stream, TlsStream<Stream>)>, RemoteError> {
        let Ok(greeting) = packet(&mut far).await else { return Ok(None) };
        match offers_tls(&greeting) {
            Some(true) => {}
            Some(false) => return Err(self.failed("the server offers no TLS; set it up there")),
            None => {
                // An error: the tool understands it, and nothing secret was said.
                let _ = near.write_all(&greeting).await;
                return Ok(None);
            }
        }
        let asked = async {
            near.write_all(&greeting).await?;
            packet(&mut near).await
        };
        let Ok(request) = asked.await else { return Ok(None) };
        if request.len() != TLS_REQUEST_BYTES || u16::from_le_bytes([request[4], request[5]]) & CLIENT_SSL == 0 {
            return Err(self.failed("the tools of this worker speak no TLS"));
        }
        if far.write_all(&request).await.is_err() {
            return Ok(None);
        }
        let Some(far) = self.agree(far).await? else { return Ok(None) };
        Ok(acceptor.accept(near).await.ok().map(|near| (boxed(near), far)))
    }

    fn failed(&self, message: &str) -> RemoteError {
        self.failing(message, Retry::Never)
    }

    fn failing(&self, message: &str, retry: Retry) -> RemoteError {
        RemoteError::Tls { place: self.place.clone(), field: self.field, message: message.to_owned(), retry }
    }

    /// What an owner can do about an error.
    fn explained(&self, error: &rustls::Error) -> String {
        let Self { mode, field, .. } = self;
        let words = mode.as_str();
        match error {
            rustls::Error::InvalidCertificate(why) => match why {
                // An authority of the same name with another key has not signed it either.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    format!("{words}: its certificate comes from none of the authorities; correct {field}_ca")
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    format!(
                        "{words}: its certificate is not for that host ({why}); name the host as the certificate does"
                    )
                }
                other => format!("{words}: its certificate is refused: {other}"),
            },
            rustls::Error::InvalidMessage(_) => format!("{words}: it does not answer in TLS; set it up there"),
            other => format!("{words}: {other}"),
        }
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { wire, mode, place, .. } = self;
        f.debug_struct("Relay").field("wire", wire).field("mode", mode).field("place", place).finish_non_exhaustive()
    }
}

fn boxed(stream: impl Both + 'static) -> Stream {
    Box::new(stream)
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> RemoteError {
    RemoteError::Local(io::Error::other(error))
}

fn connector(verifier: Verifier, provider: Arc<CryptoProvider>) -> Result<TlsConnector, rustls::Error> {
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn acceptor(provider: Arc<CryptoProvider>) -> Result<TlsAcceptor, rustls::Error> {
    let none = |_| rustls::Error::General("no certificate for the tool could be made".to_owned());
    let (certificate, key) = certificate::self_signed().map_err(none)?;
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// One packet of MySQL's with its head.
async fn packet(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; PACKET_HEAD_BYTES];
    stream.read_exact(&mut packet).await?;
    let bytes = usize::from(packet[0]) | usize::from(packet[1]) << 8 | usize::from(packet[2]) << 16;
    if bytes > MAX_PACKET_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    packet.resize(PACKET_HEAD_BYTES + bytes, 0);
    stream.read_exact(&mut packet[PACKET_HEAD_BYTES..]).await?;
    Ok(packet)
}

/// Whether a greeting offers TLS; `None` where it is none.
fn offers_tls(packet: &[u8]) -> Option<bool> {
    let rest = packet.get(PACKET_HEAD_BYTES..)?.strip_prefix(&[GREETING])?;
    let version = rest.iter().position(|byte| *byte == 0)?;
    let capabilities = rest.get(version + 1 + BEFORE_CAPABILITIES..)?.first_chunk()?;
    Some(u16::from_le_bytes(*capabilities) & CLIENT_SSL != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_says_whether_there_is_tls() {
        let greeting = |capabilities: u16| {
            let mut packet = b"\x50\x00\x00\x00\x0a10.11.19-MariaDB\x00NNNN12345678\x00".to_vec();
            packet.extend(capabilities.to_le_bytes());
            packet
        };
        assert_eq!(offers_tls(&greeting(0xffff)), Some(true));
        assert_eq!(offers_tls(&greeting(!CLIENT_SSL)), Some(false));
        assert_eq!(offers_tls(b"\x10\x00\x00\x00\xff\x10\x04Too many connections"), None);
        for length in 0..greeting(0).len() {
            assert_eq!(offers_tls(&greeting(0)[..length]), None, "{length} bytes");
        }
    }

    #[tokio::test]
    async fn a_packet_has_its_length_and_no_endless_one() {
        assert_eq!(packet(&mut &b"\x02\x00\x00\x01abc"[..]).await.unwrap(), b"\x02\x00\x00\x01ab");
        assert!(packet(&mut &b"\x04\x00\x00\x01abc"[..]).await.is_err());
        assert!(packet(&mut &[0xff; 64 << 10][..]).await.is_err());
    }
}
