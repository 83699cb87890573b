//! Lists of tasks: paging, sorts, filters, search.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use taskd_testing::{Api, Db, Process, World};

/// Every order, and the same in SQL.
const SORTS: [(&str, &str); 8] = [
    ("createdAt", "created_at, id"),
    ("-createdAt", "created_at DESC, id DESC"),
    ("updatedAt", "updated_at, id"),
    ("-updatedAt", "updated_at DESC, id DESC"),
    ("dueAt", "due_at NULLS LAST, id"),
    ("-dueAt", "due_at DESC NULLS FIRST, id DESC"),
    ("title", "title, id"),
    ("-title", "title DESC, id DESC"),
];

/// Many rows with few different keys, in an order of ids that is not theirs.
pub(crate) const ROWS: &str = "INSERT INTO tasks (title, description, status, user_id, category_id, due_at, version,
                       created_at, updated_at)
    SELECT (ARRAY['a', 'B', 'é', 'a b', '_', '%', '\"', 'Zz'])[n * 7 % 8 + 1],
           CASE WHEN n % 3 = 0 THEN 'row ' || n END,
           (ARRAY['pending', 'in-progress', 'completed'])[n % 3 + 1],
           CASE WHEN n % 4 > 0 THEN 1 END, CASE WHEN n % 5 > 0 THEN 1 END,
           CASE WHEN n % 3 > 0 THEN '2030-01-01Z'::timestamptz + n * 7 % 5 * interval '1.000001 s' END, 1,
           '2026-01-01Z'::timestamptz + n * 11 % 6 * interval '0.000001 s',
           '2026-01-02Z'::timestamptz + n * 13 % 7 * interval '1 day'
    FROM generate_series(1, 60) n";

/// Pages to the end. Every page but the last must be full.
async fn ids(api: &Api, query: &str, limit: usize) -> Vec<i64> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/tasks?limit={limit}&{query}{cursor}")).await.expect(200);
        let rows = page["data"].as_array().unwrap();
        ids.extend(rows.iter().map(|task| task["id"].as_i64().unwrap()));
        let Some(next) = page["nextCursor"].as_str() else { return ids };
        assert_eq!(rows.len(), limit, "{query}");
        cursor = format!("&cursor={next}");
    }
}

