//! What the broker reads in X.509 certificates: whose they are and how long they hold.
//!
//! It verifies nothing; a client's certificate gets here after rustls has verified it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Tag, Tagged};

/// id-at-commonName (RFC 5280 appendix A.1).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The subject common name of a certificate, if it names exactly one thing: one attribute, in a
/// string type with one reading, not empty, without control characters. A name that could be
/// read in two ways is no identity.
pub(crate) fn common_name(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let mut names = certificate
        .tbs_certificate()
        .subject()
        .iter()
        .filter(|attribute| attribute.oid == COMMON_NAME);
    let name = names.next()?;
    if names.next().is_some() {
        return None;
    }
    let value = &name.value;
    let text = match value.tag() {
        Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok()?.as_str(),
        Tag::PrintableString => value.decode_as::<PrintableStringRef<'_>>().ok()?.as_str(),
        Tag::Ia5String => value.decode_as::<Ia5StringRef<'_>>().ok()?.as_str(),
        // TeletexString and BMPString: deprecated by RFC 5280, and read differently by different
        // readers.
        _ => return None,
    };
    (!text.is_empty() && !text.chars().any(char::is_control)).then(|| Arc::from(text))
}

/// Whether a certificate holds at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    Valid,
    Expired {
        ago: Duration,
    },
    NotYetValid {
        begins_in: Duration,
    },
    /// Not to be read; rustls may still accept it.
    Unreadable,
}

impl Validity {
    pub(crate) fn at(certificate: &CertificateDer<'_>, now: SystemTime) -> Validity {
        let Ok(certificate) = Certificate::from_der(certificate) else {
            return Validity::Unreadable;
        };
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let validity = certificate.tbs_certificate().validity();
        let not_before = validity.not_before.to_unix_duration();
        let not_after = validity.not_after.to_unix_duration();
        if now > not_after {
            Validity::Expired {
                ago: now - not_after,
            }
        } else if now < not_before {
            Validity::NotYetValid {
                begins_in: not_before - now,
            }
        } else {
            Validity::Valid
        }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Validity::Valid => f.write_str("is valid"),
            Validity::Expired { ago } => write!(f, "expired {} ago", Days(*ago)),
            Validity::NotYetValid { begins_in } => {
                write!(f, "is not valid for another {}", Days(*begins_in))
            }
            Validity::Unreadable => f.write_str("cannot be read as X.509"),
        }
    }
}

/// Days, or hours below two of them.
struct Days(Duration);

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.0.as_secs() / 3600;
        if hours < 48 {
            write!(f, "{hours} hours")
        } else {
            write!(f, "{} days", hours / 24)
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    fn certificate(fill: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        fill(&mut params);
        let key = KeyPair::generate().expect("a key can be generated");
        params
            .self_signed(&key)
            .expect("the parameters are complete")
            .der()
            .clone()
    }

    fn named(value: DnValue) -> Option<Arc<str>> {
        common_name(&certificate(|params| {
            params
                .distinguished_name
                .push(DnType::OrganizationName, "Factory");
            params.distinguished_name.push(DnType::CommonName, value);
        }))
    }

    #[test]
    fn a_common_name_is_taken_literally_or_not_at_all() {
        assert_eq!(named("sensor-7".into()).as_deref(), Some("sensor-7"));
        assert_eq!(
            named("Überwachung, CN=admin".into()).as_deref(),
            Some("Überwachung, CN=admin")
        );
        let printable = "Plain Name".try_into().expect("printable characters");
        assert_eq!(
            named(DnValue::PrintableString(printable)).as_deref(),
            Some("Plain Name")
        );
        let bmp = "wide".try_into().expect("two-byte characters");
        assert_eq!(named(DnValue::BmpString(bmp)), None);
        assert_eq!(named("".into()), None);
        assert_eq!(named("admin\0.example".into()), None);
        assert_eq!(common_name(&certificate(|_| {})), None);
        assert_eq!(
            common_name(&CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])),
            None
        );
    }

    #[test]
    fn a_certificate_holds_between_its_dates() {
        let certificate = certificate(|params| {
            params.not_before = rcgen::date_time_ymd(2024, 1, 1);
            params.not_after = rcgen::date_time_ymd(2024, 1, 11);
        });
        // 2024-01-01T00:00:00Z.
        let begin = UNIX_EPOCH + Duration::from_secs(1_704_067_200);
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(Validity::at(&certificate, begin + day), Validity::Valid);
        assert_eq!(Validity::at(&certificate, begin), Validity::Valid);
        assert_eq!(
            Validity::at(&certificate, begin + 13 * day).to_string(),
            "expired 3 days ago"
        );
        assert_eq!(
            Validity::at(&certificate, begin - day).to_string(),
            "is not valid for another 24 hours"
        );
    }
}
