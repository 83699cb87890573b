//! The way of an event: the outbox, the queue in tables, the records of what is done, and forgetting them.

pub mod defective;
pub mod outbox;
pub mod processed;
pub mod queue;
pub mod retention;
