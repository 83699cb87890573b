//! What every cache must do. The same tests run against Redis and against memory.

use std::time::{Duration, Instant};

use taskd::cache::{
    BAR, Cache, Entry, EntryKey, Keyspace, MemoryCache, RedisCache, RedisUrl, Scope, Slot,
};
use taskd::ground::tls::Tls;
use taskd_testing::{World, delete_keys, eventually, redis_url};

const EPOCH: i64 = 1;
const DATABASE: &str = "database";
const TTL: Duration = Duration::from_secs(60);

/// Runs the same tests against Redis, in a world of their own each, and against memory. Each test takes a
/// reference to what `$redis` makes of its world, or `$memory` of nothing.
macro_rules! against_redis_and_memory {
    ($redis:ident, $memory:ident: $($test:ident),* $(,)?) => {
        mod redis {
            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs services: scripts/test"]
            async fn $test() {
                let world = taskd_testing::World::new().await;
                super::$test(&super::$redis(&world)).await;
            })*
        }
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(&super::$memory()).await; })*
        }
    };
}
pub(crate) use against_redis_and_memory;

against_redis_and_memory!(
    redis_cache, memory_cache:
    what_is_filled_is_hit_under_its_key_scope_and_epoch_alone,
    an_invalidated_scope_misses_and_no_other,
    a_slow_reader_files_old_data_where_nobody_looks,
    a_bar_ends_the_generation_and_lets_nobody_fill_until_it_is_lifted,
    each_writer_lifts_its_own_bar,
    a_bar_that_nobody_lifts_ends_by_itself,
    a_look_at_many_places_answers_for_each,
    an_entry_is_forgotten_after_its_time,
    a_sign_of_life_is_given,
);

/// A client of the shared Redis, with keys of this world.
pub fn redis_cache(world: &World) -> RedisCache {
    let url = RedisUrl::parse(&redis_url(), &Tls::default()).expect("TEST_REDIS_URL");
    RedisCache::new(&url, &world.prefix).expect("a pool")
}

fn memory_cache() -> MemoryCache {
    MemoryCache::default()
}

fn keyspace(epoch: i64) -> Keyspace {
    Keyspace::new(DATABASE, epoch)
}

async fn look(cache: &dyn Cache, epoch: i64, scope: Scope, key: &str) -> Entry {
    let place = EntryKey { scope, key: key.to_owned() };
    let found = cache.look(&keyspace(epoch), &[&place]).await.unwrap();
    assert_eq!(found.len(), 1);
    found[0].clone()
}

/// The slot that may be filled. A cache that is new has a bar on everything for a while.
async fn miss(cache: &dyn Cache, epoch: i64, scope: Scope, key: &str) -> Slot {
    let free = async || match look(cache, epoch, scope, key).await {
        Entry::Miss(slot) => slot,
        other => panic!("{scope} {key}: {other:?}"),
    };
    eventually("no bar is on the scope", free).await
}

async fn is_barred(cache: &dyn Cache, scope: Scope) -> bool {
    matches!(look(cache, EPOCH, scope, "").await, Entry::Miss(None))
}

