//! taskd: a task-management API whose every change reliably becomes an event, and whose side work
//! can fail, retry, restart and run in many processes without losing or repeating anything.
//!
//! The modules are in reading order, from the wiring at the top down; each imports only from those
//! below it. ARCHITECTURE.md has the map.

// The wiring.
pub mod roles;
pub mod config;
pub mod http;
// What the roles are made of.
pub mod consumer;
pub mod task_writer;
pub mod task_reader;
pub mod publisher;
pub mod retry_router;
pub mod gates;
pub mod effects;
pub mod idempotency;
pub mod dead_letters;
pub mod operate;
pub mod feed;
pub mod webhooks;
pub mod retention;
pub mod read_cache;
pub mod access;
pub mod authenticity;
pub mod demo;
// Mistakes on purpose, for the fault harness alone.
#[cfg(feature = "defects")]
mod defects;
// Interfaces to other systems, with their implementations.
pub mod store;
pub mod broker;
pub mod cache;
pub mod mail;
// The domain.
pub mod domain;
// What knows nothing of taskd.
pub mod ground;
