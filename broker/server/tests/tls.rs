//! TLS: handshakes, client certificates, reload, and connections that move between shards.

mod support;

use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use nexum_core::{AuthenticationOutcome, Credentials, Limits};
use nexum_server::{
    Authenticator, BindError, ListenerConfig, ListenerTransport, Server, ServerConfig, ServerError,
    TlsConfig, WebSocketConfig,
};
use support::{Authority, Client, Directory, Options, SUBACK, TestServer, tls};
use support::{connect, publish, subscribe};
use tokio_rustls::rustls::{ProtocolVersion, version};

#[test]
fn clients_of_both_versions_are_served() {
    let directory = Directory::new("tls-versions");
    let authority = Authority::new("authority");
    let config = authority.write_server(&directory);
    let server = TestServer::start(ListenerTransport::Tls(config), Options::default());
    let mut modern = tls(&server, &authority.client_config(None));
    modern.join("modern");
    assert_eq!(
        modern.conn.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
    let mut old_config = (*authority.client_config(None)).clone();
    let provider = Arc::clone(old_config.crypto_provider());
    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    roots
        .add(authority.certificate())
        .expect("an authority's certificate");
    old_config = tokio_rustls::rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS12])
        .expect("the provider supports it")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut old = tls(&server, &Arc::new(old_config));
    old.join("old");
    assert_eq!(old.conn.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    // More than any buffer on the way holds.
    let message = publish("big", &vec![7; 1_000_000]);
    old.say(&subscribe("big"));
    old.hear(&SUBACK);
    for _ in 0..3 {
        modern.say(&message);
        old.hear(&message);
    }
}

#[test]
fn connections_move_to_the_shard_of_their_session() {
    let directory = Directory::new("tls-rehome");
    let authority = Authority::new("authority");
    let config = authority.write_server(&directory);
    let client_config = authority.client_config(None);
    let server = TestServer::start(
        ListenerTransport::Tls(config),
        Options {
            shards: 4,
            ..Options::default()
        },
    );
    // CONNECT, SUBSCRIBE and a PUBLISH in one record: what is behind CONNECT moves along.
    let mut clients: Vec<_> = (0..24).map(|_| tls(&server, &client_config)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let topic = format!("own/{number}");
        let mut bytes = connect(&format!("client-{number}"), None);
        bytes.extend(subscribe(&topic));
        bytes.extend(publish(&topic, b"to myself"));
        client.say(&bytes);
        client.hear(&support::CONNACK);
        client.hear(&SUBACK);
        client.hear(&publish(&topic, b"to myself"));
    }
    for client in &mut clients {
        client.ping();
    }
    // Of 24 connections dealt out over four shards, some moved; the numbers are copied out a few
    // times a second, and at the latest when the server ends.
    let handle = server.handle.clone();
    drop(server);
    let snapshot = handle.snapshot();
    assert!(
        snapshot
            .shards
            .iter()
            .map(|shard| shard.load.rehomed)
            .sum::<u64>()
            > 0
    );
    assert_eq!(
        snapshot
            .shards
            .iter()
            .map(|shard| shard.load.panics)
            .sum::<u64>(),
        0
    );
}

#[test]
fn a_reload_changes_the_certificate_for_new_connections() {
    let directory = Directory::new("tls-reload");
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let config = old.write_server(&directory);
    let server = TestServer::start(ListenerTransport::Tls(config), Options::default());
    let mut before = tls(&server, &old.client_config(None));
    before.join("before");

    // A new certificate without its key is refused, and the old pair stays.
    let identity = new.sign("server");
    directory.write("server.pem", &identity.certificate_pem);
    let error = server
        .handle
        .reload()
        .expect_err("a key that does not fit")
        .to_string();
    assert!(error.contains("server.pem"), "{error}");
    tls(&server, &old.client_config(None)).join("still-old");

    directory.write("server.key", &identity.key.serialize_pem());
    server.handle.reload().expect("a pair that fits");
    tls(&server, &new.client_config(None)).join("new");
    let mut distrustful = tls(&server, &old.client_config(None));
    std::io::Write::write_all(&mut distrustful, &connect("x", None))
        .expect_err("another authority");
    before.ping();
}

/// Tells the test whom it was asked about.
struct Witness(Mutex<Sender<Credentials>>);

impl Witness {
    fn new() -> (Arc<Witness>, Receiver<Credentials>) {
        let (sender, receiver) = channel();
        (Arc::new(Witness(Mutex::new(sender))), receiver)
    }
}

impl Authenticator for Witness {
    fn authenticate(&self, credentials: &Credentials) -> AuthenticationOutcome {
        let sender = self.0.lock().expect("nobody panics with it");
        sender.send(credentials.clone()).expect("the test listens");
        AuthenticationOutcome::Accepted
    }
}

