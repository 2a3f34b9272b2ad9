//! The broker's HTTP side: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever
//! supervises the process.
//!
//! It runs on a thread of its own and sees the broker only as a [`Source`]: it asks for a copy of
//! the numbers, which never makes a shard wait.

#![forbid(unsafe_code)]

mod http;
mod metrics;
mod problem;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::SystemTime;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use nexum_server::MetricsSnapshot;
use tokio::sync::oneshot;

use crate::metrics::Page;
use crate::problem::Problem;

/// The broker as the administration sees it.
pub trait Source: Send + Sync + 'static {
    /// The numbers as they are now, or were at most a second ago. Must not block.
    fn snapshot(&self) -> MetricsSnapshot;

    /// Whether clients can connect: false while the broker ends.
    fn is_ready(&self) -> bool;
}

/// The administration, running until [`Admin::stop`].
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Admin {
    /// Listens on `address` and answers from a thread of its own. `version` is the broker's.
    ///
    /// # Errors
    /// If the address cannot be had, or there are no threads left.
    pub fn start(
        address: SocketAddr,
        version: &'static str,
        source: Arc<dyn Source>,
    ) -> io::Result<Admin> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let router = router(Arc::new(Broker {
            page: Page::new(version, SystemTime::now()),
            source,
        }));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("nexum-admin".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::spawn(http::serve(listener, router));
                    // Told to, or forgotten about: the end either way.
                    let _ = stopped.await;
                });
            })?;
        Ok(Admin {
            address,
            stop,
            thread,
        })
    }

    /// Where it listens; the real port where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it. Requests under way get no answer.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the administration's thread had panicked");
        }
    }
}

/// What the answers are made from.
struct Broker {
    page: Page,
    source: Arc<dyn Source>,
}

fn router(broker: Arc<Broker>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .with_state(broker)
}

async fn metrics(State(broker): State<Arc<Broker>>) -> Response {
    match broker.page.render(&broker.source.snapshot()) {
        Ok(page) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], page).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            Problem {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                detail: "The metrics cannot be written; the log says why.",
            }
            .into_response()
        }
    }
}

/// Alive: this thread answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready: clients can connect.
async fn readyz(State(broker): State<Arc<Broker>>) -> Response {
    if broker.source.is_ready() {
        return "ready\n".into_response();
    }
    Problem {
        status: StatusCode::SERVICE_UNAVAILABLE,
        detail: "The broker is ending and takes no more clients.",
    }
    .into_response()
}

async fn not_found() -> Problem {
    Problem {
        status: StatusCode::NOT_FOUND,
        detail: "There is nothing here; try /metrics, /healthz or /readyz.",
    }
}

async fn method_not_allowed() -> Problem {
    Problem {
        status: StatusCode::METHOD_NOT_ALLOWED,
        detail: "This can only be read; use GET or HEAD.",
    }
}
