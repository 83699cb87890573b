//! taskd: a task-management API whose every change reliably becomes an event, and whose side
//! work can fail, retry, restart and multiply without losing or repeating anything.
//!
//! The modules in reading order, from the wiring at the top to the ground; each imports only from
//! those below it. ARCHITECTURE.md has the map.

// The wiring.
pub mod roles;
pub mod config;
pub mod http;
// The organs.
pub mod consumer;
pub mod task_writer;
pub mod task_reader;
pub mod publisher;
pub mod retry_router;
pub mod effects;
pub mod idempotency;
pub mod dead_letters;
pub mod retention;
pub mod read_cache;
pub mod access;
pub mod authenticity;
// The seams.
pub mod store;
pub mod broker;
pub mod cache;
pub mod mail;
// What it is about.
pub mod domain;
// The ground.
pub mod ground;
