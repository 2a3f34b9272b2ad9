//! The brokers that the clients meet, and where to find them.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nexum_harness::{Broker, TemporaryDirectory};

use crate::tools::Certificates;

/// Runs the scenarios against another broker.
const OTHER_BROKER: &str = "NEXUM_INTEROP_BROKER";

/// Where a client finds what.
pub(crate) struct Place {
    pub(crate) tcp: SocketAddr,
    pub(crate) ws: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) wss: SocketAddr,
    /// Here the client must show a certificate, too.
    pub(crate) mutual_tls: SocketAddr,
    pub(crate) mutual_wss: SocketAddr,
    pub(crate) certificates: Certificates,
}

/// Running brokers; dropping it ends them.
pub(crate) enum Brokers {
    Nexum {
        everybody: Broker,
        /// Whether a certificate is required holds for all listeners of a broker.
        certified: Broker,
    },
    Mosquitto {
        process: Child,
        _directory: TemporaryDirectory,
        ports: [SocketAddr; 6],
    },
}

impl Brokers {
    /// # Panics
    /// If one does not start.
    pub(crate) fn start() -> Brokers {
        match std::env::var(OTHER_BROKER).as_deref() {
            Ok("mosquitto") => start_mosquitto(),
            Ok(other) => panic!("{OTHER_BROKER}={other}: only mosquitto is known"),
            Err(_) => start_nexum(),
        }
    }

    pub(crate) fn place(&self) -> Place {
        let certificates = Certificates::make();
        match self {
            Brokers::Nexum {
                everybody,
                certified,
            } => Place {
                tcp: everybody.address("tcp"),
                ws: everybody.address("ws"),
                tls: everybody.address("tls"),
                wss: everybody.address("wss"),
                mutual_tls: certified.address("tls"),
                mutual_wss: certified.address("wss"),
                certificates,
            },
            Brokers::Mosquitto {
                ports: [tcp, ws, tls, wss, mutual_tls, mutual_wss],
                ..
            } => Place {
                tcp: *tcp,
                ws: *ws,
                tls: *tls,
                wss: *wss,
                mutual_tls: *mutual_tls,
                mutual_wss: *mutual_wss,
                certificates,
            },
        }
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        match self {
            Brokers::Nexum { .. } => {}
            Brokers::Mosquitto { process, .. } => {
                // An error says that it has already ended.
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }
}

fn start_nexum() -> Brokers {
    let certificates = Certificates::make();
    let with_tls = || {
        Broker::builder(env!("CARGO_BIN_EXE_nexum"))
            .set("tls.certificate", certificates.server.display())
            .set("tls.key", certificates.server_key.display())
            .set("admin.listen", "")
            // A dozen clients start at once: on a busy machine a handshake takes its time.
            .set("limits.authentication_timeout_seconds", 60)
            .listen("tls://127.0.0.1:0")
            .listen("wss://127.0.0.1:0/mqtt")
    };
    Brokers::Nexum {
        everybody: with_tls()
            .listen("tcp://127.0.0.1:0")
            .listen("ws://127.0.0.1:0/mqtt")
            .start(),
        certified: with_tls()
            .set("tls.client_ca", certificates.authority.display())
            .set("tls.require_client_certificate", true)
            .start(),
    }
}

fn start_mosquitto() -> Brokers {
    let certificates = Certificates::make();
    let directory = TemporaryDirectory::new();
    let ports = [(); 6].map(|()| free_port());
    let mut config = "allow_anonymous true\n".to_owned();
    for (index, port) in ports.iter().enumerate() {
        let (websocket, tls, mutual) = (index % 2 == 1, index >= 2, index >= 4);
        let mut line = |line: &str| {
            writeln!(config, "{line}").expect("a string takes everything");
        };
        line(&format!("listener {} 127.0.0.1", port.port()));
        if websocket {
            line("protocol websockets");
        }
        if tls {
            line(&format!("certfile {}", certificates.server.display()));
            line(&format!("keyfile {}", certificates.server_key.display()));
        }
        if mutual {
            line(&format!("cafile {}", certificates.authority.display()));
            line("require_certificate true");
        }
    }
    // It gives up root's rights before it reads the keys, which only their owner can read.
    config.push_str("user root\n");
    let file = directory.path().join("mosquitto.conf");
    fs::write(&file, config).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let process = Command::new("mosquitto")
        .arg("-c")
        .arg(&file)
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto is missing: run tests/install-tools");
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(ports[5]).is_err() {
        assert!(Instant::now() < deadline, "mosquitto does not listen");
        thread::sleep(Duration::from_millis(5));
    }
    Brokers::Mosquitto {
        process,
        _directory: directory,
        ports,
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("loopback has a free port")
}
