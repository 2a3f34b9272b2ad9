//! The program as its user meets it: what it prints, how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};

use nexum_harness::{Connect, Peer, TemporaryDirectory, Version};

/// The program in an empty working directory, without settings from outside.
fn nexum(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexum"));
    command.current_dir(directory).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("NEXUM__")) {
        command.env_remove(name);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    let directory = TemporaryDirectory::new();
    nexum(directory.path())
        .args(arguments)
        .output()
        .expect("it was built")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it prints UTF-8")
}

#[test]
fn a_valid_configuration_is_confirmed() {
    let output = run(&["--check-config"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "configuration is valid\n");
    assert_eq!(text(&output.stderr), "");

    let documented = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config.toml");
    let output = run(&["--config", documented, "--check-config"]);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_invalid_configuration_is_refused_with_all_its_mistakes() {
    let directory = TemporaryDirectory::new();
    let file = directory.path().join("config.toml");
    std::fs::write(
        &file,
        "[limits]\nrecieve_maximum = 10\n\n[log]\nlevel = 'loud'\n",
    )
    .expect("ours");
    for arguments in [&["--check-config"][..], &[]] {
        let output = nexum(directory.path())
            .env("NEXUM__MQTT__SYS_INTERVAL_SECONDS", "soon")
            .args(arguments)
            .args(["--listen", "quic://127.0.0.1:1"])
            .output()
            .expect("it was built");
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(text(&output.stdout), "");
        assert_eq!(
            text(&output.stderr),
            "config.toml:2: unknown key 'recieve_maximum' in [limits]; did you mean \
             'receive_maximum'?\n\
             config.toml:5: 'level' in [log] cannot be 'loud'; use \"off\", \"error\", \"warn\", \
             \"info\", \"debug\" or \"trace\" (default \"info\")\n\
             NEXUM__MQTT__SYS_INTERVAL_SECONDS: 'sys_interval_seconds' in [mqtt] cannot be soon; \
             use a number of seconds or a duration in s, min, h or d from 0 to \"1 d\" \
             (default 10)\n\
             --listen quic://127.0.0.1:1: 'listen' in [listeners]: \"quic://127.0.0.1:1\" begins \
             with an unknown scheme; use tcp://, tls://, ws:// or wss://\n"
        );
    }
}

#[test]
fn files_that_the_configuration_names_are_read() {
    let output = run(&["--check-config", "--set", "auth.password_file=nobody"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "'password_file' in [auth]: nobody: cannot read the password file: No such file or \
         directory (os error 2)\n"
    );
    let certificates = ["--set", "tls.certificate=a.pem", "--set", "tls.key=a.key"];
    let output = run(&[&["--check-config"], &certificates[..]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).starts_with("[tls]: a.pem: "),
        "{output:?}"
    );
}

#[test]
fn options_are_explained() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for option in [
        "--config",
        "--data-dir",
        "--listen",
        "--set",
        "--check-config",
        "passwd",
    ] {
        assert!(help.contains(option), "{option} is missing in {help}");
    }
    let output = run(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout),
        concat!("nexum ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn a_wrong_command_line_is_refused() {
    for (arguments, message) in [
        (&["--port", "1883"][..], "invalid option '--port'"),
        (&["--config"], "missing argument for option '--config'"),
        (&["config.toml"], "unexpected argument \"config.toml\""),
        (&["passwd"], "passwd needs FILE and USER"),
        (&["passwd", "file"], "passwd needs USER after the file"),
        (
            &["passwd", "file", "ann", "secret"],
            "unexpected argument \"secret\"",
        ),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(
            text(&output.stderr),
            format!("nexum: {message}; nexum --help lists what there is\n")
        );
    }
}

#[test]
fn passwords_are_set_from_a_pipe() {
    let directory = TemporaryDirectory::new();
    let set = |user: &str, password: &str| {
        let mut child = nexum(directory.path())
            .args(["passwd", "passwords", user])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it was built");
        let mut stdin = child.stdin.take().expect("it is piped");
        match stdin.write_all(password.as_bytes()) {
            // It has refused the user name, perhaps, before it read anything.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            written => written.expect("it reads"),
        }
        drop(stdin);
        child.wait_with_output().expect("it is our child")
    };
    for (user, password) in [
        ("ann", "first\n"),
        ("bob", "without an end of line"),
        ("ann", "b\n"),
    ] {
        let output = set(user, password);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    let file = directory.path().join("passwords");
    let entries = std::fs::read_to_string(&file).expect("it was made");
    let entries: Vec<&str> = entries.lines().collect();
    assert!(
        entries[0].starts_with("ann:$argon2id$v=19$m=19456,t=2,p=1$"),
        "{entries:?}"
    );
    assert!(
        entries[1].starts_with("bob:$argon2id$v=19$m=19456,t=2,p=1$"),
        "{entries:?}"
    );
    assert_eq!(entries.len(), 2);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&file).expect("it is there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "only its owner reads it");

    let output = set("ann", "\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "nexum: the password is empty\n");
    let output = set("#ann", "secret\n");
    assert_eq!(output.status.code(), Some(1));

    let check = ["--check-config", "--set", "auth.password_file=passwords"];
    let output = nexum(directory.path())
        .args(check)
        .output()
        .expect("it was built");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// A broker that runs until it is told to end.
struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    _directory: TemporaryDirectory,
}

impl Running {
    /// Starts it and reads its log up to the line that says `ready`, which is returned.
    fn start(arguments: &[&str]) -> (Running, String) {
        let directory = TemporaryDirectory::new();
        let mut child = nexum(directory.path())
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("it was built");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut running = Running {
            child,
            stderr,
            _directory: directory,
        };
        let ready = running.line_with("ready ");
        (running, ready)
    }

    fn line_with(&mut self, word: &str) -> String {
        let mut log = String::new();
        loop {
            let start = log.len();
            let length = self.stderr.read_line(&mut log).expect("it is UTF-8");
            assert!(length > 0, "no {word:?} before its end: {log}");
            if log[start..].contains(word) {
                return log.split_off(start);
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .expect("`kill` is part of every Unix");
        assert!(sent.success(), "it is no longer there");
    }

    /// Waits for its end; what it logged until then.
    fn end(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).expect("it is UTF-8");
        (self.child.wait().expect("it is our child"), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Errors say that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ON_FREE_PORTS: [&str; 6] = [
    "--listen",
    "tcp://127.0.0.1:0",
    "--listen",
    "ws://127.0.0.1:0",
    "--set",
    "admin.listen=127.0.0.1:0",
];

#[test]
fn the_ready_line_names_every_real_address() {
    let (running, ready) = Running::start(&ON_FREE_PORTS);
    let (_, addresses) = ready
        .trim_end()
        .split_once("ready ")
        .expect("it is the line");
    let addresses: Vec<&str> = addresses.split(' ').collect();
    let schemes = ["tcp://", "ws://", "http://"];
    assert_eq!(addresses.len(), schemes.len(), "{ready}");
    for (address, scheme) in addresses.into_iter().zip(schemes) {
        let socket = address
            .strip_prefix(scheme)
            .expect("in the order of the configuration");
        let socket = socket.strip_suffix("/mqtt").unwrap_or(socket);
        TcpStream::connect(socket).expect("it listens where it says");
    }
    drop(running);
}

#[test]
fn either_signal_ends_it_in_good_order() {
    for signal in ["TERM", "INT"] {
        let (running, _) = Running::start(&ON_FREE_PORTS);
        running.signal(signal);
        let (status, log) = running.end();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains(&format!("ending on SIG{signal}")), "{log}");
        assert!(log.trim_end().ends_with("ended"), "{log}");
    }
}

#[test]
fn a_signal_that_comes_twice_is_heeded_once() {
    // GNU timeout does this: it signals the process and then its group.
    let (running, _) = Running::start(&ON_FREE_PORTS);
    let twice = format!("kill -TERM {0}; kill -TERM {0} || true", running.child.id());
    let sent = Command::new("sh").args(["-c", &twice]).status();
    assert!(sent.expect("every Unix has a shell").success());
    let (status, log) = running.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.trim_end().ends_with("ended"), "{log}");
}

#[test]
fn a_hang_up_reloads_and_nothing_ends() {
    let (mut running, _) = Running::start(&ON_FREE_PORTS);
    running.signal("HUP");
    running.line_with("reloaded");
    running.signal("TERM");
    let (status, _) = running.end();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn an_address_in_use_is_told() {
    let (running, ready) = Running::start(&ON_FREE_PORTS);
    let word = |scheme: &str| {
        let address = ready
            .split_whitespace()
            .find_map(|word| word.strip_prefix(scheme));
        address.expect("it is there").to_owned()
    };
    let mqtt = word("tcp://");
    let output = run(&["--listen", &mqtt]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains(&format!("cannot listen on {mqtt}: ")),
        "{output:?}"
    );

    let admin = word("http://");
    let set = format!("admin.listen={admin}");
    let output = run(&["--listen", "127.0.0.1:0", "--set", &set]);
    assert_eq!(output.status.code(), Some(1));
    let message = format!("the administration cannot listen on {admin}: ");
    assert!(text(&output.stderr).contains(&message), "{output:?}");
    drop(running);
}

#[test]
fn the_log_can_be_read_by_programs() {
    let json = ["--set", "log.format=json"];
    let (running, ready) = Running::start(&[&ON_FREE_PORTS[..], &json].concat());
    let line: serde_json::Value = serde_json::from_str(&ready).expect("a line is an object");
    assert_eq!(line["level"], "INFO");
    assert!(line["timestamp"].is_string());
    let message = line["message"].as_str().expect("it has a message");
    assert!(message.starts_with("ready tcp://127.0.0.1:"), "{message}");
    drop(running);
}

#[test]
fn whoever_does_not_read_the_log_does_not_stop_the_broker() {
    let debug = ["--set", "log.level=debug"];
    let (mut running, ready) = Running::start(&[&ON_FREE_PORTS[..], &debug].concat());
    let address = ready
        .split_whitespace()
        .find_map(|word| word.strip_prefix("tcp://"));
    let address = address
        .expect("it is there")
        .parse()
        .expect("it is an address");
    // Each logs two lines of a hundred bytes; a pipe that nobody reads holds 64 KiB.
    for number in 0..1000 {
        let mut peer = Peer::connect(address, Version::V5);
        peer.log_in(Connect::new(Version::V5, &format!("client-{number}")));
        peer.disconnect();
    }
    running.signal("TERM");
    let status = running.child.wait().expect("it is our child");
    assert_eq!(status.code(), Some(0));
}
