//! The broker's settings.

use clap::Args;

use super::ConfigError;
use crate::broker::amqp::AmqpUrl;
use crate::broker::management::{Management, Rabbit};
use crate::broker::topology::{Exchange, Topology};
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
    /// A topic exchange where each event is published for others, by keys such as task.created
    #[arg(long, env = "EVENTS_EXCHANGE", value_name = "EVENTS_EXCHANGE", value_parser = exchange_name)]
    events_exchange: Option<String>,
    /// RabbitMQ's management API, which tells who is bound to EVENTS_EXCHANGE [default: port 15672
    /// of the broker's host, or 15671 with TLS]
    #[arg(
        long,
        env = "RABBITMQ_MANAGEMENT_URL",
        value_name = "RABBITMQ_MANAGEMENT_URL",
        hide_env_values = true
    )]
    rabbitmq_management_url: Option<Secret>,
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
        let url = self.rabbitmq_url.as_ref();
        let url = super::url("RABBITMQ_URL", url, |text| AmqpUrl::parse(text, tls))?;
        if url.is_none() && self.events_exchange.is_some() {
            let problem = "needs RabbitMQ, since the database's tables have no exchanges: set \
                           RABBITMQ_URL, or unset EVENTS_EXCHANGE";
            return Err(ConfigError::new("EVENTS_EXCHANGE", problem));
        }
        Ok(url)
    }

    /// RabbitMQ with all that is wanted there; `None` if the database's tables are the broker.
    pub fn rabbit(&self, tls: &Tls) -> Result<Option<Rabbit>, ConfigError> {
        let Some(url) = self.url(tls)? else { return Ok(None) };
        const MANAGEMENT: &str = "RABBITMQ_MANAGEMENT_URL";
        let read = |text: Option<&str>| {
            Management::new(text, &url, tls)
                .map_err(|problem| ConfigError::new(MANAGEMENT, problem))
        };
        let management = match self.rabbitmq_management_url.as_ref().map(Secret::expose) {
            Some(text) if text.trim().is_empty() => {
                return Err(ConfigError::new(MANAGEMENT, "is empty: give it a value or unset it"));
            }
            text => read(text)?,
        };
        Ok(Some(Rabbit { topology: self.topology()?, url, management }))
    }

    /// The same, for a role that needs RabbitMQ.
    pub fn required_rabbit(&self, tls: &Tls) -> Result<Rabbit, ConfigError> {
        let missing =
            "is not set: set it to amqp://user:password@host/vhost; `taskd up` needs no RabbitMQ";
        self.rabbit(tls)?.ok_or_else(|| ConfigError::new("RABBITMQ_URL", missing))
    }

    /// The exchange for others, if there is one.
    pub fn exchange(&self) -> Option<Exchange> {
        self.events_exchange.as_deref().map(Exchange::new)
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
            None => Ok(topology.with_exchange(self.exchange())),
        }
    }
}

/// The protocol allows 255 bytes, and the name of a delay queue is longer than its prefix.
const NAME_BYTES: usize = 200;

fn queue_name(text: &str) -> Result<String, String> {
    name_on_the_broker(text, "a queue")
}

fn exchange_name(text: &str) -> Result<String, String> {
    name_on_the_broker(text, "an exchange")
}

fn name_on_the_broker(text: &str, what: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > NAME_BYTES {
        return Err(format!("{what}'s name has 1 to {NAME_BYTES} bytes"));
    }
    if text.starts_with("amq.") {
        return Err("names that begin with amq. are the broker's own".into());
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{what}'s name has no control characters"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(queue_name("team.events").is_ok());
        assert!(exchange_name("").unwrap_err().starts_with("an exchange"));
        for bad in ["", "amq.x", "a\nb", &"x".repeat(201)] {
            assert!(queue_name(bad).is_err(), "{bad}");
        }
    }
}
