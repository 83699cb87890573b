//! Edit and replay: a letter's payload, corrected, goes out as a new event.

use chrono::Utc;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{DeadLetters, letter};
use crate::domain::event::{self, Actor, Metadata, NewEvent, Origin, Owners};
use crate::operate::{Operator, OrderError};
use crate::store::letters::{self, LetterState, edits};
use crate::store::transaction;

/// An order to send a corrected payload in place of a letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EditOrder {
    /// The letter's id.
    pub id: String,
    /// The whole payload as it should have been.
    pub payload: Value,
    /// Whether only to check it.
    #[serde(default)]
    pub dry_run: bool,
}

/// The event that takes the place of a letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edited {
    /// Its id; `None` of a dry run.
    pub event_id: Option<Uuid>,
    /// The event that it follows from, if the letter's can be read.
    pub causation_id: Option<Uuid>,
    /// The effects that are not run for it, because they are done for the letter's event.
    pub done_before: Vec<String>,
}

impl DeadLetters {
    /// Writes a new event with a corrected payload, for the effects that the letter's event still
    /// lacks. The letter is settled. The new event is about the same version of the same subject,
    /// and is marked as a repetition, so that nobody is told of a second change.
    ///
    /// # Errors
    /// There is no such open letter, the payload is not valid, or the database fails. Then nothing
    /// has changed.
    pub async fn edit(&self, order: &EditOrder, by: &Operator) -> Result<Edited, OrderError> {
        let mut connection = self.store.connection().await?;
        let found = letters::find(&mut connection, std::slice::from_ref(&order.id)).await?;
        let row = found
            .into_iter()
            .find(|row| row.state == LetterState::Open.as_str())
            .ok_or_else(|| OrderError::Missing(format!("open dead letter {}", order.id)))?;
        let message = letter::message_of(&row);
        let causation_id = row.event_id;
        let origin = Origin { causation_id, ..Origin::of(Actor::OPERATOR) };
        let event = self.corrected(&message, &order.payload, origin)?;
        let done_before = match causation_id {
            Some(id) => edits::done(&mut connection, id).await?,
            None => Vec::new(),
        };
        let id = event.id;
        let target = Some(format!("dead letter {}", row.id));
        let details =
            json!({ "eventId": (!order.dry_run).then_some(id), "causationId": causation_id });
        let written = transaction(&mut connection, async |connection| {
            let written = order.dry_run
                || edits::replace(connection, &row.id, &event, &done_before, &by.name).await?;
            if written {
                by.audit(connection, "edit", target, details, order.dry_run).await?;
            }
            Ok(written)
        })
        .await?;
        if !written {
            return Err(OrderError::Missing(format!("open dead letter {}", order.id)));
        }
        let event_id = (!order.dry_run).then_some(id);
        Ok(Edited { event_id, causation_id, done_before })
    }

    /// The event with this payload in place of that of the message, if it is one by its schema.
    fn corrected(
        &self,
        message: &crate::broker::Message,
        payload: &Value,
        origin: Origin,
    ) -> Result<NewEvent, OrderError> {
        let invalid = |problem: String| OrderError::Invalid { field: "payload", problem };
        let body: Value = serde_json::from_slice(&message.body).unwrap_or_default();
        let name = message.message_type.as_deref().or_else(|| body["type"].as_str());
        let name = name.ok_or_else(|| invalid("the letter doesn't say its event type".into()))?;
        let known = self.types.find(name);
        let event_type = known.ok_or_else(|| invalid(format!("{name:?} is not a known type")))?;
        let (id, now) = (Uuid::now_v7(), Utc::now());
        let checked = event::encode(name, payload, &Metadata::new(id, now, None));
        let text = id.to_string();
        let event = self.types.decode(&checked, Some(&text), Some(name));
        let event = event.map_err(|error| invalid(error.to_string()))?;
        // Where the letter says what it is about, that is not up to the editor.
        for member in ["id", "version"] {
            let before = &body["payload"][member];
            if before.is_i64() && *before != payload[member] {
                return Err(invalid(format!("/{member} must stay {before}")));
            }
        }
        let owner = payload["userId"].as_i64();
        let owners = Owners { before: owner, after: owner };
        let new = NewEvent::new(event_type, event.subject, payload.clone(), now, origin, owners);
        Ok(NewEvent { id, ..new })
    }
}
