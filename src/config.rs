//! Configuration: by flag, by environment variable, by `.env`, in that order.
//!
//! This stands right below the roles, since it names types of every floor.
//!
//! The structs here are clap argument groups that the roles choose from. Value names are the
//! variables' names, so that every complaint names the variable as well as the flag. What clap
//! can't check alone is checked by the methods here, before anything starts.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use url::Url;

use crate::broker::amqp::AmqpUrl;
use crate::broker::topology::Topology;
use crate::cache::RedisCache;
use crate::domain::retry::RetryPolicy;
use crate::effects::Simulation;
use crate::retention::Retention;
use crate::secret::{Secret, without_password};
use crate::telemetry::LogFormat;

/// A variable that is absent or can't be used. The process exits with 2.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct ConfigError {
    variable: &'static str,
    problem: String,
}

impl ConfigError {
    /// A complaint about one variable.
    pub fn new(variable: &'static str, problem: impl Into<String>) -> ConfigError {
        ConfigError { variable, problem: problem.into() }
    }
}

/// Where the tasks are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// PostgreSQL, as postgres://user:password@host:5432/database
    #[arg(long, env = "DATABASE_URL", value_name = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<Secret>,
    /// Connections this process opens at most
    #[arg(long, env = "DATABASE_POOL_SIZE", value_name = "DATABASE_POOL_SIZE", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub database_pool_size: u16,
}

impl DatabaseArgs {
    /// The URL, checked; absent means the embedded database, for a role that can have one.
    pub fn url(&self) -> Result<Option<Secret>, ConfigError> {
        const VARIABLE: &str = "DATABASE_URL";
        let Some(url) = present(VARIABLE, self.database_url.as_ref())? else { return Ok(None) };
        let problem = |text: String| ConfigError::new(VARIABLE, text);
        if !["postgres://", "postgresql://"].iter().any(|s| url.expose().starts_with(s)) {
            return Err(problem("must begin with postgres://".into()));
        }
        let config = tokio_postgres::Config::from_str(url.expose())
            .map_err(|e| problem(format!("can't be read as a PostgreSQL URL: {e}")))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(problem("names no host".into()));
        }
        Ok(Some(url.clone()))
    }

    /// The URL, for a role of which many may run on one database.
    pub fn required_url(&self) -> Result<Secret, ConfigError> {
        let missing = "is not set: set it to postgres://user:password@host/database, or run \
                       `taskd up`, which brings a database of its own";
        self.url()?.ok_or_else(|| ConfigError::new("DATABASE_URL", missing))
    }
}

/// Where the events go, and how failed ones come back.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Broker")]
pub struct BrokerArgs {
    /// RabbitMQ, as amqp://user:password@host:5672/vhost; without it the database's tables are the broker
    #[arg(long, env = "RABBITMQ_URL", value_name = "RABBITMQ_URL", hide_env_values = true)]
    rabbitmq_url: Option<Secret>,
    /// The queue workers take events from
    #[arg(long, env = "QUEUE_NAME", value_name = "QUEUE_NAME", default_value = "task_events", value_parser = queue_name)]
    pub queue_name: String,
    /// Prefix of the delay queues; each is called PREFIX.DELAY
    #[arg(long, env = "RETRY_QUEUE", value_name = "RETRY_QUEUE", default_value = "task_events.retry", value_parser = queue_name)]
    pub retry_queue: String,
    /// The queue of dead letters
    #[arg(long, env = "DLQ", value_name = "DLQ", default_value = "task_events.dlq", value_parser = queue_name)]
    pub dlq: String,
    /// See there.
    #[command(flatten)]
    pub retry: RetryArgs,
}

/// When a failed message is tried again.
#[derive(Debug, Clone, Args)]
pub struct RetryArgs {
    /// Pauses before the second attempt, the third, and so on; after the last a message is dead
    #[arg(
        long,
        env = "RETRY_DELAYS",
        value_name = "RETRY_DELAYS",
        default_value = "1s,5s,30s,2m,10m"
    )]
    pub retry_delays: RetryPolicy,
}

impl BrokerArgs {
    /// The URL, checked; absent means that the database's tables are the broker.
    pub fn url(&self) -> Result<Option<AmqpUrl>, ConfigError> {
        const VARIABLE: &str = "RABBITMQ_URL";
        let Some(url) = present(VARIABLE, self.rabbitmq_url.as_ref())? else { return Ok(None) };
        let url =
            AmqpUrl::parse(url.expose()).map_err(|problem| ConfigError::new(VARIABLE, problem))?;
        Ok(Some(url))
    }

