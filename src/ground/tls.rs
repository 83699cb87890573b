//! TLS for every client in taskd: one library (rustls), one provider of cryptography (ring), one
//! set of trusted authorities.
//!
//! [`Tls`] alone decides whom a client trusts. Clients that make their own rustls configuration get
//! the provider that [`provider`] has made the process's default; no other one is compiled in,
//! which a test checks (`tests/it/tls.rs`).

use std::path::Path;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Whom to trust: the system's authorities, and those of a file. The system's are read when the
/// first client needs them.
#[derive(Clone, Default)]
pub struct Tls {
    given: Vec<CertificateDer<'static>>,
    all: Arc<OnceLock<Vec<CertificateDer<'static>>>>,
}

impl Tls {
    /// Trusts the certificates of a PEM file as well as the system's.
    ///
    /// # Errors
    /// The file can't be read, or what is in it can't be used: a sentence that says why.
    pub fn with_authorities(file: &Path) -> Result<Tls, String> {
        let pem =
            std::fs::read(file).map_err(|e| format!("{} can't be read: {e}", file.display()))?;
        let given = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| format!("{} is not a PEM file: {e}", file.display()))?;
        if given.is_empty() {
            return Err(format!("{} has no certificate in PEM form", file.display()));
        }
        for (index, certificate) in given.iter().enumerate() {
            RootCertStore::empty().add(certificate.clone()).map_err(|e| {
                format!("certificate {} of {} can't be used: {e}", index + 1, file.display())
            })?;
        }
        Ok(Tls { given, all: Arc::default() })
    }

    /// Every certificate that is trusted.
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        self.all.get_or_init(|| {
            let system = rustls_native_certs::load_native_certs();
            for error in &system.errors {
                tracing::warn!(%error, "some of the system's certificate authorities are not trusted");
            }
            // Old systems have roots that no library accepts any more.
            let usable = |c: &CertificateDer<'static>| RootCertStore::empty().add(c.clone()).is_ok();
            system.certs.into_iter().filter(usable).chain(self.given.clone()).collect()
        })
    }

    /// The same as PEM, for a client that reads nothing else.
    pub fn authorities_as_pem(&self) -> Vec<u8> {
        let mut pem = Vec::new();
        for certificate in self.authorities() {
            pem.extend_from_slice(b"-----BEGIN CERTIFICATE-----\n");
            for line in STANDARD.encode(certificate).as_bytes().chunks(64) {
                pem.extend_from_slice(line);
                pem.push(b'\n');
            }
            pem.extend_from_slice(b"-----END CERTIFICATE-----\n");
        }
        pem
    }

    /// The configuration of a client that checks the server's certificate and name, and has no
    /// certificate of its own.
    ///
    /// # Errors
    /// Never with a provider that knows TLS 1.2 or 1.3.
    pub fn client_config(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.authorities().iter().cloned());
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("TLS can't be used: {e}"))?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

/// The provider of cryptography, which this makes the default of the whole process. Call it before
/// a client makes a configuration of its own.
pub fn provider() -> Arc<CryptoProvider> {
    // A second call finds it installed, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match CryptoProvider::get_default() {
        Some(provider) => Arc::clone(provider),
        None => Arc::new(rustls::crypto::ring::default_provider()),
    }
}

/// A client of HTTP, to be built. One that never speaks TLS needs the provider as well.
pub fn http_client() -> reqwest::ClientBuilder {
    provider();
    reqwest::Client::builder()
}

/// What a client says about a failed connection, with advice if TLS has failed.
///
/// Some of the clients pass on no more than rustls's text, so this goes by the text.
pub fn with_advice(error: impl std::fmt::Display) -> String {
    let mut text = error.to_string();
    let advice = [
        ("UnknownIssuer", "set TLS_CA_FILE to a file with the certificate of its authority"),
        ("certificate not valid for name", "use a name in the URL that the certificate has"),
        ("InvalidContentType", "is TLS spoken on this port?"),
    ];
    if let Some((_, advice)) = advice.iter().find(|(sign, _)| text.contains(sign)) {
        text.push_str("; ");
        text.push_str(advice);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_provider_for_who_asks_and_for_who_does_not() {
        let config = Tls::default().client_config().unwrap();
        let ring = format!("{:?}", rustls::crypto::ring::default_provider());
        assert_eq!(format!("{:?}", config.crypto_provider()), ring);
        // This is what a client calls that makes its own configuration.
        let theirs = ClientConfig::builder()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        assert_eq!(format!("{:?}", theirs.crypto_provider()), ring);
    }

    #[test]
    fn advice_goes_with_what_it_is_about() {
        let text = with_advice("invalid peer certificate: UnknownIssuer");
        assert!(text.contains("TLS_CA_FILE"), "{text}");
        assert_eq!(with_advice("connection refused"), "connection refused");
    }
}
