//! Making, changing and deleting webhooks, and their secrets.

use serde_json::{Value, json};

use super::{Change, WebhookError, WebhookView, Webhooks, Whose};
use crate::domain::webhook::{BOTH_SECRETS, MOST_OF_A_USER};
use crate::operate::Operator;
use crate::store::webhooks::{self, Settings, WebhookRow, counts, secrets};
use crate::store::{Connection, transaction};
use crate::webhooks::fan_out;
use crate::webhooks::signature::SigningSecret;

impl Webhooks {
    /// Makes a webhook of this user, or nobody's. Its secret is in the answer, and nowhere else. To
    /// be called in a transaction.
    ///
    /// # Errors
    /// The settings are wrong, there are too many, no secret can be kept, or the database fails.
    pub async fn create(
        &self,
        connection: &mut Connection,
        user_id: Option<i64>,
        change: Change,
        by: &Operator,
    ) -> Result<WebhookView, WebhookError> {
        let settings = self.checked(change.of_new()?, None)?;
        let keyring = self.keyring()?;
        if counts::count_of(connection, user_id).await? >= MOST_OF_A_USER {
            return Err(WebhookError::TooMany);
        }
        if settings.enabled {
            fan_out::begin(connection).await?;
        }
        let (id, secret) = (webhooks::next_id(connection).await?, SigningSecret::random());
        let sealed = keyring.seal(id, &secret);
        let row = webhooks::insert(connection, (id, user_id), &settings, sealed).await?;
        audit(connection, by, "create webhook", &row, told(&settings)).await?;
        let secret = Some(secret.shown().expose().to_owned());
        Ok(WebhookView { secret, ..WebhookView::from(row) })
    }

    /// The webhooks that may be seen, by id, after one of them, at most `limit`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list(
        &self,
        connection: &mut Connection,
        whose: Whose,
        after: i64,
        limit: i64,
    ) -> Result<Vec<WebhookView>, WebhookError> {
        let rows = webhooks::list(connection, whose.user(), after, limit).await?;
        Ok(rows.into_iter().map(WebhookView::from).collect())
    }

    /// How many webhooks may be seen.
    ///
    /// # Errors
    /// The database fails.
    pub async fn count(
        &self,
        connection: &mut Connection,
        whose: Whose,
    ) -> Result<i64, WebhookError> {
        Ok(counts::count(connection, whose.user()).await?)
    }

    /// One webhook.
    ///
    /// # Errors
    /// There is none, or the database fails.
    pub async fn show(
        &self,
        connection: &mut Connection,
        whose: Whose,
        id: i64,
    ) -> Result<WebhookView, WebhookError> {
        find(connection, whose, id, false).await.map(WebhookView::from)
    }

    /// Changes a webhook.
    ///
    /// # Errors
    /// There is none, the settings are wrong, or the database fails.
    pub async fn change(
        &self,
        connection: &mut Connection,
        whose: Whose,
        id: i64,
        change: Change,
        by: &Operator,
    ) -> Result<WebhookView, WebhookError> {
        let mut refused = None;
        let changed = transaction(connection, async |connection| {
            let changed = self.change_within(connection, whose, id, change, by).await;
            within(changed, &mut refused)
        })
        .await;
        outcome(changed, refused)
    }

    async fn change_within(
        &self,
        connection: &mut Connection,
        whose: Whose,
        id: i64,
        change: Change,
        by: &Operator,
    ) -> Result<WebhookView, WebhookError> {
        // Whoever reads the outbox locks its position first, and so does who changes that.
        let before = find(connection, whose, id, false).await?;
        if change.clone().of(before.settings()).enabled && !before.enabled {
            fan_out::begin(connection).await?;
        }
        let before = find(connection, whose, id, true).await?;
        let settings = self.checked(change.of(before.settings()), Some(&before.url))?;
        if settings == before.settings() {
            return Ok(WebhookView::from(before));
        }
        let row = webhooks::update(connection, id, &settings).await?;
        let row = row.ok_or(WebhookError::Missing("webhook"))?;
        audit(connection, by, "change webhook", &row, told(&settings)).await?;
        Ok(WebhookView::from(row))
    }

    /// Deletes a webhook, with what was to be delivered to it.
    ///
    /// # Errors
    /// There is none, or the database fails.
    pub async fn delete(
        &self,
        connection: &mut Connection,
        whose: Whose,
        id: i64,
        by: &Operator,
    ) -> Result<(), WebhookError> {
        let mut refused = None;
        let deleted = transaction(connection, async |connection| {
            let deleted = async {
                let row = find(connection, whose, id, false).await?;
                webhooks::delete(connection, id).await?;
                audit(connection, by, "delete webhook", &row, Value::Null).await
            };
            within(deleted.await, &mut refused)
        })
        .await;
        outcome(deleted, refused)
    }

    /// Gives a webhook a new secret. Deliveries are signed with both for a day.
    ///
    /// # Errors
    /// There is none, no secret can be kept, or the database fails.
    pub async fn rotate_secret(
        &self,
        connection: &mut Connection,
        whose: Whose,
        id: i64,
        by: &Operator,
    ) -> Result<WebhookView, WebhookError> {
        let keyring = self.keyring()?;
        let mut refused = None;
        let rotated = transaction(connection, async |connection| {
            let rotated = async {
                let row = find(connection, whose, id, true).await?;
                let secret = SigningSecret::random();
                secrets::rotate(connection, id, keyring.seal(id, &secret), BOTH_SECRETS).await?;
                audit(connection, by, "rotate webhook secret", &row, Value::Null).await?;
                let row = find(connection, whose, id, false).await?;
                let secret = Some(secret.shown().expose().to_owned());
                Ok(WebhookView { secret, ..WebhookView::from(row) })
            };
            within(rotated.await, &mut refused)
        })
        .await;
        outcome(rotated, refused)
    }

    /// Checks what depends on this process: where it may send. A URL that stays as it is is looked
    /// at when it is sent to.
    fn checked(&self, settings: Settings, before: Option<&str>) -> Result<Settings, WebhookError> {
        if before != Some(&settings.url) {
            let read = self.reach.read(&settings.url);
            read.map_err(|refused| WebhookError::Invalid("url", refused.0))?;
        }
        Ok(settings)
    }

    /// Opens the secrets that sign for a webhook.
    pub(super) fn opened(
        &self,
        row: &secrets::SealedRow,
    ) -> Result<Vec<SigningSecret>, WebhookError> {
        let opened = self.keyring()?.open_all(row.id, &row.secret, &row.old_secrets);
        opened.ok_or(WebhookError::NoSecretKey(
            "no key of SECRET_KEY opens this webhook's secret: add the key it was sealed under, or give \
             it a new secret by rotate-secret",
        ))
    }
}

