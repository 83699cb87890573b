//! `taskd purge`.

use serde_json::json;

use taskd_testing::World;

/// Old and new rows in each table. Event ids are of version 7: they begin with their time.
const ROWS: &str = "
    CREATE FUNCTION uuid_at(at timestamptz, n int) RETURNS uuid LANGUAGE sql AS $$
        SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7000' || '8000'
                || lpad(to_hex(n), 12, '0'))::uuid $$;
    INSERT INTO processed_messages (event_id, effect, state, touched_at)
    SELECT uuid_at(now(), n), 'email', 'done', now() - n * interval '1 day' FROM generate_series(1, 60) n;
    INSERT INTO events (id, task_id, task_version, type, payload, occurred_at, published_at)
    SELECT uuid_at(at, n), 1, 1, 'TASK_CREATED', '{}', at, CASE WHEN n % 2 = 0 THEN at END
    FROM (SELECT n, now() - n * interval '1 day' AS at FROM generate_series(1, 60) n) t;
    INSERT INTO task_activity (event_id, task_id, task_version, type, occurred_at, recorded_at)
    SELECT uuid_at(now(), n), 1, 1, 'TASK_CREATED', now(), now() - n * 10 * interval '1 day'
    FROM generate_series(1, 60) n;
    INSERT INTO event_steps (event_id, at, kind, attempt, retries, actor, message)
    SELECT uuid_at(now(), n), now() - n * interval '1 day', 'failed', 1, 5, 'w', 'later'
    FROM generate_series(1, 60) n;
    INSERT INTO activity_minutes (minute, created, published, processed, retried, dead, road)
    SELECT now() - n * interval '1 day', 1, 1, 1, 0, 0, '{1}' FROM generate_series(1, 60) n";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn old_rows_are_deleted_and_unpublished_events_never() {
    let world = World::new().await;
    let db = world.db().await;
    db.run(ROWS).await;
    let purged = world.run(&["purge", "--once"]).await.succeeded().json();
    // Kept: 29 or 30 days of each by default, a year of activity, and a week of minutes.
    let left = async |condition: &str| db.count(condition).await;
    assert_eq!(left("processed_messages WHERE touched_at < now() - interval '30 days'").await, 0);
    assert_eq!(left("processed_messages").await, 29);
    assert_eq!(left("events WHERE published_at < now() - interval '30 days'").await, 0);
    assert_eq!(left("events WHERE published_at IS NOT NULL").await, 14);
    assert_eq!(left("events WHERE published_at IS NULL").await, 30, "every unpublished one");
    assert_eq!(left("task_activity").await, 36);
    assert_eq!(
        purged,
        json!({ "processedMessages": 31, "events": 16, "taskActivity": 24, "eventSteps": 31, "deadLetters": 0, "replays": 0, "audit": 0, "activityMinutes": 54, "idempotencyKeys": 0, "tokens": 0 })
    );
    let again = world.run(&["purge", "--once"]).await.succeeded().json();
    assert_eq!(
        again,
        json!({ "processedMessages": 0, "events": 0, "taskActivity": 0, "eventSteps": 0, "deadLetters": 0, "replays": 0, "audit": 0, "activityMinutes": 0, "idempotencyKeys": 0, "tokens": 0 })
    );

    let shorter = [
        ("EVENT_RETENTION", "10d"),
        ("PROCESSED_RETENTION", "20d"),
        ("ACTIVITY_RETENTION", "100d"),
        ("ATTEMPT_RETENTION", "15d 12h"),
        ("HISTORY_RETENTION", "3d 12h"),
    ];
    let purged = world.run_with(&["purge", "--once"], &shorter).await.succeeded().json();
    assert_eq!(
        purged,
        json!({ "processedMessages": 10, "events": 10, "taskActivity": 27, "eventSteps": 14, "deadLetters": 0, "replays": 0, "audit": 0, "activityMinutes": 3, "idempotencyKeys": 0, "tokens": 0 })
    );
    assert_eq!(left("events WHERE published_at IS NULL").await, 30);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn more_rows_than_one_batch_are_all_deleted() {
    let world = World::new().await;
    let db = world.db().await;
    db.run(
        "INSERT INTO processed_messages (event_id, effect, state, touched_at)
         SELECT gen_random_uuid(), 'email', 'done', now() - interval '40 days' FROM generate_series(1, 12000)",
    )
    .await;
    let purged = world.run(&["purge", "--once"]).await.succeeded().json();
    assert_eq!(
        (&purged["processedMessages"], db.count("processed_messages").await),
        (&json!(12_000), 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_retention_shorter_than_the_road_of_a_message_is_refused() {
    let world = World::new().await;
    let db = world.db().await;
    db.run(ROWS).await;
    let refuse = async |retention: &str, delays: &str| {
        let variables = [("PROCESSED_RETENTION", retention), ("RETRY_DELAYS", delays)];
        world.run_with(&["purge", "--once"], &variables).await
    };
    for (retention, delays) in [("1m", "1s,5s,30s,2m,10m"), ("11h", "6h,6h"), ("99ms", "100ms")] {
        let refused = refuse(retention, delays).await.exited(2);
        assert!(
            refused.stderr.contains("PROCESSED_RETENTION")
                && refused.stderr.contains("RETRY_DELAYS"),
            "{refused:?}"
        );
    }
    assert_eq!(db.count("processed_messages").await, 60);
    refuse("12h", "6h,6h").await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn only_one_process_purges_at_a_time() {
    let world = World::new().await;
    let db = world.db().await;
    db.run(ROWS).await;
    // The lock that purge takes: "taskdprg" in ASCII.
    let lock = i64::from_be_bytes(*b"taskdprg");
    db.run(&format!("SELECT pg_advisory_lock({lock})")).await;
    let purged = world.run(&["purge", "--once"]).await.succeeded();
    assert!(purged.stdout.contains("another process is purging"), "{purged:?}");
    assert_eq!(db.count("processed_messages").await, 60);
    db.run(&format!("SELECT pg_advisory_unlock({lock})")).await;
    assert_eq!(world.run(&["purge", "--once"]).await.succeeded().json()["processedMessages"], 31);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_schedule_has_five_fields_and_its_next_time_is_logged() {
    let world = World::new().await;
    let purge = world.start(&["purge", "--cron", "0 3 * * *"], &[]);
    let line = purge.log("the next time", |line| line["next"].is_string()).await;
    assert!(line["next"].as_str().unwrap().contains("T03:00:00"), "{line}");
    purge.signal("TERM");
    assert_eq!(purge.exit().await.code(), Some(0));
    // Sunday is 0 and 7 alike.
    for sunday in ["0 0 * * 0", "0 0 * * 7", "0 0 * * SUN"] {
        let purge = world.start(&["purge", "--cron", sunday], &[]);
        let line = purge.log("the next time", |line| line["next"].is_string()).await;
        let next = chrono::DateTime::parse_from_rfc3339(line["next"].as_str().unwrap()).unwrap();
        assert_eq!(chrono::Datelike::weekday(&next), chrono::Weekday::Sun, "{sunday}");
    }
    for wrong in ["", "* * * *", "0 0 3 * * *", "60 * * * *", "0 3 * * *; DROP"] {
        let refused = world.run(&["purge", "--cron", wrong]).await.exited(2);
        assert!(
            refused.stderr.contains("PURGE_CRON") || refused.stderr.contains("--cron"),
            "{refused:?}"
        );
    }
    world.run(&["purge"]).await.exited(2);
    world.run(&["purge", "--once", "--cron", "0 3 * * *"]).await.exited(2);
    // A flag goes before the environment.
    let environment = [("PURGE_CRON", "0 3 * * *")];
    world.run_with(&["purge", "--once"], &environment).await.succeeded();
    let purge = world.start(&["purge"], &environment);
    let line = purge.log("the next time", |line| line["next"].is_string()).await;
    assert!(line["next"].as_str().unwrap().contains("T03:00:00"), "{line}");
    let purge = world.start(&["purge", "--cron", "0 4 * * *"], &environment);
    let line = purge.log("the next time", |line| line["next"].is_string()).await;
    assert!(line["next"].as_str().unwrap().contains("T04:00:00"), "{line}");
    let refused = world.run_with(&["purge"], &[("PURGE_CRON", "at noon")]).await.exited(2);
    assert!(refused.stderr.contains("PURGE_CRON"), "{refused:?}");
}
