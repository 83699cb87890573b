//! What the pool of connections costs, and how it is shared.

use std::time::Duration;

use taskd::ground::tls::Tls;
use taskd::store::{Pools, PostgresUrl, Store, tasks};

use taskd_testing::{World, eventually};

fn url(world: &World) -> PostgresUrl {
    PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_connection_in_steady_use_costs_no_statement_of_its_own() {
    const STATEMENTS: i64 = 500;
    let world = World::new().await;
    let store = Store::new(&url(&world), 1).unwrap();
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_shares_of_a_pool_are_no_more_than_the_pool() {
    const SIZE: usize = 17;
    let world = World::new().await;
    let pools = Pools::divided(&url(&world), SIZE, 3).unwrap();
    let shares = (0..3).map(|thread| pools.of_thread(thread).unwrap());
    let stores: Vec<Store> = shares.chain([pools.shared()]).cloned().collect();
    assert!(pools.of_thread(3).is_none());
    let mut held = Vec::new();
    for store in &stores {
        while let Ok(Ok(connection)) =
            tokio::time::timeout(Duration::from_millis(300), store.connection()).await
        {
            held.push(connection);
        }
    }
    assert_eq!(held.len(), SIZE);
    assert_eq!(pools.status().size, SIZE);
    for store in &stores {
        store.close();
        assert!(store.connection().await.is_err());
    }
    // Too small to be divided: one for all.
    let small = Pools::divided(&url(&world), 3, 2).unwrap();
    assert!(small.of_thread(0).is_none());
}
