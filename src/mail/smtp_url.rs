//! Where the mail server is.

use std::fmt;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::secret::without_password;
use crate::tls::{self, Tls};

/// A mail server's URL, and how the server is spoken to.
#[derive(Clone)]
pub struct SmtpUrl {
    shown: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) credentials: Option<Credentials>,
    pub(super) encryption: Encryption,
}

/// When a connection becomes an encrypted one.
#[derive(Clone)]
pub(super) enum Encryption {
    /// Never.
    None,
    /// By STARTTLS (RFC 3207) where the server offers it.
    Offered(TlsParameters),
    /// By STARTTLS, or the server gets nothing.
    Required(TlsParameters),
    /// From its first byte (RFC 8314).
    Always(TlsParameters),
}

impl SmtpUrl {
    /// Reads `smtp://user:password@host:25`, with `?tls=required` or `?tls=opportunistic` for
    /// STARTTLS, or `smtps://user:password@host:465`. Whoever is spoken to by TLS has to have a
    /// certificate that is trusted and names the host.
    ///
    /// # Errors
    /// A sentence without the password.
    pub fn parse(text: &str, tls: &Tls) -> Result<SmtpUrl, String> {
        let url = Url::parse(text).map_err(|e| format!("not a URL: {e}"))?;
        if !["smtp", "smtps"].contains(&url.scheme()) {
            return Err(format!("the scheme must be smtp or smtps, not {:?}", url.scheme()));
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err("names no host".into());
        }
        let parameters = || parameters(&host, tls);
        // The ports are those of RFC 5321, RFC 6409 and RFC 8314.
        let (port, encryption) = match (url.scheme(), url.query()) {
            ("smtps", None) => (465, Encryption::Always(parameters()?)),
            ("smtp", None) => (25, Encryption::None),
            ("smtp", Some("tls=required")) => (587, Encryption::Required(parameters()?)),
            ("smtp", Some("tls=opportunistic")) => (587, Encryption::Offered(parameters()?)),
            _ => {
                return Err(
                    "the only parameters are tls=required and tls=opportunistic, of smtp://".into(),
                );
            }
        };
        let decode = |part: &str| {
            percent_decode_str(part)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| "the user name or password is not UTF-8 once percent-decoded")
        };
        let credentials = match url.password() {
            Some(password) => Some(Credentials::new(decode(url.username())?, decode(password)?)),
            None => None,
        };
        let port = url.port().unwrap_or(port);
        Ok(SmtpUrl { shown: without_password(text), host, port, credentials, encryption })
    }
}

/// Without the password.
impl fmt::Display for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The client makes its own configuration, of this provider and these certificates.
fn parameters(host: &str, tls: &Tls) -> Result<TlsParameters, String> {
    tls::provider();
    let mut builder =
        TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None);
    for authority in tls.authorities() {
        let certificate = Certificate::from_der(authority.to_vec())
            .map_err(|e| format!("TLS can't be used: {e}"))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().map_err(|e| format!("TLS can't be used: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SmtpUrl, String> {
        SmtpUrl::parse(text, &Tls::default())
    }

    #[test]
    fn each_way_to_encrypt_has_its_port() {
        let url = parse("smtp://h").unwrap();
        assert!(url.port == 25 && matches!(url.encryption, Encryption::None));
        let url = parse("smtp://h?tls=required").unwrap();
        assert!(url.port == 587 && matches!(url.encryption, Encryption::Required(_)));
        let url = parse("smtp://h:25?tls=opportunistic").unwrap();
        assert!(url.port == 25 && matches!(url.encryption, Encryption::Offered(_)));
        let url = parse("smtps://[::1]").unwrap();
        assert!(url.port == 465 && matches!(url.encryption, Encryption::Always(_)));
        assert_eq!(url.host, "::1");
    }

    #[test]
    fn what_is_not_understood_is_refused_without_the_password() {
        for bad in [
            "smtp://u:hunter2@h?tls=maybe",
            "smtp://u:hunter2@h?tls=required&x=y",
            "smtps://u:hunter2@h?tls=required",
            "http://u:hunter2@h",
            "smtp://u:hunter2%ff@h",
        ] {
            let error = parse(bad).err().unwrap();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert_eq!(parse("smtp://u:hunter2@h").unwrap().to_string(), "smtp://u:***@h");
    }
}
