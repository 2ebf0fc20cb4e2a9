//! The public listener: HTTP/1 for whoever connects, with an end to everything that a slow or greedy client can draw out.
//!
//! How long lines and headers may be is told by the surfaces themselves; what is larger still, this refuses with a bare
//! 414 or 431. How long a body may take is told by whoever reads it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long a request's head may take to arrive, and how long a connection may rest between two requests.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How large a head may be at all, bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How many headers it may have at all.
const MAX_HEADERS: usize = 256;
/// How many connections are open at once; others wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
/// How long to wait after a connection could not be accepted: the process may be out of descriptors.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Serves `routes` until `closing`, then lets the requests under way finish. Each carries its [`ConnectInfo`].
pub async fn serve(listener: TcpListener, routes: Router, closing: CancellationToken) -> io::Result<()> {
    serve_within(listener, routes, closing, HEAD_WITHIN).await
}

async fn serve_within(
    listener: TcpListener,
    routes: Router,
    closing: CancellationToken,
    head_within: Duration,
) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_within);
    http.max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let open = GracefulShutdown::new();
    let mut closed = pin!(closing.cancelled());
    loop {
        let next = async {
            let seat = seats.clone().acquire_owned().await;
            (seat, listener.accept().await)
        };
        let (seat, accepted) = tokio::select! {
            next = next => next,
            () = &mut closed => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            }
        };
        let connection = http.serve_connection(TokioIo::new(without_delay(stream)), answering(routes.clone(), peer));
        let connection = open.watch(connection);
        tokio::spawn(async move {
            let _seat = seat;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    open.shutdown().await;
    Ok(())
}

fn without_delay(stream: TcpStream) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot switch Nagle's algorithm off; answers may take longer");
    }
    stream
}

fn answering(
    routes: Router,
    peer: SocketAddr,
) -> impl hyper::service::Service<
    http::Request<Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future: Send,
> {
    service_fn(move |request: http::Request<Incoming>| {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        routes.clone().oneshot(request)
    })
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use holdfast_functions::http::address::client_address;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Sends `bytes` to a listener and answers all that comes back until the connection is closed.
    async fn exchange(bytes: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let whoami = async |request: axum::extract::Request| format!("{:?}", client_address(request.extensions()));
        let closing = CancellationToken::new();
        let _ends = closing.clone().drop_guard();
        let routes = Router::new().route("/", get(whoami));
        tokio::spawn(serve_within(listener, routes, closing, Duration::from_millis(100)));
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may be closed before all of it is sent.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn requests_carry_their_peer() {
        let answer = exchange(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("Some(127.0.0.1)"), "{answer}");
    }

    #[tokio::test]
    async fn a_head_that_does_not_arrive_is_not_waited_for() {
        let answer = exchange(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
        assert!(!answer.contains("200"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_that_rests_is_closed() {
        let answer = exchange(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn heads_have_an_end() {
        let many: String = (0..MAX_HEADERS + 1).map(|number| format!("x-{number}: 1\r\n")).collect();
        let answer = exchange(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        let answer =
            exchange(format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(2 * MAX_HEAD_BYTES)).as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}
