//! What HTTP clients get, over a real socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nexum_admin::{Admin, Source};
use nexum_server::{MetricsSnapshot, ShardSnapshot};

/// A broker without any.
struct Fake {
    ready: AtomicBool,
}

impl Source for Fake {
    fn snapshot(&self) -> MetricsSnapshot {
        let mut shard = ShardSnapshot::default();
        shard.load.busy_microseconds = 500_000;
        MetricsSnapshot {
            shards: vec![shard],
            ..MetricsSnapshot::default()
        }
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

fn start(ready: bool) -> Admin {
    let source = Fake {
        ready: AtomicBool::new(ready),
    };
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    Admin::start(any_port, "1.2.3", Arc::new(source)).expect("loopback has ports")
}

/// Sends the head of a request and reads all that comes back.
fn exchange(admin: &Admin, head: &str) -> String {
    let mut stream = TcpStream::connect(admin.address()).expect("it listens");
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("it answers and closes");
    answer
}

fn get(admin: &Admin, path: &str) -> String {
    exchange(
        admin,
        &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    )
}

#[test]
fn metrics_are_prometheus_text() {
    let admin = start(true);
    let answer = get(&admin, "/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("\nnexum_build_info{version=\"1.2.3\"} 1\n"),
        "{answer}"
    );
    assert!(
        answer.contains("\nnexum_shard_busy_seconds_total{shard=\"0\"} 0.5\n"),
        "{answer}"
    );
    admin.stop();
}

#[test]
fn health_is_told_apart_from_readiness() {
    let admin = start(false);
    assert!(get(&admin, "/healthz").ends_with("\r\n\r\nok\n"));
    let answer = get(&admin, "/readyz");
    assert!(
        answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("content-type: application/problem+json\r\n"),
        "{answer}"
    );
    admin.stop();

    let admin = start(true);
    assert!(get(&admin, "/readyz").ends_with("\r\n\r\nready\n"));
    admin.stop();
}

#[test]
fn anything_else_is_a_problem() {
    let admin = start(true);
    let answer = get(&admin, "/nothing?x=y");
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert!(
        answer.contains("content-type: application/problem+json\r\n"),
        "{answer}"
    );
    assert!(
        answer.ends_with(
            "\r\n\r\n{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\"detail\":\
             \"There is nothing here; try /metrics, /healthz or /readyz.\"}\n"
        ),
        "{answer}"
    );

    let head =
        "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let answer = exchange(&admin, head);
    assert!(
        answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"),
        "{answer}"
    );
    assert!(answer.contains("allow: GET,HEAD\r\n"), "{answer}");
    assert!(answer.contains("\"status\":405"), "{answer}");
    admin.stop();
}

#[test]
fn a_head_without_end_is_refused() {
    let admin = start(true);
    let head = format!("GET / HTTP/1.1\r\nX: {}\r\n", "x".repeat(64 * 1024));
    let mut stream = TcpStream::connect(admin.address()).expect("it listens");
    // It may close before it has read all of it.
    let _ = stream.write_all(head.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let refused = answer.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n");
    assert!(refused || answer.is_empty(), "{answer}");
    assert!(
        get(&admin, "/healthz").ends_with("ok\n"),
        "others are served"
    );
    admin.stop();
}

#[test]
fn an_address_in_use_is_an_error() {
    let admin = start(true);
    let source = Fake {
        ready: AtomicBool::new(true),
    };
    let error = Admin::start(admin.address(), "1.2.3", Arc::new(source)).expect_err("it is taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    admin.stop();
}
