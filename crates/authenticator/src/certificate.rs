//! The authenticator's CA and its serving certificate. The API server pins the CA; the leaf is renewed
//! without it. Keys and the time come from the caller.

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData,
};
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

const DAY: i64 = 24 * 60 * 60;
/// How long a CA made here is good for.
pub const AUTHORITY_DAYS: i64 = 3650;
/// How long a serving certificate is good for.
pub const LEAF_DAYS: i64 = 365;
/// Certificates begin a little in the past, because clocks differ.
const BACKDATED: i64 = 60 * 60;
/// Name of the serving certificate.
const SERVING_NAME: &str = "aws-iam-authenticator";
/// Hosts under which the API server may ask.
const HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];

/// Why a certificate could not be made or used. Never holds key material.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CertificateError {
    /// It could not be made.
    #[error("can't make a certificate: {0}")]
    Make(String),
    /// A certificate can't be read.
    #[error("{what} is no certificate in PEM form")]
    NoCertificate {
        /// Which one, such as `cert.pem`.
        what: &'static str,
    },
    /// A key can't be read.
    #[error("{what} is no private key in PKCS#8 PEM form")]
    NoKey {
        /// Which one, such as `key.pem`.
        what: &'static str,
    },
    /// Key and certificate are not a pair.
    #[error("the private key does not belong to the certificate")]
    NotAPair,
    /// It is not a CA's.
    #[error("the certificate is not that of a certificate authority")]
    NotAnAuthority,
    /// It is not valid at this time.
    #[error("the certificate is not valid now, only between Unix times {from} and {until}")]
    NotNow {
        /// First second.
        from: i64,
        /// Last second.
        until: i64,
    },
}

/// A certificate authority: certificate and key.
pub struct Authority {
    certificate_pem: String,
    key: KeyPair,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A serving certificate with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    /// PEM.
    pub certificate_pem: String,
    /// PKCS#8 PEM.
    pub key_pem: String,
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("certificate", &sha256(&self.certificate_pem)).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new CA with this key, valid from `now` (Unix seconds) for ten years.
    ///
    /// # Errors
    /// [`CertificateError::Make`].
    pub fn new(key: KeyPair, now: i64) -> Result<Self, CertificateError> {
        let mut params = authority_params();
        (params.not_before, params.not_after) =
            (time(now - BACKDATED).into(), time(now + AUTHORITY_DAYS * DAY).into());
        let certificate_pem = params.self_signed(&key).map_err(make)?.pem();
        Ok(Self { certificate_pem, key })
    }

    /// A CA that is already there, from PEM; it must be one, fit its key and be valid at `now`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn existing(certificate_pem: &str, key_pem: &str, now: i64) -> Result<Self, CertificateError> {
        let facts = Facts::of(certificate_pem, "cert.pem")?;
        let key = KeyPair::from_pem(key_pem).map_err(|_| CertificateError::NoKey { what: "key.pem" })?;
        if !facts.is_authority {
            return Err(CertificateError::NotAnAuthority);
        }
        if key.subject_public_key_info() != facts.public_key {
            return Err(CertificateError::NotAPair);
        }
        if now < facts.not_before || now > facts.not_after {
            return Err(CertificateError::NotNow { from: facts.not_before, until: facts.not_after });
        }
        Ok(Self { certificate_pem: certificate_pem.to_owned(), key })
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its key, PKCS#8 PEM: for the Secret and nothing else.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// A serving certificate for this key, valid from `now` (Unix seconds) for a year, but not longer than
    /// the CA.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn issue(&self, leaf_key: &KeyPair, now: i64) -> Result<Leaf, CertificateError> {
        let until = Facts::of(&self.certificate_pem, "cert.pem")?.not_after.min(now + LEAF_DAYS * DAY);
        let hosts: Vec<String> = HOSTS.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).map_err(make)?;
        params.distinguished_name = named(SERVING_NAME);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (time(now - BACKDATED).into(), time(until).into());
        let issuer = Issuer::from_ca_cert_pem(&self.certificate_pem, &self.key).map_err(make)?;
        let certificate_pem = params.signed_by(leaf_key, &issuer).map_err(make)?.pem();
        Ok(Leaf { certificate_pem, key_pem: leaf_key.serialize_pem() })
    }
}

/// What a serving certificate that is already there is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafState {
    /// It serves on.
    Good {
        /// Its last second, Unix time.
        until: i64,
    },
    /// A new one is to be made: it is missing, unreadable, not from this CA, for other hosts, or two thirds
    /// of its time are over.
    Renew,
}

/// Looks at a serving certificate and its key beside the CA's certificate, at `now` (Unix seconds).
#[must_use]
pub fn leaf_state(leaf: &Leaf, ca_pem: &str, now: i64) -> LeafState {
    let judged = || -> Option<i64> {
        let facts = Facts::of(&leaf.certificate_pem, "tls.crt").ok()?;
        let key = KeyPair::from_pem(&leaf.key_pem).ok()?;
        let renew_at = facts.not_before + (facts.not_after - facts.not_before) / 3 * 2;
        let fits = key.subject_public_key_info() == facts.public_key
            && HOSTS.iter().all(|host| facts.hosts.iter().any(|name| name == host))
            && is_signed_by(&leaf.certificate_pem, ca_pem)
            && facts.not_before <= now
            && now < renew_at;
        fits.then_some(facts.not_after)
    };
    judged().map_or(LeafState::Renew, |until| LeafState::Good { until })
}

