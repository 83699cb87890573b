//! What operators ask and order: the story of an event, and what is not done.

pub mod doctor;
pub mod history;
mod operator;
mod order;
pub mod overview;
pub mod presence;
pub mod pulse;
pub mod story;
pub mod unfinished;

pub use operator::{AuditEntry, Operator};
pub use order::OrderError;