    /// The URL, for a role that makes no sense without RabbitMQ.
    pub fn required_url(&self) -> Result<AmqpUrl, ConfigError> {
        let missing =
            "is not set: set it to amqp://user:password@host/vhost; `taskd up` needs no RabbitMQ";
        self.url()?.ok_or_else(|| ConfigError::new("RABBITMQ_URL", missing))
    }

    /// The topology under the configured names.
    pub fn topology(&self) -> Result<Topology, ConfigError> {
        if self.queue_name == self.dlq {
            return Err(ConfigError::new("DLQ", "must differ from QUEUE_NAME"));
        }
        let delays = self.retry.retry_delays.distinct_delays();
        let topology = Topology::new(&self.queue_name, &self.retry_queue, &self.dlq, &delays);
        let mut names: Vec<&str> = topology.queues.iter().map(|q| q.name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(ConfigError::new(
                "RETRY_QUEUE",
                format!("two queues would be called {:?}: choose another prefix", pair[0]),
            )),
            None => Ok(topology),
        }
    }
}

/// The protocol allows 255 bytes; a delay queue's name is longer than its prefix.
const QUEUE_NAME_BYTES: usize = 200;

fn queue_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > QUEUE_NAME_BYTES {
        return Err(format!("a queue's name has 1 to {QUEUE_NAME_BYTES} bytes"));
    }
    if text.starts_with("amq.") {
        return Err("names that begin with amq. are the broker's own".into());
    }
    if text.chars().any(char::is_control) {
        return Err("a queue's name has no control characters".into());
    }
    Ok(text.to_owned())
}

/// Where hot reads are kept.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cache")]
pub struct CacheArgs {
    /// Redis, as redis://:password@host:6379/0; without it reads go to the database
    #[arg(long, env = "REDIS_URL", value_name = "REDIS_URL", hide_env_values = true)]
    redis_url: Option<Secret>,
    /// What every key begins with
    #[arg(long, env = "CACHE_PREFIX", value_name = "CACHE_PREFIX", default_value = "taskd")]
    pub cache_prefix: String,
    /// How long an entry may live
    #[arg(long, env = "CACHE_TTL", value_name = "CACHE_TTL", default_value = "60s", value_parser = duration)]
    pub cache_ttl: Duration,
}

impl CacheArgs {
    /// The URL, checked; absent means that there is no cache.
    pub fn url(&self) -> Result<Option<Secret>, ConfigError> {
        const VARIABLE: &str = "REDIS_URL";
        let Some(url) = present(VARIABLE, self.redis_url.as_ref())? else { return Ok(None) };
        match Url::parse(url.expose()).map(|u| u.scheme().to_owned()) {
            Ok(scheme) if scheme == "redis" => match RedisCache::check_url(url) {
                Ok(()) => Ok(Some(url.clone())),
                Err(problem) => Err(ConfigError::new(VARIABLE, problem)),
            },
            Ok(scheme) if scheme == "rediss" => Err(ConfigError::new(
                VARIABLE,
                "rediss:// (TLS) is not supported yet; use redis://",
            )),
            Ok(scheme) => {
                Err(ConfigError::new(VARIABLE, format!("the scheme must be redis, not {scheme:?}")))
            }
            Err(e) => Err(ConfigError::new(VARIABLE, format!("not a URL: {e}"))),
        }
    }
}

/// Below the usual data directory.
pub const DEFAULT_MAIL_DIR: &str = ".taskd/mail";

/// Where e-mail goes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Mail")]
pub struct MailArgs {
    /// The SMTP server, as smtp://user:password@host:25; without it mail is written to MAIL_DIR
    #[arg(long, env = "SMTP_URL", value_name = "SMTP_URL", hide_env_values = true)]
    smtp_url: Option<Secret>,
    /// Where mail is written as .eml files when there is no SMTP_URL
    #[arg(long, env = "MAIL_DIR", value_name = "MAIL_DIR", default_value = DEFAULT_MAIL_DIR)]
    pub mail_dir: PathBuf,
    /// The sender
    #[arg(
        long,
        env = "MAIL_FROM",
        value_name = "MAIL_FROM",
        default_value = "taskd <taskd@localhost>"
    )]
    pub mail_from: lettre::message::Mailbox,
}

impl MailArgs {
    /// Where mail goes, for logs.
    pub fn describe(&self) -> Result<String, ConfigError> {
        Ok(self.url()?.map_or_else(
            || self.mail_dir.display().to_string(),
            |url| without_password(url.as_str()),
        ))
    }

