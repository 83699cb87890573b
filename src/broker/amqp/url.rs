//! Reads the URL of RabbitMQ.

use std::fmt;
use std::sync::Arc;

use amqprs::tls::TlsAdaptor;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::ground::service_url::ServiceUrl;
use crate::ground::tls::Tls;

/// Where the broker is and how to sign in (<https://www.rabbitmq.com/docs/uri-spec>).
#[derive(Clone)]
pub struct AmqpUrl {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) virtual_host: String,
    /// `None` if nothing is encrypted.
    pub(super) tls: Option<AmqpTls>,
}

/// How to connect to a broker by TLS.
#[derive(Clone)]
pub(super) struct AmqpTls {
    pub(super) connector: TlsConnector,
    /// The name that the broker's certificate must have.
    pub(super) name: String,
}

impl AmqpTls {
    /// The same, for the AMQP client.
    pub(super) fn adaptor(&self) -> TlsAdaptor {
        TlsAdaptor::new(self.connector.clone(), self.name.clone())
    }
}

impl AmqpUrl {
    /// The user's name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The virtual host.
    pub fn virtual_host(&self) -> &str {
        &self.virtual_host
    }

    /// Reads `amqp://user:password@host:port/vhost`; what is absent has RabbitMQ's default. With
    /// `amqps` the broker must have a trusted certificate that names the host.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without the password.
    pub fn parse(text: &str, tls: &Tls) -> Result<AmqpUrl, String> {
        const EXAMPLE: &str = "amqp://user:password@host:5672/vhost";
        let url = ServiceUrl::parse(text, &["amqp", "amqps"], EXAMPLE)?;
        if let Some((name, _)) = url.parameters.first() {
            return Err(format!("has no parameters, such as {name:?}"));
        }
        // The protocol carries each as a short string.
        let short = |text: Option<&str>, default: &str, what: &str| {
            let text = text.filter(|text| !text.is_empty()).unwrap_or(default);
            if text.len() > 255 {
                Err(format!("the {what} is too long"))
            } else {
                Ok(text.to_owned())
            }
        };
        let encrypted = url.scheme == "amqps";
        let default_port = if encrypted { 5671 } else { 5672 };
        let (host, port) = url.host()?.unwrap_or(("localhost", None));
        let tls = match encrypted {
            true => {
                let connector = TlsConnector::from(Arc::new(tls.client_config()?));
                Some(AmqpTls { connector, name: host.to_owned() })
            }
            false => None,
        };
        Ok(AmqpUrl {
            // The client appends a colon and the port.
            host: if host.contains(':') { format!("[{host}]") } else { host.to_owned() },
            port: port.unwrap_or(default_port),
            user: short(url.user.as_deref(), "guest", "user name")?,
            password: match &url.password {
                Some(password) if password.is_empty() => String::new(),
                password => short(password.as_deref(), "guest", "password")?,
            },
            virtual_host: short(Some(&url.path), "/", "virtual host")?,
            tls,
        })
    }
}

impl AmqpUrl {
    /// The user's name and password.
    pub(in crate::broker) fn credentials(&self) -> (&str, &str) {
        (&self.user, &self.password)
    }

    /// Where the management API usually is (<https://www.rabbitmq.com/docs/management>).
    pub(in crate::broker) fn usual_management(&self) -> Result<Url, String> {
        let (scheme, port) = if self.tls.is_some() { ("https", 15671) } else { ("http", 15672) };
        Url::parse(&format!("{scheme}://{}:{port}", self.host))
            .map_err(|error| format!("can't be made from RABBITMQ_URL: {error}"))
    }

    /// The host and the port, in the form that sockets take.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Shows the URL without the password.
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
