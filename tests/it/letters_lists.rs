//! Pages of dead letters by effect and type.

use taskd::ground::tls::Tls;
use taskd::store::letters::{self, LetterFilter, LetterState};
use taskd::store::{PostgresUrl, Store};

use taskd_testing::{Db, World};

/// So many letters of 300 causes, two of which differ in effect and type from all others. Each
/// third is discarded.
async fn fill(db: &Db, letters: usize) {
    db.run(&format!(
        "INSERT INTO dead_letters (id, event_type, subject_kind, subject_id, reason, effect, attempts,
             died_at, fingerprint, pattern, message, body, is_ours, recorded)
         SELECT 'letter ' || n, CASE WHEN cause > 297 THEN 'TASK_DELETED' ELSE 'TASK_CREATED' END,
             'task', n, 'failed', CASE WHEN cause > 298 THEN 'activity' ELSE 'email' END, 1,
             timestamptz '2026-01-01' + (n / 7) * interval '1 s', 'cause ' || cause, 'p', '{{}}', '',
             true, true
         FROM (SELECT n, CASE WHEN n % 97 = 0 THEN 298 + n % 2 ELSE n % 298 END AS cause
               FROM generate_series(1, {letters}) AS n) AS new"
    ))
    .await;
    db.run(
        "UPDATE dead_letters SET state = 'discarded', settled_at = now(), settled_by = 'us'
         WHERE substr(id, 8)::int % 3 = 0",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn letters_of_an_effect_and_a_type_are_listed_page_by_page_without_reading_the_others() {
    const LETTERS: usize = 20_000;
    let world = World::new().await;
    let db = world.db().await;
    fill(&db, LETTERS).await;
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    let store = Store::new(&url, 1).unwrap();
    let mut connection = store.connection().await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    let of = |effect: Option<&str>, event_type: Option<&str>| LetterFilter {
        effect: effect.map(str::to_owned),
        event_type: event_type.map(str::to_owned),
        ..LetterFilter::default()
    };
    let filters = [
        (of(Some("activity"), None), "effect = 'activity'"),
        (
            of(Some("email"), Some("TASK_DELETED")),
            "effect = 'email' AND event_type = 'TASK_DELETED'",
        ),
        (of(Some("activity"), Some("TASK_CREATED")), "false"),
        (of(None, Some("TASK_CREATED")), "event_type = 'TASK_CREATED'"),
        (
            LetterFilter { group: text("cause 5"), ..of(Some("email"), None) },
            "fingerprint = 'cause 5' AND effect = 'email'",
        ),
        (LetterFilter { group: text("cause 5"), ..of(Some("activity"), None) }, "false"),
        (LetterFilter { task_id: Some(97), ..of(Some("activity"), None) }, "subject_id = 97"),
    ];
    // How many rows of the letters have been read.
    const FLUSH: &str = "SELECT pg_stat_force_next_flush()";
    let read = async || {
        db.run(FLUSH).await;
        let sql = "SELECT (seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint
             FROM pg_stat_user_tables WHERE relname = 'dead_letters'";
        db.number(sql).await
    };
    let before = read().await;
    for (filter, _) in filters.iter().filter(|(_, condition)| !condition.contains("CREATED")) {
        letters::list(&mut connection, LetterState::Open, filter, None, 40).await.unwrap();
        letters::count(&mut connection, LetterState::Discarded, filter).await.unwrap();
    }
    diesel_async::RunQueryDsl::execute(diesel::sql_query(FLUSH), &mut connection).await.unwrap();
    let rows = read().await - before;
    assert!((1..LETTERS as i64 / 10).contains(&rows), "{rows} rows were read");
    for state in [LetterState::Open, LetterState::Discarded] {
        for (filter, condition) in &filters {
            let name = state.as_str();
            let rows = db
                .rows(&format!(
                    "SELECT id FROM dead_letters WHERE state = '{name}' AND {condition}
                     ORDER BY died_at, id"
                ))
                .await;
            let expected: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
            let total = letters::count(&mut connection, state, filter).await.unwrap();
            assert_eq!(total, expected.len() as i64, "{name} {condition}");
            let (mut found, mut after) = (Vec::new(), None);
            // Enough pages to pass from one cause to the next, and all of what is rare.
            for _ in 0..5 {
                let page = letters::list(&mut connection, state, filter, after.take(), 40).await;
                let page = page.unwrap();
                after = page.last().map(|row| (row.died_at, row.id.clone()));
                found.extend(page.into_iter().map(|row| row.id));
                if after.is_none() {
                    break;
                }
            }
            let expected = &expected[..expected.len().min(200)];
            assert_eq!(found, expected, "{name} {condition}");
        }
    }
}
