//! The command line: one subcommand for each role.

use clap::{Parser, Subcommand};

use taskd::config::LogArgs;
use taskd::roles::{
    audit, dlq, doctor, effects, events, migrate, ps, purge, serve, token, topology, up, webhooks,
    work,
};

/// A task-management API whose every change reliably becomes an event, and whose side work can
/// fail, retry, restart and multiply without losing or repeating anything.
///
/// Each option can be given by the environment variable named beside it, or in a file .env.
#[derive(Parser)]
#[command(name = "taskd", version, max_term_width = 100)]
pub struct Cli {
    /// How to tell what goes on.
    #[command(flatten)]
    pub log: LogArgs,
    /// What to be.
    #[command(subcommand)]
    pub role: Role,
}

/// What a process can be.
#[derive(Subcommand)]
pub enum Role {
    /// Everything in one process, with nothing installed
    Up(Box<up::Args>),
    /// The HTTP API and the publisher; run as many as you like behind a proxy
    Serve(serve::Args),
    /// A worker: consumes events and does their side work; run as many as you like
    Work(work::Args),
    /// The queues on RabbitMQ: declare them, show them, check them against the broker
    Topology(topology::Args),
    /// Delete what has outlived its retention
    Purge(purge::Args),
    /// Bring the database schema up to date
    Migrate(migrate::Args),
    /// Tokens for the API: make the first one, list and revoke any
    Token(token::Args),
    /// Who is there: the processes that serve and work
    Ps(ps::Args),
    /// What is wrong, and the command that mends it
    ///
    /// Exits with 1 if something doesn't work; warnings alone are 0.
    Doctor(Box<doctor::Args>),
    /// Events: what became of them, and why they are not done
    Events(events::Args),
    /// Effects: which run, and stopping one while the others go on
    Effects(effects::Args),
    /// Webhooks: endpoints that are told of events, and what is delivered to each
    Webhooks(webhooks::Args),
    /// What operators did, and who tried to sign in
    Audit(audit::Args),
    /// Dead letters: look at them, send them round again, throw them away
    Dlq(dlq::Args),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
