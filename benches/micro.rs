//! What the event codec and the cursor cost by themselves, in nanoseconds: `cargo bench --bench micro`.
#![allow(missing_docs, clippy::unwrap_used, reason = "the harness's macros; a fault ends the run")]

use std::hint::black_box;

use chrono::Utc;
use criterion::{Criterion, criterion_group, criterion_main};
use taskd::domain::catalog::built_in;
use taskd::domain::event::{Actor, Event, Origin};
use taskd::domain::task::events::{created, updated};
use taskd::domain::task::{Status, Task, TaskFields};
use taskd::http::extract::cursor::{TaskCursor, decode, encode};
use taskd::store::task_list::{Sort, SortKey};

fn task() -> Task {
    let fields = TaskFields {
        title: "Write Docs".into(),
        description: Some("Testing async".into()),
        status: Status::Pending,
        user_id: Some(1),
        category_id: None,
        due_at: None,
    };
    Task { id: 7, ..Task::create(fields, Utc::now()) }
}

fn events(criterion: &mut Criterion) {
    let task = task();
    let fields = TaskFields { status: Status::Completed, ..task.fields() };
    let changed = task.update(fields, Utc::now()).unwrap();
    let (types, origin) = (built_in(), Origin::of(Actor::user(1)));
    for (name, event) in [
        ("created", Event::from(created(&task, origin.clone()))),
        ("updated", Event::from(updated(&task, &changed, origin.clone()))),
    ] {
        let (body, id) = (event.encode(), event.metadata.event_id.to_string());
        criterion.bench_function(&format!("event encode {name}"), |b| {
            b.iter(|| black_box(&event).encode())
        });
        criterion.bench_function(&format!("event decode {name}"), |b| {
            b.iter(|| types.decode(black_box(&body), Some(&id), None).unwrap())
        });
    }
}

fn cursors(criterion: &mut Criterion) {
    let sort = Sort { key: SortKey::Title, descending: false };
    let place = sort.position(&task());
    let cursor = TaskCursor("title".to_owned(), place);
    let text = encode(&cursor);
    criterion.bench_function("cursor encode", |b| b.iter(|| encode(black_box(&cursor))));
    criterion.bench_function("cursor decode", |b| {
        b.iter(|| decode::<TaskCursor>(black_box(&text)).unwrap())
    });
}

criterion_group!(micro, events, cursors);
criterion_main!(micro);
