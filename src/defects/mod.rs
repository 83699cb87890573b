//! Deliberate mistakes, to test the tests: each is one that taskd exists to avoid, and the fault
//! harness (`scripts/chaos`) must notice it. They replace parts of a process when it is put
//! together, so the parts themselves know nothing of them.
//!
//! They exist only with the cargo feature `defects`, which a release build refuses.

mod eager_acks;
mod late_events;
mod unclaimed;

use std::sync::Arc;

pub use late_events::LateEvents;

use crate::broker::Broker;
use crate::consumer::WorkerContext;

#[cfg(not(debug_assertions))]
compile_error!("the feature `defects` makes taskd lose and repeat work: it is for tests alone");

/// A deliberate mistake, named by `TASKD_DEFECT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    /// The event of a new task is written after the task's commit, by a statement of its own.
    PublishAfterCommit,
    /// A delivery is acked before its effects.
    AckBeforeEffect,
    /// Whether an effect is done is read first and recorded later, without a claim.
    CheckThenInsert,
}

/// Whether this process is to make that mistake.
fn has(defect: Defect) -> bool {
    let name = match defect {
        Defect::PublishAfterCommit => "publish-after-commit",
        Defect::AckBeforeEffect => "ack-before-effect",
        Defect::CheckThenInsert => "check-then-insert",
    };
    std::env::var_os("TASKD_DEFECT").is_some_and(|wanted| wanted == name)
}

/// What a worker is made of, with the mistake that is wanted.
pub fn worker(tools: WorkerContext, broker: Arc<dyn Broker>) -> (WorkerContext, Arc<dyn Broker>) {
    if has(Defect::CheckThenInsert) {
        let idempotency = unclaimed::idempotency(tools.store.clone(), &tools.worker);
        return (WorkerContext { idempotency, ..tools }, broker);
    }
    if has(Defect::AckBeforeEffect) {
        return (tools, Arc::new(eager_acks::EagerAcks(broker)));
    }
    (tools, broker)
}
