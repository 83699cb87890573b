//! What became of the mail about an event, as the task's activity shows it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::email::NAME;
use crate::domain::processing::effect::EffectKey;
use crate::store::events::mails::{self, MailRow};
use crate::store::{Connection, StoreError};

/// What became of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailState {
    /// `sent`, `skipped` if there was nobody to send it to, or the state of its event: see
    /// [`EventState`](crate::domain::processing::state::EventState).
    pub state: String,
    /// To whom: the address that it was sent to, or the present address of whoever gets it.
    pub to: Option<String>,
    /// When it was sent or skipped, or since when it waits.
    pub at: DateTime<Utc>,
    /// Why it was not sent.
    pub error: Option<String>,
}

/// What became of the mails about these events. Events without a mail are absent, and so are those
/// of which nothing is known any more.
///
/// # Errors
/// The database fails.
pub async fn mail_states(
    connection: &mut Connection,
    events: &[Uuid],
) -> Result<HashMap<Uuid, MailState>, StoreError> {
    let rows = mails::find(connection, &EffectKey::only(NAME), events).await?;
    Ok(rows.into_iter().map(|row| (row.event_id, of(row))).collect())
}

fn of(row: MailRow) -> MailState {
    let MailRow { record, note, recorded_at, state, since, reason, address, .. } = row;
    match (record.as_deref(), recorded_at) {
        (Some("done"), Some(at)) => {
            MailState { state: "sent".to_owned(), to: note.or(address), at, error: None }
        }
        (Some("skipped"), Some(at)) => {
            MailState { state: "skipped".to_owned(), to: None, at, error: note }
        }
        _ => MailState { state, to: address, at: since, error: reason },
    }
}
