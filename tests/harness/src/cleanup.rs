//! Taking away what a test has left in the shared services.

use deadpool_redis::redis;

use super::{Amqp, Db, postgres_url, redis_url};

/// Deletes a database, queues, and keys by their prefix. It runs on a thread with a runtime of its
/// own, since the test's may be on its way out of a panic.
pub fn clean(database: String, queues: Vec<String>, prefix: String) {
    let cleaning = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let amqp = Amqp::connect().await;
            for queue in queues {
                amqp.delete(&queue).await;
            }
            // A test has one exchange at most, called like its database.
            amqp.delete_exchange(&database).await;
            amqp.close().await;
            delete_keys(&prefix, "*").await;
            let drop = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
            Db::connect(&postgres_url()).await.run(&drop).await;
        });
    });
    // A second panic while the first one unwinds would abort the process and hide its message.
    if cleaning.join().is_err() && !std::thread::panicking() {
        panic!("the test's database, queues and keys could not all be deleted");
    }
}

/// Deletes the keys that are this prefix and what matches the pattern. Returns how many.
pub async fn delete_keys(prefix: &str, pattern: &str) -> usize {
    let client = redis::Client::open(redis_url()).expect("TEST_REDIS_URL");
    let mut connection =
        client.get_multiplexed_async_connection().await.expect("Redis at TEST_REDIS_URL");
    let keys = keys(&mut connection, prefix, pattern).await;
    for key in &keys {
        let _: () = redis::cmd("DEL").arg(key).query_async(&mut connection).await.unwrap();
    }
    keys.len()
}

/// Every key that is this prefix and what matches the pattern.
async fn keys(
    connection: &mut redis::aio::MultiplexedConnection,
    prefix: &str,
    pattern: &str,
) -> Vec<String> {
    let mut keys = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{prefix}{pattern}")).arg("COUNT").arg(1000);
        let (next, found): (u64, Vec<String>) = scan.query_async(connection).await.unwrap();
        keys.extend(found);
        cursor = next;
        if cursor == 0 {
            return keys;
        }
    }
}

/// Every key in Redis with this prefix, and the strings among the values, as one text.
pub async fn redis_contents(prefix: &str) -> String {
    let client = redis::Client::open(redis_url()).expect("TEST_REDIS_URL");
    let mut connection =
        client.get_multiplexed_async_connection().await.expect("Redis at TEST_REDIS_URL");
    let mut text = String::new();
    for key in keys(&mut connection, prefix, "*").await {
        // Only strings have a value to read; the bars are a set.
        let value: redis::RedisResult<Option<Vec<u8>>> =
            redis::cmd("GET").arg(&key).query_async(&mut connection).await;
        text.push_str(&key);
        text.push_str(&String::from_utf8_lossy(&value.ok().flatten().unwrap_or_default()));
        text.push('\n');
    }
    text
}
