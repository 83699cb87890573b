//! Statements that PostgreSQL plans once, not with each use.

use std::time::Duration;

use chrono::Utc;
use taskd::domain::event::{Actor, Event, NewEvent, Origin};
use taskd::domain::processing::effect::EffectKey;
use taskd::domain::processing::state::EventState;
use taskd::domain::task::{Status, Task, TaskFields, events};
use taskd::feed::{Since, View, page};
use taskd::ground::tls::Tls;
use taskd::store::delivery::processed::{self, EventRecord, Finished};
use taskd::store::delivery::queue::{self, NewRow};
use taskd::store::events::{self as outbox, EventQuery};
use taskd::store::{Connection, PostgresUrl, Store, activity, tasks};

use taskd_testing::World;

/// How many statements are prepared, each of which is planned once.
pub(crate) async fn planned_once(connection: &mut Connection) -> usize {
    let plans: Vec<Plans> = diesel_async::RunQueryDsl::load(
        diesel::sql_query("SELECT statement, custom_plans FROM pg_prepared_statements"),
        connection,
    )
    .await
    .unwrap();
    for Plans { statement, custom_plans } in &plans {
        // PostgreSQL tries five plans for the values at hand before it settles for one for all.
        assert!(*custom_plans <= 5, "{custom_plans} plans of {statement}");
    }
    plans.len()
}

#[derive(Debug, diesel::QueryableByName)]
struct Plans {
    #[diesel(sql_type = diesel::sql_types::Text)]
    statement: String,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    custom_plans: i64,
}

/// As most are that are written together.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_writes_a_few_rows_is_planned_once() {
    const TIMES: usize = 20;
    let world = World::new().await;
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    let store = Store::new(&url, 1).unwrap();
    let mut connection = store.connection().await.unwrap();
    let few = |n: usize| n % 3 + 1;
    for time in 0..TIMES {
        let new: Vec<_> = (0..few(time)).map(|_| created()).collect();
        let ids = tasks::insert_all(&mut connection, &new, None).await.unwrap();
        assert_eq!(ids.len(), few(time));
        let changed: Vec<_> = new
            .into_iter()
            .map(|(task, event)| changed(Task { id: ids[&event.id], ..task }))
            .collect();
        let updated = tasks::update(&mut connection, &changed, None).await.unwrap();
        assert_eq!(updated.len(), few(time));

        let events: Vec<Event> = changed.into_iter().map(|(_, event)| Event::from(event)).collect();
        let record = |event: &Event| {
            let event_id = event.metadata.event_id;
            EventRecord { event_id, effects: 2, recorded: false }
        };
        let records: Vec<EventRecord> = events.iter().map(record).collect();
        let entries: Vec<_> = events.iter().zip(records.iter().copied()).collect();
        let key = EffectKey::only("activity");
        let logged = activity::record_once(&mut connection, &key, &entries).await.unwrap();
        assert_eq!(logged.len(), few(time));
        let lease = Duration::from_secs(25);
        let mails: Vec<(EffectKey, EventRecord)> =
            records.iter().map(|s| (EffectKey::only("email"), *s)).collect();
        let claimed = processed::claim(&mut connection, &mails, "we".into(), lease).await;
        assert_eq!(claimed.unwrap().len(), few(time));
        let finished = |(effect, record): &(EffectKey, EventRecord)| Finished {
            event_id: record.event_id,
            effect: effect.clone(),
            skipped: false,
            note: None,
        };
        let finished: Vec<_> = mails.iter().map(finished).collect();
        processed::finish(&mut connection, &finished, "we".into()).await.unwrap();

        let rows: Vec<NewRow> = (0..few(time)).map(|_| row(&world.queue)).collect();
        queue::add(&mut connection, &rows).await.unwrap();
    }
    assert!(planned_once(&mut connection).await >= 6);
}

pub(crate) fn created() -> (Task, NewEvent) {
    let fields = TaskFields {
        title: "t".into(),
        description: None,
        status: Status::Pending,
        user_id: None,
        category_id: None,
        due_at: None,
    };
    let task = Task::create(fields, Utc::now());
    let event = events::created(&task, Origin::of(Actor::SYSTEM));
    (task, event)
}

fn changed(before: Task) -> (Task, NewEvent) {
    let fields = TaskFields { title: "u".into(), ..before.fields() };
    let after = before.update(fields, Utc::now()).unwrap();
    let event = events::updated(&before, &after, Origin::of(Actor::user(1)));
    (after, event)
}

fn row(queue: &str) -> NewRow {
    NewRow {
        queue: queue.to_owned(),
        delay: Duration::ZERO,
        message_id: None,
        message_type: None,
        content_type: None,
        sent_at: None,
        headers: "{}".into(),
        body: b"{}".to_vec(),
    }
}