async fn by_sql(db: &Db, condition: &str, order: &str) -> Vec<i64> {
    let sql = format!(
        "SELECT id, row_number() OVER (ORDER BY {order}) AS place FROM tasks WHERE {condition}"
    );
    let mut rows = db.rows(&sql).await;
    rows.sort_by_key(|row| row["place"].as_i64());
    rows.iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn paging_to_the_end_yields_every_row_once_in_every_order() {
    let world = World::new().await;
    let serve = world.serve().await;
    let (api, db) = (serve.api(), world.db().await);
    api.post("/categories", json!({ "name": "c" })).await.expect(201);
    db.run(ROWS).await;
    for (sort, order) in SORTS {
        let wanted = by_sql(&db, "true", order).await;
        assert_eq!(wanted.len(), 60);
        for limit in [1, 7, 60, 100] {
            assert_eq!(
                ids(&api, &format!("sort={sort}"), limit).await,
                wanted,
                "{sort} by {limit}"
            );
        }
        for (filter, condition) in [
            ("status=in-progress", "status = 'in-progress'"),
            ("userId=1", "user_id = 1"),
            ("categoryId=1", "category_id = 1"),
            (
                "userId=1&categoryId=1&status=pending",
                "user_id = 1 AND category_id = 1 AND status = 'pending'",
            ),
            ("search=B", "title ILIKE '%b%' OR description ILIKE '%b%'"),
            ("search=row%201&userId=1", "description ILIKE '%row 1%' AND user_id = 1"),
            ("dueBefore=2030-01-01T00:00:03Z", "due_at < '2030-01-01T00:00:03Z'"),
            ("dueAfter=2030-01-01T00:00:01Z", "due_at > '2030-01-01T00:00:01Z'"),
            (
                "dueAfter=2030-01-01T00:00:01Z&dueBefore=2030-01-01T00:00:04.000004Z",
                "due_at > '2030-01-01T00:00:01Z' AND due_at < '2030-01-01T00:00:04.000004Z'",
            ),
        ] {
            let wanted = by_sql(&db, condition, order).await;
            assert!((1..60).contains(&wanted.len()), "{filter}: {wanted:?}");
            assert_eq!(
                ids(&api, &format!("sort={sort}&{filter}"), 4).await,
                wanted,
                "{sort} {filter}"
            );
        }
    }
    assert_eq!(ids(&api, "", 20).await, by_sql(&db, "true", "created_at DESC, id DESC").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_and_go_while_paging_repeat_and_hide_no_other() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    for number in 1..=9 {
        api.task(&format!("t{number}"), None).await;
    }
    let first = api.get("/tasks?limit=3").await.expect(200);
    api.task("new, and at the front", None).await;
    // The very row that the cursor stands on, and one that is still to come.
    api.delete("/tasks/7").await;
    api.delete("/tasks/5").await;
    let cursor = first["nextCursor"].as_str().unwrap();
    let rest = ids(&api, &format!("cursor={cursor}"), 100).await;
    assert_eq!(rest, [6, 4, 3, 2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_total_counts_what_passes_the_filters() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    api.post("/categories", json!({ "name": "c" })).await.expect(201);
    world.db().await.run(ROWS).await;
    let total =
        async |query: &str| api.get(&format!("/tasks?{query}")).await.expect(200)["total"].clone();
    assert_eq!(total("total=true").await, 60);
    assert_eq!(total("total=true&limit=1").await, 60);
    assert_eq!(total("total=true&status=pending").await, 20);
    assert_eq!(total("total=true&search=nothing").await, 0);
    assert_eq!(total("total=false").await, Value::Null);
    assert_eq!(total("").await, Value::Null);
    let first =
        api.get("/tasks?limit=20").await.expect(200)["nextCursor"].as_str().unwrap().to_owned();
    assert_eq!(total(&format!("total=true&limit=20&cursor={first}")).await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn search_finds_any_text_in_title_or_description_whatever_its_case() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let texts = [
        ("Write Docs", None),
        ("100% done", Some("snake_case")),
        ("1000 done", Some("snakeXcase")),
        ("ÄÖÜ Straße", Some("Москва")),
        ("x", Some("back\\slash and 'quote'")),
        ("日本語のテスト", None),
        ("other", Some("mentions write as well")),
    ];
    for (title, description) in texts {
        api.post("/tasks", json!({ "title": title, "description": description })).await.expect(201);
    }
    for (search, wanted) in [
        ("write", [1, 7].as_slice()),
        ("WRITE D", &[1]),
        ("%", &[2]),
        ("0%", &[2]),
        ("_", &[2]),
        ("snake_case", &[2]),
        ("snake%case", &[]),
        ("\\", &[5]),
        ("\\s", &[5]),
        ("'quote'", &[5]),
        ("äöü", &[4]),
        ("ü s", &[4]),
        ("ß", &[4]),
        ("МОСКВА", &[4]),
        ("本", &[6]),
        ("日本語の", &[6]),
        ("x", &[3, 5]),
        ("do", &[1, 2, 3]),
        ("e d", &[1]),
        ("nothing of the kind", &[]),
        ("Docs mentions", &[]),
    ] {
        let answer = api.request("GET", "/tasks?sort=createdAt").query(&[("search", search)]);
        let page: Value = answer.send().await.unwrap().json().await.unwrap();
        let found: Vec<i64> =
            page["data"].as_array().unwrap().iter().map(|t| t["id"].as_i64().unwrap()).collect();
        assert_eq!(found, wanted, "{search}");
    }
    let longest = "é".repeat(200);
    let longest = api.request("GET", "/tasks").query(&[("search", &longest)]).send().await.unwrap();
    assert_eq!(longest.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn due_filters_leave_out_their_own_moment_and_tasks_that_are_never_due() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    for due in [
        Some("2030-01-01T00:00:00Z"),
        Some("2030-01-02T00:00:00Z"),
        Some("2030-01-03T00:00:00Z"),
        None,
    ] {
        api.post("/tasks", json!({ "title": "t", "dueAt": due })).await.expect(201);
    }
    let found =
        async |query: &str| ids(&api, query, 100).await.into_iter().collect::<BTreeSet<i64>>();
    assert_eq!(found("dueBefore=2030-01-02T00:00:00Z").await, [1].into());
    assert_eq!(found("dueAfter=2030-01-02T00:00:00Z").await, [3].into());
    assert_eq!(
        found("dueAfter=2030-01-01T00:00:00Z&dueBefore=2030-01-03T00:00:00Z").await,
        [2].into()
    );
    assert_eq!(found("dueBefore=2030-01-02T01:00:00%2B01:00").await, [1].into());
    assert_eq!(found("dueBefore=9999-12-31T23:59:59Z").await, [1, 2, 3].into());
    assert_eq!(found("dueAfter=0001-01-01T00:00:00Z").await, [1, 2, 3].into());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn no_filter_or_sort_reads_the_whole_table() {
    const ROWS: i64 = 50_000;
    /// A page has 20 rows; a filter that passes few of those that an index has next to each other
    /// reads more, but nowhere near all.
    const MOST_READ: i64 = ROWS / 10;
    let world = World::new().await;
    let db = world.db().await;
    db.run(&format!(
        "INSERT INTO users (email, created_at, updated_at)
         SELECT n || '@example.com', now(), now() FROM generate_series(2, 500) n;
         INSERT INTO categories (name, created_at, updated_at)
         SELECT 'c' || n, now(), now() FROM generate_series(1, 100) n;
         INSERT INTO tasks (title, description, status, user_id, category_id, due_at, version, created_at, updated_at)
         SELECT md5(n::text), CASE WHEN n % 1000 = 0 THEN 'needle in the haystack' END,
                CASE WHEN n % 50 = 0 THEN 'pending' ELSE 'completed' END, n % 500 + 1, n % 100 + 1,
                CASE WHEN n % 3 > 0 THEN now() + n * interval '1 minute' END, 1,
                now() - n * interval '1 second', now() - n % 977 * interval '1 second'
         FROM generate_series(1, {ROWS}) n"
    ))
    .await;
    // As autovacuum does after a while; alone it also empties the trigram index's list of rows that
    // are not yet in their places.
    db.run("VACUUM ANALYZE").await;
    // The figures are complete once the sessions they are about have ended.
    let read = async || {
        let looker = world.db().await;
        let read =
            "SELECT (seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables
                    WHERE relname = 'tasks'";
        (
            looker.number("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'tasks'").await,
            looker.number(read).await,
        )
    };
    for filter in [
        "",
        "status=pending",
        "userId=7",
        "categoryId=7",
        "search=needle",
        "search=0123",
        "userId=7&status=pending",
        "dueAfter=2000-01-01T00:00:00Z",
        "dueBefore=2000-01-01T00:00:00Z",
        "search=no+such+text+anywhere",
    ] {
        let (scans, rows) = read().await;
        // Without the cache, which would hide what is read.
        let mut command = world.command(&["serve"], &[]);
        command.env_remove("REDIS_URL");
        let serve = Process::start(command, "serve");
        let line = serve.log("it serves", |line| line["address"].is_string()).await;
        let api = Api::at(line["address"].as_str().unwrap());
        for (sort, _) in SORTS {
            api.get(&format!("/tasks?sort={sort}&{filter}")).await.expect(200);
        }
        serve.signal("TERM");
        serve.exit().await;
        let (scans_after, rows_after) = read().await;
        assert_eq!(scans_after - scans, 0, "{filter}: the whole table was read");
        let each = (rows_after - rows) / SORTS.len() as i64;
        assert!(each <= MOST_READ, "{filter}: {each} rows read for a page, on average");
    }
}
