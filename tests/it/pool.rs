//! What the pool of connections costs.

use taskd::store::{PostgresUrl, Store, tasks};
use taskd::tls::Tls;

use crate::harness::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_connection_in_steady_use_costs_no_statement_of_its_own() {
    const STATEMENTS: i64 = 500;
    let world = World::new().await;
    let store = Store::new(&PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap(), 1);
    let store = store.unwrap();
    let db = world.db().await;
    let run = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    let before = db.number(run).await;
    for id in 0..STATEMENTS {
        tasks::find(&mut store.connection().await.unwrap(), id).await.unwrap();
    }
    // The server counts what a session has done when the session ends, if not before.
    store.close();
    let counted = eventually("they are counted", || async {
        let more = db.number(run).await - before;
        (more >= STATEMENTS).then_some(more)
    })
    .await;
    // Half as many again leaves room for the looking on, and none for one more each.
    assert!(counted < STATEMENTS * 3 / 2, "{counted} transactions for {STATEMENTS} statements");
}
