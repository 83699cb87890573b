//! Has orders about dead letters carried out, where the database is.

use serde::de::DeserializeOwned;

use super::super::reach::StoppedUp;
use super::super::{parts, runtime, source};
use super::args::LetterSourceArgs;
use crate::broker::BrokerError;
use crate::config::ConfigError;
use crate::dead_letters::{DeadLetters, MoveError, Mover, Order};
use crate::domain::catalog;
use crate::ground::output;
use crate::http::routes::operator::socket::{self, OrderBy};
use crate::operate::Operator;
use crate::store::Store;

/// Carries out an order. What waits in the queue is moved into the database first, so the answer is
/// right without a worker. With the broker away, it is about what was moved before.
pub(super) async fn give<T: DeserializeOwned>(
    place: &LetterSourceArgs,
    order: Order,
) -> anyhow::Result<T> {
    let by = Operator::of_command_line();
    let tls = place.tls.load()?;
    if let Some(url) = place.database.url(&tls)? {
        runtime::check_database(&url).await?;
        let store = Store::new(&url, 1)?;
        let broker = parts::broker(&place.broker, &tls, "taskd dlq", &store, true)?;
        let moved = Mover::new(broker, store.clone(), catalog::built_in()).move_waiting().await;
        match moved {
            Ok(_) => {}
            Err(MoveError::Broker(error @ BrokerError::Unavailable(_))) => {
                output::complain(format_args!(
                    "{error}; this is about the letters that were moved into the database before"
                ))
            }
            Err(error) => return Err(error.into()),
        }
        return carry_out(&store, &order, &by).await;
    }
    if place.broker.url(&tls)?.is_some() {
        let problem = "is not set: dead letters are moved from the broker into the database";
        return Err(ConfigError::new("DATABASE_URL", problem).into());
    }
    by_up(place, order, by).await
}

async fn carry_out<T: DeserializeOwned>(
    store: &Store,
    order: &Order,
    by: &Operator,
) -> anyhow::Result<T> {
    let answer = DeadLetters::new(store.clone()).obey(order, by).await.map_err(source::refused)?;
    Ok(serde_json::from_value(answer)?)
}

/// Has the order carried out by the `taskd up` that runs on the data directory, or on its database.
async fn by_up<T: DeserializeOwned>(
    place: &LetterSourceArgs,
    order: Order,
    by: Operator,
) -> anyhow::Result<T> {
    let data = &place.data;
    let directory = data.data_dir.display();
    let order = OrderBy { order, by };
    if let Some(answer) = source::ask_up(data, socket::LETTERS, &order).await? {
        return Ok(answer);
    }
    let Some(stopped) = StoppedUp::open(data).await? else {
        let problem = format!(
            "is not set, and no `taskd up` has run on {directory}: set it, or start `taskd up`"
        );
        return Err(ConfigError::new("DATABASE_URL", problem).into());
    };
    let broker = parts::tables(&place.broker, &stopped.store)?;
    let mover = Mover::new(std::sync::Arc::new(broker), stopped.store.clone(), catalog::built_in());
    mover.move_waiting().await?;
    carry_out(&stopped.store, &order.order, &order.by).await
}
