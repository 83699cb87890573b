//! The system from outside: the real program on real services, each test in a world of its own.
//!
//! Needs PostgreSQL, RabbitMQ and Redis, at TEST_DATABASE_URL, TEST_RABBITMQ_URL and TEST_REDIS_URL
//! or at their usual local addresses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a helper that fails fails its test, and a test's name says what it is about"
)]

mod harness;

//TODO mod cache;
//TODO mod dlq;
//TODO mod events;
mod http_categories;
//TODO mod http_errors;
mod http_tasks;
mod http_users;
//TODO mod layering;
//TODO mod licences;
//TODO mod lists;
//TODO mod openapi;
//TODO mod roles_config;
//TODO mod roles_migrate;
//TODO mod roles_purge;
//TODO mod roles_shutdown;
//TODO mod roles_topology;
//TODO mod snapshots;
//TODO mod worker;
//TODO mod worker_failures;
//TODO mod worker_malformed;
