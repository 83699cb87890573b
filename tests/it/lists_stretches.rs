//! Lists that are one stretch of an order: planned once, and read together.

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use taskd::domain::task::{Status, Task};
use taskd::ground::tls::Tls;
use taskd::store::task_list::{self, Position, PositionKey, Sort, SortKey, TaskQuery};
use taskd::store::{Connection, PostgresUrl, Store};

use crate::lists::ROWS;
use crate::plans::planned_once;
use taskd_testing::{Api, Process, World, eventually};

/// A database with [`ROWS`], and one connection to it.
async fn world() -> (World, Store) {
    let world = World::new().await;
    let db = world.db().await;
    db.run("INSERT INTO categories (name, created_at, updated_at) VALUES ('c', now(), now())")
        .await;
    db.run(ROWS).await;
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    let store = Store::new(&url, 1).unwrap();
    (world, store)
}

/// Stretches of an order, from its beginning and from a place within, with all ends it can have.
fn stretches(sort: Sort) -> Vec<TaskQuery> {
    // Where the rows are: due from 2030 on, changed in 2026.
    let due = |second: i64| DateTime::<Utc>::from_timestamp(1_893_456_000 + second, 0);
    let keys = match sort.key {
        SortKey::Title => vec![PositionKey::Text("b".into())],
        SortKey::CreatedAt => vec![PositionKey::At("2026-01-01T00:00:00.000003Z".parse().unwrap())],
        SortKey::UpdatedAt => vec![PositionKey::At("2026-01-05T00:00:00Z".parse().unwrap())],
        SortKey::DueAt => vec![PositionKey::At(due(2).unwrap()), PositionKey::Never],
    };
    let places = keys.into_iter().map(|key| Some(Position { key, id: 31 }));
    let ends: &[_] = match sort.key {
        SortKey::DueAt => &[(None, None), (due(1), None), (None, due(4)), (due(1), due(4))],
        _ => &[(None, None)],
    };
    let all = TaskQuery { sort, limit: 21, ..TaskQuery::default() };
    let filters = match sort.key {
        SortKey::CreatedAt => filtered(&all),
        _ => Vec::new(),
    };
    let mut queries = Vec::new();
    for after in [None].into_iter().chain(places) {
        for (due_after, due_before) in ends {
            let (due_after, due_before) = (*due_after, *due_before);
            queries.push(TaskQuery { due_after, due_before, after: after.clone(), ..all.clone() });
        }
        let filters = filters.iter();
        queries.extend(filters.map(|query| TaskQuery { after: after.clone(), ..query.clone() }));
    }
    queries
}

/// By one filter each.
fn filtered(query: &TaskQuery) -> Vec<TaskQuery> {
    let statuses = [Status::Pending, Status::Completed];
    let mut queries: Vec<_> = statuses
        .map(|status| TaskQuery { status: Some(status), ..query.clone() })
        .into_iter()
        .collect();
    for id in [1, 2] {
        queries.push(TaskQuery { user_id: Some(id), ..query.clone() });
        queries.push(TaskQuery { category_id: Some(id), ..query.clone() });
    }
    queries
}

async fn alone(connection: &mut Connection, queries: &[TaskQuery]) -> Vec<Vec<Task>> {
    let mut pages = Vec::new();
    for query in queries {
        pages.push(task_list::page(connection, query).await.unwrap());
    }
    pages
}