/// With all events done, to say that none is queued must not take reading all of them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_is_queued_is_found_without_reading_what_is_done() {
    const DONE: i64 = 30_000;
    let world = World::new().await;
    let db = world.db().await;
    db.run(&format!(
        "INSERT INTO events (id, task_id, task_version, type, payload, occurred_at, published_at)
         SELECT gen_random_uuid(), 1, n, 'TASK_UPDATED', '{{}}', now(), now()
         FROM generate_series(1, {DONE}) AS n;
         UPDATE unfinished_events_mark SET seq = (SELECT last_value FROM events_seq_seq),
                                           next_seq = (SELECT last_value FROM events_seq_seq)"
    ))
    .await;
    db.run("VACUUM ANALYZE events").await;
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    let store = Store::new(&url, 1).unwrap();
    let mut connection = store.connection().await.unwrap();
    for state in [EventState::Queued, EventState::Retrying, EventState::Dead] {
        let query = EventQuery { state: Some(state), ..EventQuery::default() };
        let before = rows_read(&mut connection).await;
        let found = outbox::list(&mut connection, &query, None, 50).await.unwrap();
        let count = outbox::count(&mut connection, &query).await.unwrap();
        assert_eq!((found.len(), count), (0, 0));
        let read = rows_read(&mut connection).await - before;
        assert!(read < DONE / 10, "{read} rows were read to find what is {}", state.as_str());
    }
}

/// Whoever follows the feed and has seen nearly all of a long outbox reads little of it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_a_follower_has_not_seen_is_found_without_reading_what_it_has() {
    const SEEN: i64 = 30_000;
    let world = World::new().await;
    let db = world.db().await;
    let insert = |count: i64, transaction: &str| {
        format!(
            "INSERT INTO events (id, task_id, task_version, type, payload, occurred_at, published_at, transaction_id)
             SELECT gen_random_uuid(), 1, n, 'TASK_UPDATED', '{{}}', now(), now(), {transaction}
             FROM generate_series(1, {count}) AS n"
        )
    };
    // Of many transactions, as they usually are.
    db.run(&insert(SEEN, "(n % 600 + 1)::text::xid8")).await;
    db.run("VACUUM ANALYZE events").await;
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    let store = Store::new(&url, 1).unwrap();
    let mut connection = store.connection().await.unwrap();
    // The plan for any values, which PostgreSQL may settle for: it is the one that could read most.
    let generic = diesel::sql_query("SET plan_cache_mode = force_generic_plan");
    diesel_async::RunQueryDsl::execute(generic, &mut connection).await.unwrap();
    for since in [Since::Oldest, Since::Now] {
        let before = rows_read(&mut connection).await;
        page(&mut connection, &since, &View::default(), 1).await.unwrap();
        let read = rows_read(&mut connection).await - before;
        assert!(read < SEEN / 100, "{read} rows were read to begin with {since:?}");
    }
    let now = page(&mut connection, &Since::Now, &View::default(), 1).await.unwrap();
    let mut cursor = now.cursor;
    for time in 0..10 {
        db.run(&insert(5, "pg_current_xact_id()")).await;
        let before = rows_read(&mut connection).await;
        let since = Since::After(Box::new(cursor));
        let found = page(&mut connection, &since, &View::default(), 100).await.unwrap();
        assert_eq!(found.entries.len(), 5);
        cursor = found.cursor;
        let read = rows_read(&mut connection).await - before;
        assert!(read < SEEN / 100, "{read} rows were read the {time}. time");
    }
}

async fn rows_read(connection: &mut Connection) -> i64 {
    rows_read_of(connection, "events").await
}

/// How many rows of a table this connection's statements have read so far, of the table or of an index.
pub(crate) async fn rows_read_of(connection: &mut Connection, table: &str) -> i64 {
    #[derive(diesel::QueryableByName)]
    struct Read {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let flush = diesel::sql_query("SELECT pg_stat_force_next_flush()");
    diesel_async::RunQueryDsl::execute(flush, connection).await.unwrap();
    let query = diesel::sql_query(format!(
        "SELECT (seq_tup_read + (SELECT coalesce(sum(idx_tup_read), 0)
                                 FROM pg_stat_user_indexes i WHERE i.relid = t.relid))::bigint AS count
         FROM pg_stat_user_tables t WHERE relname = '{table}'"
    ));
    let read: Read = diesel_async::RunQueryDsl::get_result(query, connection).await.unwrap();
    read.count
}

/// Nobody else does it there.
#[cfg(feature = "embedded")]
#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_database_is_told_how_many_tasks_there_are() {
    use taskd::store::task_list;

    let world = World::alone();
    let (_database, store) = crate::contract_broker::embedded_database(&world).await;
    let mut connection = store.connection().await.unwrap();
    let new: Vec<_> = (0..50).map(|_| created()).collect();
    tasks::insert_all(&mut connection, &new, None).await.unwrap();
    assert!(known_tasks(&mut connection).await < 0, "nothing is known of a new table");
    task_list::analyze(&mut connection).await.unwrap();
    assert_eq!(known_tasks(&mut connection).await, 50);
}

#[cfg(feature = "embedded")]
async fn known_tasks(connection: &mut Connection) -> i64 {
    #[derive(diesel::QueryableByName)]
    struct Known {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let sql = "SELECT reltuples::bigint AS count FROM pg_class WHERE relname = 'tasks'";
    let query = diesel::sql_query(sql);
    let known: Known = diesel_async::RunQueryDsl::get_result(query, connection).await.unwrap();
    known.count
}
