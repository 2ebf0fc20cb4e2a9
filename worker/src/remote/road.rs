//! A road: how the worker reaches what a user named, from here or from a jump.
//!
//! Nothing takes the host by its name a second time. From here the guard judges every address, once, and the connection
//! goes to those; from a jump it is the jump that connects. Tools that connect by themselves get a local port of ours,
//! which leads there and nowhere else.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_shared::domain::host::Host;
use holdfast_shared::guard::Guard;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{Jump, Relay, RemoteError};

/// How long all addresses of a host together may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Buffers of a connection through a local port, each way.
pub(super) const COPY_BYTES: usize = 128 << 10;

/// How the worker reaches what a user named.
#[derive(Debug)]
pub struct Road {
    way: Way,
    /// What was asked for last.
    last: Mutex<Option<(Host, u16)>>,
    /// What went wrong last with a connection that nobody was there to be told of.
    trouble: Arc<Mutex<Option<RemoteError>>>,
    ports: tokio::sync::Mutex<Vec<LocalPort>>,
}

#[derive(Debug)]
enum Way {
    Straight(Guard),
    Through(Jump),
}

/// A connection.
pub type Stream = Box<dyn Both>;

/// What reads and writes.
pub trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

impl Road {
    /// From here, where the guard lets us.
    pub fn straight(guard: Guard) -> Self {
        Self::new(Way::Straight(guard))
    }

    /// From a host that we are logged in to.
    pub fn through(jump: Jump) -> Self {
        Self::new(Way::Through(jump))
    }

    fn new(way: Way) -> Self {
        Self { way, last: Mutex::default(), trouble: Arc::default(), ports: tokio::sync::Mutex::default() }
    }

    /// Connects. From a jump this always succeeds; a connection that then ends before its first byte was none, and
    /// [`Road::trouble`] tells why.
    pub async fn connect(&self, host: &Host, port: u16) -> Result<Stream, RemoteError> {
        self.find(host, port).await?.connect().await
    }

    /// A port of this machine that leads to `host`, for tools that connect by themselves, until the road is closed.
    pub async fn local_port(&self, host: &Host, port: u16) -> Result<SocketAddr, RemoteError> {
        self.relayed_port(host, port, None).await
    }

    /// The same, by a relay that speaks TLS in place of the tool, if there is one.
    pub async fn relayed_port(&self, host: &Host, port: u16, relay: Option<Relay>) -> Result<SocketAddr, RemoteError> {
        let mut ports = self.ports.lock().await;
        if let Some(open) = ports.iter().find(|open| open.host == *host && open.port == port) {
            return Ok(open.address);
        }
        let end = self.find(host, port).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(RemoteError::Local)?;
        let address = listener.local_addr().map_err(RemoteError::Local)?;
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(listener, end, relay, self.trouble.clone())));
        ports.push(LocalPort { host: host.clone(), port, address, _serving: serving });
        Ok(address)
    }

    /// Whether tools connect by themselves.
    pub fn has_ports(&self) -> bool {
        self.ports.try_lock().is_ok_and(|ports| !ports.is_empty())
    }

    /// Why the last connection came to nothing, as far as anybody knows.
    pub fn trouble(&self) -> Option<RemoteError> {
        let seen = locked(&self.trouble).take();
        seen.or_else(|| match &self.way {
            Way::Straight(_) => None,
            Way::Through(jump) => locked(&self.last).as_ref().and_then(|(host, port)| jump.trouble(host, *port)),
        })
    }

    /// Disconnects from the jump, if there is one.
    pub async fn close(self) {
        match self.way {
            Way::Straight(_) => {}
            Way::Through(jump) => jump.close().await,
        }
    }

    async fn find(&self, host: &Host, port: u16) -> Result<End, RemoteError> {
        *locked(&self.last) = Some((host.clone(), port));
        let at = match &self.way {
            Way::Straight(guard) => At::Addresses(guard.resolve(host, port).await?),
            Way::Through(jump) => At::Socket(jump.socket_to(host, port).await?),
        };
        Ok(End { host: host.clone(), port, at })
    }
}

/// Where a road ends.
struct End {
    host: Host,
    port: u16,
    at: At,
}

enum At {
    /// Those that the guard let through.
    Addresses(Vec<SocketAddr>),
    /// A socket of ours that a jump forwards.
    Socket(PathBuf),
}

impl End {
    async fn connect(&self) -> Result<Stream, RemoteError> {
        let connecting = async {
            Ok::<Stream, io::Error>(match &self.at {
                At::Addresses(addresses) => {
                    let stream = TcpStream::connect(&addresses[..]).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
                At::Socket(path) => Box::new(UnixStream::connect(path).await?),
            })
        };
        let connected = timeout(CONNECT_TIMEOUT, connecting).await;
        let why = match connected {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it did not answer within {} s", CONNECT_TIMEOUT.as_secs()),
        };
        Err(RemoteError::Unreachable { host: self.host.to_string(), port: self.port, message: why })
    }
}

/// A port of this machine that leads somewhere else; dropping it closes it and cuts its connections.
#[derive(Debug)]
struct LocalPort {
    host: Host,
    port: u16,
    /// On loopback.
    address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

async fn serve(listener: TcpListener, end: End, relay: Option<Relay>, trouble: Arc<Mutex<Option<RemoteError>>>) {
    let (end, relay) = (Arc::new(end), Arc::new(relay));
    let mut connections = JoinSet::new();
    loop {
        let Ok((near, _)) = listener.accept().await else {
            // Out of file descriptors, say: whoever connects sees that nothing answers.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let (end, relay, trouble) = (end.clone(), relay.clone(), trouble.clone());
        connections.spawn(async move {
            if let Err(error) = pass(near, &end, relay.as_ref().as_ref()).await {
                *locked(&trouble) = Some(error);
            }
        });
    }
}

/// Connects and passes on what both sides say, until one of them ends.
async fn pass(mut near: TcpStream, end: &End, relay: Option<&Relay>) -> Result<(), RemoteError> {
    let mut far = end.connect().await?;
    let _ = near.set_nodelay(true);
    match relay {
        Some(relay) => relay.pass(near, far).await,
        None => {
            // Either side sees how the other one ended; that it did so early is for the protocol to tell.
            let _ = copy_bidirectional_with_sizes(&mut near, &mut far, COPY_BYTES, COPY_BYTES).await;
            Ok(())
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
