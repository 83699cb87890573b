//! What whoever serves the API is told.

use clap::Args;

use super::{AccessArgs, HttpArgs, LimitArgs, RequestArgs};

/// The API's settings, for every role that serves it.
#[derive(Debug, Clone, Args)]
pub struct ApiArgs {
    /// Where it listens.
    #[command(flatten)]
    pub http: HttpArgs,
    /// Who may come in.
    #[command(flatten)]
    pub access: AccessArgs,
    /// What a request may take.
    #[command(flatten)]
    pub requests: RequestArgs,
    /// How many requests a client may send.
    #[command(flatten)]
    pub limits: LimitArgs,
}
