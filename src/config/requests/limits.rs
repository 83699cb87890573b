//! How many requests a client may send, and which proxies are believed about its address.

use std::time::Duration;

use clap::Args;

use crate::domain::rate::{Limit, Rate};
use crate::ground::networks::Networks;
use crate::http::middleware::admission::Policy;
use crate::http::middleware::rate_limits::Rates;

/// More than a person or an ordinary program writes, and too little to keep the workers from the
/// work of others.
const USUAL_WRITES: Rate = Rate::of(600, Duration::from_secs(60));

/// How many requests a client may send.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// GETs a client may send, such as 600/1m, or off
    #[arg(long, env = "RATE_LIMIT_READS", value_name = "RATE_LIMIT_READS", default_value = "off")]
    rate_limit_reads: Limit,
    /// Other requests a client may send, such as 120/1m, or off [default: 600/1m; with
    /// TASKD_AUTH=none: off]
    #[arg(long, env = "RATE_LIMIT_WRITES", value_name = "RATE_LIMIT_WRITES")]
    rate_limit_writes: Option<Limit>,
    /// Attempts to sign in from one address, or off
    #[arg(
        long,
        env = "RATE_LIMIT_SIGN_IN",
        value_name = "RATE_LIMIT_SIGN_IN",
        default_value = "10/1m"
    )]
    rate_limit_sign_in: Limit,
    /// Proxies whose X-Forwarded-For is believed: addresses and networks, such as 10.0.0.0/8
    #[arg(long, env = "TRUSTED_PROXIES", value_name = "TRUSTED_PROXIES", default_value = "")]
    trusted_proxies: Networks,
}

impl LimitArgs {
    /// The rates to apply. Without authentication callers can't be told apart, so writes are not
    /// limited there unless a limit is set.
    pub fn rates(&self, policy: Policy) -> Rates {
        let usual = if policy.anybody { Limit(None) } else { Limit(Some(USUAL_WRITES)) };
        Rates {
            reads: self.rate_limit_reads,
            writes: self.rate_limit_writes.unwrap_or(usual),
            sign_in: self.rate_limit_sign_in,
            trusted_proxies: self.trusted_proxies.clone(),
        }
    }
}
