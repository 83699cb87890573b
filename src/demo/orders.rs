//! What an operator of a demo may order.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::Demo;
use super::faults::{MailFault, Workers};
use super::messages::DemoError;
use crate::operate::Operator;

/// An order to break something, or to mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DemoOrder {
    /// The workers drain and stop.
    StopWorkers,
    /// They work again.
    StartWorkers,
    /// The worker that sends the next mail freezes for longer than its claim's lease.
    FreezeWorker,
    /// The broker is away.
    HoldBroker,
    /// It is back.
    ReleaseBroker,
    /// Mail fails like this.
    FailMail(MailFault),
    /// So many messages of events that are done are published again.
    Duplicates(u32),
    /// So many messages are published that nobody of this installation has signed.
    Garbage(u32),
    /// The people of the story stop changing tasks.
    PauseTrickle,
    /// They go on.
    ResumeTrickle,
    /// Every fault ends.
    Mend,
}

impl DemoOrder {
    /// What it is about, and more about it, for the audit log.
    fn described(self) -> (&'static str, Value) {
        let order = |order: &str| json!({ "order": order });
        match self {
            DemoOrder::StopWorkers => ("worker", order("stop")),
            DemoOrder::StartWorkers => ("worker", order("start")),
            DemoOrder::FreezeWorker => ("worker", order("freeze")),
            DemoOrder::HoldBroker => ("broker", order("hold")),
            DemoOrder::ReleaseBroker => ("broker", order("release")),
            DemoOrder::FailMail(fault) => ("mail", json!(fault)),
            DemoOrder::Duplicates(count) => ("duplicates", json!({ "count": count })),
            DemoOrder::Garbage(count) => ("garbage", json!({ "count": count })),
            DemoOrder::PauseTrickle => ("trickle", order("pause")),
            DemoOrder::ResumeTrickle => ("trickle", order("resume")),
            DemoOrder::Mend => ("everything", order("mend")),
        }
    }
}

impl Demo {
    /// Carries an order out, after it is written down: what it changes is no row.
    ///
    /// # Errors
    /// The database fails, or the broker takes no message; then nothing has changed.
    pub async fn obey(&self, order: DemoOrder, by: &Operator) -> Result<(), DemoError> {
        let (target, details) = order.described();
        let mut connection = self.0.store.connection().await?;
        by.audit(&mut connection, "demo", Some(target.to_owned()), details, false).await?;
        drop(connection);
        tracing::info!(?order, by = by.name, "an order to the demo");
        let faults = &self.0.faults;
        match order {
            DemoOrder::StopWorkers => faults.set_workers(Workers::Stopped),
            DemoOrder::StartWorkers => faults.set_workers(Workers::Running),
            DemoOrder::FreezeWorker => faults.set_workers(Workers::FreezeNext),
            DemoOrder::HoldBroker => faults.hold_broker(true),
            DemoOrder::ReleaseBroker => faults.hold_broker(false),
            DemoOrder::FailMail(fault) => faults.set_mail(fault),
            DemoOrder::Duplicates(count) => {
                let published = self.0.messages.duplicates(count).await?;
                self.0.duplicates.fetch_add(published, Ordering::Relaxed);
            }
            DemoOrder::Garbage(count) => {
                let published = self.0.messages.garbage(count).await?;
                self.0.garbage.fetch_add(published, Ordering::Relaxed);
            }
            DemoOrder::PauseTrickle | DemoOrder::ResumeTrickle => {
                self.0.trickles.send_replace(order == DemoOrder::ResumeTrickle);
                // A change that is under way ends before the answer.
                drop(self.0.turn.lock().await);
            }
            DemoOrder::Mend => faults.mend(),
        }
        Ok(())
    }
}
