//! The limits of the API on a request and on connections.

mod limits;

use std::time::Duration;

use clap::Args;
use url::Url;

pub use self::limits::LimitArgs;
use super::{AccessArgs, HttpArgs, duration, whole};
use crate::http::ConsoleSettings;
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
    /// Where a trace can be looked at, with {traceId} in it, for links in the console
    #[arg(long, env = "TRACE_URL", value_name = "TRACE_URL", value_parser = trace_url)]
    trace_url: Option<String>,
    /// Names of hosts under which an instance that asks nobody for a token is served besides
    /// localhost, with commas between them
    #[arg(long, env = "ALLOWED_HOSTS", value_name = "ALLOWED_HOSTS")]
    allowed_hosts: Option<Hosts>,
}

/// An address of a page about a trace.
fn trace_url(text: &str) -> Result<String, String> {
    let is_page = Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    if is_page && text.contains(TRACE_ID) {
        return Ok(text.to_owned());
    }
    Err(format!("must be such as https://traces.example.com/trace/{TRACE_ID}"))
}

/// What stands for the id of the trace in `TRACE_URL`.
const TRACE_ID: &str = "{traceId}";

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

impl RequestArgs {
    /// The console, if it is to be served.
    pub fn console(&self) -> Option<ConsoleSettings> {
        let settings = ConsoleSettings { trace_url: self.trace_url.clone() };
        (self.console == Switch::On).then_some(settings)
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
