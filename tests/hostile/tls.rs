//! Rubbish on a tls:// listener.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nexum_harness::{Broker, Connect, Packet, Version};

use crate::memory::{MIB, mebibytes};
use crate::raw::{FloodEnd, Raw};
use crate::scene::{PROMPTLY, Scene, builder};

/// A TLS connection on its way in: rustls keeps a record and the state of the handshake.
const HANDSHAKE_BYTES: u64 = 64 * 1024;

const FAILURES: &str = "nexum_handshake_failures_total";

fn start() -> Scene {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let made = Command::new(root.join("certs/make"))
        .output()
        .expect("certs/make can be run");
    assert!(made.status.success(), "certs/make: {made:?}");
    let file = |name: &str| -> PathBuf { root.join("certs/dev").join(name) };
    Scene::start_with(
        builder()
            .listen("tcp://127.0.0.1:0")
            .listen("tls://127.0.0.1:0")
            .set("tls.certificate", file("server.pem").display())
            .set("tls.key", file("server.key").display())
            .set("limits.authentication_timeout_seconds", 2),
    )
}

fn dial(broker: &Broker) -> Raw {
    Raw::dial_at(broker.address("tls"))
}

/// A good ClientHello of TLS 1.3 and 1.2 (RFC 8446 section 4.1.2), written out.
fn client_hello() -> Vec<u8> {
    let extension = |kind: u16, body: &[u8]| {
        [
            &kind.to_be_bytes()[..],
            &(body.len() as u16).to_be_bytes(),
            body,
        ]
        .concat()
    };
    let extensions = [
        // supported_groups: x25519, secp256r1.
        extension(10, &[0, 4, 0, 29, 0, 23]),
        // ec_point_formats: uncompressed.
        extension(11, &[1, 0]),
        // signature_algorithms: ECDSA with P-256, RSA-PSS, RSA.
        extension(13, &[0, 6, 4, 3, 8, 4, 4, 1]),
        // supported_versions: 1.3, 1.2.
        extension(43, &[4, 3, 4, 3, 3]),
        // key_share: a point of x25519.
        extension(51, &[&[0, 36, 0, 29, 0, 32][..], &[9; 32]].concat()),
    ]
    .concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 6, 0x13, 0x01, 0xC0, 0x2B, 0xC0, 0x2C]);
    body.extend([1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend((body.len() as u16).to_be_bytes());
    handshake.extend(body);
    record(22, &handshake)
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// Logs in over real TLS, with OpenSSL, and returns the first bytes of the answer.
fn log_in_with_openssl(broker: &Broker) -> Vec<u8> {
    let mut client = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-connect",
            &broker.address("tls").to_string(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("tests/install-tools installs openssl");
    let connect = Packet::from(Connect::new(Version::V311, "over tls")).bytes(Version::V311);
    let mut stdin = client.stdin.take().expect("it is piped");
    stdin
        .write_all(&[&connect[..], &[0xE0, 0]].concat())
        .expect("openssl takes it");
    // The broker closes after DISCONNECT, and that ends openssl; its standard input stays open.
    let output = client.wait_with_output().expect("it ends");
    drop(stdin);
    output.stdout
}

/// Whatever breaks the handshake ends it, with an alert (0x15) or without a word; nothing else
/// comes but the server's own part of the handshake.
#[test]
fn broken_handshakes_end() {
    let scene = start();
    let hello = client_hello();
    let mut spoiled: Vec<Vec<u8>> = vec![
        Packet::from(Connect::new(Version::V5, "plain")).bytes(Version::V5),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        vec![0; 1000],
        vec![0xFF; 20_000],
        record(21, &[2, 40]),
        record(23, &[0; 100]),
        record(20, &[1]),
        record(22, &[0xFF; 100]),
        // A record longer than any may be.
        [&[22, 3, 3, 0xFF, 0xFF][..], &[1; 70_000]].concat(),
        // A ClientHello that announces 16 MiB.
        record(22, &[&[1, 0xFF, 0xFF, 0xFF][..], &[0; 1000]].concat()),
        // SSL 2.
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10".repeat(10),
        // A good one, and rubbish instead of what must follow.
        [&hello[..], &record(23, &[0; 500])].concat(),
        [
            &hello[..],
            &record(22, &[20, 0, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ]
        .concat(),
        [&hello[..], b"GET / HTTP/1.1\r\n\r\n"].concat(),
        hello.repeat(2),
        // Nothing both sides speak.
        hello
            .windows(2)
            .position(|pair| pair == [0x13, 0x01])
            .map_or(Vec::new(), |at| {
                let mut other = hello.clone();
                other[at..at + 6].copy_from_slice(&[0, 0xFF, 0, 0xFE, 0, 0xFD]);
                other
            }),
    ];
    // Each byte of a good one changed; some changes do no harm, then silence ends it.
    for at in 0..hello.len() {
        let mut other = hello.clone();
        other[at] ^= 0x55;
        spoiled.push(other);
    }
    let before = scene.metrics.value(FAILURES);
    let begun = Instant::now();
    let mut open: Vec<Raw> = spoiled
        .iter()
        .map(|bytes| {
            let mut raw = dial(&scene.broker);
            raw.send(bytes);
            raw
        })
        .collect();
    for (raw, bytes) in open.iter_mut().zip(&spoiled) {
        let answer = raw.read_until_closed(Duration::from_secs(8));
        let is_tls = matches!(answer.first(), None | Some(0x14..=0x17));
        assert!(
            is_tls,
            "{:02x?} was answered by {answer:02x?}",
            &bytes[..20.min(bytes.len())]
        );
    }
    println!(
        "{} broken handshakes in {:?}",
        spoiled.len(),
        begun.elapsed()
    );
    let failures = before + spoiled.len() as f64;
    scene
        .metrics
        .wait_until(FAILURES, |count| count >= failures);
    assert_eq!(
        log_in_with_openssl(&scene.broker).get(..4),
        Some(&[0x20, 2, 0, 0][..])
    );
    scene.finish(spoiled.len() as u64 * HANDSHAKE_BYTES);
}

/// Cut after every byte and then silent: closed when the time to authenticate is up, together.
#[test]
fn half_handshakes_are_closed_in_time() {
    let scene = start();
    let hello = client_hello();
    let begun = Instant::now();
    let mut open: Vec<Raw> = (0..hello.len() * 3)
        .map(|number| {
            let mut raw = dial(&scene.broker);
            raw.send(&hello[..number % (hello.len() + 1)]);
            raw
        })
        .collect();
    for raw in &mut open {
        raw.read_until_closed(Duration::from_secs(8));
    }
    let took = begun.elapsed();
    println!(
        "{} half handshakes: closed after {took:?}, {} more",
        open.len(),
        mebibytes(scene.growth_bytes())
    );
    assert!(
        took >= Duration::from_millis(1900),
        "two seconds were allowed, not {took:?}"
    );
    assert_eq!(
        log_in_with_openssl(&scene.broker).get(..4),
        Some(&[0x20, 2, 0, 0][..])
    );
    scene.finish(open.len() as u64 * HANDSHAKE_BYTES);
}

/// A ClientHello without end, in small records, is bounded by what rustls takes for a handshake.
#[test]
fn endless_client_hello_ends() {
    let scene = start();
    let mut raw = dial(&scene.broker);
    raw.send(&record(
        22,
        &[&[1, 0xFF, 0xFF, 0xFF, 3, 3][..], &[7; 32]].concat(),
    ));
    let (taken, end) = raw.flood(&record(22, &[0; 1000]).repeat(10), 2000);
    println!(
        "{} taken, {end:?}, {} more",
        mebibytes(taken),
        mebibytes(scene.growth_bytes())
    );
    assert_ne!(end, FloodEnd::Taken, "20 MB of ClientHello");
    raw.read_until_closed(PROMPTLY);
    scene.finish(2 * MIB);
}
