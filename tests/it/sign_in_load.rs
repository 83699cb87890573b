//! A burst of sign-ins, each of which costs a password hash, and everybody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;
use tokio::task::JoinSet;

use taskd_testing::World;

const SIGN_INS: usize = 200;
/// How many other requests are to be answered while the sign-ins wait for their turn.
const OTHERS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_burst_of_sign_ins_starves_nobody() {
    let world = World::new().await;
    let limits = [("AUTH", "tokens"), ("RATE_LIMIT_SIGN_IN", "off"), ("RATE_LIMIT_READS", "off")];
    let serve = world.serve_with(&limits).await;
    let api = serve.api();
    let waiting = Arc::new(AtomicUsize::new(SIGN_INS));
    let mut sign_ins = JoinSet::new();
    for number in 0..SIGN_INS {
        let (api, waiting) = (api.clone(), Arc::clone(&waiting));
        sign_ins.spawn(async move {
            let credentials =
                json!({ "email": format!("u{number}@example.com"), "password": "wrong" });
            let status = api.post("/sessions", credentials).await.status;
            waiting.fetch_sub(1, Ordering::Relaxed);
            status
        });
    }
    // All of them are in a queue that takes seconds; every other request is answered meanwhile.
    let mut times = Vec::new();
    while times.len() < OTHERS {
        let asked = Instant::now();
        assert_eq!(api.get("/healthz").await.status, 200);
        times.push(asked.elapsed());
    }
    let left = waiting.load(Ordering::Relaxed);
    times.sort();
    println!(
        "/healthz with {SIGN_INS} sign-ins in flight, {left} at the end: median {:?}",
        times[OTHERS / 2]
    );
    assert!(left > 0, "the sign-ins were over before {OTHERS} requests were answered");
    while let Some(status) = sign_ins.join_next().await {
        // 503: its turn did not come within the request's deadline.
        assert!([401, 503].contains(&status.unwrap()));
    }
}
