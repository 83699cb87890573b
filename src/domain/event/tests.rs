use super::*;
use crate::domain::catalog;
use crate::domain::task::events::created;
use crate::domain::task::{Status, Task, TaskFields};

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
    created(&task, Origin::of(Actor::user(1))).into()
}

#[test]
fn what_is_encoded_is_decoded() {
    let event = event();
    let id = event.metadata.event_id.to_string();
    assert_eq!(
        catalog::built_in().decode(&event.encode(), Some(&id), Some("TASK_CREATED")),
        Ok(event.clone())
    );
    assert_eq!(catalog::built_in().decode(&event.encode(), Some(&id), None), Ok(event));
}

#[test]
fn each_kind_of_wrong_message_has_its_own_reason() {
    let good = event();
    let id = good.metadata.event_id.to_string();
    let broken = |edit: &dyn Fn(&mut Value)| {
        let mut value = serde_json::from_slice::<Value>(&good.encode()).unwrap();
        edit(&mut value);
        catalog::built_in().decode(value.to_string().as_bytes(), Some(&id), None)
    };
    assert!(matches!(
        catalog::built_in().decode(b"\xff\xfe", Some(&id), None),
        Err(Malformed::NotJson(_))
    ));
    assert!(matches!(catalog::built_in().decode(b"", Some(&id), None), Err(Malformed::NotJson(_))));
    assert!(matches!(
        catalog::built_in().decode(b"[]", Some(&id), None),
        Err(Malformed::UnknownType(_))
    ));
    assert!(matches!(
        catalog::built_in().decode(&vec![b' '; MAX_BODY_BYTES + 1], Some(&id), None),
        Err(Malformed::TooLarge(_))
    ));
    assert_eq!(catalog::built_in().decode(&good.encode(), None, None), Err(Malformed::NoMessageId));
    assert!(matches!(
        catalog::built_in().decode(&good.encode(), Some("other"), None),
        Err(Malformed::Mismatch { property: "message_id", .. })
    ));
    assert!(matches!(
        catalog::built_in().decode(&good.encode(), Some(&id), Some("TASK_DELETED")),
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

#[test]
fn an_event_of_the_version_before_is_read_and_stays_as_it_is() {
    let mut event = event();
    event.metadata.origin = None;
    let body: Value = serde_json::from_slice(&event.encode()).unwrap();
    assert!(
        body["metadata"].get("actor").is_none() && body["metadata"].get("causationId").is_none()
    );
    let id = event.metadata.event_id.to_string();
    assert_eq!(catalog::built_in().decode(&event.encode(), Some(&id), None), Ok(event));
}

#[test]
fn a_payload_that_no_field_can_hold_is_malformed() {
    let event = event();
    let id = event.metadata.event_id.to_string();
    let mut body: Value = serde_json::from_slice(&event.encode()).unwrap();
    // Each fits the schema, to which 7.0 is an integer.
    for (member, value) in
        [("userId", "7.0"), ("id", "7.0"), ("categoryId", "18446744073709551615")]
    {
        let mut body = body.clone();
        body["payload"][member] = serde_json::from_str(value).unwrap();
        let read = catalog::built_in().decode(body.to_string().as_bytes(), Some(&id), None);
        assert!(matches!(read, Err(Malformed::Schema(_))), "{member}: {read:?}");
    }
    body["metadata"]["actor"]["kind"] = "nobody".into();
    let read = catalog::built_in().decode(body.to_string().as_bytes(), Some(&id), None);
    assert!(matches!(read, Err(Malformed::Schema(_))), "{read:?}");
}
