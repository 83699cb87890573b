//! Rate limits that all instances share.

use async_trait::async_trait;

use super::RedisCache;
use super::link::timed;
use crate::cache::{CacheError, Limiter};
use crate::domain::rate::{Decision, Rate};

/// `Rate::take` as a script on the server, in one round trip. It uses the server's clock, so that
/// instances need not agree on the time.
pub(super) const TAKE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local ahead = (tonumber(redis.call('GET', KEYS[1]) or 0)) - now
ahead = math.max(0, math.min(ahead, capacity))
if ahead + interval > capacity then return {0, ahead} end
ahead = ahead + interval
redis.call('SET', KEYS[1], string.format('%.0f', now + ahead), 'PX', math.ceil(ahead / 1000))
return {1, ahead}
";

#[async_trait]
impl Limiter for RedisCache {
    async fn take(&self, key: &str, rate: Rate) -> Result<Decision, CacheError> {
        self.server
            .with_link(async |mut link| {
                let mut take = self.take.prepare_invoke();
                take.key(format!("{}:rate:{key}", self.prefix))
                    .arg(rate.interval())
                    .arg(rate.capacity());
                let (granted, ahead): (bool, u64) =
                    timed(take.invoke_async(&mut link.connection)).await?;
                Ok(rate.taken(granted, ahead))
            })
            .await
    }
}