#[test]
fn a_client_certificate_says_who_it_is_when_one_is_required() {
    let directory = Directory::new("tls-client");
    let (authority, stranger) = (Authority::new("authority"), Authority::new("stranger"));
    let config = TlsConfig {
        client_ca: Some(directory.write("clients.pem", &authority.pem)),
        require_client_certificate: true,
        ..authority.write_server(&directory)
    };
    let (witness, asked) = Witness::new();
    let server = TestServer::start(
        ListenerTransport::Tls(config),
        Options {
            authenticator: Some(witness),
            ..Options::default()
        },
    );
    let device = authority.sign("device-7");
    let mut client = tls(&server, &authority.client_config(Some(&device)));
    client.say(&connect("a", Some(("user", "password"))));
    client.hear(&support::CONNACK);
    let credentials = asked
        .recv_timeout(support::PATIENCE)
        .expect("the authenticator is asked");
    assert_eq!(credentials.certificate.as_deref(), Some("device-7"));
    assert_eq!(credentials.user_name.as_deref(), Some("user"));

    for identity in [None, Some(stranger.sign("device-7"))] {
        let mut refused = tls(&server, &authority.client_config(identity.as_ref()));
        let said = std::io::Write::write_all(&mut refused, &connect("b", None));
        let heard = said.and_then(|()| refused.read(&mut [0; 4]));
        heard.expect_err("an alert instead of a CONNACK");
    }
}

#[test]
fn a_handshake_that_does_not_come_to_an_end_is_given_up() {
    let directory = Directory::new("tls-slow");
    let authority = Authority::new("authority");
    let config = authority.write_server(&directory);
    let websocket = WebSocketConfig {
        path: "/mqtt".to_owned(),
        allowed_origins: Vec::new(),
    };
    let limits = Limits {
        authentication_timeout_seconds: 1,
        ..Limits::default()
    };
    for transport in [
        ListenerTransport::Tls(config.clone()),
        ListenerTransport::WebSocket(websocket.clone()),
        ListenerTransport::SecureWebSocket(websocket, config),
    ] {
        let server = TestServer::start(
            transport,
            Options {
                limits: limits.clone(),
                ..Options::default()
            },
        );
        let mut silent = server.tcp();
        let mut halting = server.tcp();
        halting.say(&[0x16]);
        silent.hear_the_end();
        halting.hear_the_end();
    }
}

#[test]
fn rubbish_instead_of_a_handshake_ends_with_an_alert() {
    let directory = Directory::new("tls-rubbish");
    let authority = Authority::new("authority");
    let config = authority.write_server(&directory);
    let server = TestServer::start(ListenerTransport::Tls(config), Options::default());
    let mut client = server.tcp();
    client.say(&connect("plain", None));
    let mut alert = [0; 2];
    client.read_exact(&mut alert).expect("an alert");
    assert_eq!(alert[0], 21, "the content type of an alert");
}

#[test]
fn files_that_cannot_be_used_are_named_before_anything_runs() {
    let directory = Directory::new("tls-files");
    let authority = Authority::new("authority");
    let good = authority.write_server(&directory);
    let empty = directory.write("empty.pem", "");
    let other_key = directory.write("other.key", &authority.sign("x").key.serialize_pem());
    for (config, named) in [
        (
            TlsConfig {
                certificate: directory.path("missing.pem"),
                ..good.clone()
            },
            "missing.pem",
        ),
        (
            TlsConfig {
                certificate: empty.clone(),
                ..good.clone()
            },
            "empty.pem: no certificate",
        ),
        (
            TlsConfig {
                key: empty.clone(),
                ..good.clone()
            },
            "empty.pem: no private key",
        ),
        (
            TlsConfig {
                key: other_key,
                ..good.clone()
            },
            "server.pem: cannot be used with the key",
        ),
        (
            TlsConfig {
                client_ca: Some(empty),
                ..good.clone()
            },
            "empty.pem: no certificate",
        ),
        (
            TlsConfig {
                require_client_certificate: true,
                ..good
            },
            "no client_ca",
        ),
    ] {
        let listener = ListenerConfig {
            address: ([127, 0, 0, 1], 0).into(),
            transport: ListenerTransport::Tls(config),
            anonymous: None,
        };
        let error = Server::bind(
            ServerConfig {
                listeners: vec![listener],
                shards: Some(1),
                limits: Arc::new(Limits::default()),
                authenticator: None,
                seed: 7,
            },
            nexum_storage::Store::in_memory(nexum_storage::Options::default()),
            Vec::new(),
        )
        .expect_err(named);
        assert!(
            matches!(error, ServerError::Bind(BindError::Tls { .. })),
            "{error}"
        );
        assert!(error.to_string().contains(named), "{error}");
    }
}
