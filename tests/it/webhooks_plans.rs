//! Statements about deliveries: what they read, and whose record of a try counts.

use std::time::Duration;

use serde_json::json;
use taskd::domain::webhook::{DeliveryState, settles};
use taskd::ground::tls::Tls;
use taskd::store::webhooks::settling::{self, Tried, Verdict};
use taskd::store::webhooks::taking::{self, Room, TakenRow};
use taskd::store::webhooks::{fan_out, history};
use taskd::store::{PostgresUrl, Store};

use crate::plans::rows_read_of;
use taskd_testing::World;

/// Webhooks with a long past and a long future: done deliveries, and some that are due much later.
const ROWS: &str = "
    INSERT INTO webhooks (url, secret, since_seq) SELECT 'https://example.com', '', 0 FROM generate_series(1, 20);
    INSERT INTO webhook_deliveries (webhook_id, event_id, state, due_at, settled_at)
    SELECT w.id, gen_random_uuid(), 'done', now(), now() FROM webhooks w, generate_series(1, 2000);
    INSERT INTO webhook_deliveries (webhook_id, event_id, state, due_at)
    SELECT w.id, gen_random_uuid(), 'pending', now() + interval '1 hour' FROM webhooks w, generate_series(1, 2000);
    UPDATE webhooks SET ordered = true WHERE id < 3;
    INSERT INTO webhook_deliveries (webhook_id, event_id, state, due_at, ordered_by)
    SELECT w.id, gen_random_uuid(), state, now() + interval '1 hour', 'task/' || n
    FROM webhooks w, generate_series(1, 100) n, unnest(ARRAY['pending', 'waiting', 'waiting']) state
    WHERE w.id < 3 ORDER BY n, state;";
/// What is due: five deliveries to each.
const DUE: &str = "
    INSERT INTO webhook_deliveries (webhook_id, event_id, state, due_at)
    SELECT w.id, gen_random_uuid(), 'pending', now() FROM webhooks w, generate_series(1, 5)";

