//! Authentication happens beside the shards, within bounds.

mod support;

use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nexum_core::{AuthenticationOutcome, Credentials, Limits};
use nexum_server::{Authenticator, ListenerTransport};
use support::{CONNACK, Client, Options, PATIENCE, TestServer, connect};

/// CONNACK of 3.1.1 with a return code.
fn connack(return_code: u8) -> [u8; 4] {
    [0x20, 2, 0, return_code]
}

const UNAVAILABLE: u8 = 3;
const BAD_CREDENTIALS: u8 = 4;

/// Does what the user name says.
struct Obedient;

impl Authenticator for Obedient {
    fn authenticate(&self, credentials: &Credentials) -> AuthenticationOutcome {
        match credentials.user_name.as_deref() {
            Some("accept") => AuthenticationOutcome::Accepted,
            Some("panic") => panic!("as the test wants"),
            _ => AuthenticationOutcome::Refused,
        }
    }
}

fn server(authenticator: impl Authenticator + 'static) -> TestServer {
    let authenticator: Arc<dyn Authenticator> = Arc::new(authenticator);
    let limits = Limits {
        authentication_timeout_seconds: 60,
        ..Limits::default()
    };
    TestServer::start(
        ListenerTransport::Tcp,
        Options {
            shards: 2,
            limits,
            authenticator: Some(authenticator),
        },
    )
}

#[test]
fn the_authenticator_decides_and_may_even_panic() {
    let server = server(Obedient);
    for (user, return_code) in [
        ("accept", 0),
        ("refuse", BAD_CREDENTIALS),
        ("panic", UNAVAILABLE),
        ("panic", UNAVAILABLE),
        ("panic", UNAVAILABLE),
        ("accept", 0),
    ] {
        let mut client = server.tcp();
        client.say(&connect("client", Some((user, "password"))));
        client.hear(&connack(return_code));
    }
}

/// What two threads and a line of 256 hold.
const VERIFIED_OR_WAITING: u64 = 258;

const CLIENTS: u64 = 300;

/// Answers when it is told to.
struct Patient {
    asked: Mutex<Sender<()>>,
    answer: Mutex<Receiver<()>>,
}

impl Authenticator for Patient {
    fn authenticate(&self, _: &Credentials) -> AuthenticationOutcome {
        self.asked
            .lock()
            .expect("no panic")
            .send(())
            .expect("the test listens");
        match self.answer.lock().expect("no panic").recv() {
            Ok(()) => AuthenticationOutcome::Accepted,
            Err(_) => AuthenticationOutcome::Unavailable,
        }
    }
}

#[test]
fn a_slow_authenticator_stops_nobody_and_its_line_is_bounded() {
    let (asked, is_asked) = channel();
    let (answer, answers) = channel();
    let server = server(Patient {
        asked: Mutex::new(asked),
        answer: Mutex::new(answers),
    });
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.tcp()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.say(&connect(&format!("waiting-{number}"), Some(("user", ""))));
    }
    is_asked
        .recv_timeout(PATIENCE)
        .expect("the authenticator is asked");

    // Nobody else waits for its answer. Who does not fit into the line is told at once.
    let mut anonymous = server.tcp();
    anonymous.join("anonymous");
    let refused = || -> u64 {
        server
            .handle
            .snapshot()
            .shards
            .iter()
            .map(|shard| shard.counters.connects_refused)
            .sum()
    };
    let began = Instant::now();
    while refused() < CLIENTS - VERIFIED_OR_WAITING {
        assert!(began.elapsed() < PATIENCE, "the line has no end");
        anonymous.ping();
    }

    for _ in 0..VERIFIED_OR_WAITING {
        answer.send(()).expect("the authenticator waits");
    }
    let mut accepted = 0;
    for client in &mut clients {
        let mut answer = [0; 4];
        client.read_exact(&mut answer).expect("CONNACK");
        if answer == CONNACK {
            accepted += 1;
        } else {
            assert_eq!(answer, connack(UNAVAILABLE));
        }
    }
    assert_eq!(accepted, VERIFIED_OR_WAITING);
}
