use super::*;
use crate::domain::task::{Status, TaskFields};

fn event() -> Event {
    let fields = TaskFields {
        title: "Write \"Docs\" 𝄞".into(),
        description: Some("Testing".into()),
        status: Status::InProgress,
        user_id: Some(1),
        category_id: None,
        due_at: Some(Utc::now()),
    };
    let task = Task { id: 7, ..Task::create(fields, Utc::now()) };
    let new = NewEvent::created(task);
    Event {
        event_type: new.event_type,
        metadata: Metadata {
            event_id: new.id,
            timestamp: new.payload.task.updated_at,
            source: SOURCE.into(),
            schema_version: SCHEMA_VERSION,
        },
        payload: new.payload,
    }
}

#[test]
fn what_is_encoded_is_decoded() {
    let event = event();
    let id = event.metadata.event_id.to_string();
    assert_eq!(Event::decode(&event.encode(), Some(&id), Some("TASK_CREATED")), Ok(event.clone()));
    assert_eq!(Event::decode(&event.encode(), Some(&id), None), Ok(event));
}

#[test]
fn each_kind_of_wrong_message_has_its_own_reason() {
    let good = event();
    let id = good.metadata.event_id.to_string();
    let broken = |edit: &dyn Fn(&mut Value)| {
        let mut value = serde_json::to_value(&good).unwrap();
        edit(&mut value);
        Event::decode(value.to_string().as_bytes(), Some(&id), None)
    };
    assert!(matches!(Event::decode(b"\xff\xfe", Some(&id), None), Err(Malformed::NotJson(_))));
    assert!(matches!(Event::decode(b"", Some(&id), None), Err(Malformed::NotJson(_))));
    assert!(matches!(Event::decode(b"[]", Some(&id), None), Err(Malformed::UnknownType(_))));
    assert!(matches!(
        Event::decode(&vec![b' '; MAX_BODY_BYTES + 1], Some(&id), None),
        Err(Malformed::TooLarge(_))
    ));
    assert_eq!(Event::decode(&good.encode(), None, None), Err(Malformed::NoMessageId));
    assert!(matches!(
        Event::decode(&good.encode(), Some("other"), None),
        Err(Malformed::Mismatch { property: "message_id", .. })
    ));
    assert!(matches!(
        Event::decode(&good.encode(), Some(&id), Some("TASK_DELETED")),
        Err(Malformed::Mismatch { property: "type", .. })
    ));
    assert!(matches!(broken(&|v| v["type"] = "TASK_EATEN".into()), Err(Malformed::UnknownType(_))));
    for edit in [
        (&|v: &mut Value| v["payload"]["id"] = "7".into()) as &dyn Fn(&mut Value),
        &|v| v["payload"]["extra"] = 1.into(),
        &|v| v["payload"]["status"] = "eaten".into(),
        &|v| v["payload"] = serde_json::json!({ "payload": v["payload"] }),
        &|v| v["metadata"]["schemaVersion"] = 2.into(),
        &|v| v["metadata"]["timestamp"] = "yesterday".into(),
        &|v| v["payload"]["changes"] = serde_json::json!({}),
        &|v| v["payload"]["title"] = "a\0".into(),
        &|v| drop(v["metadata"].as_object_mut().unwrap().remove("eventId")),
    ] {
        assert!(matches!(broken(edit), Err(Malformed::Schema(_))), "{:?}", broken(edit));
    }
}
