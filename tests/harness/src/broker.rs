//! The broker under test, in a process of its own.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::directory::TemporaryDirectory;
use crate::packet::{Connect, Version};
use crate::peer::Peer;
use crate::websocket::WebSocket;

/// Names a command that is started in place of the broker: our suite against a peer of ours.
/// `{port}` and `{ws_port}` stand for free ports, `{directory}` for an empty directory. Overrides
/// of the configuration do not reach it.
const OTHER_BROKER: &str = "NEXUM_TEST_BROKER";

/// How long a broker may take from its start to its `ready` line, or from SIGTERM to its end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running broker. Dropping it kills the process and removes its data directory; if the test
/// failed, its log is printed first.
pub struct Broker {
    child: Child,
    listeners: Vec<Listener>,
    log: Log,
    directory: Arc<TemporaryDirectory>,
    builder: BrokerBuilder,
}

/// How to start a broker.
#[derive(Clone, Debug)]
pub struct BrokerBuilder {
    program: PathBuf,
    arguments: Vec<String>,
    listeners: Vec<String>,
    directory: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Listener {
    scheme: String,
    address: SocketAddr,
    path: String,
}

#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<String>>);

impl BrokerBuilder {
    /// Adds a listener, for instance `ws://127.0.0.1:0/mqtt`. Without any, the broker listens on
    /// one free TCP port.
    pub fn listen(mut self, url: &str) -> BrokerBuilder {
        self.listeners.push(url.to_owned());
        self
    }

    /// Overrides a key of the configuration: `set("limits.receive_maximum", 10)`.
    pub fn set(self, key: &str, value: impl fmt::Display) -> BrokerBuilder {
        self.argument("--set").argument(&format!("{key}={value}"))
    }

    /// Adds an argument of the command line.
    pub fn argument(mut self, argument: &str) -> BrokerBuilder {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Uses a data directory of the caller's instead of a temporary one.
    pub fn data_directory(mut self, directory: &Path) -> BrokerBuilder {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// If it does not start, with its log.
    #[track_caller]
    pub fn start(self) -> Broker {
        Broker::spawn(self, Arc::new(TemporaryDirectory::new()))
    }
}

impl Broker {
    /// What to start `program` with.
    pub fn builder(program: impl Into<PathBuf>) -> BrokerBuilder {
        BrokerBuilder {
            program: program.into(),
            arguments: Vec::new(),
            listeners: Vec::new(),
            directory: None,
        }
    }

    /// Starts `program` with its defaults on a free TCP port.
    ///
    /// # Panics
    /// If it does not start, with its log.
    #[track_caller]
    pub fn start(program: impl Into<PathBuf>) -> Broker {
        Broker::builder(program).start()
    }

    #[track_caller]
    fn spawn(builder: BrokerBuilder, directory: Arc<TemporaryDirectory>) -> Broker {
        match std::env::var(OTHER_BROKER) {
            Ok(command) => Broker::spawn_other(&command, builder, directory),
            Err(_) => Broker::spawn_ours(builder, directory),
        }
    }

    #[track_caller]
    fn spawn_ours(builder: BrokerBuilder, directory: Arc<TemporaryDirectory>) -> Broker {
        let mut command = Command::new(&builder.program);
        // A configuration file or variables of the developer's must not change the outcome.
        command.current_dir(directory.path());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("NEXUM__")) {
            command.env_remove(name);
        }
        let data = builder
            .directory
            .clone()
            .unwrap_or_else(|| directory.path().join("data"));
        command.arg("--data-dir").arg(data);
        // Brokers of tests running side by side; the default is one fixed port.
        command.args(["--set", "admin.listen=127.0.0.1:0"]);
        if builder.listeners.is_empty() {
            command.args(["--listen", "tcp://127.0.0.1:0"]);
        }
        for listener in &builder.listeners {
            command.args(["--listen", listener]);
        }
        command.args(&builder.arguments);
        let (child, log, lines) = run(command);
        let mut broker = Broker {
            child,
            listeners: Vec::new(),
            log,
            directory,
            builder,
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let listeners = listeners_of_ready_line(&line);
                    if !listeners.is_empty() {
                        broker.listeners = listeners;
                        return broker;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no `ready` line within {PATIENCE:?}"),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = broker.child.wait();
                    panic!("the broker ended before it was ready: {status:?}");
                }
            }
        }
    }

