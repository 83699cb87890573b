//! Endpoints that fail: their owners are told, and at last they are disabled.

use chrono::Utc;
use url::Url;

use crate::domain::event::EventType;
use crate::domain::webhook::events::{DISABLED, FAILING, Trouble};
use crate::domain::webhook::{DISABLED_AFTER, DisabledReason, WARNED_AFTER};
use crate::store::delivery::outbox;
use crate::store::webhooks::health::{self, Troubled};
use crate::store::{Connection, Store, StoreError, transaction};

/// Disables an endpoint that wants no more at this URL, and tells its owner.
///
/// # Errors
/// The database fails.
pub(super) async fn gone(store: &Store, (id, url): (i64, &str)) -> Result<(), StoreError> {
    let mut connection = store.connection().await?;
    transaction(&mut connection, async |connection| {
        let reason = DisabledReason::Gone.as_str();
        if let Some(troubled) = health::disable(connection, (id, url), reason, None).await? {
            tracing::warn!(webhook = id, "the webhook answered 410 and is disabled");
            tell(connection, id, troubled, DISABLED, reason).await?;
        }
        Ok(())
    })
    .await
}

/// Looks at an endpoint to which a delivery has failed, and none has succeeded for a day at least.
///
/// # Errors
/// The database fails.
pub(super) async fn failing(store: &Store, (id, url): (i64, &str)) -> Result<(), StoreError> {
    let mut connection = store.connection().await?;
    transaction(&mut connection, async |connection| {
        let reason = DisabledReason::Failing.as_str();
        let disabled = health::disable(connection, (id, url), reason, Some(DISABLED_AFTER)).await?;
        if let Some(troubled) = disabled {
            tracing::warn!(
                webhook = id,
                "no delivery to the webhook has succeeded for five days, and it is disabled"
            );
            return tell(connection, id, troubled, DISABLED, reason).await;
        }
        if let Some(troubled) = health::warn(connection, id, WARNED_AFTER).await? {
            tracing::warn!(webhook = id, "no delivery to the webhook has succeeded for a day");
            tell(connection, id, troubled, FAILING, reason).await?;
        }
        Ok(())
    })
    .await
}

async fn tell(
    connection: &mut Connection,
    id: i64,
    troubled: Troubled,
    event_type: EventType,
    reason: &str,
) -> Result<(), StoreError> {
    let Troubled { version, user_id, url, description, failing_since } = troubled;
    let host = Url::parse(&url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let trouble = Trouble {
        id,
        version,
        user_id,
        description,
        host: host.unwrap_or_default(),
        reason: reason.to_owned(),
        failing_since,
    };
    outbox::write(connection, &trouble.event(event_type, Utc::now())).await
}
