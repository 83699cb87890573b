//! The cache's settings.

use std::time::Duration;

use clap::Args;

use super::{ConfigError, duration, name};
use crate::cache::RedisUrl;
use crate::ground::secret::Secret;
use crate::ground::tls::Tls;

/// Where hot reads are kept.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cache")]
pub struct CacheArgs {
    /// Redis, as redis://:password@host:6379/0, or rediss:// for TLS; without it reads go to the
    /// database
    #[arg(long, env = "REDIS_URL", value_name = "REDIS_URL", hide_env_values = true)]
    redis_url: Option<Secret>,
    /// What every key begins with
    #[arg(long, env = "CACHE_PREFIX", value_name = "CACHE_PREFIX", default_value = "taskd", value_parser = name)]
    pub cache_prefix: String,
    /// How long an entry may live
    #[arg(long, env = "CACHE_TTL", value_name = "CACHE_TTL", default_value = "60s", value_parser = duration)]
    pub cache_ttl: Duration,
}

impl CacheArgs {
    /// The checked URL; `None` means that there is no cache.
    pub fn url(&self, tls: &Tls) -> Result<Option<RedisUrl>, ConfigError> {
        super::url("REDIS_URL", self.redis_url.as_ref(), |text| RedisUrl::parse(text, tls))
    }
}
