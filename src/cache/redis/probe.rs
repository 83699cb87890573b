//! What a server is, and whether it takes writes; for `taskd doctor`.

use chrono::{DateTime, Utc};
use deadpool_redis::redis;

use super::RedisCache;
use super::link::timed;
use crate::cache::{CacheError, new_generation};

/// What a Redis server says of itself.
#[derive(Debug, Clone)]
pub struct RedisProbe {
    /// Its version.
    pub version: String,
    /// Its time.
    pub time: DateTime<Utc>,
}

impl RedisCache {
    /// Asks the server for its version and its time, and writes and deletes a key.
    ///
    /// # Errors
    /// The server can't be reached, or doesn't permit this.
    pub async fn probe(&self) -> Result<RedisProbe, CacheError> {
        let key = format!("{}:doctor:{}", self.prefix, new_generation());
        self.server
            .with_link(async |mut link| {
                let connection = &mut link.connection;
                let mut set = redis::cmd("SET");
                set.arg(&key).arg(1).arg("PX").arg(1_000);
                timed::<()>(set.query_async(connection)).await?;
                timed::<()>(redis::cmd("DEL").arg(&key).query_async(connection)).await?;
                let about: String =
                    timed(redis::cmd("INFO").arg("server").query_async(connection)).await?;
                let (seconds, micros): (i64, u32) =
                    timed(redis::cmd("TIME").query_async(connection)).await?;
                let version = about.lines().find_map(|line| line.strip_prefix("redis_version:"));
                let time = DateTime::from_timestamp(seconds, micros.saturating_mul(1_000));
                Ok(RedisProbe {
                    version: version.unwrap_or("of an unknown version").trim().to_owned(),
                    time: time.ok_or_else(|| CacheError("TIME is no time".into()))?,
                })
            })
            .await
    }
}
