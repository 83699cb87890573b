//! Where the database is.

use std::fmt;
use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::secret::without_password;
use crate::tls::Tls;

/// A PostgreSQL URL, and how its server is spoken to.
#[derive(Clone)]
pub struct PostgresUrl {
    shown: String,
    pub(super) config: Config,
    /// Absent where nothing is encrypted.
    pub(super) tls: Option<MakeRustlsConnect>,
}

impl PostgresUrl {
    /// Reads `postgres://user:password@host:5432/database?sslmode=…`.
    ///
    /// `sslmode` is libpq's (<https://www.postgresql.org/docs/current/libpq-ssl.html>), but stricter:
    /// whoever is spoken to by TLS has to have a certificate that is trusted and names the host. So
    /// `require` and `verify-ca` are the same as `verify-full`, and `prefer` is plain with a server
    /// that offers no TLS, never with one whose certificate is bad. Without an `sslmode` nothing is
    /// encrypted.
    ///
    /// # Errors
    /// A sentence without the password.
    pub fn parse(text: &str, tls: &Tls) -> Result<PostgresUrl, String> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err("must begin with postgres://".into());
        }
        let (text_for_client, mode) = with_known_mode(text)?;
        let mut config = Config::from_str(&text_for_client)
            .map_err(|e| format!("can't be read as a PostgreSQL URL: {e}"))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err("names no host".into());
        }
        // The client's own default is to prefer TLS, which with a certificate that is checked
        // would fail where plain has always worked.
        if mode.is_none() {
            config.ssl_mode(SslMode::Disable);
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => {
                let mut client = tls.client_config()?;
                if config.get_ssl_negotiation() == SslNegotiation::Direct {
                    // A server that is spoken to like this asks for it.
                    client.alpn_protocols = vec![b"postgresql".to_vec()];
                }
                Some(MakeRustlsConnect::new(client))
            }
        };
        Ok(PostgresUrl { shown: without_password(text), config, tls })
    }
}

/// Without the password.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The URL with an `sslmode` that the client knows, and that mode.
fn with_known_mode(text: &str) -> Result<(String, Option<&'static str>), String> {
    // A question mark before the @ is part of the password.
    let host = text.find('@').map_or(0, |at| at + 1);
    let Some(question) = text[host..].find('?').map(|at| host + at + 1) else {
        return Ok((text.to_owned(), None));
    };
    let mut mode = None;
    let mut parameters: Vec<String> = Vec::new();
    for parameter in text[question..].split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "sslmode" => {
                let known = match value {
                    "disable" => "disable",
                    "prefer" => "prefer",
                    "require" | "verify-ca" | "verify-full" => "require",
                    _ => {
                        return Err("sslmode must be disable, prefer, require, verify-ca or \
                                    verify-full"
                            .into());
                    }
                };
                mode = Some(known);
                parameters.push(format!("sslmode={known}"));
            }
            "sslrootcert" => {
                return Err("sslrootcert is not supported: name the file in TLS_CA_FILE".into());
            }
            "sslcert" | "sslkey" | "sslpassword" => {
                return Err(format!("{name}: certificates of the client are not supported"));
            }
            _ => parameters.push(parameter.to_owned()),
        }
    }
    Ok((format!("{}{}", &text[..question], parameters.join("&")), mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(query: &str) -> Result<(SslMode, bool), String> {
        let url = PostgresUrl::parse(&format!("postgres://u:p?@h/d{query}"), &Tls::default())?;
        assert_eq!(url.config.get_password(), Some(b"p?".as_slice()));
        Ok((url.config.get_ssl_mode(), url.tls.is_some()))
    }

    #[test]
    fn sslmode_is_libpqs_and_plain_where_it_is_absent() {
        for plain in ["", "?application_name=x", "?sslmode=disable"] {
            assert_eq!(mode(plain), Ok((SslMode::Disable, false)), "{plain}");
        }
        assert_eq!(mode("?sslmode=prefer"), Ok((SslMode::Prefer, true)));
        for name in ["require", "verify-ca", "verify-full"] {
            let query = format!("?connect_timeout=3&sslmode={name}");
            assert_eq!(mode(&query), Ok((SslMode::Require, true)), "{name}");
        }
        for (bad, says) in [
            ("?sslmode=on", "verify-full"),
            ("?sslmode", "verify-full"),
            ("?sslmode=require&sslrootcert=/ca.pem", "TLS_CA_FILE"),
            ("?sslcert=/c.pem", "sslcert"),
        ] {
            let error = mode(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn nothing_printed_has_the_password() {
        let url = PostgresUrl::parse("postgres://u:hunter2@h/d", &Tls::default()).unwrap();
        assert_eq!(url.to_string(), "postgres://u:***@h/d");
    }
}
