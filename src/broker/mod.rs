//! The interface to a message broker: what the rest of taskd needs of one, and its types.

pub mod amqp;
pub mod event_message;
pub mod kept;
pub mod management;
pub mod message;
pub mod signature;
pub mod tables;
pub mod topology;
mod watch;
pub mod watched;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use message::Message;
pub use signature::Signer;
pub use watch::{QueueReport, QueueWatch};

/// A message broker with durable queues, publisher confirms and manual acknowledgement.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Publishes all messages in the order given, many of them in flight at a time.
    ///
    /// Each answer belongs to the message at the same index. `Ok` means that the broker has taken
    /// responsibility: the message is durable in the queue it was meant for.
    async fn publish(&self, batch: Vec<Outgoing>) -> Vec<Result<(), BrokerError>>;

    /// Starts to consume the main queue, with at most `prefetch` unsettled messages.
    async fn consume(&self, prefetch: u16) -> Result<Consumption, BrokerError>;

    /// Opens the dead-letter queue for an operator.
    async fn dead_letters(&self) -> Result<Box<dyn DeadLetterQueue>, BrokerError>;

    /// Declares the queues. Harmless if they exist as wanted.
    async fn declare(&self) -> Result<(), BrokerError>;

    /// Checks that the broker answers.
    async fn ping(&self) -> Result<(), BrokerError>;

    /// What the broker says of each queue now. A queue that doesn't exist is left out.
    async fn queues(&self) -> Result<Vec<QueueState>, BrokerError>;

    /// The main queue's name.
    fn main_queue(&self) -> &str;

    /// What kind of broker this is, by the name that traces have for it.
    fn system(&self) -> &'static str;

    /// Closes what is open; unsettled deliveries go back to the queue.
    async fn close(&self);
}

/// A message and where it goes.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The queue it goes to.
    pub to: Destination,
    /// The message.
    pub message: Message,
}

/// The queues that taskd publishes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The main queue, from which workers consume.
    Main,
    /// A delay queue: a message waits this long in it before it returns to the main queue.
    Delay(Duration),
    /// The dead-letter queue, for messages that can't be processed.
    DeadLetter,
}

/// What the broker says of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueState {
    /// The queue's name. Where delayed messages have no queue of their own, they are counted under
    /// that of the main queue.
    pub name: String,
    /// What the queue is for.
    pub role: QueueRole,
    /// How many messages wait in it, those that workers have in hand not included.
    pub messages: u64,
    /// How many consumers it has; `None` if this broker doesn't know.
    pub consumers: Option<u32>,
}

/// What a queue is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueRole {
    /// Workers consume from it.
    Main,
    /// Failed messages wait in it.
    Delay,
    /// Dead letters are in it until they are moved to the database.
    Dead,
}

impl QueueRole {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            QueueRole::Main => "main",
            QueueRole::Delay => "delay",
            QueueRole::Dead => "dead",
        }
    }
}

/// An open consumer. When both halves are dropped, unsettled deliveries go back to the queue.
pub struct Consumption {
    /// The messages, as they arrive.
    pub deliveries: Box<dyn Deliveries>,
    /// Settles them, from any task.
    pub settlement: Arc<dyn Settlement>,
}

/// The stream of deliveries.
#[async_trait]
pub trait Deliveries: Send {
    /// Waits for the next delivery; `None` once the consumer has ended, for whatever reason.
    /// Cancel-safe.
    async fn next(&mut self) -> Option<Delivery>;

    /// A delivery that has already arrived, if there is one.
    fn try_next(&mut self) -> Option<Delivery>;

    /// Stops the stream. What has arrived before can still be taken.
    async fn cancel(&mut self);
}

/// How a worker settles its deliveries.
#[async_trait]
pub trait Settlement: Send + Sync {
    /// Acks these deliveries. If the connection is gone, they will be redelivered.
    async fn ack(&self, tags: &[Tag]) -> Result<(), BrokerError>;

    /// Returns these deliveries to the queue.
    async fn release(&self, tags: &[Tag]) -> Result<(), BrokerError>;
}

/// Identifies a delivery within its consumer.
pub type Tag = u64;

/// A message that was delivered to a worker.
#[derive(Debug)]
pub struct Delivery {
    /// Its tag, for [`Settlement`].
    pub tag: Tag,
    /// Whether it has been delivered before.
    pub redelivered: bool,
    /// The message.
    pub message: Message,
}

/// The dead-letter queue, opened. Each letter it returns is held until the letter is removed or the
/// queue is closed.
#[async_trait]
pub trait DeadLetterQueue: Send {
    /// How many letters are waiting, held ones not included.
    async fn waiting(&mut self) -> Result<u64, BrokerError>;

    /// The next letter nobody holds, or `None` if there is none.
    async fn next(&mut self) -> Result<Option<Delivery>, BrokerError>;

    /// Deletes this letter for good.
    async fn remove(&mut self, tag: Tag) -> Result<(), BrokerError>;

    /// Puts back every letter still held.
    async fn close(self: Box<Self>);
}

/// What can go wrong with the broker. No message contains a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// The broker can't be reached, or the connection was lost. What was not confirmed may or may
    /// not have arrived.
    #[error("the broker can't be reached: {0}")]
    Unavailable(String),
    /// The broker is up and will keep refusing: wrong credentials, no such virtual host.
    #[error("RABBITMQ_URL: {0}")]
    Refused(String),
    /// The broker does not permit this user to declare, read or write here.
    #[error("RABBITMQ_URL: the broker does not permit this: {0}")]
    Forbidden(String),
    /// No confirm came in time.
    #[error("the broker did not confirm within {} s", .0.as_secs())]
    ConfirmTimeout(Duration),
    /// The broker refused a message (`basic.nack`), as a full queue does.
    #[error("the broker refused the message")]
    Nacked,
    /// No queue took the message (`basic.return`).
    #[error("no queue {0} took the message: is the topology declared?")]
    Returned(String),
    /// This process may not declare queues.
    #[error("NO_DECLARE keeps this process from declaring queues: run taskd topology declare")]
    MayNotDeclare,
    /// A queue exists, but not with the properties wanted.
    #[error("{0}")]
    Drift(String),
}
