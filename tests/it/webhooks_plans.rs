//! What statements about deliveries read: little, however many there are.

use std::time::Duration;

use serde_json::json;
use taskd::ground::tls::Tls;
use taskd::store::webhooks::settling::{self, Tried, Verdict};
use taskd::store::webhooks::taking::{self, Room};
use taskd::store::webhooks::{fan_out, health};
use taskd::store::{PostgresUrl, Store};

use crate::plans::{planned_once, rows_read_of};
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_is_due_is_taken_and_settled_without_reading_what_is_not() {
    let world = World::new().await;
    let db = world.db().await;
    db.run(ROWS).await;
    db.run("VACUUM ANALYZE webhook_deliveries").await;
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    let store = Store::new(&url, 1).unwrap();
    let mut connection = store.connection().await.unwrap();
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
                record: json!({ "status": 200 }),
            })
            .collect();
        settling::settle(&mut connection, &tried).await.unwrap();
        let read = rows_read_of(&mut connection, "webhook_deliveries").await - before;
        assert!(read < 4_000, "{read} rows were read the {time}. time, of 84,000");
        health::note(&mut connection, 1, true).await.unwrap();
        fan_out::release(&mut connection).await.unwrap();
    }
    assert!(planned_once(&mut connection).await >= 3);
    let done = "SELECT count(*) FROM webhook_deliveries WHERE attempts <> '[]'";
    assert_eq!(db.number(done).await, 12 * 60);
}
