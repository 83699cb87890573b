//! Builds the message of an event, from its row or from the event itself. The two may differ only
//! in the order of JSON members.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::broker::Message;
use crate::domain::event::{Metadata, NewEvent, SCHEMA_VERSION, SOURCE};
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
    message(row.id, &row.event_type, &payload, row.occurred_at)
}

/// The message of an event that was just written.
pub(super) fn of_new(event: &NewEvent) -> Publishable {
    message(event.id, event.event_type.as_str(), &event.payload, event.payload.task.updated_at)
}

#[expect(clippy::expect_used, reason = "strings, numbers and a JSON document: always JSON")]
fn message<P: Serialize>(
    event_id: Uuid,
    event_type: &str,
    payload: &P,
    timestamp: DateTime<Utc>,
) -> Publishable {
    #[derive(Serialize)]
    struct Body<'a, P> {
        r#type: &'a str,
        payload: &'a P,
        metadata: Metadata,
    }
    let metadata =
        Metadata { event_id, timestamp, source: SOURCE.to_owned(), schema_version: SCHEMA_VERSION };
    let body = Body { r#type: event_type, payload, metadata };
    let message = Message {
        body: serde_json::to_vec(&body).expect("a body is JSON"),
        message_id: Some(event_id.to_string()),
        message_type: Some(event_type.to_owned()),
        content_type: Some("application/json".to_owned()),
        timestamp: u64::try_from(timestamp.timestamp()).ok(),
        headers: serde_json::Map::new(),
    };
    Publishable { id: event_id, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Event;
    use crate::domain::task::{Status, Task, TaskFields};

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
        for new in [
            NewEvent::created(task.clone()),
            NewEvent::updated(&task, next),
            NewEvent::deleted(last),
        ] {
            let row = OutboxRow {
                id: new.id,
                seq: 1,
                event_type: new.event_type.as_str().into(),
                payload: serde_json::to_string(&new.payload).unwrap(),
                occurred_at: new.payload.task.updated_at,
            };
            let (read, written) = (of_row(&row).message, of_new(&new).message);
            assert_eq!(read.body, written.body);
            assert_eq!(read.timestamp, written.timestamp);
            for message in [read, written] {
                let event = Event::decode(
                    &message.body,
                    message.message_id.as_deref(),
                    message.message_type.as_deref(),
                );
                assert_eq!(event.unwrap().payload, new.payload);
            }
        }
    }
}
