//! The seam to the message broker: what the organs above need of one, and its types.

pub mod amqp;
pub mod message;
pub mod signature;
pub mod tables;
pub mod topology;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use message::Message;
pub use signature::Signer;

/// A message broker with durable queues, publisher confirms and manual acknowledgement.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Publishes all messages, many in flight at a time, in the order given.
    ///
    /// The answer at each place is that of the message at the same place. `Ok` means that the
    /// broker has taken responsibility: it is durable in the queue it was meant for.
    async fn publish(&self, batch: Vec<Outgoing>) -> Vec<Result<(), BrokerError>>;

    /// Starts to take messages from the main queue, at most `prefetch` unsettled ones.
    async fn consume(&self, prefetch: u16) -> Result<Consumption, BrokerError>;

    /// Opens the dead-letter queue for an operator.
    async fn dead_letters(&self) -> Result<Box<dyn DeadLetterQueue>, BrokerError>;

    /// Brings queues into being; harmless when they are there as wanted.
    async fn declare(&self) -> Result<(), BrokerError>;

    /// Asks for a sign of life.
    async fn ping(&self) -> Result<(), BrokerError>;

    /// Closes what is open; open deliveries go back to the queue.
    async fn close(&self);
}

/// A message and where it goes.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The queue.
    pub to: Destination,
    /// The message.
    pub message: Message,
}

/// The queues that taskd publishes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Where workers take from.
    Main,
    /// Where a message rests for this long before it returns to the main queue.
    Delay(Duration),
    /// Where messages end that can't be processed.
    DeadLetter,
}

/// An open consumer. Dropping both halves gives unsettled deliveries back.
pub struct Consumption {
    /// The messages.
    pub deliveries: Box<dyn Deliveries>,
    /// The way to settle them, from any task.
    pub settlement: Arc<dyn Settlement>,
}

/// The messages that arrive.
#[async_trait]
pub trait Deliveries: Send {
    /// Waits for the next one; `None` once the consumer has ended, for whatever reason.
    /// Cancel-safe.
    async fn next(&mut self) -> Option<Delivery>;

    /// One that has already arrived.
    fn try_next(&mut self) -> Option<Delivery>;

    /// Asks for no more. What has arrived before can still be taken.
    async fn cancel(&mut self);
}

/// What a worker says of its deliveries.
#[async_trait]
pub trait Settlement: Send + Sync {
    /// These are done. Where the connection is gone they will be delivered again.
    async fn ack(&self, tags: &[Tag]) -> Result<(), BrokerError>;

    /// These go back to the queue.
    async fn release(&self, tags: &[Tag]) -> Result<(), BrokerError>;
}

/// Names a delivery within its consumer.
pub type Tag = u64;

/// A message in a worker's hands.
#[derive(Debug)]
pub struct Delivery {
    /// Its name for [`Settlement`].
    pub tag: Tag,
    /// Whether it has been delivered before.
    pub redelivered: bool,
    /// The message.
    pub message: Message,
}

/// The dead-letter queue, opened: each letter is held until it is settled or the queue closed.
#[async_trait]
pub trait DeadLetterQueue: Send {
    /// How many letters wait that nobody holds.
    async fn waiting(&mut self) -> Result<u64, BrokerError>;

    /// The next letter nobody holds, or `None` if there is none.
    async fn next(&mut self) -> Result<Option<Delivery>, BrokerError>;

    /// Forgets this letter for good.
    async fn remove(&mut self, tag: Tag) -> Result<(), BrokerError>;

    /// Puts back every letter still held.
    async fn close(self: Box<Self>);
}

/// What can go wrong at the broker. No message contains a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// It can't be reached, or the connection was lost; what was not confirmed may or may not
    /// have arrived.
    #[error("the broker can't be reached: {0}")]
    Unavailable(String),
    /// It is there and will go on refusing: wrong credentials, no such virtual host.
    #[error("RABBITMQ_URL: {0}")]
    Refused(String),
    /// No confirm came in time.
    #[error("the broker did not confirm within {} s", .0.as_secs())]
    ConfirmTimeout(Duration),
    /// It refused a message (`basic.nack`), as a full queue does.
    #[error("the broker refused the message")]
    Nacked,
    /// No queue took the message (`basic.return`).
    #[error("no queue {0} took the message: is the topology declared?")]
    Returned(String),
    /// This process is not to declare queues.
    #[error("NO_DECLARE keeps this process from declaring queues: run taskd topology declare")]
    MayNotDeclare,
    /// A copy can't be signed without the database.
    #[error(
        "DATABASE_URL is not set: what is replayed has to be signed, and the key is in the database"
    )]
    Unsigned,
    /// A queue exists with other properties than wanted.
    #[error("{0}")]
    Drift(String),
}
