//! Orders of operators, as commands give them: in the database, or to the `taskd up` that has it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Change, DeliveryView, PingView, WebhookError, WebhookView, Webhooks, Whose};
use crate::domain::webhook::DeliveryState;
use crate::operate::{Operator, OrderError};
use crate::store::accounts::users;
use crate::store::{Connection, Store, transaction};
use crate::webhooks::orders::endpoints::{outcome, within};

/// An order about webhooks.
#[expect(missing_docs, reason = "each field is named as the route's or the command's parameter is")]
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum WebhookOrder {
    /// Make one with these members, for a user or nobody.
    Create { user: Option<i64>, members: Map<String, Value> },
    /// List them, of a user or all.
    List { user: Option<i64> },
    /// Show one.
    Show { id: i64 },
    /// Change one.
    Change { id: i64, members: Map<String, Value> },
    /// Delete one.
    Delete { id: i64 },
    /// Give one a new secret.
    RotateSecret { id: i64 },
    /// Send a ping to one.
    Ping { id: i64 },
    /// List deliveries to one, newest first.
    Deliveries { id: i64, state: Option<String>, limit: i64 },
    /// Show a delivery with its tries.
    Delivery { id: i64, delivery: i64 },
    /// Send a delivery again.
    Resend { id: i64, delivery: i64 },
    /// Send again what was given up.
    Recover { id: i64, since: DateTime<Utc> },
    /// Deliver past events.
    ReplayHistory { id: i64, since: DateTime<Utc>, types: Option<Vec<String>> },
    /// Seal every secret under the present key.
    RotateKey,
}

impl WebhookOrder {
    /// The webhook that an order is about, and the delivery.
    fn about(&self) -> String {
        match self {
            WebhookOrder::Create { .. } | WebhookOrder::List { .. } | WebhookOrder::RotateKey => {
                "webhook".to_owned()
            }
            WebhookOrder::Show { id }
            | WebhookOrder::Change { id, .. }
            | WebhookOrder::Delete { id }
            | WebhookOrder::RotateSecret { id }
            | WebhookOrder::Ping { id }
            | WebhookOrder::Deliveries { id, .. }
            | WebhookOrder::Recover { id, .. }
            | WebhookOrder::ReplayHistory { id, .. } => format!("webhook {id}"),
            WebhookOrder::Delivery { id, delivery } | WebhookOrder::Resend { id, delivery } => {
                format!("delivery {delivery} of webhook {id}")
            }
        }
    }
}

/// What came of an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WebhookReport {
    /// Webhooks.
    Webhooks(Vec<WebhookView>),
    /// One webhook.
    Webhook(Box<WebhookView>),
    /// One was deleted.
    Deleted(i64),
    /// What came of a ping.
    Ping(PingView),
    /// Deliveries.
    Deliveries(Vec<DeliveryView>),
    /// One delivery.
    Delivery(Box<DeliveryView>),
    /// So many deliveries were ordered.
    Ordered(usize),
    /// So many secrets are sealed under the present key, and those of these webhooks are not.
    Sealed(usize, Vec<i64>),
}

/// How many webhooks are listed.
const MOST: i64 = 10_000;

impl Webhooks {
    /// Carries out an order of an operator.
    ///
    /// # Errors
    /// The order is refused, or the database fails.
    pub async fn obey(
        &self,
        store: &Store,
        order: WebhookOrder,
        by: &Operator,
    ) -> Result<WebhookReport, OrderError> {
        let about = order.about();
        self.carry_out(store, order, by).await.map_err(|error| match error {
            WebhookError::Missing("webhook") => OrderError::Missing(about),
            WebhookError::Missing(what) => OrderError::Missing(format!("such {what} ({about})")),
            other => OrderError::from(other),
        })
    }

