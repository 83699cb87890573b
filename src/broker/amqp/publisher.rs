//! Publishes with confirms over one shared channel.

use std::sync::Arc;
use std::time::Duration;

use amqprs::channel::{BasicPublishArguments, BasicQosArguments, ConfirmSelectArguments};
use amqprs::connection::Connection;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout_at};

use super::confirms::Confirms;
use super::connection::{Line, call, connect, open_channel};
use super::convert;
use super::url::AmqpUrl;
use crate::broker::{BrokerError, Message};

/// How long a batch may wait for its confirms. A quorum queue answers in milliseconds; a broker out
/// of memory or disk does not answer at all.
pub(super) const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// The publishing side: it opens a session when it needs one, and drops it when it is broken.
pub(super) struct Publisher {
    url: AmqpUrl,
    name: String,
    to: Arc<To>,
    session: Mutex<Option<Arc<Session>>>,
    /// Where sessions live. The first caller may be a thread that serves: its own runtime is busy
    /// with requests, and ends before the last message is published.
    runtime: Handle,
}

/// Where a publisher's messages go.
struct To {
    /// The exchange; empty for the default one, whose routing keys are the names of queues.
    exchange: String,
    /// Whether a message that no queue takes is a failure.
    mandatory: bool,
}

struct Session {
    connection: Connection,
    to: Arc<To>,
    /// For publishing alone.
    line: Line,
    pings: Line,
    confirms: Arc<Confirms>,
    /// Held while a tag is taken and its message handed to the client: the orders must agree.
    order: Mutex<()>,
}

impl Publisher {
    /// Publishes to queues. Call this inside the runtime in which sessions are to live.
    pub(super) fn new(url: AmqpUrl, name: String) -> Publisher {
        let to = To { exchange: String::new(), mandatory: true };
        Publisher::with(url, name, to)
    }

    /// Publishes to an exchange; whether anybody listens there makes no difference. Call this
    /// inside the runtime in which sessions are to live.
    pub(super) fn to_exchange(url: AmqpUrl, name: String, exchange: &str) -> Publisher {
        let to = To { exchange: exchange.to_owned(), mandatory: false };
        Publisher::with(url, name, to)
    }

    fn with(url: AmqpUrl, name: String, to: To) -> Publisher {
        let (to, runtime) = (Arc::new(to), Handle::current());
        Publisher { url, name, to, session: Mutex::new(None), runtime }
    }

    /// See [`crate::broker::Broker::publish`]; each message comes with its routing key.
    pub(super) async fn publish(
        &self,
        batch: Vec<(String, Message)>,
    ) -> Vec<Result<(), BrokerError>> {
        let count = batch.len();
        let session = match self.session().await {
            Ok(session) => session,
            Err(error) => return vec![Err(error); count],
        };
        let deadline = Instant::now() + CONFIRM_TIMEOUT;
        // In a task of its own: handing messages to the client must not be dropped half-way.
        let sender = Arc::clone(&session);
        let handed_over =
            tokio::spawn(async move { sender.hand_over(batch, deadline).await }).await;
        let receivers = handed_over.unwrap_or_default();

        let mut answers = Vec::with_capacity(count);
        for receiver in receivers {
            answers.push(match timeout_at(deadline, receiver).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(session.line.explain(lost())),
                Err(_) => Err(BrokerError::ConfirmTimeout(CONFIRM_TIMEOUT)),
            });
        }
        // For messages that could not even be handed over.
        answers.resize_with(count, || Err(session.line.explain(lost())));
        if answers.iter().any(|answer| {
            matches!(
                answer,
                Err(BrokerError::Unavailable(_)
                    | BrokerError::Forbidden(_)
                    | BrokerError::ConfirmTimeout(_))
            )
        }) {
            self.forget(&session).await;
        }
        answers
    }

    /// Makes a round trip on the publishing connection, by a channel on which nothing is published.
    pub(super) async fn ping(&self) -> Result<(), BrokerError> {
        let session = self.session().await?;
        let asking = session.pings.ask("asking for a sign of life", |channel| async move {
            channel.basic_qos(BasicQosArguments::new(0, 1, false)).await
        });
        let answer = asking.await;
        if answer.is_err() {
            self.forget(&session).await;
        }
        answer
    }

    /// The connection in use, or a new one, to ask something on a channel of one's own.
    pub(super) async fn connection(&self) -> Result<Connection, BrokerError> {
        Ok(self.session().await?.connection.clone())
    }

    pub(super) async fn close(&self) {
        if let Some(session) = self.session.lock().await.take() {
            let connection = session.connection.clone();
            // If this fails, the broker notices the closed socket.
            let _ = call("closing", async move { connection.close().await }).await;
        }
    }

    /// The session in use, or a new one. Only one is opened at a time.
    async fn session(&self) -> Result<Arc<Session>, BrokerError> {
        let mut current = self.session.lock().await;
        if let Some(session) = current.as_ref().filter(|s| s.usable()) {
            return Ok(Arc::clone(session));
        }
        *current = None;
        let (url, name, to) = (self.url.clone(), self.name.clone(), Arc::clone(&self.to));
        let opening = self.runtime.spawn(async move { Session::open(&url, &name, to).await });
        let session = Arc::new(opening.await.unwrap_or_else(|_| Err(lost()))?);
        *current = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Drops the broken session, unless another has replaced it already.
    async fn forget(&self, broken: &Arc<Session>) {
        let mut current = self.session.lock().await;
        if current.as_ref().is_some_and(|s| Arc::ptr_eq(s, broken)) {
            *current = None;
        }
    }
}

impl Session {
    async fn open(url: &AmqpUrl, name: &str, to: Arc<To>) -> Result<Session, BrokerError> {
        let connection = connect(url, name).await?;
        let confirms = Arc::new(Confirms::default());
        let line = open_channel(&connection, Arc::clone(&confirms)).await?;
        line.ask("asking for confirms", |channel| async move {
            channel.confirm_select(ConfirmSelectArguments::default()).await
        })
        .await?;
        let pings = open_channel(&connection, Arc::default()).await?;
        Ok(Session { connection, to, line, pings, confirms, order: Mutex::new(()) })
    }

    fn usable(&self) -> bool {
        self.connection.is_open()
            && self.line.channel.is_open()
            && self.pings.channel.is_open()
            && !self.confirms.ended()
    }

    /// Hands the batch to the client, as much of it as the client takes before the deadline.
    async fn hand_over(
        &self,
        batch: Vec<(String, Message)>,
        deadline: Instant,
    ) -> Vec<oneshot::Receiver<Result<(), BrokerError>>> {
        let mut receivers = Vec::with_capacity(batch.len());
        let Ok(_in_order) = timeout_at(deadline, self.order.lock()).await else {
            return receivers;
        };
        for (key, message) in batch {
            let receiver = self.confirms.expect(&key, message.message_id.as_deref());
            let mut arguments = BasicPublishArguments::new(&self.to.exchange, &key);
            arguments.mandatory(self.to.mandatory);
            let (properties, body) = convert::to_amqp(message);
            let publishing = self.line.channel.basic_publish(properties, body, arguments);
            match timeout_at(deadline, publishing).await {
                Ok(Ok(())) => receivers.push(receiver),
                // Tags and messages may be out of step now, so the channel can't be used any more.
                Ok(Err(_)) | Err(_) => {
                    self.confirms.fail_all();
                    return receivers;
                }
            }
        }
        receivers
    }
}

fn lost() -> BrokerError {
    BrokerError::Unavailable("the connection was lost before the confirm".into())
}
