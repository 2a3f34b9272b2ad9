//! What the tests of the shell stand on: a server in this process, and clients that speak just
//! enough MQTT 3.1.1 to see that bytes go where they should.

#![allow(dead_code, reason = "each test target uses its part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nexum_core::Limits;
use nexum_server::{
    Authenticator, Handle, ListenerConfig, ListenerTransport, Running, Server, ServerConfig,
    TlsConfig,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that is shut down when it is dropped.
pub(crate) struct TestServer {
    pub(crate) handle: Handle,
    running: Option<Running>,
}

pub(crate) struct Options {
    pub(crate) shards: usize,
    pub(crate) limits: Limits,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            shards: 1,
            limits: Limits::default(),
            authenticator: None,
        }
    }
}

impl TestServer {
    pub(crate) fn start(transport: ListenerTransport, options: Options) -> TestServer {
        let listener = ListenerConfig {
            address: ([127, 0, 0, 1], 0).into(),
            transport,
            anonymous: None,
        };
        let server = Server::bind(
            ServerConfig {
                listeners: vec![listener],
                shards: Some(options.shards),
                limits: Arc::new(options.limits),
                authenticator: options.authenticator,
                seed: 7,
            },
            nexum_storage::Store::in_memory(nexum_storage::Options::default()),
            Vec::new(),
        )
        .expect("a free port on loopback");
        let handle = server.handle();
        let running = server.start().expect("threads can be started");
        TestServer {
            handle,
            running: Some(running),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.listeners()[0].address
    }

    pub(crate) fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_nodelay(true).expect("a TCP socket");
        stream
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.handle.shut_down();
        let outcome = self.running.take().expect("joined once").join();
        if !std::thread::panicking() {
            outcome.expect("no thread died");
        }
    }
}

/// CONNECT of MQTT 3.1.1 with Clean Session.
pub(crate) fn connect(client_id: &str, login: Option<(&str, &str)>) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x04\x02\0\0".to_vec();
    let mut field = |text: &str| {
        body.extend(
            u16::try_from(text.len())
                .expect("a short text")
                .to_be_bytes(),
        );
        body.extend(text.as_bytes());
    };
    field(client_id);
    if let Some((user, password)) = login {
        field(user);
        field(password);
        body[7] |= 0xC0;
    }
    packet(0x10, &body)
}

/// QoS 0.
pub(crate) fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = u16::try_from(topic.len())
        .expect("a short topic")
        .to_be_bytes()
        .to_vec();
    body.extend(topic.as_bytes());
    body.extend(payload);
    packet(0x30, &body)
}

/// One filter at QoS 0, Packet Identifier 1.
pub(crate) fn subscribe(filter: &str) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend(
        u16::try_from(filter.len())
            .expect("a short filter")
            .to_be_bytes(),
    );
    body.extend(filter.as_bytes());
    body.push(0);
    packet(0x82, &body)
}

pub(crate) const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
pub(crate) const SUBACK: [u8; 5] = [0x90, 3, 0, 1, 0];
pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];
pub(crate) const PINGRESP: [u8; 2] = [0xD0, 0];

fn packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first_byte];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length % 128).expect("less than 128");
        length /= 128;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// What a client does on any stream.
pub(crate) trait Client: Read + Write {
    fn say(&mut self, bytes: &[u8]) {
        self.write_all(bytes).expect("the server takes it");
        self.flush().expect("the server takes it");
    }

    fn hear(&mut self, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        self.read_exact(&mut bytes).expect("the server answers");
        assert!(
            bytes == expected,
            "expected {expected:02x?}, got {bytes:02x?}"
        );
    }

    /// CONNECT, accepted.
    fn join(&mut self, client_id: &str) {
        self.say(&connect(client_id, None));
        self.hear(&CONNACK);
    }

    fn ping(&mut self) {
        self.say(&PINGREQ);
        self.hear(&PINGRESP);
    }

    /// The server closes the connection without another byte, by FIN.
    fn hear_the_end(&mut self) {
        let mut rest = Vec::new();
        self.read_to_end(&mut rest).expect("closed, not reset");
        assert!(rest.is_empty(), "{rest:02x?}");
    }
}

impl<T: Read + Write> Client for T {}

/// A directory that goes away with the test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("nexum-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory can be written");
        Directory(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("the temporary directory can be written");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Signs certificates.
pub(crate) struct Authority {
    pub(crate) pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate_pem: String,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key can be generated");
        let certificate = params.self_signed(&key).expect("complete parameters");
        Authority {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.der.clone()
    }

    pub(crate) fn sign(&self, common_name: &str) -> Identity {
        let mut params =
            CertificateParams::new(vec!["localhost".to_owned()]).expect("a valid name");
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let key = KeyPair::generate().expect("a key can be generated");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("complete parameters");
        Identity {
            certificate_pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key,
        }
    }

    /// Writes `server.pem` and `server.key`.
    pub(crate) fn write_server(&self, directory: &Directory) -> TlsConfig {
        let identity = self.sign("server");
        TlsConfig {
            certificate: directory.write("server.pem", &identity.certificate_pem),
            key: directory.write("server.key", &identity.key.serialize_pem()),
            client_ca: None,
            require_client_certificate: false,
        }
    }

    /// What a client that trusts this authority uses.
    pub(crate) fn client_config(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.der.clone())
            .expect("an authority's certificate");
        let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("the provider supports them")
            .with_root_certificates(roots);
        Arc::new(match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(
                    vec![identity.certificate.clone()],
                    PrivateKeyDer::try_from(identity.key.serialize_der()).expect("PKCS #8"),
                )
                .expect("a key that fits its certificate"),
        })
    }
}

pub(crate) type TlsClient = StreamOwned<ClientConnection, TcpStream>;

/// A TLS connection to a server named `localhost`; the handshake happens with the first bytes.
pub(crate) fn tls(server: &TestServer, config: &Arc<ClientConfig>) -> TlsClient {
    let name = ServerName::try_from("localhost").expect("a valid name");
    let session = ClientConnection::new(Arc::clone(config), name).expect("a valid configuration");
    StreamOwned::new(session, server.tcp())
}
