//! The console in a real browser: Chromium, driven by chromedriver.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a helper that fails fails its test"
)]

mod browser;
mod demo;
mod failures;
mod live;
mod looks;
mod pages;
mod people;
mod pictures;
mod tasks;
mod webhooks;
