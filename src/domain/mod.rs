//! The types and rules of tasks, events and their processing. Nothing here does I/O, and every rule
//! that depends on the time takes it as an argument.

pub mod canary;
pub mod catalog;
pub mod event;
pub mod field;
pub mod moment;
pub mod presence;
pub mod processing;
pub mod rate;
pub mod schedule;
pub mod task;
pub mod text;
pub mod user;
pub mod webhook;
