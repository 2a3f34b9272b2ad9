//! The sections `[listeners]`, `[tls]` and `[auth]`: where clients come in, and which are let in.

use std::path::PathBuf;

use nexum_server::TlsConfig;

use super::listen::ListenAddress;
use super::reader::Reader;
use super::setting::{ConfigError, Origin};
use super::{Anonymous, Config};

const ANONYMOUS: [(&str, Anonymous); 3] = [
    ("loopback", Anonymous::Loopback),
    ("true", Anonymous::Everybody),
    ("false", Anonymous::Nobody),
];

pub(super) fn read(reader: &mut Reader<'_>, config: &mut Config) {
    let errors_before = reader.error_count();
    let mut listeners = reader.section("listeners");
    let listen = listeners.list("listen", "\"tcp://127.0.0.1:1883\"", ListenAddress::parse);
    let listen_origin = listeners.origin("listen").cloned();

    let origins = listeners.list(
        "allowed_origins",
        "\"https://console.example\"",
        read_origin,
    );
    config.allowed_origins = origins
        .into_iter()
        .flatten()
        .map(|(origin, _)| origin)
        .collect();

    read_tls(reader, config);

    let mut auth = reader.section("auth");
    auth.optional_path("password_file", &mut config.password_file);
    auth.choice("anonymous", &ANONYMOUS, &mut config.anonymous);
    let anonymous_origin = auth.origin("anonymous").cloned();

    // What is wrong in itself is told already; what would follow from it is a guess.
    if reader.error_count() > errors_before {
        return;
    }
    // Each address with where it was set, if it was.
    let addresses: Vec<(ListenAddress, Option<Origin>)> = match listen {
        Some(listen) => listen
            .into_iter()
            .map(|(address, origin)| (address, Some(origin)))
            .collect(),
        None => config
            .listeners
            .drain(..)
            .map(|address| (address, None))
            .collect(),
    };
    if addresses.is_empty() {
        let message = "'listen' in [listeners] names no address; use at least one, such as \
                       \"tcp://127.0.0.1:1883\"";
        reader.error(ConfigError {
            origin: listen_origin,
            message: message.to_owned(),
        });
    }
    for (index, (address, origin)) in addresses.iter().enumerate() {
        let earlier = addresses[..index].iter().map(|(earlier, _)| earlier);
        let problem = collision(address, earlier)
            .or_else(|| missing_certificate(address, config))
            .or_else(|| nobody_let_in(address, config));
        if let Some(message) = problem {
            // A default address can only be at odds with what was said about anonymous clients.
            let origin = origin.clone().or_else(|| anonymous_origin.clone());
            reader.error(ConfigError { origin, message });
        }
    }
    config.listeners = addresses.into_iter().map(|(address, _)| address).collect();
}

fn read_tls(reader: &mut Reader<'_>, config: &mut Config) {
    let (mut certificate, mut key, mut client_ca) = (None::<PathBuf>, None, None);
    let mut require = false;
    let mut tls = reader.section("tls");
    tls.optional_path("certificate", &mut certificate);
    tls.optional_path("key", &mut key);
    tls.optional_path("client_ca", &mut client_ca);
    tls.boolean("require_client_certificate", &mut require);
    let origin = |key| tls.origin(key).cloned();
    let (at_certificate, at_key, at_client_ca, at_require) = (
        origin("certificate"),
        origin("key"),
        origin("client_ca"),
        origin("require_client_certificate"),
    );

    let mut lacks = |origin: Option<Origin>, present: &str, missing: &str| {
        let message = format!("'{present}' in [tls] needs '{missing}' beside it");
        reader.error(ConfigError { origin, message });
    };
    match (&certificate, &key) {
        (Some(_), None) => lacks(at_certificate, "certificate", "key"),
        (None, Some(_)) => lacks(at_key, "key", "certificate"),
        (Some(_), Some(_)) => {}
        (None, None) if client_ca.is_some() => lacks(at_client_ca, "client_ca", "certificate"),
        (None, None) => {}
    }
    if require && client_ca.is_none() {
        lacks(at_require, "require_client_certificate", "client_ca");
    }
    if let (Some(certificate), Some(key)) = (certificate, key) {
        config.tls = Some(TlsConfig {
            certificate,
            key,
            client_ca,
            require_client_certificate: require,
        });
    }
}

/// An origin as browsers send it: scheme, host and port, no path. `*` is any.
fn read_origin(text: &str) -> Result<String, String> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let is_origin = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' ']));
    if text == "*" || is_origin {
        return Ok(text.to_owned());
    }
    Err(format!(
        "\"{text}\" is no origin of a web page; use a scheme, a host and no path, such as \
         \"https://console.example\", or \"*\" for any"
    ))
}

fn collision<'a>(
    address: &ListenAddress,
    mut earlier: impl Iterator<Item = &'a ListenAddress>,
) -> Option<String> {
    // Port 0 asks for a free port: as often as it is wanted.
    let taken =
        |earlier: &ListenAddress| address.socket.port() != 0 && earlier.socket == address.socket;
    let earlier = earlier.find(|earlier| taken(earlier))?;
    Some(format!(
        "listener \"{address}\" has the address and port of \"{earlier}\"; use another port"
    ))
}

fn missing_certificate(address: &ListenAddress, config: &Config) -> Option<String> {
    let missing = address.transport.is_encrypted() && config.tls.is_none();
    missing.then(|| {
        format!(
            "listener \"{address}\" needs a certificate; set 'certificate' and 'key' in [tls] \
             (certs/make makes a pair for development)"
        )
    })
}

/// A listener that would refuse every client is a mistake that is better told here than found out
/// by the first user: no password file, no client certificates, and no anonymous clients either.
fn nobody_let_in(address: &ListenAddress, config: &Config) -> Option<String> {
    let anonymous = match config.anonymous {
        Anonymous::Everybody => true,
        Anonymous::Loopback => address.socket.ip().to_canonical().is_loopback(),
        Anonymous::Nobody => false,
    };
    let certificates = address.transport.is_encrypted()
        && config
            .tls
            .as_ref()
            .is_some_and(|tls| tls.client_ca.is_some());
    let nobody = !anonymous && !certificates && config.password_file.is_none();
    nobody.then(|| {
        format!(
            "listener \"{address}\" would let nobody in; set 'password_file' in [auth], or \
             'anonymous' to true if it is meant for everybody who can reach it"
        )
    })
}
