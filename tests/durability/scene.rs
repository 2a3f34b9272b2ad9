//! How tests begin, and what many of them do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nexum_harness::{
    Broker, BrokerBuilder, Connect, Packet, Peer, Publish, Received, TemporaryDirectory, Version,
    puback, pubcomp, pubrec,
};

/// How long the broker may take for what has no event to wait for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// The broker, not yet started, with as many shards wherever the test runs.
pub(crate) fn builder() -> BrokerBuilder {
    Broker::builder(env!("CARGO_BIN_EXE_nexum")).set("server.shards", 2)
}

/// A CONNECT for the session of before, which is to stay.
pub(crate) fn resume(version: Version, client_id: &str) -> Connect {
    Connect::new(version, client_id).persistent().resume()
}

/// Makes a session with one subscription, whose client is not there.
#[track_caller]
pub(crate) fn absent(broker: &Broker, version: Version, client_id: &str, filter: &str, qos: u8) {
    let mut peer = broker.connect(Connect::new(version, client_id).persistent());
    peer.subscribe(filter, qos);
    peer.disconnect();
}

/// A client comes back to a session that is there.
#[track_caller]
pub(crate) fn come_back(broker: &Broker, connect: Connect) -> Peer {
    let peer = broker.connect(connect);
    assert!(
        peer.connack().session_present,
        "the session is gone: {:?}",
        peer.connack()
    );
    peer
}

/// Everything that the broker was told before this is stored when this returns: SUBACK of a session
/// that is to stay waits for the store, and the store keeps an order.
#[track_caller]
pub(crate) fn settle(broker: &Broker) {
    absent(broker, Version::V5, "witness", "witness", 1);
}

/// A clean client publishes messages that the broker takes.
#[track_caller]
pub(crate) fn publish_all(broker: &Broker, messages: impl IntoIterator<Item = Publish>) {
    let mut publisher = broker.client(Version::V5, "publisher");
    for message in messages {
        publisher.publish(message);
    }
    publisher.disconnect();
}

/// Takes messages and acknowledges them until nothing more is there.
#[track_caller]
pub(crate) fn take_all(peer: &mut Peer) -> Vec<String> {
    let mut payloads = Vec::new();
    while let Some(publish) = next_message(peer) {
        payloads.push(text(&publish));
    }
    payloads
}

/// The next message, acknowledged; none if none comes for a while.
#[track_caller]
fn next_message(peer: &mut Peer) -> Option<Publish> {
    // Messages come back from the disk, and the answer to a PINGREQ does not wait for them: only time
    // shows that there are no more.
    match peer.recv_within(Duration::from_millis(700)) {
        Received::Packet(Packet::Publish(publish)) => {
            let identifier = publish.packet_identifier;
            match publish.qos {
                0 => {}
                1 => peer.send(puback(identifier)),
                _ => {
                    peer.send(pubrec(identifier));
                    peer.expect_pubrel(identifier);
                    peer.send(pubcomp(identifier));
                }
            }
            Some(publish)
        }
        Received::Nothing => None,
        other => panic!("expected messages, got {other:?}"),
    }
}

/// The payload.
pub(crate) fn text(publish: &Publish) -> String {
    String::from_utf8(publish.payload.clone()).expect("these tests publish text")
}

/// Payloads by their numbers.
pub(crate) fn numbered(numbers: std::ops::Range<u16>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

/// Waits until the log has a line with all of these words. It is written by a thread of its own.
#[track_caller]
pub(crate) fn wait_for_log(broker: &Broker, words: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = broker.log();
        if log
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
        {
            return;
        }
        assert!(Instant::now() < deadline, "no line with {words:?} in {log}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The program without settings from outside, in a directory of its own.
pub(crate) fn program(working: &TemporaryDirectory) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexum"));
    command.current_dir(working.path()).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("NEXUM__")) {
        command.env_remove(name);
    }
    command
}

/// Starts a broker that must not run on this directory. Returns what it said.
#[track_caller]
pub(crate) fn refused_start(data: &Path) -> String {
    let working = TemporaryDirectory::new();
    let child = program(&working)
        .arg("--data-dir")
        .arg(data)
        .args(["--listen", "tcp://127.0.0.1:0"])
        .args(["--set", "admin.listen="])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("it was built");
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("it is our child").is_none() {
        if Instant::now() > deadline {
            // An error says that it has ended after all.
            let _ended = child.kill();
            panic!("it runs, though it must not");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let Output { status, stderr, .. } = child.wait_with_output().expect("it has ended");
    assert_ne!(status.code(), Some(0), "it must not say that all is well");
    String::from_utf8(stderr).expect("it prints UTF-8")
}

/// What `nexum check-data` says of a directory, and how it ends.
pub(crate) fn check_data(data: &Path) -> (ExitStatus, String) {
    let working = TemporaryDirectory::new();
    let output = program(&working).arg("check-data").arg(data).output();
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("it was built");
    let said = [stdout, stderr].concat();
    (status, String::from_utf8(said).expect("it prints UTF-8"))
}

/// The segments of the log, in their order.
pub(crate) fn segments(data: &Path) -> Vec<PathBuf> {
    files(data, |name| name.ends_with(".log"))
}

/// Bytes that were set aside as damaged.
pub(crate) fn quarantined(data: &Path) -> Vec<PathBuf> {
    files(data, |name| name.starts_with("quarantine-"))
}

fn files(data: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(data).expect("the data directory is there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(&is_wanted)
        })
        .collect();
    files.sort();
    files
}