/// A webhook that may be seen.
pub(super) async fn find(
    connection: &mut Connection,
    whose: Whose,
    id: i64,
    to_change: bool,
) -> Result<WebhookRow, WebhookError> {
    let row = webhooks::find(connection, id, to_change).await?;
    let row = row.filter(|row| whose == Whose::All || row.user_id == whose.user());
    row.ok_or(WebhookError::Missing("webhook"))
}

/// What is written down of settings. A URL may have a secret in its path or its query.
fn told(settings: &Settings) -> Value {
    let url = url::Url::parse(&settings.url).ok();
    let host = url.and_then(|url| url.host_str().map(str::to_owned));
    json!({
        "host": host, "eventTypes": settings.event_types, "filter": settings.filter,
        "ordered": settings.ordered, "enabled": settings.enabled,
    })
}

pub(super) async fn audit(
    connection: &mut Connection,
    by: &Operator,
    action: &'static str,
    row: &WebhookRow,
    details: Value,
) -> Result<(), WebhookError> {
    let whose = row.user_id.map_or(String::new(), |user| format!(" of user {user}"));
    let target = Some(format!("webhook {}{whose}", row.id));
    Ok(by.audit(connection, action, target, details, false).await?)
}

/// Ends a transaction, keeping why its order was refused.
///
/// # Errors
/// The database fails, or the order was refused.
pub fn within<T>(
    answer: Result<T, WebhookError>,
    refused: &mut Option<WebhookError>,
) -> Result<T, crate::store::StoreError> {
    answer.map_err(|error| match error {
        WebhookError::Store(error) => error,
        other => {
            *refused = Some(other);
            crate::store::StoreError::Fault("rolled back".into())
        }
    })
}

/// The answer of a transaction, or why it was refused.
pub(super) fn outcome<T>(
    answer: Result<T, crate::store::StoreError>,
    refused: Option<WebhookError>,
) -> Result<T, WebhookError> {
    answer.map_err(|error| refused.unwrap_or(WebhookError::Store(error)))
}
