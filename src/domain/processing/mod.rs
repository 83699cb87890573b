//! The rules by which the work for an event is claimed, retried, given up and forgotten.

pub mod claim;
pub mod effect;
pub mod failure;
pub mod gate;
pub mod history;
pub mod retention;
pub mod retry;
pub mod setback;
pub mod state;
