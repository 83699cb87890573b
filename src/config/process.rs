//! What every process, or every one that listens, is told.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{ConfigError, duration};
use crate::telemetry::LogFormat;

/// How to tell what goes on. Every role has these.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// Form of the log lines, on standard error
    #[arg(
        long,
        env = "LOG_FORMAT",
        value_name = "LOG_FORMAT",
        default_value = "text",
        global = true
    )]
    pub log_format: LogFormat,
    /// What is logged: a level, or directives such as info,taskd::consumer=debug
    #[arg(long, env = "LOG", value_name = "LOG", default_value = "info", global = true)]
    pub log: String,
}

/// Where the API listens, and what it remembers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// The address to listen on; 0.0.0.0 is every one of this machine
    #[arg(long, env = "HOST", value_name = "HOST", default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// The port to listen on; 0 chooses a free one
    #[arg(long, env = "PORT", value_name = "PORT", default_value_t = 3000)]
    pub port: u16,
    /// How long the answer to a POST with an Idempotency-Key is kept for its repeats; 365d at most
    #[arg(long, env = "IDEMPOTENCY_RETENTION", value_name = "IDEMPOTENCY_RETENTION", default_value = "24h", value_parser = at_most_a_year)]
    pub idempotency_retention: Duration,
}

fn at_most_a_year(text: &str) -> Result<Duration, String> {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    duration(text).and_then(|d| if d <= YEAR { Ok(d) } else { Err("must be 365d at most".into()) })
}

/// Where `taskd up` keeps what it has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Where `taskd up` keeps its database and its mail
    #[arg(long, env = "DATA_DIR", value_name = "DATA_DIR", default_value = ".taskd")]
    pub data_dir: PathBuf,
}

impl DataArgs {
    /// The file in which a running `taskd up` says where it listens.
    pub fn address_file(&self) -> PathBuf {
        self.data_dir.join("address")
    }

    /// Where a running `taskd up` listens, if one does.
    pub fn running(&self) -> Result<Option<SocketAddr>, ConfigError> {
        match std::fs::read_to_string(self.address_file()) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ConfigError::new(
                "DATA_DIR",
                format!("{}: {error}", self.address_file().display()),
            )),
        }
    }
}

/// How a process ends.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Shutdown")]
pub struct ShutdownArgs {
    /// How long a stopping process may take to finish what is in flight
    #[arg(long, env = "DRAIN_TIMEOUT", value_name = "DRAIN_TIMEOUT", default_value = "20s", value_parser = duration)]
    pub drain_timeout: Duration,
}

/// Where a process answers for its health and metrics that serves nothing else.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Monitoring")]
pub struct MonitorArgs {
    /// Address for /healthz, /readyz and /metrics, such as 127.0.0.1:9464; none by default
    #[arg(long, env = "METRICS_ADDR", value_name = "METRICS_ADDR")]
    pub metrics_addr: Option<SocketAddr>,
    /// Whether anybody may read /metrics there; otherwise it takes an admin's token
    #[arg(long, env = "METRICS_PUBLIC", value_name = "METRICS_PUBLIC", default_value_t = true,
          action = clap::ArgAction::Set)]
    pub metrics_public: bool,
}
