//! A broker in tables of the database, for those who have no RabbitMQ: one process with an embedded
//! database, or a small deployment with many.
//!
//! Publishing is a commit. A taken message is leased, and its lease is renewed while it is in
//! flight; if its worker dies, the message is due again when the lease ends. A delayed message is
//! one that is due later. A message that was taken too often without an answer is set aside as a
//! dead letter.

mod consumer;
mod dead_letters;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use crate::broker::{
    Broker, BrokerError, Consumption, DeadLetterQueue, Destination, Message, Outgoing, QueueRole,
    QueueState,
};
use crate::store::delivery::queue::{self, LeasedMessage, NewRow};
use crate::store::{Store, StoreError};

/// How long a message is leased. If its worker is killed, the message waits until the lease ends.
const LEASE: Duration = Duration::from_secs(15);
/// How often to look for messages that another process has published, or whose delay is over.
const POLL: Duration = Duration::from_millis(200);
/// As with RabbitMQ (`broker::topology`): a message that comes back so often has most likely killed
/// workers.
const DELIVERY_LIMIT: i32 = 20;
/// After how many deletions this process vacuums the table.
const VACUUM_EVERY: u64 = 2_000;

/// A broker in tables: see the module.
pub struct TableBroker {
    shared: Arc<Queues>,
    main: String,
    dead: String,
}

struct Queues {
    store: Store,
    /// Wakes a consumer of this process.
    published: Notify,
    deleted: AtomicU64,
}

impl TableBroker {
    /// A broker with these names for its two queues.
    pub fn new(store: Store, main: &str, dead: &str) -> TableBroker {
        let shared = Queues { store, published: Notify::new(), deleted: AtomicU64::new(0) };
        TableBroker { shared: Arc::new(shared), main: main.to_owned(), dead: dead.to_owned() }
    }

    /// Makes messages due again that a process had taken before it died. Only for a process that
    /// knows that no other works on this database.
    ///
    /// # Errors
    /// The database fails.
    pub async fn release_taken(&self) -> Result<(), StoreError> {
        let mut connection = self.shared.store.connection().await?;
        queue::release_taken(&mut connection, &self.main).await?;
        queue::release_taken(&mut connection, &self.dead).await
    }

    fn row(&self, outgoing: &Outgoing) -> NewRow {
        let (queue, delay) = match outgoing.to {
            Destination::Main => (&self.main, Duration::ZERO),
            Destination::Delay(delay) => (&self.main, delay),
            Destination::DeadLetter => (&self.dead, Duration::ZERO),
        };
        let message = &outgoing.message;
        NewRow {
            queue: queue.clone(),
            delay,
            message_id: message.message_id.clone(),
            message_type: message.message_type.clone(),
            content_type: message.content_type.clone(),
            sent_at: message.timestamp.and_then(|t| i64::try_from(t).ok()),
            headers: Value::Object(message.headers.clone()).to_string(),
            body: message.body.clone(),
        }
    }
}

#[async_trait]
impl Broker for TableBroker {
    async fn publish(&self, batch: Vec<Outgoing>) -> Vec<Result<(), BrokerError>> {
        let rows: Vec<NewRow> = batch.iter().map(|outgoing| self.row(outgoing)).collect();
        let answers = match self.shared.add(&rows).await {
            // If a batch fails for its content, add row by row: the other messages are not at
            // fault.
            Err(StoreError::Fault(_) | StoreError::TooSlow(_)) if rows.len() > 1 => {
                let mut answers = Vec::with_capacity(rows.len());
                for row in rows {
                    answers.push(self.shared.add(&[row]).await.map_err(unavailable));
                }
                answers
            }
            answer => vec![answer.map_err(unavailable); rows.len()],
        };
        self.shared.published.notify_one();
        answers
    }

    async fn consume(&self, prefetch: u16) -> Result<Consumption, BrokerError> {
        self.shared.store.ping().await.map_err(unavailable)?;
        Ok(consumer::consume(self.shared.clone(), &self.main, &self.dead, prefetch))
    }

    async fn dead_letters(&self) -> Result<Box<dyn DeadLetterQueue>, BrokerError> {
        Ok(Box::new(dead_letters::Letters::new(self.shared.clone(), &self.dead)))
    }

    /// Nothing to do: the tables come with the migrations.
    async fn declare(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        self.shared.store.ping().await.map(drop).map_err(unavailable)
    }

    /// Which consumers there are, nobody notes.
    async fn queues(&self) -> Result<Vec<QueueState>, BrokerError> {
        let counting = async {
            let mut connection = self.shared.store.connection().await?;
            queue::depths(&mut connection, [&self.main, &self.dead]).await
        };
        let depths = counting.await.map_err(unavailable)?;
        let mut states = Vec::new();
        for (name, role, delayed) in [
            (&self.main, QueueRole::Main, false),
            (&self.main, QueueRole::Delay, true),
            (&self.dead, QueueRole::Dead, false),
        ] {
            let depth = depths.iter().find(|depth| depth.queue == *name);
            let messages = depth.map_or(0, |depth| if delayed { depth.delayed } else { depth.due });
            let messages = u64::try_from(messages).unwrap_or_default();
            states.push(QueueState { name: name.clone(), role, messages, consumers: None });
        }
        Ok(states)
    }

    fn main_queue(&self) -> &str {
        &self.main
    }

    fn system(&self) -> &'static str {
        "postgresql"
    }

    async fn close(&self) {}
}

impl Queues {
    async fn add(&self, rows: &[NewRow]) -> Result<(), StoreError> {
        queue::add(&mut *self.store.connection().await?, rows).await
    }

    async fn delete(&self, ids: Vec<i64>) -> Result<(), StoreError> {
        let count = ids.len() as u64;
        let mut connection = self.store.connection().await?;
        queue::delete(&mut connection, ids).await?;
        let before = self.deleted.fetch_add(count, Ordering::Relaxed);
        if before / VACUUM_EVERY != (before + count) / VACUUM_EVERY {
            // Only disk space is at stake: the next vacuum will do as well.
            if let Err(error) = queue::vacuum(&mut connection).await {
                tracing::warn!(%error, "the queue's table could not be vacuumed");
            }
        }
        Ok(())
    }
}

/// The header under which this broker says why it has set a message aside.
const SET_ASIDE: &str = "taskd-set-aside";

fn message(row: LeasedMessage) -> Message {
    // Written by `row` above; anything else counts as no headers.
    let mut headers: Map<String, Value> = serde_json::from_str(&row.headers).unwrap_or_default();
    let set_aside = headers.remove(SET_ASIDE).and_then(|why| why.as_str().map(str::to_owned));
    Message {
        set_aside,
        broker_headers: Map::new(),
        body: row.body,
        message_id: row.message_id,
        message_type: row.message_type,
        content_type: row.content_type,
        timestamp: row.sent_at.and_then(|t| u64::try_from(t).ok()),
        headers,
    }
}

fn unavailable(error: StoreError) -> BrokerError {
    BrokerError::Unavailable(error.to_string())
}
