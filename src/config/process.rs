//! The settings of every process, of those that listen, and of what all clients share.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{ConfigError, duration, path, values, whole};
use crate::ground::telemetry::{self, LogFormat};
use crate::ground::tls::Tls;

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
    /// [default: info]
    #[arg(long, env = "TASKD_LOG", value_name = "TASKD_LOG", global = true, value_parser = directives)]
    log: Option<String>,
}

fn directives(text: &str) -> Result<String, String> {
    telemetry::check(text).map(|()| text.to_owned())
}

impl LogArgs {
    /// Starts logging.
    pub fn init(&self) {
        // This may warn before the log is started, so it is read again below.
        let shared = || values::shared("LOG", |text| directives(text).ok());
        let chosen = self.log.clone().or_else(shared);
        telemetry::init(chosen.as_deref().unwrap_or("info"), self.log_format);
        if chosen.is_none() {
            shared();
        }
    }
}

/// Where the API listens, and what it remembers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// The address to listen on; 0.0.0.0 is every one of this machine
    /// [default: 127.0.0.1]
    #[arg(long, env = "TASKD_HOST", value_name = "TASKD_HOST", value_parser = values::host)]
    host: Option<IpAddr>,
    /// The port to listen on; 0 chooses a free one
    #[arg(long, env = "PORT", value_name = "PORT", default_value_t = 3000,
          value_parser = whole(0..=u16::MAX))]
    pub port: u16,
    /// How long the answer to a POST with an Idempotency-Key is kept for its repeats; 365d at most
    #[arg(long, env = "IDEMPOTENCY_RETENTION", value_name = "IDEMPOTENCY_RETENTION", default_value = "24h", value_parser = at_most_a_year)]
    pub idempotency_retention: Duration,
}

impl HttpArgs {
    /// The address to listen on. `HOST` is used if it is an address.
    pub fn address(&self) -> SocketAddr {
        let shared = || values::shared("HOST", |text| text.parse().ok());
        let host = self.host.or_else(shared).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        SocketAddr::new(host, self.port)
    }
}

fn at_most_a_year(text: &str) -> Result<Duration, String> {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    duration(text).and_then(|d| if d <= YEAR { Ok(d) } else { Err("must be 365d at most".into()) })
}

/// Where `taskd up` keeps what it has, if nothing else is said.
pub const DEFAULT_DATA_DIR: &str = ".taskd";

/// Where `taskd up` keeps what it has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Where `taskd up` keeps its database and its mail
    #[arg(long, env = "DATA_DIR", value_name = "DATA_DIR", default_value = DEFAULT_DATA_DIR, value_parser = path)]
    pub data_dir: PathBuf,
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
    #[arg(long, env = "METRICS_ADDR", value_name = "METRICS_ADDR", value_parser = values::host_and_port)]
    pub metrics_addr: Option<SocketAddr>,
    /// Whether anybody may read /metrics there; otherwise it takes a token of an admin or a viewer
    #[arg(long, env = "METRICS_PUBLIC", value_name = "METRICS_PUBLIC", default_value_t = true,
          action = clap::ArgAction::Set)]
    pub metrics_public: bool,
}

/// Whom to trust.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// A PEM file of authorities whose certificates are trusted besides the system's
    #[arg(long, env = "TLS_CA_FILE", value_name = "TLS_CA_FILE", value_parser = path)]
    tls_ca_file: Option<PathBuf>,
}

impl TlsArgs {
    /// The certificates to trust, with the file read.
    pub fn load(&self) -> Result<Tls, ConfigError> {
        match &self.tls_ca_file {
            None => Ok(Tls::default()),
            Some(file) => Tls::with_authorities(file)
                .map_err(|problem| ConfigError::new("TLS_CA_FILE", problem)),
        }
    }
}
