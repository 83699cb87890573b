//! What every cache must do. The same tests run against Redis and against memory.

use std::time::{Duration, Instant};

use taskd::cache::{Cache, Entry, MemoryCache, RedisCache, Scope, Slot};

use crate::harness::{World, against_redis_and_memory};

const EPOCH: i64 = 1;
const TTL: Duration = Duration::from_secs(60);

against_redis_and_memory!(
    redis_cache, memory_cache:
    what_is_filled_is_hit_under_its_key_scope_and_epoch_alone,
    an_invalidated_scope_misses_and_no_other,
    a_slow_reader_files_old_data_where_nobody_looks,
    an_entry_is_forgotten_after_its_time,
    a_sign_of_life_is_given,
);

fn redis_cache(world: &World) -> RedisCache {
    world.redis()
}

fn memory_cache() -> MemoryCache {
    MemoryCache::default()
}

async fn miss(cache: &dyn Cache, epoch: i64, scope: Scope, key: &str) -> Slot {
    match cache.look(epoch, scope, key).await.unwrap() {
        Entry::Miss(slot) => slot,
        Entry::Hit(value) => panic!("{scope} {key} has {value:?}"),
    }
}

async fn hit(cache: &dyn Cache, scope: Scope, key: &str) -> Vec<u8> {
    match cache.look(EPOCH, scope, key).await.unwrap() {
        Entry::Hit(value) => value.to_vec(),
        Entry::Miss(_) => panic!("{scope} {key} is missing"),
    }
}

async fn fill(cache: &dyn Cache, scope: Scope, key: &str, value: &[u8]) {
    let slot = miss(cache, EPOCH, scope, key).await;
    cache.fill(&slot, value, TTL).await.unwrap();
}

async fn what_is_filled_is_hit_under_its_key_scope_and_epoch_alone(cache: &dyn Cache) {
    let value: Vec<u8> = (0..=255).collect();
    fill(cache, Scope::Task(7), "a", &value).await;
    assert_eq!(hit(cache, Scope::Task(7), "a").await, value);
    miss(cache, EPOCH, Scope::Task(7), "b").await;
    miss(cache, EPOCH, Scope::Task(8), "a").await;
    miss(cache, EPOCH, Scope::TaskLists, "a").await;
    miss(cache, EPOCH + 1, Scope::Task(7), "a").await;
}

async fn an_invalidated_scope_misses_and_no_other(cache: &dyn Cache) {
    for scope in [Scope::Task(1), Scope::Task(2), Scope::TaskLists] {
        fill(cache, scope, "", b"old").await;
    }
    cache.invalidate(EPOCH, &[Scope::Task(1), Scope::TaskLists]).await.unwrap();
    miss(cache, EPOCH, Scope::Task(1), "").await;
    miss(cache, EPOCH, Scope::TaskLists, "").await;
    assert_eq!(hit(cache, Scope::Task(2), "").await, b"old");
}

async fn a_slow_reader_files_old_data_where_nobody_looks(cache: &dyn Cache) {
    let slot = miss(cache, EPOCH, Scope::Task(1), "").await;
    cache.invalidate(EPOCH, &[Scope::Task(1)]).await.unwrap();
    cache.fill(&slot, b"old", TTL).await.unwrap();
    miss(cache, EPOCH, Scope::Task(1), "").await;
}

async fn an_entry_is_forgotten_after_its_time(cache: &dyn Cache) {
    let slot = miss(cache, EPOCH, Scope::Task(1), "").await;
    cache.fill(&slot, b"x", Duration::from_millis(50)).await.unwrap();
    let started = Instant::now();
    while matches!(cache.look(EPOCH, Scope::Task(1), "").await.unwrap(), Entry::Hit(_)) {
        assert!(started.elapsed() < Duration::from_secs(10), "it is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn a_sign_of_life_is_given(cache: &dyn Cache) {
    cache.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn two_processes_share_redis_and_each_has_a_memory_of_its_own() {
    let world = World::new().await;
    fill(&redis_cache(&world), Scope::Task(1), "", b"x").await;
    assert_eq!(hit(&redis_cache(&world), Scope::Task(1), "").await, b"x");
    fill(&MemoryCache::default(), Scope::Task(1), "", b"x").await;
    miss(&MemoryCache::default(), EPOCH, Scope::Task(1), "").await;
}
