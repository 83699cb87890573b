//! Declares the topology and checks it against the broker.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use amqprs::channel::QueueDeclareArguments;
use amqprs::connection::Connection;
use serde::Serialize;
use serde_json::{Map, Value};

use super::confirms::Confirms;
use super::connection::{call, connect, open_channel};
use super::convert::to_table;
use super::exchange;
use super::url::AmqpUrl;
use crate::broker::topology::{Queue, Topology};
use crate::broker::{BrokerError, QueueRole, QueueState};
use crate::domain::processing::retry::short;

/// `NOT_FOUND` and `PRECONDITION_FAILED`
/// (<https://www.rabbitmq.com/amqp-0-9-1-reference#constants>).
pub(super) const NOT_FOUND: u16 = 404;
pub(super) const PRECONDITION_FAILED: u16 = 406;

/// A difference between the topology and the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
    /// What is wrong with it, and what to do.
    pub problem: String,
    /// Whether taskd can't work with it: a left-over queue is only untidy.
    pub drift: bool,
    /// What kind of difference it is.
    #[serde(skip)]
    pub kind: Kind,
}

/// Kinds of differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is none of that name.
    Missing,
    /// It has other properties.
    Different,
    /// It is a queue that is not needed any more.
    LeftOver,
    /// It is a queue of somebody else that may grow without end.
    Unlimited,
    /// It could not be seen.
    Unseen,
}

/// What a finding is about, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum About {
    /// A queue.
    Queue(String),
    /// An exchange.
    Exchange(String),
}

impl About {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            About::Queue(name) | About::Exchange(name) => name,
        }
    }
}

impl Finding {
    /// It isn't there.
    pub(super) fn missing(about: About) -> Finding {
        let problem = "does not exist: run taskd topology declare".into();
        Finding { about, problem, drift: true, kind: Kind::Missing }
    }

    /// It is not as wanted.
    pub(super) fn drift(about: About, problem: String) -> Finding {
        Finding { about, problem, drift: true, kind: Kind::Different }
    }

    /// It may grow without end. taskd can work with it, until the disk is full.
    pub(in crate::broker) fn unlimited(about: About, problem: String) -> Finding {
        Finding { about, problem, drift: false, kind: Kind::Unlimited }
    }

    /// It can't be seen.
    pub(in crate::broker) fn unseen(about: About, problem: String) -> Finding {
        Finding { about, problem, drift: false, kind: Kind::Unseen }
    }
}

/// Declares every queue.
pub(super) async fn declare(url: &AmqpUrl, topology: &Topology) -> Result<(), BrokerError> {
    let connection = connect(url, "taskd topology").await?;
    for queue in &topology.queues {
        as_wanted("queue", declare_one(&connection, queue).await?)?;
    }
    if let Some(wanted) = &topology.exchange {
        as_wanted("exchange", exchange::declare(&connection, wanted).await?)?;
    }
    let _ = call("closing", async move { connection.close().await }).await;
    Ok(())
}

fn as_wanted(what: &str, finding: Option<Finding>) -> Result<(), BrokerError> {
    match finding {
        Some(Finding { about, problem, .. }) => {
            Err(BrokerError::Drift(format!("{what} {}: {problem}", about.name())))
        }
        None => Ok(()),
    }
}

/// Finds every difference without creating anything.
///
/// # Errors
/// The broker can't be reached.
pub async fn check(url: &AmqpUrl, topology: &Topology) -> Result<Vec<Finding>, BrokerError> {
    let connection = connect(url, "taskd topology").await?;
    let mut findings = Vec::new();
    for queue in &topology.queues {
        if exists(&connection, &queue.name).await?.is_none() {
            findings.push(Finding::missing(About::Queue(queue.name.clone())));
        } else {
            findings.extend(declare_one(&connection, queue).await?);
        }
    }
    if let Some(wanted) = &topology.exchange {
        findings.extend(exchange::check(&connection, wanted).await?);
    }
    let wanted: BTreeSet<&str> = topology.queues.iter().map(|q| q.name.as_str()).collect();
    for delay in usual_delays() {
        let name = format!("{}.{}", topology.delay_prefix(), short(delay));
        if wanted.contains(name.as_str()) {
            continue;
        }
        if let Some((messages, _)) = exists(&connection, &name).await? {
            let problem = match messages {
                0 => "is left over from other RETRY_DELAYS and empty: it can be deleted".to_owned(),
                n => format!(
                    "is left over from other RETRY_DELAYS; its {n} messages return by themselves"
                ),
            };
            let (about, kind) = (About::Queue(name), Kind::LeftOver);
            findings.push(Finding { about, problem, drift: false, kind });
        }
    }
    let _ = call("closing", async move { connection.close().await }).await;
    Ok(findings)
}

