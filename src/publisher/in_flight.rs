//! The batches that the broker has not answered yet.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::{PUBLISH_TIMEOUT, message};
use crate::broker::{Broker, BrokerError, Destination, Outgoing};
use crate::store::outbox::OutboxRow;

/// See the module. No task has events in two of them: which batch the broker takes first is not said, and
/// the versions of a task go in order.
#[derive(Default)]
pub(super) struct InFlight {
    batches: JoinSet<Sent>,
    tasks: HashSet<i64>,
}

/// A batch that the broker has answered.
#[derive(Default)]
pub(super) struct Sent {
    tasks: Vec<i64>,
    /// For each event whether it is with the broker.
    pub(super) answers: Vec<(Uuid, Result<(), BrokerError>)>,
}

impl InFlight {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether one of these events is of a task that has another in flight.
    pub(super) fn concerns(&self, rows: &[OutboxRow]) -> bool {
        self.len() > 0 && rows.iter().any(|row| self.tasks.contains(&row.task_id))
    }

    /// Publishes a batch with confirms, and gives that up at a time.
    pub(super) fn send(&mut self, broker: Arc<dyn Broker>, rows: Vec<OutboxRow>, give_up: Instant) {
        self.tasks.extend(rows.iter().map(|row| row.task_id));
        self.batches.spawn(publish(broker, rows, give_up));
    }

    /// The next one that the broker answers; `None` if there is none in flight. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Sent> {
        // Where publishing panicked nothing is known of the batch, and its lease runs out.
        let sent = self.batches.join_next().await?.unwrap_or_default();
        for task in &sent.tasks {
            self.tasks.remove(task);
        }
        Some(sent)
    }
}

async fn publish(broker: Arc<dyn Broker>, rows: Vec<OutboxRow>, give_up: Instant) -> Sent {
    let messages = rows.iter().map(|row| Outgoing { to: Destination::Main, message: message(row) });
    let publishing = broker.publish(messages.collect());
    let answers = tokio::time::timeout_at(give_up, publishing)
        .await
        .unwrap_or_else(|_| vec![Err(BrokerError::ConfirmTimeout(PUBLISH_TIMEOUT)); rows.len()]);
    let tasks = rows.iter().map(|row| row.task_id).collect();
    Sent { tasks, answers: rows.into_iter().map(|row| row.id).zip(answers).collect() }
}
