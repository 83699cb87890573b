//! Reads the URL of the mail server.

use std::fmt;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};

use crate::ground::service_url::ServiceUrl;
use crate::ground::tls::{self, Tls};

/// A mail server's URL, and how to connect to the server.
#[derive(Clone)]
pub struct SmtpUrl {
    shown: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) credentials: Option<Credentials>,
    pub(super) encryption: Encryption,
}

/// When a connection becomes encrypted.
#[derive(Clone)]
pub(super) enum Encryption {
    /// Never.
    None,
    /// By STARTTLS (RFC 3207), if the server offers it.
    Offered(TlsParameters),
    /// By STARTTLS; a server that doesn't offer it gets nothing.
    Required(TlsParameters),
    /// From its first byte (RFC 8314).
    Always(TlsParameters),
}

impl SmtpUrl {
    /// Reads `smtp://user:password@host:25`, with `?tls=required` or `?tls=opportunistic` for
    /// STARTTLS, or `smtps://user:password@host:465`. A TLS server must have a trusted certificate
    /// that names the host.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without the password.
    pub fn parse(text: &str, tls: &Tls) -> Result<SmtpUrl, String> {
        const EXAMPLE: &str = "smtp://user:password@host:25";
        let url = ServiceUrl::parse(text, &["smtp", "smtps"], EXAMPLE)?;
        let Some((host, port)) = url.host()? else {
            return Err(format!("names no host: it must be like {EXAMPLE}"));
        };
        if !url.path.is_empty() {
            return Err(format!("has nothing after the host: it must be like {EXAMPLE}"));
        }
        let host = host.to_owned();
        let parameters = || parameters(&host, tls);
        // The ports are those of RFC 5321, RFC 6409 and RFC 8314.
        let parameter = match url.parameters.as_slice() {
            [] => None,
            [(name, value)] if name == "tls" => Some(value.as_str()),
            _ => Some(""),
        };
        let (usual_port, encryption) = match (url.scheme.as_str(), parameter) {
            ("smtps", None) => (465, Encryption::Always(parameters()?)),
            ("smtp", None) => (25, Encryption::None),
            ("smtp", Some("required")) => (587, Encryption::Required(parameters()?)),
            ("smtp", Some("opportunistic")) => (587, Encryption::Offered(parameters()?)),
            _ => {
                return Err(
                    "the only parameters are tls=required and tls=opportunistic, of smtp://".into(),
                );
            }
        };
        let credentials = match (&url.user, &url.password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some(Credentials::new(user.clone(), password.clone())),
            (Some(_), None) => return Err(format!("has a user and no password: {EXAMPLE}")),
            (None, Some(_)) => return Err(format!("has a password and no user: {EXAMPLE}")),
        };
        let port = port.unwrap_or(usual_port);
        Ok(SmtpUrl { shown: url.to_string(), host, port, credentials, encryption })
    }
}

/// Shows the URL without the password.
impl fmt::Display for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The client makes its own configuration, from this provider and these certificates.
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
            "smtp://u:hunter2@h/path",
            "smtp://u:hunter2@h,i",
            "smtp://:hunter2@h",
            "smtp://u@h",
        ] {
            let error = parse(bad).err().unwrap();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert_eq!(parse("smtp://u:hunter2@h").unwrap().to_string(), "smtp://u:***@h");
    }
}