/// A delivery that was resent while a try was under way, or given up before it was answered.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_success_settles_a_delivery_and_a_failure_only_that_of_who_holds_the_lease() {
    let world = World::new().await;
    let db = world.db().await;
    db.run(
        "INSERT INTO webhooks (url, secret, since_seq) VALUES ('https://example.com', '', 0);
         INSERT INTO webhook_deliveries (webhook_id, event_id, state, due_at)
         VALUES (1, gen_random_uuid(), 'pending', now());
         INSERT INTO events (id, task_id, task_version, type, payload, occurred_at)
         SELECT event_id, 1, 1, 'TASK_CREATED', '{}', now() FROM webhook_deliveries",
    )
    .await;
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    let store = Store::new(&url, 1).unwrap();
    let mut connection = store.connection().await.unwrap();
    let room = Room { trusted: 9, doubtful: 9, endpoints: vec![], lease: Duration::from_secs(40) };
    let first = taking::take(&mut connection, &room).await.unwrap().remove(0);
    assert!(history::resend(&mut connection, 1, first.delivery_id).await.unwrap());
    let second = taking::take(&mut connection, &room).await.unwrap().remove(0);
    assert_eq!((first.attempt, second.attempt), (1, 1), "its schedule begins anew");
    let mut settle = async |row: &TakenRow, verdict, status: u16| {
        let tried = Tried {
            webhook_id: row.webhook_id,
            delivery_id: row.delivery_id,
            lease: row.lease,
            verdict,
            sent: true,
            record: json!({ "status": status }),
        };
        settling::settle(&mut connection, &[tried]).await.unwrap();
        let sql = "SELECT state, jsonb_array_length(attempts) AS tries FROM webhook_deliveries";
        let row = db.rows(sql).await.remove(0);
        (row["state"].as_str().unwrap().to_owned(), row["tries"].as_i64().unwrap())
    };
    // The failure of the first try says nothing of the second one; each is in the history.
    assert_eq!(settle(&first, Verdict::Failed, 500).await, ("pending".to_owned(), 1));
    assert_eq!(settle(&second, Verdict::Failed, 500).await, ("failed".to_owned(), 2));
    // An answer that is late has come all the same, and nothing undoes it.
    assert_eq!(settle(&first, Verdict::Done, 200).await, ("done".to_owned(), 3));
    assert_eq!(settle(&second, Verdict::Failed, 500).await, ("done".to_owned(), 4));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_statement_that_settles_does_as_the_rule_says() {
    let world = World::new().await;
    let db = world.db().await;
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    let store = Store::new(&url, 1).unwrap();
    let mut connection = store.connection().await.unwrap();
    db.run(
        "INSERT INTO webhook_deliveries (webhook_id, event_id, state, due_at, lease)
         VALUES (1, gen_random_uuid(), 'pending', now(), 5)",
    )
    .await;
    for state in DeliveryState::ALL {
        for (verdict, after) in [
            (Verdict::Done, "done"),
            (Verdict::Failed, "failed"),
            (Verdict::Again(Duration::from_secs(60)), "pending"),
        ] {
            for lease in [4, 5] {
                let before = state.as_str();
                db.run(&format!(
                    "UPDATE webhook_deliveries SET state = '{before}', due_at = now()"
                ))
                .await;
                let tried = Tried {
                    webhook_id: 1,
                    delivery_id: 1,
                    lease,
                    verdict,
                    sent: true,
                    record: json!({}),
                };
                settling::settle(&mut connection, &[tried]).await.unwrap();
                let counts = settles(verdict == Verdict::Done, state, lease == 5);
                let sql = "SELECT state, due_at > now() + interval '30 seconds' AS later FROM webhook_deliveries";
                let row = db.rows(sql).await.remove(0);
                let expected = if counts { after } else { before };
                assert_eq!(row["state"], expected, "{before} {verdict:?} {lease}");
                let later = counts && after == "pending";
                assert_eq!(row["later"], later, "{before} {verdict:?} {lease}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_is_due_is_taken_and_settled_without_reading_what_is_not() {
    let world = World::new().await;
    let db = world.db().await;
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    let store = Store::new(&url, 1).unwrap();
    let mut connection = store.connection().await.unwrap();
    // What was planned for a table without rows must not be what reads one with many, which nobody
    // has analyzed yet.
    let room = Room { trusted: 9, doubtful: 9, endpoints: vec![], lease: Duration::from_secs(40) };
    for _ in 0..12 {
        taking::take(&mut connection, &room).await.unwrap();
        settling::settle(&mut connection, &[]).await.unwrap();
        fan_out::deliver(&mut connection, &[]).await.unwrap();
        fan_out::release(&mut connection, None, 2_000).await.unwrap();
    }
    db.run(ROWS).await;
    let shares = (1..=10).map(|id| (id, 32, false)).collect();
    let room =
        Room { trusted: 200, doubtful: 100, endpoints: shares, lease: Duration::from_secs(40) };
    for time in 0..12 {
        db.run(DUE).await;
        let before = rows_read_of(&mut connection, "webhook_deliveries").await;
        let taken = taking::take(&mut connection, &room).await.unwrap();
        // All of those that are named, and one of each other.
        assert_eq!(taken.iter().filter(|row| row.webhook_id <= 10).count(), 50, "{time}");
        assert_eq!(taken.iter().filter(|row| row.webhook_id > 10).count(), 10, "{time}");
        let tried: Vec<Tried> = taken
            .iter()
            .map(|row| Tried {
                webhook_id: row.webhook_id,
                delivery_id: row.delivery_id,
                lease: row.lease,
                verdict: Verdict::Done,
                sent: true,
                record: json!({ "status": 200 }),
            })
            .collect();
        settling::settle(&mut connection, &tried).await.unwrap();
        let read = rows_read_of(&mut connection, "webhook_deliveries").await - before;
        assert!(read < 4_000, "{read} rows were read the {time}. time, of 84,000");
        fan_out::release(&mut connection, None, 2_000).await.unwrap();
    }
    let done = "SELECT count(*) FROM webhook_deliveries WHERE attempts <> '[]'";
    assert_eq!(db.number(done).await, 12 * 60);
}
