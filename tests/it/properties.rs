//! What must hold for whatever comes in, tried with what nobody would think of.

use chrono::{DateTime, Datelike, Duration, Timelike, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use taskd::broker::message::{HISTORY, Message};
use taskd::domain::catalog::built_in;
use taskd::domain::event::{Actor, ActorKind, Event, Metadata, Origin};
use taskd::domain::processing::history::{FailedAttempt, remember};
use taskd::domain::processing::retry::RetryPolicy;
use taskd::domain::rate::Rate;
use taskd::domain::schedule::Schedule;
use taskd::domain::task::events::created;
use taskd::domain::task::{Status, Task};
use taskd::effects::Simulation;
use taskd::ground::networks::Networks;
use taskd::http::extract::cursor::{TaskCursor, decode, encode};
use taskd::http::middleware::cors::Origins;
use taskd::store::task_list::{Position, PositionKey};
use uuid::Uuid;

/// Times of the years 1970 to 2100, to the microsecond, as PostgreSQL keeps them.
fn times() -> impl Strategy<Value = DateTime<Utc>> {
    (0_i64..4_102_444_800_000_000).prop_map(|at| DateTime::from_timestamp_micros(at).unwrap())
}

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn tasks() -> impl Strategy<Value = Task> {
    let texts = ("[^\0]{1,200}", prop::option::of("[^\0]{0,300}"));
    let numbers = (1_i64.., prop::option::of(1_i64..), prop::option::of(1_i64..), 1_i64..);
    let moments = (times(), times(), prop::option::of(times()), prop::option::of(times()));
    let statuses = prop::sample::select(Status::ALL.to_vec());
    (texts, numbers, moments, statuses).prop_map(|(texts, numbers, moments, status)| Task {
        id: numbers.0,
        title: texts.0,
        description: texts.1,
        status,
        user_id: numbers.1,
        category_id: numbers.2,
        version: numbers.3,
        created_at: moments.0,
        updated_at: moments.1,
        due_at: moments.2,
        completed_at: moments.3,
    })
}

fn events() -> impl Strategy<Value = Event> {
    (tasks(), times(), any::<u128>(), prop::option::of(origins())).prop_map(
        |(task, timestamp, id, origin)| {
            let event = Event::from(created(&task, Origin::of(Actor::SYSTEM)));
            let metadata = Metadata::new(Uuid::from_u128(id), timestamp, origin);
            Event { metadata, ..event }
        },
    )
}

fn origins() -> impl Strategy<Value = Origin> {
    let kinds = prop::sample::select(ActorKind::ALL.to_vec());
    (kinds, prop::option::of(any::<i64>()), prop::option::of(any::<u128>())).prop_map(
        |(kind, id, cause)| Origin {
            actor: Actor { kind, id },
            causation_id: cause.map(Uuid::from_u128),
            request: None,
        },
    )
}

fn failures() -> impl Strategy<Value = FailedAttempt> {
    (1_u32.., ".{0,30}", times(), prop::option::of("[a-z]{1,10}"), ".{0,600}").prop_map(
        |(attempt, worker, at, effect, error)| FailedAttempt { attempt, worker, at, effect, error },
    )
}

proptest! {
    #[test]
    fn an_event_comes_back_as_it_was(event in events()) {
        let id = event.metadata.event_id.to_string();
        let decoded = built_in().decode(&event.encode(), Some(&id), Some(event.event_type.name));
        prop_assert_eq!(decoded.map_err(|error| error.to_string()), Ok(event));
    }

    #[test]
    fn whatever_a_body_is_it_is_an_event_or_says_why_not(
        body in prop::collection::vec(any::<u8>(), 0..300), id in ".{0,40}", name in ".{0,20}",
    ) {
        prop_assert!(built_in().decode(&body, Some(&id), Some(&name)).is_err());
    }

    #[test]
    fn a_damaged_event_is_refused_or_still_one(
        event in events(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut body = event.encode();
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        let id = event.metadata.event_id.to_string();
        match built_in().decode(&body, Some(&id), None) {
            // Then it is one with every right, and is written as it was read.
            Ok(read) => prop_assert_eq!(built_in().decode(&read.encode(), Some(&id), None).ok(), Some(read)),
            Err(why) => prop_assert!(why.to_string().chars().count() < 1_000, "{}", why),
        }
    }

    #[test]
    fn any_json_is_an_event_or_says_why_not(value in json_values(), wrapped in any::<bool>()) {
        let value = if wrapped {
            json!({ "type": "TASK_UPDATED", "payload": value, "metadata": value })
        } else {
            value
        };
        prop_assert!(built_in().decode(value.to_string().as_bytes(), Some("x"), None).is_err());
    }

    #[test]
    fn a_cursor_comes_back_as_it_was(
        order in "-?[a-zA-Z]{1,12}", id in any::<i64>(), title in ".{0,200}", at in times(), kind in 0..3,
    ) {
        let key = match kind {
            0 => PositionKey::At(at),
            1 => PositionKey::Never,
            _ => PositionKey::Text(title),
        };
        let cursor = TaskCursor(order, Position { key, id });
        let text = encode(&cursor);
        prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        prop_assert_eq!(decode::<TaskCursor>(&text), Some(cursor));
    }

    #[test]
    fn a_made_up_cursor_is_a_place_or_none(text in "[A-Za-z0-9_-]{0,200}|.{0,50}", value in json_values()) {
        for text in [text, encode(&value)] {
            if let Some(cursor) = decode::<TaskCursor>(&text) {
                prop_assert_eq!(decode::<TaskCursor>(&encode(&cursor)), Some(cursor));
            }
        }
    }

    #[test]
    fn headers_of_any_kind_are_read_and_copied(
        names in prop::collection::vec("taskd-[a-z-]{0,12}|x-[a-z]{1,8}|.{0,12}", 0..8), value in json_values(),
    ) {
        let mut message = Message::default();
        for name in names {
            message.headers.insert(name, value.clone());
        }
        message.headers.insert(HISTORY.into(), value);
        prop_assert!(message.attempt() >= 1);
        let _ = (message.history(), message.first_failed_at());
        prop_assert_eq!(message.copy().copy(), message.copy());
    }

    #[test]
    fn settings_are_read_or_refused(text in ".{0,60}|[0-9smhd,/. :*-]{0,30}") {
        if let Ok(policy) = text.parse::<RetryPolicy>() {
            prop_assert_eq!(policy.to_string().parse::<RetryPolicy>(), Ok(policy));
        }
        // What is left to hold of these: they answer, whatever they are given.
        let _ = (text.parse::<Rate>(), text.parse::<Networks>(), text.parse::<Schedule>());
        let _ = (text.parse::<Origins>(), text.parse::<Simulation>());
    }

    #[test]
    fn a_list_of_delays_is_what_it_says(ms in prop::collection::vec(1_u64..4_000_000_000, 1..32)) {
        let text: Vec<String> = ms.iter().map(|ms| format!("{ms}ms")).collect();
        let policy: RetryPolicy = text.join(",").parse().unwrap();
        let road: u64 = ms.iter().sum();
        prop_assert_eq!(policy.longest_path().as_millis(), u128::from(road));
        prop_assert_eq!(policy.to_string().parse::<RetryPolicy>(), Ok(policy));
    }

    #[test]
    fn a_schedule_is_due_next_when_its_fields_say(
        minute in 0_u32..60, hour in 0_u32..24, weekday in 0_u32..8, now in times(),
    ) {
        let schedule: Schedule = format!("{minute} {hour} * * {weekday}").parse().unwrap();
        let next = schedule.next_after(now).unwrap();
        prop_assert!(next > now && next - now <= Duration::days(7));
        prop_assert_eq!((next.minute(), next.hour(), next.second()), (minute, hour, 0));
        prop_assert_eq!(next.weekday().num_days_from_sunday(), weekday % 7);
    }
}

proptest! {
    // Each case is a hundred headers written and read.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_history_is_kept_as_far_as_it_has_room(failures in prop::collection::vec(failures(), 0..100)) {
        let mut history = Vec::new();
        let mut message = Message::default();
        for failure in &failures {
            remember(&mut history, failure.clone());
            message.set_history(&history);
            // As it is published, and read by the next worker.
            message = message.copy();
            history = message.history();
        }
        prop_assert_eq!(history.is_empty(), failures.is_empty());
        if let (Some(first), Some(last)) = (failures.first(), failures.last()) {
            prop_assert_eq!(history[0].at, first.at);
            prop_assert_eq!(history[history.len() - 1].at, last.at);
            prop_assert_eq!(message.first_failed_at(), Some(first.at));
        }
    }
}

/// No word of a schedule, however odd, does more than be refused.
#[test]
fn every_field_of_a_schedule_takes_any_word_or_refuses_it() {
    let words = [
        "*",
        "*/0",
        "*/7",
        "0-0",
        "9-1",
        "1,2,",
        "MON",
        "L",
        "?",
        "60",
        "-1",
        "1/2/3",
        "99999999999",
        "",
    ];
    for field in 0..5 {
        for word in words {
            let mut fields = ["0", "0", "1", "1", "*"];
            fields[field] = word;
            if let Ok(schedule) = fields.join(" ").parse::<Schedule>() {
                let now = "2026-11-24T00:00:00Z".parse().unwrap();
                assert!(schedule.next_after(now).is_none_or(|next| next > now), "{word}");
            }
        }
    }
}
