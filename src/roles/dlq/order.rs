//! Has orders about dead letters carried out, wherever the letters are.

use std::sync::Arc;

use reqwest::Method;
use serde::de::DeserializeOwned;

use super::super::reach::{self, StoppedUp};
use super::super::{parts, runtime};
use super::args::LetterSourceArgs;
use crate::authenticity::Authenticity;
use crate::broker::Broker;
use crate::broker::amqp::AmqpBroker;
use crate::config::ConfigError;
use crate::dead_letters::{DeadLetters, Order};
use crate::http::routes::operator;
use crate::store::Store;

/// Carries out an order where the letters are.
pub(super) async fn give<T: DeserializeOwned>(
    place: &LetterSourceArgs,
    order: Order,
) -> anyhow::Result<T> {
    let tls = place.tls.load()?;
    let broker = place.broker.url(&tls)?;
    // Without RabbitMQ the letters are in a database. With RabbitMQ the database is only needed for
    // the key that signs replayed messages.
    let needed = broker.is_none() || matches!(order, Order::Replay { .. });
    let store = match place.database.url(&tls)?.filter(|_| needed) {
        Some(url) => {
            runtime::check_sessions(&url).await?;
            Some(Store::new(&url, 1)?)
        }
        None => None,
    };
    let broker: Arc<dyn Broker> = match (broker, &store) {
        (Some(url), _) => Arc::new(AmqpBroker::new(url, place.broker.topology()?, "taskd dlq")),
        (None, Some(store)) => parts::broker(&place.broker, &tls, "taskd dlq", store, false)?,
        (None, None) => return ask_up(place, order).await,
    };
    if store.is_none() && matches!(order, Order::Replay { .. }) {
        let problem =
            "is not set: what is replayed has to be signed, and the key is in the database";
        return Err(ConfigError::new("DATABASE_URL", problem).into());
    }
    let mut letters = DeadLetters::new(broker);
    if let Some(store) = store {
        letters = letters.signing(Authenticity::new(store));
    }
    Ok(serde_json::from_value(letters.obey(order).await?)?)
}

/// Has the order carried out by the `taskd up` that runs on the data directory, or on its database.
async fn ask_up<T: DeserializeOwned>(place: &LetterSourceArgs, order: Order) -> anyhow::Result<T> {
    let data = &place.data;
    if let Some(answer) = reach::ask(data, Method::POST, operator::PATH, &order).await? {
        let status = answer.status();
        anyhow::ensure!(
            status.is_success(),
            "the `taskd up` on {} answered {status}: {}",
            data.data_dir.display(),
            answer.text().await.unwrap_or_default()
        );
        return Ok(answer.json().await?);
    }
    let Some(stopped) = StoppedUp::open(data).await? else {
        let problem = format!(
            "is not set, nor is DATABASE_URL, and no `taskd up` has run on {}: set one of them, or start `taskd up`",
            data.data_dir.display()
        );
        return Err(ConfigError::new("RABBITMQ_URL", problem).into());
    };
    let letters = DeadLetters::new(Arc::new(parts::tables(&place.broker, &stopped.store)?));
    let letters = letters.signing(Authenticity::new(stopped.store.clone()));
    Ok(serde_json::from_value(letters.obey(order).await?)?)
}