    /// The URL, checked; absent means files.
    pub fn url(&self) -> Result<Option<Url>, ConfigError> {
        const VARIABLE: &str = "SMTP_URL";
        let Some(text) = present(VARIABLE, self.smtp_url.as_ref())? else { return Ok(None) };
        let url = Url::parse(text.expose())
            .map_err(|e| ConfigError::new(VARIABLE, format!("not a URL: {e}")))?;
        match url.scheme() {
            "smtp" if url.host_str().is_none_or(str::is_empty) => {
                Err(ConfigError::new(VARIABLE, "names no host"))
            }
            "smtp" => Ok(Some(url)),
            "smtps" => {
                Err(ConfigError::new(VARIABLE, "smtps:// (TLS) is not supported yet; use smtp://"))
            }
            other => {
                Err(ConfigError::new(VARIABLE, format!("the scheme must be smtp, not {other:?}")))
            }
        }
    }
}

/// How long things are kept.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Retention")]
pub struct RetentionArgs {
    /// How long to remember what is done; longer than a message can be under way
    #[arg(long, env = "PROCESSED_RETENTION", value_name = "PROCESSED_RETENTION", default_value = "30d", value_parser = duration)]
    pub processed_retention: Duration,
    /// How long to keep published events
    #[arg(long, env = "EVENT_RETENTION", value_name = "EVENT_RETENTION", default_value = "30d", value_parser = duration)]
    pub event_retention: Duration,
    /// How long to keep the activity log
    #[arg(long, env = "ACTIVITY_RETENTION", value_name = "ACTIVITY_RETENTION", default_value = "365d", value_parser = duration)]
    pub activity_retention: Duration,
}

impl RetentionArgs {
    /// The retentions, if no retried message can outlive the record of what it has done.
    pub fn checked(&self, retry: &RetryArgs) -> Result<Retention, ConfigError> {
        let road = retry.retry_delays.longest_road();
        if self.processed_retention < road {
            let problem = format!(
                "{} is shorter than the longest road of a retried message, {} (RETRY_DELAYS): its \
                 effects could be repeated",
                humantime::format_duration(self.processed_retention),
                humantime::format_duration(road)
            );
            return Err(ConfigError::new("PROCESSED_RETENTION", problem));
        }
        Ok(Retention {
            processed: self.processed_retention,
            events: self.event_retention,
            activity: self.activity_retention,
        })
    }
}

/// Failures on purpose.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Demonstration")]
pub struct SimulationArgs {
    /// Make effects fail at a rate, such as email=0.5, to see what happens; not in production
    #[arg(long, value_name = "EFFECT=RATE,…")]
    simulate_failure: Option<Simulation>,
    /// With "production", demonstrations are refused
    #[arg(long, env = "TASKD_ENV", value_name = "TASKD_ENV", default_value = "development")]
    environment: String,
}

impl SimulationArgs {
    /// What is to fail, if it may.
    pub fn checked(self) -> Result<Simulation, ConfigError> {
        let simulation = self.simulate_failure.unwrap_or_default();
        if !simulation.is_empty() && self.environment.eq_ignore_ascii_case("production") {
            return Err(ConfigError::new(
                "TASKD_ENV",
                "is production: --simulate-failure is refused",
            ));
        }
        Ok(simulation)
    }
}

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

/// Where the API listens.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// The address to listen on; 0.0.0.0 is every one of this machine
    #[arg(long, env = "HOST", value_name = "HOST", default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// The port to listen on; 0 chooses a free one
    #[arg(long, env = "PORT", value_name = "PORT", default_value_t = 3000)]
    pub port: u16,
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
}

/// A duration such as `90s` or `30d`, above zero.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(d) if !d.is_zero() => Ok(d),
        Ok(_) => Err("must be longer than zero".into()),
        Err(e) => Err(format!("not a duration such as 90s or 30d: {e}")),
    }
}

/// The value of `NO_DECLARE`: a flag has no value name by which a complaint would name the variable.
pub fn no_declare(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "NO_DECLARE must be true or false".to_owned())
}

fn present<'a>(
    variable: &'static str,
    value: Option<&'a Secret>,
) -> Result<Option<&'a Secret>, ConfigError> {
    match value {
        Some(secret) if secret.expose().trim().is_empty() => {
            Err(ConfigError::new(variable, "is empty: give it a value or unset it"))
        }
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_names_are_checked() {
        assert!(queue_name("team.events").is_ok());
        for bad in ["", "amq.x", "a\nb", &"x".repeat(201)] {
            assert!(queue_name(bad).is_err(), "{bad}");
        }
    }
}