    async fn carry_out(
        &self,
        store: &Store,
        order: WebhookOrder,
        by: &Operator,
    ) -> Result<WebhookReport, WebhookError> {
        use WebhookOrder as Order;
        use WebhookReport as Report;
        let one = |view: WebhookView| Report::Webhook(Box::new(view));
        let mut taken = store.connection().await?;
        let connection = &mut *taken;
        Ok(match order {
            Order::Create { user, members } => {
                let change = read(&members)?;
                one(self.made(connection, user, change, by).await?)
            }
            Order::List { user } => {
                Report::Webhooks(self.list(connection, Whose::confined_to(user), 0, MOST).await?)
            }
            Order::Show { id } => one(self.show(connection, Whose::All, id).await?),
            Order::Change { id, members } => {
                one(self.change(connection, Whose::All, id, read(&members)?, by).await?)
            }
            Order::Delete { id } => {
                self.delete(connection, Whose::All, id, by).await?;
                Report::Deleted(id)
            }
            Order::RotateSecret { id } => {
                one(self.rotate_secret(connection, Whose::All, id, by).await?)
            }
            Order::Deliveries { id, state, limit } => {
                let state = match state.as_deref() {
                    None => None,
                    Some(name) => Some(DeliveryState::from_name(name).ok_or_else(|| {
                        let names = DeliveryState::ALL.map(DeliveryState::as_str).join(", ");
                        WebhookError::Invalid("state", format!("must be one of {names}"))
                    })?),
                };
                let whose = (Whose::All, id);
                Report::Deliveries(self.deliveries(connection, whose, state, None, limit).await?)
            }
            Order::Delivery { id, delivery } => {
                let found = self.delivery(connection, (Whose::All, id), delivery, true).await?;
                Report::Delivery(Box::new(found))
            }
            Order::Resend { id, delivery } => {
                let resent = self.resend(connection, (Whose::All, id), delivery, by).await?;
                Report::Delivery(Box::new(resent))
            }
            Order::Recover { id, since } => {
                Report::Ordered(self.recover(connection, (Whose::All, id), since, by).await?.count)
            }
            Order::ReplayHistory { id, since, types } => {
                let types = types.map(|types| super::event_types(&types.into())).transpose();
                let types = types.map_err(|problem| WebhookError::Invalid("type", problem))?;
                let whose = (Whose::All, id);
                let ordered = self.replay_history(connection, whose, (since, types), by).await?;
                Report::Ordered(ordered.count)
            }
            Order::Ping { id } => {
                let ping = self.ping(connection, Whose::All, id).await?;
                drop(taken);
                Report::Ping(ping.send().await)
            }
            Order::RotateKey => {
                drop(taken);
                self.rotate_key(store, by).await?
            }
        })
    }

    async fn made(
        &self,
        connection: &mut Connection,
        user: Option<i64>,
        change: Change,
        by: &Operator,
    ) -> Result<WebhookView, WebhookError> {
        if let Some(id) = user {
            let found = users::find(connection, id).await?;
            found.ok_or(WebhookError::Invalid("user", format!("there is no user {id}")))?;
        }
        let mut refused = None;
        let made = transaction(connection, async |connection| {
            within(self.create(connection, user, change, by).await, &mut refused)
        })
        .await;
        outcome(made, refused)
    }

    async fn rotate_key(
        &self,
        store: &Store,
        by: &Operator,
    ) -> Result<WebhookReport, WebhookError> {
        let (sealed, lost) = self.keyring()?.reseal(store).await?;
        let details = serde_json::json!({ "sealed": sealed, "lost": lost });
        let mut connection = store.connection().await?;
        by.audit(&mut connection, "rotate SECRET_KEY", None, details, false).await?;
        Ok(WebhookReport::Sealed(sealed, lost))
    }
}

/// Reads the members of an order; there may be no others.
fn read(members: &Map<String, Value>) -> Result<Change, WebhookError> {
    let first = |mut wrong: Vec<super::Wrong>| {
        let (name, problem) = wrong.swap_remove(0);
        WebhookError::Invalid(name, problem)
    };
    Change::read(members).map_err(first)
}

impl From<WebhookError> for OrderError {
    fn from(error: WebhookError) -> OrderError {
        match error {
            WebhookError::Invalid(field, problem) => OrderError::Invalid { field, problem },
            WebhookError::Missing(what) => OrderError::Missing(what.to_owned()),
            WebhookError::Store(error) => OrderError::Store(error),
            WebhookError::NoSecretKey(why) => {
                OrderError::Invalid { field: "secret-key", problem: why.to_owned() }
            }
            other => OrderError::Refused(other.to_string()),
        }
    }
}
