//! The limits of the API on a request and on connections.

use std::time::Duration;

use clap::Args;

use super::{AccessArgs, HttpArgs, LimitArgs, duration, whole};
use crate::http::middleware::cors::Origins;
use crate::http::middleware::hosts::{AllowedHosts, Hosts};
use crate::http::middleware::limits::Limits;
use crate::http::middleware::observe::AccessLog;

/// The API's settings, for every role that serves it.
#[derive(Debug, Clone, Args)]
pub struct ApiArgs {
    /// Where it listens.
    #[command(flatten)]
    pub http: HttpArgs,
    /// Who may come in.
    #[command(flatten)]
    pub access: AccessArgs,
    /// What a request may take.
    #[command(flatten)]
    pub requests: RequestArgs,
    /// How many requests a client may send.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// What a request may take.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "HTTP")]
pub struct RequestArgs {
    /// How long a request may take, from its headers to its answer
    #[arg(long, env = "REQUEST_TIMEOUT", value_name = "REQUEST_TIMEOUT", default_value = "10s", value_parser = duration)]
    request_timeout: Duration,
    /// How many connections of clients may be open at a time; more wait to be accepted
    #[arg(long, env = "MAX_CONNECTIONS", value_name = "MAX_CONNECTIONS", default_value_t = 10_000,
          value_parser = whole(1..=u32::MAX))]
    max_connections: u32,
    /// Origins (scheme, host, port) whose web pages may use the API, with commas between them; *
    /// for all, none by default
    #[arg(long, env = "CORS_ORIGINS", value_name = "CORS_ORIGINS")]
    cors_origins: Option<Origins>,
    /// Which requests have a line in the log: all of them, errors and what takes over a second, or
    /// none
    #[arg(long, env = "ACCESS_LOG", value_name = "ACCESS_LOG", default_value = "all")]
    access_log: AccessLog,
    /// Whether there are pages for people at /console
    #[arg(long, env = "CONSOLE", value_name = "CONSOLE", default_value = "on")]
    console: Switch,
    /// Names of hosts under which an instance that asks nobody for a token is served besides
    /// localhost, with commas between them
    #[arg(long, env = "ALLOWED_HOSTS", value_name = "ALLOWED_HOSTS")]
    allowed_hosts: Option<Hosts>,
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

impl RequestArgs {
    /// Whether the console is served.
    pub fn console(&self) -> bool {
        self.console == Switch::On
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        Limits {
            access_log: self.access_log,
            request_timeout: self.request_timeout,
            max_connections: self.max_connections as usize,
            allowed: AllowedHosts {
                origins: self.cors_origins.clone(),
                hosts: self.allowed_hosts.clone().unwrap_or_default(),
            },
        }
    }
}
