//! Consumes messages from a table.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{DELIVERY_LIMIT, LEASE, POLL, Queues, SET_ASIDE, message, unavailable};
use crate::broker::{BrokerError, Consumption, Deliveries, Delivery, Settlement, Tag};
use crate::domain::processing::retry::DeadReason;
use crate::ground::shutdown::Backoff;
use crate::store::StoreError;
use crate::store::delivery::queue::{self, First, LeasedMessage};

/// Starts a task that keeps up to `prefetch` messages in flight, and one that renews their leases.
pub(super) fn consume(shared: Arc<Queues>, main: &str, dead: &str, prefetch: u16) -> Consumption {
    let ended = CancellationToken::new();
    let hand = Arc::new(InFlight {
        shared,
        main: main.to_owned(),
        dead: dead.to_owned(),
        tags: Mutex::default(),
        freed: Notify::new(),
    });
    let stop = ended.child_token();
    let (sender, arriving) = mpsc::unbounded_channel();
    let taking = tokio::spawn(take(hand.clone(), sender, usize::from(prefetch), stop.clone()));
    tokio::spawn(renew(hand.clone(), ended.clone()));
    let held = Arc::new(ConsumerGuard { hand, _ended: ended.drop_guard() });
    Consumption {
        settlement: held.clone(),
        deliveries: Box::new(TableDeliveries { _held: held, arriving, stop, taking: Some(taking) }),
    }
}

/// The messages in flight.
struct InFlight {
    shared: Arc<Queues>,
    main: String,
    dead: String,
    tags: Mutex<BTreeSet<i64>>,
    /// Notified when messages are settled.
    freed: Notify,
}

impl InFlight {
    fn tags(&self) -> std::sync::MutexGuard<'_, BTreeSet<i64>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes these messages out of those in flight. Returns the ids of those that were in flight.
    fn remove(&self, tags: &[Tag]) -> Vec<i64> {
        let mut held = self.tags();
        let ids =
            tags.iter().filter_map(|tag| i64::try_from(*tag).ok()).filter(|id| held.remove(id));
        ids.collect()
    }
}

/// Both halves of a consumer share this. When the last one is dropped, the consumer ends.
struct ConsumerGuard {
    hand: Arc<InFlight>,
    _ended: DropGuard,
}

async fn take(
    hand: Arc<InFlight>,
    sender: mpsc::UnboundedSender<Delivery>,
    prefetch: usize,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::default();
    while !stop.is_cancelled() {
        let room = prefetch.saturating_sub(hand.tags().len());
        if room == 0 {
            tokio::select! {
                () = stop.cancelled() => return,
                () = hand.freed.notified() => continue,
            }
        }
        let taken = match take_some(&hand, room).await {
            Ok(taken) => taken,
            // Messages in flight stay so until the database is back.
            Err(error) => {
                tracing::warn!(%error, "the queue can't be read; retrying");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(backoff.pause()) => continue,
                }
            }
        };
        backoff.reset();
        if taken.is_empty() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = hand.shared.published.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        for row in taken {
            hand.tags().insert(row.id);
            let delivery = Delivery {
                // An identity column counts from 1.
                tag: Tag::try_from(row.id).unwrap_or_default(),
                redelivered: row.deliveries > 1,
                message: message(row),
            };
            if sender.send(delivery).is_err() {
                return;
            }
        }
    }
}

/// Takes due messages, and sets aside as dead letters those that were taken too often.
async fn take_some(hand: &InFlight, limit: usize) -> Result<Vec<LeasedMessage>, StoreError> {
    let mut connection = hand.shared.store.connection().await?;
    let taken = queue::take(&mut connection, &hand.main, First::Due, LEASE, limit as i64).await?;
    let (poisonous, good): (Vec<LeasedMessage>, Vec<LeasedMessage>) =
        taken.into_iter().partition(|row| row.deliveries > DELIVERY_LIMIT);
    if !poisonous.is_empty() {
        let ids = poisonous.iter().map(|row| row.id).collect();
        let headers = poisonous.into_iter().map(|row| {
            let mut message = message(row);
            message.set_text(SET_ASIDE, DeadReason::DeliveryLimit.as_str());
            serde_json::Value::Object(message.headers).to_string()
        });
        queue::move_to(&mut connection, ids, &hand.dead, headers.collect()).await?;
    }
    Ok(good)
}

/// Keeps the messages in flight from becoming due. While the database is away nobody else can take
/// them either.
async fn renew(hand: Arc<InFlight>, ended: CancellationToken) {
    loop {
        tokio::select! {
            () = ended.cancelled() => break,
            () = tokio::time::sleep(LEASE / 3) => {}
        }
        let ids: Vec<i64> = hand.tags().iter().copied().collect();
        if !ids.is_empty() {
            extend(&hand, ids, LEASE).await;
        }
    }
    // Return what was not settled to the queue.
    let ids: Vec<i64> = std::mem::take(&mut *hand.tags()).into_iter().collect();
    if !ids.is_empty() {
        extend(&hand, ids, Duration::ZERO).await;
    }
}

async fn extend(hand: &InFlight, ids: Vec<i64>, lease: Duration) {
    let renewed =
        async { queue::renew(&mut *hand.shared.store.connection().await?, ids, lease).await };
    if let Err(error) = renewed.await {
        tracing::warn!(%error, "leases could not be renewed");
    }
}

struct TableDeliveries {
    _held: Arc<ConsumerGuard>,
    arriving: mpsc::UnboundedReceiver<Delivery>,
    stop: CancellationToken,
    taking: Option<JoinHandle<()>>,
}

#[async_trait]
impl Deliveries for TableDeliveries {
    async fn next(&mut self) -> Option<Delivery> {
        self.arriving.recv().await
    }

    fn try_next(&mut self) -> Option<Delivery> {
        self.arriving.try_recv().ok()
    }

    async fn cancel(&mut self) {
        self.stop.cancel();
        if let Some(taking) = self.taking.take() {
            // The task ends by itself, after all it has taken has arrived here.
            let _ = taking.await;
        }
    }
}

#[async_trait]
impl Settlement for ConsumerGuard {
    async fn ack(&self, tags: &[Tag]) -> Result<(), BrokerError> {
        let ids = self.hand.remove(tags);
        if ids.is_empty() {
            return Ok(());
        }
        self.hand.freed.notify_one();
        self.hand.shared.delete(ids).await.map_err(unavailable)
    }

    async fn release(&self, tags: &[Tag]) -> Result<(), BrokerError> {
        let ids = self.hand.remove(tags);
        self.hand.freed.notify_one();
        let mut connection = self.hand.shared.store.connection().await.map_err(unavailable)?;
        queue::renew(&mut connection, ids, Duration::ZERO).await.map_err(unavailable)
    }
}