/// The last second of a certificate, Unix time.
///
/// # Errors
/// [`CertificateError::NoCertificate`].
pub fn not_after(certificate_pem: &str) -> Result<i64, CertificateError> {
    Ok(Facts::of(certificate_pem, "the certificate")?.not_after)
}

/// A certificate in PEM form, from DER.
#[must_use]
pub fn to_pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// The first certificate of a PEM text, as DER.
#[must_use]
pub fn to_der(pem: &[u8]) -> Option<Vec<u8>> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    (pem.label == "CERTIFICATE").then_some(pem.contents)
}

/// SHA-256 of a text, hexadecimal: by which a certificate is named where it must not stand itself.
#[must_use]
pub fn sha256(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// What is read of a certificate.
struct Facts {
    not_before: i64,
    not_after: i64,
    is_authority: bool,
    public_key: Vec<u8>,
    hosts: Vec<String>,
}

impl Facts {
    fn of(pem: &str, what: &'static str) -> Result<Self, CertificateError> {
        with_certificate(pem, |certificate| Self {
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            is_authority: certificate.is_ca(),
            public_key: certificate.public_key().raw.to_vec(),
            hosts: hosts(certificate),
        })
        .ok_or(CertificateError::NoCertificate { what })
    }
}

fn with_certificate<T>(pem: &str, look: impl FnOnce(&X509Certificate<'_>) -> T) -> Option<T> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
    Some(look(&certificate))
}

fn hosts(certificate: &X509Certificate<'_>) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let names = certificate.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    names
        .flatten()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            &GeneralName::IPAddress(&[a, b, c, d]) => Some(format!("{a}.{b}.{c}.{d}")),
            _ => None,
        })
        .collect()
}

fn is_signed_by(leaf_pem: &str, ca_pem: &str) -> bool {
    with_certificate(ca_pem, |ca| {
        with_certificate(leaf_pem, |leaf| leaf.verify_signature(Some(ca.public_key())).is_ok())
    })
    .flatten()
    .unwrap_or(false)
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("aws-iam-authenticator-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn time(unix_seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(unix_seconds).unwrap_or_default())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn make(error: rcgen::Error) -> CertificateError {
    CertificateError::Make(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    fn key() -> KeyPair {
        KeyPair::generate().unwrap()
    }

    #[test]
    fn a_leaf_is_good_for_two_thirds_of_a_year() {
        let ca = Authority::new(key(), NOW).unwrap();
        let leaf = ca.issue(&key(), NOW).unwrap();
        let state = |at| leaf_state(&leaf, ca.certificate_pem(), at);
        assert_eq!(state(NOW), LeafState::Good { until: NOW + LEAF_DAYS * DAY });
        assert_eq!(state(NOW + 242 * DAY), LeafState::Good { until: NOW + LEAF_DAYS * DAY });
        assert_eq!(state(NOW + 244 * DAY), LeafState::Renew);
        assert_eq!(state(NOW - DAY), LeafState::Renew, "the clock went back");
    }

    #[test]
    fn a_leaf_of_another_ca_or_with_another_key_is_renewed() {
        let (ca, other) = (Authority::new(key(), NOW).unwrap(), Authority::new(key(), NOW).unwrap());
        let leaf = ca.issue(&key(), NOW).unwrap();
        assert_eq!(leaf_state(&leaf, other.certificate_pem(), NOW), LeafState::Renew);
        let torn = Leaf { key_pem: key().serialize_pem(), ..leaf.clone() };
        assert_eq!(leaf_state(&torn, ca.certificate_pem(), NOW), LeafState::Renew);
        let empty = Leaf { certificate_pem: String::new(), ..leaf };
        assert_eq!(leaf_state(&empty, ca.certificate_pem(), NOW), LeafState::Renew);
    }

    #[test]
    fn a_leaf_does_not_outlive_its_ca() {
        let ca = Authority::new(key(), NOW - (AUTHORITY_DAYS - 30) * DAY).unwrap();
        let leaf = ca.issue(&key(), NOW).unwrap();
        assert_eq!(not_after(&leaf.certificate_pem), Ok(NOW + 30 * DAY));
    }

    #[test]
    fn a_ca_that_is_already_there_must_be_whole() {
        let ca = Authority::new(key(), NOW).unwrap();
        let (certificate, ca_key) = (ca.certificate_pem().to_owned(), ca.key_pem());
        let again = Authority::existing(&certificate, &ca_key, NOW).unwrap();
        let leaf = again.issue(&key(), NOW).unwrap();
        assert_ne!(leaf_state(&leaf, &certificate, NOW), LeafState::Renew);
        let error =
            |certificate: &str, key: &str, now| Authority::existing(certificate, key, now).unwrap_err();
        assert_eq!(error(&certificate, &key().serialize_pem(), NOW), CertificateError::NotAPair);
        assert_eq!(error(&leaf.certificate_pem, &leaf.key_pem, NOW), CertificateError::NotAnAuthority);
        assert!(matches!(error(&certificate, &ca_key, NOW + 3651 * DAY), CertificateError::NotNow { .. }));
        assert_eq!(error("", &ca_key, NOW), CertificateError::NoCertificate { what: "cert.pem" });
        assert_eq!(error(&certificate, "", NOW), CertificateError::NoKey { what: "key.pem" });
    }

    #[test]
    fn keys_are_not_shown() {
        let ca = Authority::new(key(), NOW).unwrap();
        let leaf = ca.issue(&key(), NOW).unwrap();
        let shown = format!("{ca:?} {leaf:?}");
        assert!(!shown.contains("PRIVATE") && !shown.contains(&leaf.key_pem), "{shown}");
    }
}
