//! What taskd is about, as types and rules. Nothing here does I/O, and every
//! rule that depends on the time takes it as an argument.

pub mod claim;
pub mod effect;
pub mod event;
pub mod failure;
pub mod history;
pub mod moment;
pub mod rate;
pub mod retention;
pub mod retry;
pub mod schedule;
pub mod schemas;
pub mod task;
pub mod text;
pub mod user;
