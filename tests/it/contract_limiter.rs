//! What every count of requests must do. The same tests run against Redis and against memory.

use std::sync::Arc;

use taskd::cache::{Limiter, MemoryLimiter};
use taskd::domain::rate::Rate;

use taskd_testing::{World, eventually, redis_contents};

use crate::contract_cache::{against_redis_and_memory, redis_cache};

against_redis_and_memory!(
    shared, own:
    so_many_are_granted_and_no_more,
    each_key_counts_for_itself,
    after_the_pause_that_is_named_the_next_is_granted,
    of_those_who_come_at_once_no_more_are_granted,
    a_lower_rate_holds_at_once,
);

fn shared(world: &World) -> Arc<dyn Limiter> {
    Arc::new(redis_cache(world))
}

fn own() -> Arc<dyn Limiter> {
    Arc::new(MemoryLimiter::default())
}

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

async fn so_many_are_granted_and_no_more(limiter: &Arc<dyn Limiter>) {
    let rate = rate("3/1h");
    for remaining in [2, 1, 0] {
        let taken = limiter.take("k", rate).await.unwrap();
        assert!(taken.granted && taken.retry_after.is_zero(), "{taken:?}");
        assert_eq!(taken.remaining, remaining);
    }
    for _ in 0..3 {
        let taken = limiter.take("k", rate).await.unwrap();
        assert!(!taken.granted && taken.remaining == 0, "{taken:?}");
        // An interval is 20 minutes; of the first only moments have passed.
        assert!((1_000..=1_200).contains(&taken.retry_after.as_secs()), "{taken:?}");
        assert!((3_400..=3_600).contains(&taken.reset_after.as_secs()), "{taken:?}");
    }
}

async fn each_key_counts_for_itself(limiter: &Arc<dyn Limiter>) {
    let rate = rate("1/1h");
    for key in ["a", "b", "a:b", "é", ""] {
        assert!(limiter.take(key, rate).await.unwrap().granted, "{key}");
        assert!(!limiter.take(key, rate).await.unwrap().granted, "{key}");
    }
}

async fn after_the_pause_that_is_named_the_next_is_granted(limiter: &Arc<dyn Limiter>) {
    let rate = rate("20/1s");
    while limiter.take("k", rate).await.unwrap().granted {}
    eventually("one more is granted", || async {
        let taken = limiter.take("k", rate).await.unwrap();
        assert!(taken.granted || taken.retry_after.as_millis() <= 50, "{taken:?}");
        taken.granted.then_some(())
    })
    .await;
}

async fn of_those_who_come_at_once_no_more_are_granted(limiter: &Arc<dyn Limiter>) {
    let mut taking = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let limiter = Arc::clone(limiter);
        taking.spawn(async move { limiter.take("k", rate("7/1h")).await.unwrap().granted });
    }
    let granted = taking.join_all().await.into_iter().filter(|granted| *granted).count();
    assert_eq!(granted, 7);
}

async fn a_lower_rate_holds_at_once(limiter: &Arc<dyn Limiter>) {
    for _ in 0..50 {
        assert!(limiter.take("k", rate("100/1h")).await.unwrap().granted);
    }
    let taken = limiter.take("k", rate("10/1s")).await.unwrap();
    assert!(!taken.granted && taken.retry_after.as_millis() <= 100, "{taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn two_processes_share_redis_and_each_has_a_memory_of_its_own() {
    let world = World::new().await;
    assert!(redis_cache(&world).take("k", rate("1/1h")).await.unwrap().granted);
    assert!(!redis_cache(&world).take("k", rate("1/1h")).await.unwrap().granted);
    assert!(MemoryLimiter::default().take("k", rate("1/1h")).await.unwrap().granted);
    assert!(MemoryLimiter::default().take("k", rate("1/1h")).await.unwrap().granted);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_redis_counts_is_gone_when_it_counts_no_more() {
    let world = World::new().await;
    let limiter = redis_cache(&world);
    limiter.take("k", rate("10/1s")).await.unwrap();
    eventually("the key is gone", || async {
        redis_contents(&world.prefix).await.is_empty().then_some(())
    })
    .await;
}