    #[track_caller]
    fn spawn_other(
        command: &str,
        builder: BrokerBuilder,
        directory: Arc<TemporaryDirectory>,
    ) -> Broker {
        let (port, ws_port) = (free_port(), free_port());
        let line = command
            .replace("{port}", &port.to_string())
            .replace("{ws_port}", &ws_port.to_string())
            .replace("{directory}", &directory.path().to_string_lossy());
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec {line}")]);
        let (mut child, log, _lines) = run(shell);
        let mut listeners = Vec::new();
        for (scheme, port) in [("tcp", port), ("ws", ws_port)] {
            if scheme == "tcp" || command.contains("{ws_port}") {
                let address = SocketAddr::from(([127, 0, 0, 1], port));
                wait_for_listener(address, &mut child);
                listeners.push(Listener {
                    scheme: scheme.to_owned(),
                    address,
                    path: "/mqtt".to_owned(),
                });
            }
        }
        Broker {
            child,
            listeners,
            log,
            directory,
            builder,
        }
    }

    /// Address of its first listener of this scheme (`tcp`, `tls`, `ws`, `wss`).
    ///
    /// # Panics
    /// If it has none.
    #[track_caller]
    pub fn address(&self, scheme: &str) -> SocketAddr {
        self.listener(scheme).address
    }

    #[track_caller]
    fn listener(&self, scheme: &str) -> &Listener {
        self.listeners
            .iter()
            .find(|listener| listener.scheme == scheme)
            .unwrap_or_else(|| panic!("no {scheme} listener among {:?}", self.listeners))
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// A peer with an open TCP connection that has sent nothing.
    ///
    /// # Panics
    /// If the broker does not accept it.
    #[track_caller]
    pub fn dial(&self, version: Version) -> Peer {
        Peer::connect(self.address("tcp"), version)
    }

    /// A peer with an open WebSocket that has sent nothing.
    ///
    /// # Panics
    /// If the broker does not accept it.
    #[track_caller]
    pub fn dial_websocket(&self, version: Version) -> Peer {
        let (socket, _) = self
            .open_websocket(&["mqtt"])
            .unwrap_or_else(|status| panic!("the upgrade was refused: {status}"));
        Peer::over(Box::new(socket), version)
    }

    /// Asks for a WebSocket, offering these sub-protocols: the socket and the sub-protocol chosen.
    ///
    /// # Errors
    /// The status line of the refusal.
    ///
    /// # Panics
    /// If the broker has no `ws` listener or its answer breaks RFC 6455.
    #[track_caller]
    pub fn open_websocket(
        &self,
        protocols: &[&str],
    ) -> Result<(WebSocket, Option<String>), String> {
        let listener = self.listener("ws");
        WebSocket::open(listener.address, &listener.path, protocols)
    }

    /// A peer whose CONNECT was accepted.
    ///
    /// # Panics
    /// If it was not.
    #[track_caller]
    pub fn connect(&self, connect: Connect) -> Peer {
        let mut peer = self.dial(connect.version);
        peer.log_in(connect);
        peer
    }

    /// A peer with a clean session.
    ///
    /// # Panics
    /// If its CONNECT was not accepted.
    #[track_caller]
    pub fn client(&self, version: Version, client_id: &str) -> Peer {
        self.connect(Connect::new(version, client_id))
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        let sent = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .expect("`kill` is part of every Unix");
        assert!(sent.success(), "the broker is no longer there");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            // The standard library cannot await a child with a deadline.
            thread::sleep(Duration::from_millis(5));
        }
        panic!("still running {PATIENCE:?} after SIGTERM");
    }

