//! User Name and Password (sections 3.1.3.5 and 3.1.3.6 of both specifications).

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use nexum_harness::{Broker, Connect, TemporaryDirectory, Version, reason};

use crate::scene::builder;

/// Lines of the password file come from the broker's own command.
fn add_user(file: &Path, user: &str, password: &str) {
    let mut passwd = Command::new(env!("CARGO_BIN_EXE_nexum"))
        .arg("passwd")
        .arg(file)
        .arg(user)
        .stdin(Stdio::piped())
        .spawn()
        .expect("the broker's program starts");
    let mut input = passwd.stdin.take().expect("it is piped");
    writeln!(input, "{password}").expect("it reads the password");
    drop(input);
    assert!(passwd.wait().expect("it ends").success());
}

/// A broker that knows `user` with `right`, and nobody else.
fn start(directory: &TemporaryDirectory) -> Broker {
    let file = directory.path().join("passwords");
    add_user(&file, "user", "right");
    builder()
        .set("auth.password_file", file.display())
        .set("auth.anonymous", false)
        .start()
}

/// What a server may say to credentials it does not like.
fn refusals(version: Version) -> [u8; 2] {
    match version {
        Version::V311 => [
            reason::V311_BAD_USER_NAME_OR_PASSWORD,
            reason::V311_NOT_AUTHORIZED,
        ],
        Version::V5 => [reason::BAD_USER_NAME_OR_PASSWORD, reason::NOT_AUTHORIZED],
    }
}

/// [MQTT-3.1.4-5] [MQTT3-3.1.4-4] [MQTT-3.1.2-17] [MQTT-3.1.2-19] [MQTT3-3.1.2-19]
/// [MQTT3-3.1.2-21]
#[test]
fn right_password_is_accepted() {
    let directory = TemporaryDirectory::new();
    let broker = start(&directory);
    for version in Version::ALL {
        let connect = Connect::new(version, "client")
            .user_name("user")
            .password(b"right");
        broker.connect(connect).disconnect();
    }
}

/// [MQTT-3.1.4-2] [MQTT-3.2.2-7] [MQTT-3.2.2-8] [MQTT3-3.2.2-4] [MQTT3-3.2.2-5]
#[test]
fn wrong_credentials_are_refused_and_closed() {
    let directory = TemporaryDirectory::new();
    let broker = start(&directory);
    for version in Version::ALL {
        let connect = Connect::new(version, "client");
        for (what, connect) in [
            ("nothing", connect.clone()),
            ("no password", connect.clone().user_name("user")),
            (
                "a wrong password",
                connect.clone().user_name("user").password(b"wrong"),
            ),
            (
                "an empty password",
                connect.clone().user_name("user").password(b""),
            ),
            (
                "a password that is no UTF-8",
                connect.clone().user_name("user").password(&[0xFF, 0x00]),
            ),
            (
                "a password with more behind it",
                connect.clone().user_name("user").password(b"right\0"),
            ),
            (
                "an unknown user",
                connect.clone().user_name("other").password(b"right"),
            ),
            (
                "an empty user",
                connect.clone().user_name("").password(b"right"),
            ),
        ] {
            println!("{version:?}: {what}");
            let mut peer = broker.dial(version);
            peer.send(connect);
            peer.expect_refused(&refusals(version));
        }
    }
}

/// A client that may not connect has no effect on one that may.
/// [MQTT-3.1.4-2] [MQTT-3.1.4-6] [MQTT3-3.1.4-5]
#[test]
fn refused_client_takes_nothing_over() {
    let directory = TemporaryDirectory::new();
    let broker = start(&directory);
    for version in Version::ALL {
        let connect = Connect::new(version, "client").user_name("user");
        let mut rightful = broker.connect(connect.clone().password(b"right"));
        let mut intruder = broker.dial(version);
        intruder.send(connect.password(b"wrong"));
        intruder.expect_refused(&refusals(version));
        rightful.expect_ping();
    }
}
