//! Where RabbitMQ is.

use std::fmt;
use std::sync::Arc;

use amqprs::tls::TlsAdaptor;
use percent_encoding::percent_decode_str;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::tls::Tls;

/// Where the broker is and how to sign in (<https://www.rabbitmq.com/docs/uri-spec>).
#[derive(Clone)]
pub struct AmqpUrl {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) virtual_host: String,
    /// Absent where nothing is encrypted.
    pub(super) tls: Option<AmqpTls>,
}

/// How a broker is spoken to by TLS.
#[derive(Clone)]
pub(super) struct AmqpTls {
    pub(super) connector: TlsConnector,
    /// What its certificate has to name.
    pub(super) name: String,
}

impl AmqpTls {
    /// The same for the client.
    pub(super) fn adaptor(&self) -> TlsAdaptor {
        TlsAdaptor::new(self.connector.clone(), self.name.clone())
    }
}

impl AmqpUrl {
    /// Reads `amqp://user:password@host:port/vhost`; what is absent is RabbitMQ's default. With
    /// `amqps` the broker has to have a certificate that is trusted and names the host.
    ///
    /// # Errors
    /// A sentence without the password.
    pub fn parse(text: &str, tls: &Tls) -> Result<AmqpUrl, String> {
        let url = Url::parse(text).map_err(|e| format!("not a URL: {e}"))?;
        let default_port = match url.scheme() {
            "amqp" => 5672,
            "amqps" => 5671,
            other => return Err(format!("the scheme must be amqp or amqps, not {other:?}")),
        };
        let decode = |part: &str, what: &str| {
            let text = percent_decode_str(part)
                .decode_utf8()
                .map_err(|_| format!("the {what} is not UTF-8 once percent-decoded"))?;
            // The protocol carries each as a short string.
            if text.len() > 255 {
                Err(format!("the {what} is too long"))
            } else {
                Ok(text.into_owned())
            }
        };
        let user = if url.username().is_empty() { "guest" } else { url.username() };
        let virtual_host = match url.path().strip_prefix('/') {
            None | Some("") => "/".into(),
            Some(path) if path.contains('/') => {
                return Err("a / in the virtual host is written %2f".into());
            }
            Some(path) => decode(path, "virtual host")?,
        };
        if url.query().is_some() {
            return Err("query parameters are not supported".into());
        }
        let host = url.host_str().filter(|h| !h.is_empty()).unwrap_or("localhost");
        let tls = match url.scheme() {
            "amqps" => {
                let connector = TlsConnector::from(Arc::new(tls.client_config()?));
                // An IPv6 address has brackets in a URL, and none in a certificate.
                let name = host.trim_matches(['[', ']']).to_owned();
                Some(AmqpTls { connector, name })
            }
            _ => None,
        };
        Ok(AmqpUrl {
            host: host.to_owned(),
            port: url.port().unwrap_or(default_port),
            user: decode(user, "user name")?,
            password: decode(url.password().unwrap_or("guest"), "password")?,
            virtual_host,
            tls,
        })
    }
}

impl AmqpUrl {
    /// The host and the port, as sockets take them.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Without the password.
impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "amqps" } else { "amqp" };
        let AmqpUrl { host, port, user, virtual_host, .. } = self;
        write!(f, "{scheme}://{user}:***@{host}:{port}/{virtual_host}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_percent_decoded_and_has_rabbitmqs_defaults() {
        let url = AmqpUrl::parse("amqp://a%40b:p%2Fw@mq:1234/team%2fone", &Tls::default()).unwrap();
        assert_eq!((url.user.as_str(), url.password.as_str()), ("a@b", "p/w"));
        assert_eq!(
            (url.host.as_str(), url.port, url.virtual_host.as_str()),
            ("mq", 1234, "team/one")
        );
        let url = AmqpUrl::parse("amqp://mq", &Tls::default()).unwrap();
        assert_eq!((url.user.as_str(), url.port, url.virtual_host.as_str()), ("guest", 5672, "/"));
    }

    #[test]
    fn tls_has_a_port_of_its_own() {
        let url = AmqpUrl::parse("amqps://mq", &Tls::default()).unwrap();
        assert_eq!((url.port, url.tls.is_some()), (5671, true));
        assert_eq!(format!("{url:?}"), "amqps://guest:***@mq:5671//");
        assert!(AmqpUrl::parse("amqp://mq", &Tls::default()).unwrap().tls.is_none());
    }

    #[test]
    fn nothing_printed_has_the_password() {
        let url = AmqpUrl::parse("amqp://u:hunter2@mq/v", &Tls::default()).unwrap();
        assert!(!format!("{url:?}").contains("hunter2"));
        for text in
            ["http://u:hunter2@mq", "amqp://u:hunter2@mq/a/b", "amqp://u:hunter2@mq:x/", "hunter2"]
        {
            let error = AmqpUrl::parse(text, &Tls::default()).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
