//! Certificates from files, and their replacement while the broker runs.
//!
//! A reload reads and checks everything before anything changes; when something is wrong, what
//! was there stays. Connections keep what they were made with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use crate::certificate::Validity;

/// Where the certificates of a listener are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The server's certificate and its chain, PEM.
    pub certificate: PathBuf,
    /// The private key of the first of them, PEM.
    pub key: PathBuf,
    /// The authorities whose client certificates are accepted, PEM. Without it clients are not
    /// asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether a client must present a certificate. Needs `client_ca`.
    pub require_client_certificate: bool,
}

impl TlsConfig {
    /// Reads the files and sees whether they can be used together.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), TlsError> {
        load(self).map(drop)
    }
}

/// Why certificates could not be used. The message names the file.
#[derive(Debug)]
pub enum TlsError {
    /// A file could not be read or holds no PEM of the kind that is needed.
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What went wrong.
        error: pem::Error,
    },
    /// The files could be read, but not be used together.
    Unusable {
        /// The file whose contents were refused.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A client certificate is required, and no authority is given that could sign one.
    NoClientCa,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::File {
                path,
                expected,
                error: pem::Error::NoItemsFound,
            } => {
                write!(f, "{}: no {expected} in PEM form", path.display())
            }
            TlsError::File {
                path,
                expected,
                error,
            } => {
                write!(f, "{}: cannot read {expected}: {error}", path.display())
            }
            TlsError::Unusable { path, reason } => write!(f, "{}: {reason}", path.display()),
            TlsError::NoClientCa => {
                f.write_str("client certificates are required, but no client_ca is given")
            }
        }
    }
}

impl std::error::Error for TlsError {}

/// The TLS side of a listener.
pub(crate) struct ReloadableTls {
    source: TlsConfig,
    current: ArcSwap<ServerConfig>,
}

impl fmt::Debug for ReloadableTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReloadableTls")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl ReloadableTls {
    pub(crate) fn load(source: TlsConfig) -> Result<ReloadableTls, TlsError> {
        let current = ArcSwap::from_pointee(load(&source)?);
        Ok(ReloadableTls { source, current })
    }

    /// Reads the files again. On an error everything stays as it was.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(load(&self.source)?));
        Ok(())
    }

    /// What new connections are accepted with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

fn load(source: &TlsConfig) -> Result<ServerConfig, TlsError> {
    let TlsConfig {
        certificate,
        key,
        client_ca,
        require_client_certificate,
    } = source;
    let chain = certificates(certificate)?;
    if let Some(first) = chain.first() {
        warn_unless_valid(certificate, first);
    }
    let private_key = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::File {
        path: key.clone(),
        expected: "private key",
        error,
    })?;

    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("the provider's suites cover both versions");
    let builder = match (client_ca, require_client_certificate) {
        (None, false) => builder.with_no_client_auth(),
        (None, true) => return Err(TlsError::NoClientCa),
        (Some(path), required) => {
            let refused = |reason: String| TlsError::Unusable {
                path: path.clone(),
                reason,
            };
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                warn_unless_valid(path, &authority);
                roots.add(authority).map_err(|error| {
                    refused(format!("not a certificate of an authority: {error}"))
                })?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if *required {
                verifier
            } else {
                verifier.allow_unauthenticated()
            };
            builder.with_client_cert_verifier(
                verifier
                    .build()
                    .map_err(|error| refused(error.to_string()))?,
            )
        }
    };
    builder
        .with_single_cert(chain, private_key)
        .map_err(|error| TlsError::Unusable {
            path: certificate.clone(),
            reason: format!("cannot be used with the key {}: {error}", key.display()),
        })
}

/// Every certificate of a file; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |error| TlsError::File {
        path: path.to_owned(),
        expected: "certificate",
        error,
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    if certificates.is_empty() {
        Err(failed(pem::Error::NoItemsFound))
    } else {
        Ok(certificates)
    }
}

/// A certificate that does not hold now is used all the same: the broker cannot know whether its
/// clients mind, and whoever renews it should find the broker running.
fn warn_unless_valid(path: &Path, certificate: &CertificateDer<'_>) {
    match Validity::at(certificate, SystemTime::now()) {
        Validity::Valid => {}
        validity @ (Validity::Expired { .. }
        | Validity::NotYetValid { .. }
        | Validity::Unreadable) => {
            tracing::warn!("the certificate in {} {validity}", path.display());
        }
    }
}
