//! How many requests are let in, and whose word on where they come from is taken.

use clap::Args;

use crate::domain::rate::Limit;
use crate::http::caller::Networks;
use crate::http::rate_limits::Rates;

/// How many requests a client may send.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// GETs a client may send, such as 600/1m, or off
    #[arg(long, env = "RATE_LIMIT_READS", value_name = "RATE_LIMIT_READS", default_value = "off")]
    rate_limit_reads: Limit,
    /// Other requests a client may send, such as 120/1m, or off
    #[arg(
        long,
        env = "RATE_LIMIT_WRITES",
        value_name = "RATE_LIMIT_WRITES",
        default_value = "off"
    )]
    rate_limit_writes: Limit,
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
    /// What is let in.
    pub fn rates(&self) -> Rates {
        Rates {
            reads: self.rate_limit_reads,
            writes: self.rate_limit_writes,
            sign_in: self.rate_limit_sign_in,
            trusted_proxies: self.trusted_proxies.clone(),
        }
    }
}