async fn hit(cache: &dyn Cache, scope: Scope, key: &str) -> Vec<u8> {
    match look(cache, EPOCH, scope, key).await {
        Entry::Hit(value) => value.to_vec(),
        other => panic!("{scope} {key}: {other:?}"),
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
    cache.invalidate(&keyspace(EPOCH), &[Scope::Task(1), Scope::TaskLists]).await.unwrap();
    miss(cache, EPOCH, Scope::Task(1), "").await;
    miss(cache, EPOCH, Scope::TaskLists, "").await;
    assert_eq!(hit(cache, Scope::Task(2), "").await, b"old");
}

async fn a_slow_reader_files_old_data_where_nobody_looks(cache: &dyn Cache) {
    let slot = miss(cache, EPOCH, Scope::Task(1), "").await;
    cache.invalidate(&keyspace(EPOCH), &[Scope::Task(1)]).await.unwrap();
    cache.fill(&slot, b"old", TTL).await.unwrap();
    miss(cache, EPOCH, Scope::Task(1), "").await;
}

async fn a_look_at_many_places_answers_for_each(cache: &dyn Cache) {
    let lists = |key: &str| EntryKey { scope: Scope::TaskLists, key: key.to_owned() };
    let task = |id| EntryKey { scope: Scope::Task(id), key: String::new() };
    fill(cache, Scope::TaskLists, "a", b"page a").await;
    fill(cache, Scope::Task(1), "", b"task 1").await;
    // Whatever has been asked for before may take another way.
    for _ in 0..3 {
        let places = [task(2), lists("b"), task(1), lists("a"), lists("b")];
        let found = cache.look(&keyspace(EPOCH), &places.iter().collect::<Vec<_>>()).await.unwrap();
        let values = found.iter().map(|entry| match entry {
            Entry::Hit(value) => Some(value.to_vec()),
            _ => None,
        });
        let wanted = [None, None, Some(b"task 1".to_vec()), Some(b"page a".to_vec()), None];
        assert!(values.eq(wanted), "{found:?}");
    }
    cache.invalidate(&keyspace(EPOCH), &[Scope::TaskLists]).await.unwrap();
    let found = cache.look(&keyspace(EPOCH), &[&task(1), &lists("a")]).await.unwrap();
    assert!(matches!(found[..], [Entry::Hit(_), Entry::Miss(Some(_))]), "{found:?}");
}

async fn a_bar_ends_the_generation_and_lets_nobody_fill_until_it_is_lifted(cache: &dyn Cache) {
    const SCOPES: [Scope; 2] = [Scope::TaskLists, Scope::Task(1)];
    for scope in [Scope::TaskLists, Scope::Task(1), Scope::Task(2)] {
        fill(cache, scope, "", b"old").await;
    }
    let late = miss(cache, EPOCH, Scope::Task(1), "late").await;
    let bar = cache.bar(&keyspace(EPOCH), &SCOPES).await.unwrap();
    cache.fill(&late, b"old", TTL).await.unwrap();
    for scope in SCOPES {
        assert!(is_barred(cache, scope).await, "{scope}");
    }
    assert_eq!(hit(cache, Scope::Task(2), "").await, b"old");
    // Ending a generation lifts no bar.
    cache.invalidate(&keyspace(EPOCH), &SCOPES).await.unwrap();
    assert!(is_barred(cache, Scope::TaskLists).await);
    assert!(cache.lift(&[&bar]).await.unwrap());
    for scope in SCOPES {
        let Entry::Miss(Some(slot)) = look(cache, EPOCH, scope, "").await else {
            panic!("{scope} is not free");
        };
        cache.fill(&slot, b"new", TTL).await.unwrap();
        assert_eq!(hit(cache, scope, "").await, b"new");
    }
    assert!(matches!(look(cache, EPOCH, Scope::Task(1), "late").await, Entry::Miss(Some(_))));
    assert!(!cache.lift(&[&bar]).await.unwrap(), "it was lifted already");
}

async fn each_writer_lifts_its_own_bar(cache: &dyn Cache) {
    miss(cache, EPOCH, Scope::Task(1), "").await;
    let mut bars = Vec::new();
    for _ in 0..3 {
        bars.push(cache.bar(&keyspace(EPOCH), &[Scope::Task(1)]).await.unwrap());
    }
    assert!(cache.lift(&[&bars[1], &bars[0]]).await.unwrap());
    assert!(is_barred(cache, Scope::Task(1)).await);
    assert!(cache.lift(&[&bars[2]]).await.unwrap());
    assert!(!is_barred(cache, Scope::Task(1)).await);
}

async fn a_bar_that_nobody_lifts_ends_by_itself(cache: &dyn Cache) {
    miss(cache, EPOCH, Scope::Task(1), "").await;
    let before = Instant::now();
    let bar = cache.bar(&keyspace(EPOCH), &[Scope::Task(1)]).await.unwrap();
    let after = Instant::now();
    while before.elapsed() < BAR - Duration::from_millis(50) {
        assert!(is_barred(cache, Scope::Task(1)).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    miss(cache, EPOCH, Scope::Task(1), "").await;
    assert!(after.elapsed() < BAR * 5, "{:?}", after.elapsed());
    // What has ended is forgotten with the next bar.
    let next = cache.bar(&keyspace(EPOCH), &[Scope::Task(1)]).await.unwrap();
    assert!(!cache.lift(&[&bar]).await.unwrap());
    assert!(cache.lift(&[&next]).await.unwrap());
}

async fn an_entry_is_forgotten_after_its_time(cache: &dyn Cache) {
    let slot = miss(cache, EPOCH, Scope::Task(1), "").await;
    cache.fill(&slot, b"x", Duration::from_millis(50)).await.unwrap();
    let started = Instant::now();
    while matches!(look(cache, EPOCH, Scope::Task(1), "").await, Entry::Hit(_)) {
        assert!(started.elapsed() < Duration::from_secs(10), "it is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn a_sign_of_life_is_given(cache: &dyn Cache) {
    cache.ping().await.unwrap();
}

/// A copy in a process counts for as long as its generation, whoever ends that.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_one_process_ends_no_other_finds_in_its_own_memory() {
    let world = World::new().await;
    let (one, two) = (redis_cache(&world), redis_cache(&world));
    for (scope, round) in [Scope::Task(1), Scope::TaskLists].into_iter().zip(0..).cycle().take(20) {
        fill(&one, scope, "", format!("{round}").as_bytes()).await;
        for _ in 0..3 {
            assert_eq!(hit(&two, scope, "").await, format!("{round}").as_bytes());
        }
        one.invalidate(&keyspace(EPOCH), &[scope]).await.unwrap();
        assert!(!matches!(look(&two, EPOCH, scope, "").await, Entry::Hit(_)));
    }
}

/// Redis may evict a key at any time.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn bars_that_redis_has_lost_are_followed_by_one_on_everything() {
    let world = World::new().await;
    let cache = redis_cache(&world);
    for makes_them_anew in ["a reader", "a writer"] {
        fill(&cache, Scope::Task(1), "", b"old").await;
        let lost = cache.bar(&keyspace(EPOCH), &[Scope::Task(1)]).await.unwrap();
        assert_eq!(delete_keys(&world.prefix, "*:bars").await, 1);
        let after = Instant::now();
        if makes_them_anew == "a writer" {
            let own = cache.bar(&keyspace(EPOCH), &[Scope::Task(1)]).await.unwrap();
            assert!(cache.lift(&[&own]).await.unwrap());
        }
        assert!(is_barred(&cache, Scope::Task(1)).await, "{makes_them_anew}");
        assert!(is_barred(&cache, Scope::Task(2)).await, "{makes_them_anew}");
        assert!(!cache.lift(&[&lost]).await.unwrap(), "{makes_them_anew}");
        miss(&cache, EPOCH, Scope::Task(1), "").await;
        assert!(after.elapsed() >= BAR - Duration::from_millis(50), "{makes_them_anew}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_generation_that_redis_has_lost_does_not_come_back() {
    let world = World::new().await;
    let cache = redis_cache(&world);
    fill(&cache, Scope::Task(1), "", b"old").await;
    assert_eq!(delete_keys(&world.prefix, "*:barred-generation:*").await, 1);
    let slot = miss(&cache, EPOCH, Scope::Task(1), "").await;
    cache.fill(&slot, b"new", TTL).await.unwrap();
    assert_eq!(hit(&cache, Scope::Task(1), "").await, b"new");
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
