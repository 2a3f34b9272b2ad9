//! HTTP rubbish on the administration's port: it must not keep Prometheus from its numbers, nor
//! the broker from its clients.

use std::time::Duration;

use nexum_harness::{Connect, Packet, Version};

use crate::memory::{MIB, mebibytes};
use crate::raw::Raw;
use crate::scene::Scene;

#[test]
fn bad_requests_are_refused() {
    let scene = Scene::start();
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(100_000));
    let long_header = format!(
        "GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let connect = Packet::from(Connect::new(Version::V5, "a")).bytes(Version::V5);
    let requests: [&[u8]; 16] = [
        b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody",
        b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\nConnection: close\r\n\r\n",
        b"DELETE /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /%00 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nBad Header\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        long_path.as_bytes(),
        long_header.as_bytes(),
        &connect,
        &[0xFF; 50_000],
    ];
    for request in requests {
        let shown = String::from_utf8_lossy(&request[..request.len().min(50)]).into_owned();
        let mut raw = Raw::dial_at(scene.metrics.address);
        raw.send(request);
        raw.finish();
        let answer =
            String::from_utf8_lossy(&raw.read_until_closed(Duration::from_secs(10))).into_owned();
        println!("{shown:?}: {:?}", answer.lines().next());
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{shown}: {answer}"
        );
    }
    scene.finish(MIB);
}

/// More connections than are served at once, all of them silent or endless: they are closed when
/// their time is up, and then the numbers are there again.
#[test]
fn silent_and_endless_requests_do_not_hold_the_port_for_ever() {
    let scene = Scene::start();
    let all: Vec<Raw> = (0..150)
        .map(|number| {
            let mut raw = Raw::dial_at(scene.metrics.address);
            match number % 3 {
                0 => {}
                1 => raw.send(b"GET /metrics HTTP/1.1\r\nX: "),
                _ => raw.send(b"G"),
            }
            raw
        })
        .collect();
    drop(all);
    // What the clients gave up is closed at once.
    scene.metrics.wait_for("nexum_connections", 4.0);
    let mut silent: Vec<Raw> = (0..60)
        .map(|_| Raw::dial_at(scene.metrics.address))
        .collect();
    for raw in &mut silent {
        raw.send(b"GET /metrics HTTP/1.1\r\nX: ");
    }
    // A few places are left; were there none, the next would wait for one.
    scene.metrics.wait_for("nexum_connections", 4.0);
    for raw in &mut silent {
        raw.read_until_closed(Duration::from_secs(10));
    }
    // Requests without end in one connection, answers unread.
    let mut raw = Raw::dial_at(scene.metrics.address);
    let (taken, end) = raw.flood(
        &b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100),
        2000,
    );
    println!(
        "{} of requests: {end:?}, {} more",
        mebibytes(taken),
        mebibytes(scene.growth_bytes())
    );
    drop(raw);
    scene.finish(200 * 32 * 1024 + 4 * MIB);
}