/// The delays whose queues may be left over. AMQP can't list queues, so they are looked for by
/// name.
fn usual_delays() -> impl Iterator<Item = Duration> {
    let ms = (100..1000).step_by(100).map(Duration::from_millis);
    let seconds = (1..60).map(Duration::from_secs);
    let minutes = (1..60).map(|n| Duration::from_secs(n * 60));
    let hours = (1..24).map(|n| Duration::from_secs(n * 3600));
    ms.chain(seconds).chain(minutes).chain(hours)
}

/// What the broker says of each queue. One that doesn't exist is left out.
pub(super) async fn states(
    connection: &Connection,
    topology: &Topology,
) -> Result<Vec<QueueState>, BrokerError> {
    let mut states = Vec::with_capacity(topology.queues.len());
    for name in topology.queues.iter().map(|queue| queue.name.as_str()) {
        let role = match name {
            name if name == topology.main() => QueueRole::Main,
            name if name == topology.dead() => QueueRole::Dead,
            _ => QueueRole::Delay,
        };
        if let Some((messages, consumers)) = exists(connection, name).await? {
            let (name, messages) = (name.to_owned(), messages.into());
            states.push(QueueState { name, role, messages, consumers: Some(consumers) });
        }
    }
    Ok(states)
}

/// The numbers of messages in a queue and of its consumers; `None` if there is no such queue.
async fn exists(connection: &Connection, name: &str) -> Result<Option<(u32, u32)>, BrokerError> {
    // If there is no such queue, the broker closes the channel.
    let line = open_channel(connection, Arc::new(Confirms::default())).await?;
    let mut arguments = QueueDeclareArguments::new(name);
    arguments.passive(true);
    let looking =
        line.ask(
            "looking for a queue",
            |channel| async move { channel.queue_declare(arguments).await },
        );
    match looking.await {
        Ok(found) => {
            line.close().await;
            Ok(Some(found.map_or((0, 0), |(_, messages, consumers)| (messages, consumers))))
        }
        Err(error) => match line.closed_because() {
            Some((NOT_FOUND, _)) => Ok(None),
            _ => Err(line.explain(error)),
        },
    }
}

/// Declares a queue. If it exists with other properties, that is a finding.
async fn declare_one(
    connection: &Connection,
    queue: &Queue,
) -> Result<Option<Finding>, BrokerError> {
    let line = open_channel(connection, Arc::new(Confirms::default())).await?;
    let table: Map<String, Value> =
        queue.arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let mut arguments = QueueDeclareArguments::new(&queue.name);
    arguments.durable(true).arguments(to_table(&table));
    let declaring = line
        .ask("declaring a queue", |channel| async move { channel.queue_declare(arguments).await });
    match declaring.await {
        Ok(_) => {
            line.close().await;
            Ok(None)
        }
        Err(error) => match line.closed_because() {
            Some((PRECONDITION_FAILED, why)) => {
                Ok(Some(Finding::drift(About::Queue(queue.name.clone()), explain(&why))))
            }
            _ => Err(line.explain(error)),
        },
    }
}

/// Rewords RabbitMQ's `inequivalent arg 'A' for queue … received W but current is F`.
pub(super) fn explain(why: &str) -> String {
    let parts = || {
        let (_, rest) = why.split_once("inequivalent arg '")?;
        let (argument, rest) = rest.split_once('\'')?;
        let (_, rest) = rest.split_once(": received ")?;
        let (wanted, found) = rest.split_once(" but current is ")?;
        Some((argument, wanted, found))
    };
    match parts() {
        Some((argument, wanted, found)) => format!(
            "has {argument} = {found}, wanted {wanted}. It can't be changed in place: let a queue \
             drain, delete it, then run taskd topology declare, or choose another name"
        ),
        None => format!("can't be declared as wanted: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_explained_with_argument_wanted_and_found() {
        let why = "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': \
                   received the value '5' of type 'long' but current is none";
        let text = explain(why);
        assert!(
            text.starts_with("has x-message-ttl = none, wanted the value '5' of type 'long'."),
            "{text}"
        );
        assert!(explain("PRECONDITION_FAILED - other").contains("other"));
    }
}
