//! Who may come in.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{ConfigError, duration, values};
use crate::http::middleware::admission::Policy;

/// What a request must bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// A session's or an API token
    Tokens,
    /// Nothing: whoever reaches the address may do everything; on a loopback address alone
    None,
}

/// Who may come in.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Access")]
pub struct AccessArgs {
    /// What a request must bring [default: tokens; for `up` on a loopback address: none]
    #[arg(long, env = "TASKD_AUTH", value_name = "TASKD_AUTH")]
    auth: Option<Auth>,
    /// Whether anybody may read /metrics; otherwise it takes a token of an admin or a viewer
    #[arg(long, env = "METRICS_PUBLIC", value_name = "METRICS_PUBLIC", default_value_t = true,
          action = clap::ArgAction::Set)]
    pub metrics_public: bool,
    /// How long somebody who signs in is signed in
    #[arg(long, env = "SESSION_LIFETIME", value_name = "SESSION_LIFETIME", default_value = "12h", value_parser = duration)]
    pub session_lifetime: Duration,
    /// How long an API token that is asked for by request is good at most, and if nothing is said
    #[arg(long, env = "TOKEN_MAX_LIFETIME", value_name = "TOKEN_MAX_LIFETIME", default_value = "365d", value_parser = duration)]
    pub token_max_lifetime: Duration,
}

impl AccessArgs {
    /// How strict the instance is on this address; `usual` applies if nothing is set. `AUTH` is
    /// used if its value is one of ours.
    pub fn policy(&self, usual: Auth, host: IpAddr) -> Result<Policy, ConfigError> {
        let shared = || values::shared("AUTH", |text| Auth::from_str(text, false).ok());
        let chosen = self.auth.or_else(shared);
        let anybody = chosen.unwrap_or(usual) == Auth::None;
        if anybody && !host.is_loopback() {
            let problem = format!(
                "none lets everybody do everything, and TASKD_HOST is {host}, which others can reach: \
                 set TASKD_AUTH=tokens, or TASKD_HOST to a loopback address"
            );
            return Err(ConfigError::new("TASKD_AUTH", problem));
        }
        Ok(Policy { anybody, metrics_public: self.metrics_public })
    }
}
