//! The path of an event: the outbox, the queue in tables, the records of effects, and their
//! deletion.

#[cfg(feature = "defects")]
pub mod defective;
pub(in crate::store) mod new_events;
pub mod outbox;
pub mod processed;
pub mod queue;
pub mod retention;
