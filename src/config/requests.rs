//! What the API puts up with from one request or connection.

use std::time::Duration;

use clap::Args;

use super::duration;
use crate::http::cors::Origins;
use crate::http::limits::Limits;
use crate::http::observe::AccessLog;

/// What a request may take.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "HTTP")]
pub struct RequestArgs {
    /// How long a request may take, from its headers to its answer
    #[arg(long, env = "REQUEST_TIMEOUT", value_name = "REQUEST_TIMEOUT", default_value = "10s", value_parser = duration)]
    request_timeout: Duration,
    /// How many connections of clients may be open at a time; more wait to be accepted
    #[arg(long, env = "MAX_CONNECTIONS", value_name = "MAX_CONNECTIONS", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// Origins (scheme, host, port) whose web pages may use the API, with commas between them; * for
    /// all, none by default
    #[arg(long, env = "CORS_ORIGINS", value_name = "CORS_ORIGINS")]
    cors_origins: Option<Origins>,
    /// Which requests have a line in the log: all of them, errors and what takes over a second, or none
    /// [default: all in up, errors in serve]
    #[arg(long, env = "ACCESS_LOG", value_name = "ACCESS_LOG")]
    access_log: Option<AccessLog>,
}

impl RequestArgs {
    /// The limits; which requests are logged if nothing is said is the role's.
    pub fn limits(&self, usual: AccessLog) -> Limits {
        Limits {
            access_log: self.access_log.unwrap_or(usual),
            request_timeout: self.request_timeout,
            max_connections: self.max_connections as usize,
            origins: self.cors_origins.clone(),
        }
    }
}