    /// Kills the process (SIGKILL) and starts it again on the same data directory. Listeners that
    /// asked for a free port get another one.
    ///
    /// # Panics
    /// If it does not start again.
    #[track_caller]
    pub fn kill_and_restart(&mut self) {
        self.kill();
        let next = Broker::spawn(self.builder.clone(), Arc::clone(&self.directory));
        *self = next;
    }

    /// Kills the process (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        // An error says that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("---- log of the broker ----\n{}", self.log.text());
        }
    }
}

impl Log {
    fn push(&self, line: &str) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
    }

    fn text(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Starts the process; its output goes to the log and, line by line, to the receiver.
#[track_caller]
fn run(mut command: Command) -> (Child, Log, Receiver<String>) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let log = Log::default();
    let (sender, lines) = mpsc::channel();
    let stdout = child.stdout.take().expect("it is piped");
    let stderr = child.stderr.take().expect("it is piped");
    follow(stdout, log.clone(), sender.clone());
    follow(stderr, log.clone(), sender);
    (child, log, lines)
}

fn follow(output: impl Read + Send + 'static, log: Log, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            log.push(&line);
            // Nobody listens any more once the broker is ready.
            let _ = lines.send(line);
        }
    });
}

/// The listeners that a line with the word `ready` names, however it is decorated. Only addresses
/// are read, no host names.
fn listeners_of_ready_line(line: &str) -> Vec<Listener> {
    let line = without_escapes(line);
    let is_ready = line
        .split(|character: char| !character.is_alphanumeric())
        .any(|word| word.eq_ignore_ascii_case("ready"));
    if !is_ready {
        return Vec::new();
    }
    line.split([' ', '\t', '"', '\'', ',', '=', '(', ')'].as_slice())
        .filter_map(|word| {
            let word = word.trim_start_matches('[').trim_end_matches([']', '.']);
            let (scheme, rest) = word.split_once("://")?;
            let (host, path) = match rest.split_once('/') {
                Some((host, path)) => (host, format!("/{path}")),
                None => (rest, "/".to_owned()),
            };
            Some(Listener {
                scheme: scheme.to_ascii_lowercase(),
                address: host.parse().ok()?,
                path,
            })
        })
        .filter(|listener| ["tcp", "tls", "ws", "wss"].contains(&listener.scheme.as_str()))
        .collect()
}

/// Removes the colours of a log: ESC `[` … letter.
fn without_escapes(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after
            .split_once(char::is_alphabetic)
            .map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    plain
}

#[track_caller]
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("loopback has a free port")
        .port()
}

/// A foreign broker announces nothing, so its port is tried until it answers.
#[track_caller]
fn wait_for_listener(address: SocketAddr, child: &mut Child) {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        let ended = child.try_wait().expect("it is our child");
        assert!(
            ended.is_none(),
            "the broker ended before it listened: {ended:?}"
        );
        assert!(Instant::now() < deadline, "nobody listens on {address}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_line_is_read_however_it_is_decorated() {
        let tcp = Listener {
            scheme: "tcp".to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], 41883)),
            path: "/".to_owned(),
        };
        let ws = Listener {
            scheme: "ws".to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], 8083)),
            path: "/mqtt".to_owned(),
        };
        for line in [
            "ready tcp://127.0.0.1:41883 ws://127.0.0.1:8083/mqtt",
            "2026-11-21T08:00:00Z \u{1b}[32m INFO\u{1b}[0m ready: tcp://127.0.0.1:41883, ws://127.0.0.1:8083/mqtt",
            "INFO nexum: ready \u{1b}[3mlisteners\u{1b}[0m=[\"tcp://127.0.0.1:41883\", \"ws://127.0.0.1:8083/mqtt\"] admin=http://127.0.0.1:8080/",
        ] {
            assert_eq!(
                listeners_of_ready_line(line),
                [tcp.clone(), ws.clone()],
                "{line}"
            );
        }
    }

    #[test]
    fn other_lines_are_not_ready_lines() {
        for line in [
            "listening on tcp://127.0.0.1:1883",
            "ready",
            "already on tcp://127.0.0.1:1",
        ] {
            assert_eq!(listeners_of_ready_line(line), [], "{line}");
        }
    }
}
