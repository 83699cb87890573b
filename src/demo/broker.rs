//! A broker that can be held, and whose consumers are cut off when their worker freezes.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::faults::{Faults, Workers};
use crate::broker::{
    Broker, BrokerError, Consumption, DeadLetterQueue, Deliveries, Delivery, Outgoing, QueueState,
    Settlement, Tag,
};

/// While it is held, this broker is away as far as the others can tell: it takes nothing and
/// answers nothing, and whoever consumes has lost the connection.
pub(super) struct BreakableBroker {
    broker: Arc<dyn Broker>,
    outage: Outage,
}

impl BreakableBroker {
    /// The broker as a process sees it, or as this worker does, whose connection also ends when it
    /// freezes: a broker gives up a client that says nothing for too long.
    pub(super) fn new(broker: Arc<dyn Broker>, faults: Faults, worker: Option<usize>) -> Self {
        BreakableBroker { broker, outage: Outage { faults, worker } }
    }
}

/// When this broker is away.
#[derive(Clone)]
struct Outage {
    faults: Faults,
    worker: Option<usize>,
}

impl Outage {
    fn has_frozen(&self, state: Workers) -> bool {
        self.worker.is_some_and(|worker| state == Workers::Frozen(worker))
    }

    /// Why it is away at the moment, if it is.
    fn reason(&self) -> Option<BrokerError> {
        let away = |why: &str| Some(BrokerError::Unavailable(why.to_owned()));
        if self.faults.is_held() {
            return away("the demo holds it");
        }
        if self.has_frozen(self.faults.workers()) {
            return away("the demo has frozen this worker, whose connection was given up");
        }
        None
    }

    fn check(&self) -> Result<(), BrokerError> {
        self.reason().map_or(Ok(()), Err)
    }

    /// Waits until it is away.
    async fn begins(&self) {
        tokio::select! {
            () = self.faults.held() => {}
            () = self.faults.workers_are(|state| self.has_frozen(state)) => {}
        }
    }
}

#[async_trait]
impl Broker for BreakableBroker {
    async fn publish(&self, batch: Vec<Outgoing>) -> Vec<Result<(), BrokerError>> {
        match self.outage.reason() {
            Some(error) => vec![Err(error); batch.len()],
            None => self.broker.publish(batch).await,
        }
    }

    async fn consume(&self, prefetch: u16) -> Result<Consumption, BrokerError> {
        self.outage.check()?;
        let Consumption { deliveries, settlement } = self.broker.consume(prefetch).await?;
        let settlement = Arc::new(BreakableSettlement {
            settlement: Mutex::new(Some(settlement)),
            outage: self.outage.clone(),
        });
        Ok(Consumption {
            deliveries: Box::new(BreakableDeliveries {
                deliveries: Some(deliveries),
                settlement: Arc::clone(&settlement),
                outage: self.outage.clone(),
            }),
            settlement,
        })
    }

    async fn dead_letters(&self) -> Result<Box<dyn DeadLetterQueue>, BrokerError> {
        self.outage.check()?;
        let letters = self.broker.dead_letters().await?;
        Ok(Box::new(BreakableLetters { letters, outage: self.outage.clone() }))
    }

    async fn declare(&self) -> Result<(), BrokerError> {
        self.outage.check()?;
        self.broker.declare().await
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        self.outage.check()?;
        self.broker.ping().await
    }

    async fn queues(&self) -> Result<Vec<QueueState>, BrokerError> {
        self.outage.check()?;
        self.broker.queues().await
    }

    fn main_queue(&self) -> &str {
        self.broker.main_queue()
    }

    fn system(&self) -> &'static str {
        self.broker.system()
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}

/// Deliveries that end when the broker goes away. Then the broker's own halves are dropped, so that
/// it gives what is not settled to others.
struct BreakableDeliveries {
    deliveries: Option<Box<dyn Deliveries>>,
    settlement: Arc<BreakableSettlement>,
    outage: Outage,
}

#[async_trait]
impl Deliveries for BreakableDeliveries {
    async fn next(&mut self) -> Option<Delivery> {
        let deliveries = self.deliveries.as_mut()?;
        let next = tokio::select! {
            biased;
            () = self.outage.begins() => None,
            next = deliveries.next() => next,
        };
        if next.is_none() {
            self.deliveries = None;
            self.settlement.lose();
        }
        next
    }

    fn try_next(&mut self) -> Option<Delivery> {
        match self.outage.reason() {
            // The next call of `next` ends them.
            Some(_) => None,
            None => self.deliveries.as_mut()?.try_next(),
        }
    }

    async fn cancel(&mut self) {
        if let Some(deliveries) = &mut self.deliveries {
            deliveries.cancel().await;
        }
    }
}

struct BreakableSettlement {
    settlement: Mutex<Option<Arc<dyn Settlement>>>,
    outage: Outage,
}

impl BreakableSettlement {
    fn lose(&self) {
        *self.settlement.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn settlement(&self) -> Result<Arc<dyn Settlement>, BrokerError> {
        self.outage.check()?;
        let settlement = self.settlement.lock().unwrap_or_else(PoisonError::into_inner).clone();
        settlement.ok_or_else(|| BrokerError::Unavailable("the connection was lost".to_owned()))
    }
}

#[async_trait]
impl Settlement for BreakableSettlement {
    async fn ack(&self, tags: &[Tag]) -> Result<(), BrokerError> {
        self.settlement()?.ack(tags).await
    }

    async fn release(&self, tags: &[Tag]) -> Result<(), BrokerError> {
        self.settlement()?.release(tags).await
    }
}

struct BreakableLetters {
    letters: Box<dyn DeadLetterQueue>,
    outage: Outage,
}

#[async_trait]
impl DeadLetterQueue for BreakableLetters {
    async fn waiting(&mut self) -> Result<u64, BrokerError> {
        self.outage.check()?;
        self.letters.waiting().await
    }

    async fn next(&mut self) -> Result<Option<Delivery>, BrokerError> {
        self.outage.check()?;
        self.letters.next().await
    }

    async fn remove(&mut self, tag: Tag) -> Result<(), BrokerError> {
        self.outage.check()?;
        self.letters.remove(tag).await
    }

    async fn close(self: Box<Self>) {
        self.letters.close().await;
    }
}
