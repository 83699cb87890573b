//! Connections and channels of the AMQP client, made safe to use.
//!
//! The client's futures must not be dropped half-way, and it has no time limits of its own: each
//! call runs in a task to its end, and the limit is on waiting for that task.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amqprs::callbacks::{ChannelCallback, ConnectionCallback};
use amqprs::channel::Channel;
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{Ack, BasicProperties, Cancel, Close, CloseChannel, Nack, Return};
use async_trait::async_trait;
use percent_encoding::percent_decode_str;
use url::Url;

use super::confirms::Confirms;
use crate::broker::BrokerError;

/// How long one call may take; longer means that the broker is in trouble.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Two missed heartbeats end a connection, at either side: a worker that was cut off without a
/// reset loses its deliveries after 20 s at most (<https://www.rabbitmq.com/docs/heartbeats>).
const HEARTBEAT_SECONDS: u16 = 10;

/// Where the broker is and how to sign in (<https://www.rabbitmq.com/docs/uri-spec>).
#[derive(Clone)]
pub struct AmqpUrl {
    host: String,
    port: u16,
    user: String,
    password: String,
    virtual_host: String,
}

impl AmqpUrl {
    /// Reads `amqp://user:password@host:port/vhost`; what is absent is RabbitMQ's default.
    ///
    /// # Errors
    /// A sentence without the password.
    pub fn parse(text: &str) -> Result<AmqpUrl, String> {
        let url = Url::parse(text).map_err(|e| format!("not a URL: {e}"))?;
        match url.scheme() {
            "amqp" => {}
            "amqps" => return Err("amqps:// (TLS) is not supported yet; use amqp://".into()),
            other => return Err(format!("the scheme must be amqp, not {other:?}")),
        }
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
        Ok(AmqpUrl {
            host: host.to_owned(),
            port: url.port().unwrap_or(5672),
            user: decode(user, "user name")?,
            password: decode(url.password().unwrap_or("guest"), "password")?,
            virtual_host,
        })
    }
}

/// Without the password.
impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "amqp://{}:***@{}:{}/{}", self.user, self.host, self.port, self.virtual_host)
    }
}

/// Runs one call of the client to its end, and waits for it for [`CALL_TIMEOUT`].
pub(super) async fn call<T, F>(what: &str, future: F) -> Result<T, BrokerError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, amqprs::error::Error>> + Send + 'static,
{
    let why = match tokio::time::timeout(CALL_TIMEOUT, tokio::spawn(future)).await {
        Ok(Ok(Ok(answer))) => return Ok(answer),
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(_)) => "the client failed".to_owned(),
        Err(_) => format!("no answer within {} s", CALL_TIMEOUT.as_secs()),
    };
    Err(BrokerError::Unavailable(format!("{what}: {why}")))
}

/// Opens a connection under a name.
pub(super) async fn connect(url: &AmqpUrl, name: &str) -> Result<Connection, BrokerError> {
    let mut arguments = OpenConnectionArguments::new(&url.host, url.port, &url.user, &url.password);
    arguments.virtual_host(&url.virtual_host).heartbeat(HEARTBEAT_SECONDS);
    // A name is a short string as well.
    arguments.connection_name(&name.chars().take(60).collect::<String>());
    let connection = call(&format!("connecting to {}:{}", url.host, url.port), async move {
        let connection = Connection::open(&arguments).await?;
        connection.register_callback(Quiet).await?;
        Ok(connection)
    })
    .await?;
    Ok(connection)
}

/// A channel, and why the broker closed it if it did.
pub(super) struct Open {
    pub(super) channel: Channel,
    pub(super) closed_because: CloseReason,
}

/// The broker's words on closing a channel: code and text.
#[derive(Clone, Default)]
pub(super) struct CloseReason(Arc<Mutex<Option<(u16, String)>>>);

impl CloseReason {
    pub(super) fn get(&self) -> Option<(u16, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Opens a channel; confirms that arrive on it are told to `confirms`.
pub(super) async fn open_channel(
    connection: &Connection,
    confirms: Arc<Confirms>,
) -> Result<Open, BrokerError> {
    let closed_because = CloseReason::default();
    let watch = Watch { confirms, reason: closed_because.clone() };
    let connection = connection.clone();
    let channel = call("opening a channel", async move {
        let channel = connection.open_channel(None).await?;
        channel.register_callback(watch).await?;
        Ok(channel)
    })
    .await?;
    Ok(Open { channel, closed_because })
}

/// What the client tells of a connection: its end shows on each channel, so nothing to do.
struct Quiet;

#[async_trait]
impl ConnectionCallback for Quiet {
    async fn close(&mut self, _: &Connection, close: Close) -> Result<(), amqprs::error::Error> {
        tracing::warn!(code = close.reply_code(), reason = %close.reply_text(), "the broker closes a connection");
        Ok(())
    }
    async fn blocked(&mut self, _: &Connection, _: String) {}
    async fn unblocked(&mut self, _: &Connection) {}
    async fn secret_updated(&mut self, _: &Connection) {}
}

/// What the client tells of a channel. It is dropped when the channel ends, for whatever reason.
struct Watch {
    confirms: Arc<Confirms>,
    reason: CloseReason,
}

#[async_trait]
impl ChannelCallback for Watch {
    async fn close(
        &mut self,
        _: &Channel,
        close: CloseChannel,
    ) -> Result<(), amqprs::error::Error> {
        let reason = (close.reply_code(), close.reply_text().clone());
        *self.reason.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        Ok(())
    }
    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), amqprs::error::Error> {
        Ok(())
    }
    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }
    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.confirms.settle(ack.delivery_tag(), ack.mutiple(), true);
    }
    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        self.confirms.settle(nack.delivery_tag(), nack.multiple(), false);
    }
    async fn publish_return(
        &mut self,
        _: &Channel,
        returned: Return,
        properties: BasicProperties,
        _: Vec<u8>,
    ) {
        self.confirms.returned(returned.routing_key(), properties.message_id().map(String::as_str));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.confirms.fail_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_percent_decoded_and_has_rabbitmqs_defaults() {
        let url = AmqpUrl::parse("amqp://a%40b:p%2Fw@mq:1234/team%2fone").unwrap();
        assert_eq!((url.user.as_str(), url.password.as_str()), ("a@b", "p/w"));
        assert_eq!(
            (url.host.as_str(), url.port, url.virtual_host.as_str()),
            ("mq", 1234, "team/one")
        );
        let url = AmqpUrl::parse("amqp://mq").unwrap();
        assert_eq!((url.user.as_str(), url.port, url.virtual_host.as_str()), ("guest", 5672, "/"));
    }

    #[test]
    fn nothing_printed_has_the_password() {
        let url = AmqpUrl::parse("amqp://u:hunter2@mq/v").unwrap();
        assert!(!format!("{url:?}").contains("hunter2"));
        for text in
            ["http://u:hunter2@mq", "amqp://u:hunter2@mq/a/b", "amqp://u:hunter2@mq:x/", "hunter2"]
        {
            let error = AmqpUrl::parse(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