async fn together(connection: &mut Connection, queries: &[TaskQuery]) -> Vec<Vec<Task>> {
    let pages = task_list::pages(connection, queries).await;
    pages.into_iter().map(|page| page.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn pages_that_are_read_together_are_those_that_are_read_alone() {
    let (_world, store) = world().await;
    let mut connection = store.connection().await.unwrap();
    let mut all = Vec::new();
    for sort in Sort::all() {
        for query in stretches(sort) {
            assert_eq!(task_list::can_go_together(&query), sort.key != SortKey::Title);
            let lengths = [1, 5, 20, 21, 60].map(|limit| TaskQuery { limit, ..query.clone() });
            all.extend(lengths.into_iter().filter(task_list::can_go_together));
        }
    }
    let wanted = alone(&mut connection, &all).await;
    // Those of whom there is nothing, and hardly any other.
    let empty = wanted.iter().filter(|page| page.is_empty()).count();
    assert!((1..all.len() / 4).contains(&empty), "{empty} of {}", all.len());
    assert_eq!(together(&mut connection, &all).await, wanted);
    for query in &all {
        let twice = [query.clone(), query.clone()];
        let pages = together(&mut connection, &twice).await;
        assert_eq!(pages[0], pages[1], "{query:?}");
        assert!(pages[0].len() as i64 <= query.limit);
    }
    assert!(together(&mut connection, &[]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn only_a_stretch_of_an_order_by_time_is_read_with_others() {
    let plain = TaskQuery { limit: 20, ..TaskQuery::default() };
    assert!(task_list::can_go_together(&plain));
    let by_due = Sort { key: SortKey::DueAt, descending: false };
    for one_filter in filtered(&plain) {
        assert!(task_list::can_go_together(&one_filter), "{one_filter:?}");
        let two_filters = match one_filter.status {
            Some(_) => TaskQuery { user_id: Some(1), ..one_filter.clone() },
            None => TaskQuery { status: Some(Status::Pending), ..one_filter.clone() },
        };
        let sorted = TaskQuery { sort: by_due, ..one_filter.clone() };
        let due = TaskQuery { due_before: Some(Utc::now()), ..one_filter };
        for other in [two_filters, sorted, due] {
            assert!(!task_list::can_go_together(&other), "{other:?}");
        }
    }
    for other in [
        TaskQuery { search: Some("text".into()), ..plain.clone() },
        TaskQuery { due_after: Some(Utc::now()), ..plain.clone() },
        TaskQuery { sort: Sort { key: SortKey::Title, descending: true }, ..plain.clone() },
    ] {
        assert!(!task_list::can_go_together(&other), "{other:?}");
    }
}

/// Not for each cursor, each date and each number of pages.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_stretch_of_an_order_is_planned_once() {
    const TIMES: usize = 20;
    let (_world, store) = world().await;
    for sort in Sort::all() {
        let mut connection = store.connection().await.unwrap();
        for query in stretches(sort) {
            for time in 0..TIMES {
                task_list::page(&mut connection, &query).await.unwrap();
                if task_list::can_go_together(&query) {
                    together(&mut connection, &vec![query.clone(); 2 + time % 3]).await;
                }
            }
        }
        assert!(planned_once(&mut connection).await >= 2);
        Store::discard(connection);
    }
}

/// Whether a user has few tasks or most, and whatever PostgreSQL knows of them. Of user 2 it would guess, as there are
/// few before and many after, that there are few.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn only_the_rows_of_the_pages_are_read() {
    const ROWS: i64 = 20_000;
    const TIMES: i64 = 10;
    const LIMITS: [i64; 3] = [21, 51, 101];
    let world = World::new().await;
    let db = world.db().await;
    db.run(&format!(
        "INSERT INTO users (email, created_at, updated_at)
         SELECT n || '@example.com', now(), now() FROM generate_series(2, 20) n;
         INSERT INTO categories (name, created_at, updated_at) VALUES ('c', now(), now()), ('d', now(), now());
         INSERT INTO tasks (title, status, user_id, category_id, version, created_at, updated_at, due_at)
         SELECT 't', (ARRAY['pending', 'in-progress', 'completed', 'completed'])[n % 4 + 1],
                CASE WHEN n % 100 = 0 THEN 1 WHEN n % 5 < 3 THEN 2 ELSE n % 17 + 3 END,
                CASE WHEN n % 5000 = 1 THEN 2 ELSE 1 END, 1,
                now() - n * interval '1 s', now() - n * 7 % {ROWS} * interval '1 s',
                now() + n * interval '1 s'
         FROM generate_series(1, {ROWS}) n"
    ))
    .await;
    db.run("VACUUM ANALYZE").await;
    let figures = async || {
        let db = world.db().await;
        let of_tasks = |what: &str| {
            format!("SELECT ({what})::bigint FROM pg_stat_user_tables WHERE relname = 'tasks'")
        };
        let scans = db.number(&of_tasks("seq_scan")).await;
        (scans, db.number(&of_tasks("coalesce(idx_tup_fetch, 0)")).await)
    };
    let (scans, fetched) = figures().await;
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    let store = Store::new(&url, 1).unwrap();
    let mut connection = store.connection().await.unwrap();
    let (mut rows, mut most) = (0, 0);
    for limit in LIMITS {
        let plain = TaskQuery { limit, ..TaskQuery::default() };
        let mut queries = filtered(&plain);
        for key in [SortKey::CreatedAt, SortKey::UpdatedAt, SortKey::DueAt] {
            for descending in [false, true] {
                queries.push(TaskQuery { sort: Sort { key, descending }, ..plain.clone() });
            }
        }
        let twice = [queries.clone(), queries.clone()].concat();
        for _ in 0..TIMES {
            let pages = alone(&mut connection, &queries).await;
            rows += 3 * pages.iter().map(|page| page.len() as i64).sum::<i64>();
            let both = together(&mut connection, &twice).await;
            assert!(both[..queries.len()] == pages && both[queries.len()..] == pages);
        }
        most += TIMES * 3 * queries.len() as i64 * (limit + 2);
    }
    assert!(planned_once(&mut connection).await >= LIMITS.len() * 2 * 9);
    Store::discard(connection);
    // What a session has read is known when it has ended.
    eventually("the figures are there", || async {
        (figures().await.1 - fetched >= rows).then_some(())
    })
    .await;
    let (scans_after, fetched_after) = figures().await;
    assert_eq!(scans_after, scans, "the whole table was read");
    assert!(fetched_after - fetched <= most, "{} rows read, not {most}", fetched_after - fetched);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn those_who_ask_at_the_same_time_get_each_their_own_page() {
    let (world, _store) = world().await;
    // Without the cache, which would answer the second time.
    let mut command = world.command(&["serve"], &[]);
    command.env_remove("REDIS_URL");
    let serve = Process::start(command, "serve");
    let line = serve.log("it serves", |line| line["address"].is_string()).await;
    let api = Api::at(line["address"].as_str().unwrap());
    let paths: Vec<String> = (0..48)
        .map(|n| {
            let list = [
                "sort=dueAt&dueAfter=2030-01-01T00:00:01Z",
                "sort=-dueAt",
                "userId=1",
                "sort=createdAt&status=pending",
                "sort=-updatedAt",
                "sort=title",
            ][n % 6];
            format!("/tasks?{list}&limit={}", n % 7 + 1)
        })
        .collect();
    let mut wanted = Vec::new();
    for path in &paths {
        wanted.push(api.get(path).await.expect(200));
    }
    for _ in 0..5 {
        let asked = join_all(paths.iter().map(|path| api.get(path))).await;
        let pages: Vec<_> = asked.into_iter().map(|answer| answer.expect(200)).collect();
        assert_eq!(pages, wanted);
    }
}
