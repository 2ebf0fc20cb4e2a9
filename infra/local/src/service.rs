//! How an embedded service is served: HTTP/1 on a loopback listener, without Nagle's delay.

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves `router` until `closing`, then lets the requests under way finish.
pub async fn serve(listener: TcpListener, router: Router, closing: CancellationToken) -> std::io::Result<()> {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch Nagle's algorithm off; answers may take longer");
        }
    });
    axum::serve(listener, router).with_graceful_shutdown(closing.cancelled_owned()).await
}
