//! The broker's settings.

use clap::Args;

use super::ConfigError;
use crate::broker::amqp::AmqpUrl;
use crate::broker::topology::Topology;
use crate::domain::processing::retry::RetryPolicy;
use crate::ground::secret::Secret;
use crate::ground::tls::Tls;

/// Where the events go, and how failed ones come back.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Broker")]
pub struct BrokerArgs {
    /// RabbitMQ, as amqp://user:password@host:5672/vhost, or amqps:// for TLS; without it the
    /// database's tables are the broker
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
    /// The checked URL; `None` means that the database's tables are the broker.
    pub fn url(&self, tls: &Tls) -> Result<Option<AmqpUrl>, ConfigError> {
        super::url("RABBITMQ_URL", self.rabbitmq_url.as_ref(), |text| AmqpUrl::parse(text, tls))
    }

    /// The URL, for a role that needs RabbitMQ.
    pub fn required_url(&self, tls: &Tls) -> Result<AmqpUrl, ConfigError> {
        let missing =
            "is not set: set it to amqp://user:password@host/vhost; `taskd up` needs no RabbitMQ";
        self.url(tls)?.ok_or_else(|| ConfigError::new("RABBITMQ_URL", missing))
    }

    /// The topology with the configured names.
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

/// The protocol allows 255 bytes, and the name of a delay queue is longer than its prefix.
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
