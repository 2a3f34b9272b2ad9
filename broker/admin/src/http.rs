//! HTTP connections: taken, bounded and served.
//!
//! Nothing here knows what is asked for. Whatever clients do, at most [`MOST_CONNECTIONS`] are
//! served at once, none for longer than [`LONGEST_CONNECTION`].

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Connections at once. Scrapers and probes need a few; the next waits in the kernel's backlog.
const MOST_CONNECTIONS: usize = 64;

/// How long a connection may be kept, idle or not; a scraper opens a new one without fuss.
const LONGEST_CONNECTION: Duration = Duration::from_secs(300);

/// How long the head of a request may take to arrive.
const LONGEST_HEAD: Duration = Duration::from_secs(5);

/// The buffer of a connection, and so the longest head of a request.
const LARGEST_HEAD_BYTES: usize = 16 * 1024;

/// Serves until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, router: Router) {
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await;
        let permit = permit.expect("nobody closes the semaphore");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: at once again would only burn the CPU.
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(LONGEST_HEAD)
                .max_buf_size(LARGEST_HEAD_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            match timeout(LONGEST_CONNECTION, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "an HTTP connection failed"),
                Err(_) => tracing::debug!("an HTTP connection was open too long"),
            }
            drop(permit);
        });
    }
}
