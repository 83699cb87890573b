//! Connections and channels of the AMQP client, made safe to use.
//!
//! The client's futures must not be dropped half-way, and it has no time limits of its own. So each
//! call runs to its end in a task, and the limit is on waiting for that task.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use amqprs::callbacks::{ChannelCallback, ConnectionCallback};
use amqprs::channel::Channel;
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{Ack, BasicProperties, Cancel, Close, CloseChannel, Nack, Return};
use async_trait::async_trait;

use super::CALL_TIMEOUT;
use super::by_hand::refusal::{self, ACCESS_REFUSED};
use super::confirms::Confirms;
use super::url::AmqpUrl;
use crate::broker::BrokerError;
use crate::ground::tls;

/// Either side ends a connection after two missed heartbeats
/// (<https://www.rabbitmq.com/docs/heartbeats>). The broker checks once in this time whether
/// anything came, so a worker that is frozen, or cut off without a reset, loses its deliveries
/// after three intervals at most: 21 s.
const HEARTBEAT_SECONDS: u16 = 7;

/// Runs one call of the client to its end, and waits for it at most [`CALL_TIMEOUT`].
pub(super) async fn call<T, F>(what: &str, future: F) -> Result<T, BrokerError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, amqprs::error::Error>> + Send + 'static,
{
    let why = match tokio::time::timeout(CALL_TIMEOUT, tokio::spawn(future)).await {
        Ok(Ok(Ok(answer))) => return Ok(answer),
        Ok(Ok(Err(error))) => tls::with_advice(error),
        Ok(Err(_)) => "the client failed".to_owned(),
        Err(_) => format!("no answer within {} s", CALL_TIMEOUT.as_secs()),
    };
    Err(BrokerError::Unavailable(format!("{what}: {why}")))
}

/// Opens a connection under a name. If the broker refuses us, asks it why.
pub(super) async fn connect(url: &AmqpUrl, name: &str) -> Result<Connection, BrokerError> {
    let mut arguments = OpenConnectionArguments::new(&url.host, url.port, &url.user, &url.password);
    arguments.virtual_host(&url.virtual_host).heartbeat(HEARTBEAT_SECONDS);
    if let Some(tls) = &url.tls {
        arguments.tls_adaptor(tls.adaptor());
    }
    // A name is a short string as well.
    arguments.connection_name(&name.chars().take(60).collect::<String>());
    let what = format!("connecting to {}", url.place());
    let connecting = call(&what, async move {
        let connection = Connection::open(&arguments).await?;
        connection.register_callback(ConnectionEvents).await?;
        Ok(connection)
    });
    let started = Instant::now();
    match connecting.await {
        // A broker that was silent has no reason to give.
        Err(error) if started.elapsed() < CALL_TIMEOUT => {
            Err(refusal::of(url).await.map_or(error, BrokerError::Refused))
        }
        connected => connected,
    }
}

/// A channel on which requests are made one at a time.
///
/// The client has one slot for each kind of answer on a channel, and panics at the second answer if
/// two such requests are under way. A request keeps its turn until it is answered, even if its
/// caller has gone or waited too long: the next one waits, and may time out.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) channel: Channel,
    closed_because: CloseReason,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Line {
    /// Makes a request that has an answer, in a task of its own, and waits for it at most
    /// [`CALL_TIMEOUT`].
    pub(super) async fn ask<T, F>(
        &self,
        what: &str,
        question: impl FnOnce(Channel) -> F + Send + 'static,
    ) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, amqprs::error::Error>> + Send + 'static,
    {
        let (turn, channel) = (Arc::clone(&self.turn), self.channel.clone());
        call(what, async move {
            let _turn = turn.lock_owned().await;
            question(channel).await
        })
        .await
    }

    /// The broker's own words if it has closed the channel, or else `error`.
    pub(super) fn explain(&self, error: BrokerError) -> BrokerError {
        reworded(self.closed_because(), error)
    }

    /// The code and the text with which the broker closed the channel, if it did.
    pub(super) fn closed_because(&self) -> Option<(u16, String)> {
        self.closed_because.get()
    }

    /// Closes the channel. On a lost connection there is nothing left to close.
    pub(super) async fn close(self) {
        let _ = self.ask("closing a channel", |channel| async move { channel.close().await }).await;
    }
}

fn reworded(closed_because: Option<(u16, String)>, error: BrokerError) -> BrokerError {
    match closed_because {
        Some((ACCESS_REFUSED, why)) => BrokerError::Forbidden(why),
        Some((_, why)) => BrokerError::Unavailable(why),
        None => error,
    }
}

/// The code and the text with which the broker closed a channel.
#[derive(Clone, Default)]
struct CloseReason(Arc<Mutex<Option<(u16, String)>>>);

impl CloseReason {
    fn get(&self) -> Option<(u16, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Opens a channel; confirms that arrive on it are passed to `confirms`.
pub(super) async fn open_channel(
    connection: &Connection,
    confirms: Arc<Confirms>,
) -> Result<Line, BrokerError> {
    let closed_because = CloseReason::default();
    let watch = ChannelEvents { confirms, reason: closed_because.clone() };
    let connection = connection.clone();
    let channel = call("opening a channel", async move {
        let channel = connection.open_channel(None).await?;
        channel.register_callback(watch).await?;
        Ok(channel)
    })
    .await?;
    Ok(Line { channel, closed_because, turn: Arc::default() })
}

/// The callbacks of a connection. Its end shows on each channel, so it is only logged here.
struct ConnectionEvents;

#[async_trait]
impl ConnectionCallback for ConnectionEvents {
    async fn close(&mut self, _: &Connection, close: Close) -> Result<(), amqprs::error::Error> {
        tracing::warn!(code = close.reply_code(), reason = %close.reply_text(), "the broker closes a connection");
        Ok(())
    }
    async fn blocked(&mut self, _: &Connection, _: String) {}
    async fn unblocked(&mut self, _: &Connection) {}
    async fn secret_updated(&mut self, _: &Connection) {}
}

/// The callbacks of a channel. The client drops this when the channel ends, for whatever reason.
struct ChannelEvents {
    confirms: Arc<Confirms>,
    reason: CloseReason,
}

#[async_trait]
impl ChannelCallback for ChannelEvents {
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

impl Drop for ChannelEvents {
    fn drop(&mut self) {
        self.confirms.fail_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_does_not_permit_is_not_called_an_outage() {
        let lost = || BrokerError::Unavailable("lost".into());
        let closed_by = |code: u16| reworded(Some((code, "the broker's words".into())), lost());
        assert_eq!(closed_by(403), BrokerError::Forbidden("the broker's words".into()));
        assert!(closed_by(403).to_string().starts_with("RABBITMQ_URL: the broker does not permit"));
        assert_eq!(closed_by(404), BrokerError::Unavailable("the broker's words".into()));
        assert_eq!(reworded(None, lost()), lost());
    }
}
