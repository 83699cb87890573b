//! Builds the message of an event, from its row or from the event itself. The two may differ only
//! in the order of JSON members.

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::broker::message::TRACEPARENT;
use crate::broker::{Message, event_message};
use crate::domain::event::{Metadata, NewEvent};
use crate::store::delivery::outbox::OutboxRow;

/// An event's id and its message.
pub(super) struct Publishable {
    pub(super) id: Uuid,
    pub(super) message: Message,
}

/// The message of an event read from the outbox. The payload is passed on as the database returns
/// it, without being decoded.
pub(super) fn of_row(row: &OutboxRow) -> Publishable {
    let payload: Option<&RawValue> = serde_json::from_str(&row.payload).ok();
    let metadata = Metadata::new(row.id, row.occurred_at, row.origin());
    message(&row.event_type, &payload, metadata, row.traceparent.as_deref())
}

/// The message of an event once more, not signed yet.
pub fn copy_of(row: &OutboxRow) -> Message {
    of_row(row).message
}

/// The message of an event that was just written.
pub(super) fn of_new(event: &NewEvent) -> Publishable {
    let traceparent = event.origin.traceparent();
    message(event.event_type.name, &event.payload, event.metadata(), traceparent)
}

fn message(
    event_type: &str,
    payload: &impl Serialize,
    metadata: Metadata,
    traceparent: Option<&str>,
) -> Publishable {
    let mut message = event_message::of(event_type, payload, &metadata);
    if let Some(traceparent) = traceparent {
        message.set_text(TRACEPARENT, traceparent);
    }
    Publishable { id: metadata.event_id, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog;
    use crate::domain::event::{Actor, Origin, RequestContext};
    use crate::domain::task::{Status, Task, TaskFields, events};
    use chrono::Utc;

    #[test]
    fn what_is_published_is_an_event_by_its_schema_whichever_way_it_goes() {
        let fields = TaskFields {
            title: "t".into(),
            description: None,
            status: Status::Pending,
            user_id: None,
            category_id: Some(3),
            due_at: None,
        };
        let task = Task { id: 7, ..Task::create(fields, Utc::now()) };
        let next =
            task.update(TaskFields { title: "u".into(), ..task.fields() }, Utc::now()).unwrap();
        let last = next.delete(Utc::now());
        let caused = Origin { causation_id: Some(Uuid::now_v7()), ..Origin::of(Actor::SYSTEM) };
        let traceparent =
            Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
        let requested =
            Origin::of(Actor::token(2)).within(RequestContext { id: "r".into(), traceparent });
        for new in [
            events::created(&task, Origin::of(Actor::user(1))),
            events::updated(&task, &next, requested),
            events::deleted(&last, caused),
        ] {
            let row = OutboxRow {
                id: new.id,
                seq: 1,
                event_type: new.event_type.name.into(),
                payload: new.payload.to_string(),
                occurred_at: new.occurred_at,
                actor_kind: Some(new.origin.actor.kind.as_str().into()),
                actor_id: new.origin.actor.id,
                causation_id: new.origin.causation_id,
                traceparent: new.origin.traceparent().map(str::to_owned),
            };
            let (read, written) = (of_row(&row).message, of_new(&new).message);
            assert_eq!(read.body, written.body);
            assert_eq!(read.timestamp, written.timestamp);
            assert_eq!(read.text(TRACEPARENT), new.origin.traceparent());
            assert_eq!(read.headers, written.headers);
            for message in [read, written] {
                let event = catalog::built_in().decode(
                    &message.body,
                    message.message_id.as_deref(),
                    message.message_type.as_deref(),
                );
                assert_eq!(event.unwrap(), new.clone().into());
            }
        }
    }

    #[test]
    fn an_event_of_the_version_before_has_no_members_that_it_did_not_have() {
        let row = OutboxRow {
            id: Uuid::now_v7(),
            seq: 1,
            event_type: "TASK_CREATED".into(),
            payload: "{}".into(),
            occurred_at: Utc::now(),
            actor_kind: None,
            actor_id: None,
            causation_id: None,
            traceparent: None,
        };
        let body: serde_json::Value = serde_json::from_slice(&of_row(&row).message.body).unwrap();
        let members: Vec<&String> = body["metadata"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["eventId", "schemaVersion", "source", "timestamp"]);
    }
}
