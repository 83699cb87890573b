//! The system from outside: the real program, each test in a world of its own.
//!
//! A test that is marked as ignored needs PostgreSQL, RabbitMQ and Redis, at TEST_DATABASE_URL,
//! TEST_RABBITMQ_URL and TEST_REDIS_URL or at their usual local addresses; `scripts/test` runs those
//! too. The others need nothing, and `cargo test` alone runs them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a helper that fails fails its test, and a test's name says what it is about"
)]

mod access;
mod access_log;
mod advisories;
mod asyncapi;
mod audit;
mod access_changes;
mod access_leaks;
mod access_viewer;
mod cache;
mod cache_identity;
mod changes;
mod commit;
mod compatibility;
mod console;
mod console_pages;
mod console_edges;
mod console_letters;
mod console_webhooks;
mod contract_broker;
mod contract_cache;
mod contract_limiter;
mod demo;
mod dlq;
mod doctor;
mod error_codes;
mod events;
mod examination;
mod exchange;
mod extending;
mod failover;
mod gates;
mod half_open;
mod http_categories;
mod http_connections;
mod http_errors;
mod http_events;
mod http_headers;
mod http_idempotency;
mod http_idempotency_tokens;
mod http_limits;
mod http_preconditions;
mod http_rate_limits;
mod http_tasks;
mod http_users;
mod injection;
mod layering;
mod letters;
mod letters_killed;
mod letters_lists;
mod letters_unreadable;
mod licences;
mod lists;
mod lists_stretches;
mod mail_limit;
mod mail_record;
mod mail_server;
mod monitoring;
mod openapi;
mod openapi_operation;
mod outages;
mod overview;
mod plans;
mod pool;
mod presence;
mod pooling;
mod pulse;
mod probes;
mod properties;
mod records;
mod records_sql;
mod refusals;
mod roles_config;
mod roles_migrate;
mod roles_purge;
mod roles_shutdown;
mod roles_topology;
mod search_index;
mod sign_in_load;
mod subjects;
mod snapshots;
mod story;
mod tls;
mod traces;
mod up;
mod worker;
mod worker_failures;
mod worker_forged;
mod worker_hostile;
mod worker_malformed;
mod webhooks;
mod webhook_receivers;
mod webhooks_cli;
mod webhooks_order;
mod webhooks_plans;
mod webhooks_routes;
