//! Parses, dispatches, exits.

mod cli;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Role};
use taskd::config::ConfigError;
use taskd::{roles, telemetry};

/// Requests and messages are many small values, made by one thread and dropped by another, which the C library's
/// allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a shell command line that makes no sense exits with; clap's own choice too.
const BAD_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    match dotenvy::dotenv() {
        Err(error) if !error.not_found() => {
            roles::complain(format_args!(".env can't be read: {}", unreadable(&error)));
            return ExitCode::from(BAD_CONFIGURATION);
        }
        _ => {}
    }
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            roles::complain(format_args!("{error:#}"));
            let configuration = error.downcast_ref::<ConfigError>().is_some();
            ExitCode::from(if configuration { BAD_CONFIGURATION } else { 1 })
        }
    }
}

/// What is wrong with `.env`. The line itself stays unsaid, since it may hold a password.
fn unreadable(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::LineParse(..) => {
            "a line is not of the form NAME=value, with a value that has spaces in quotes"
                .to_owned()
        }
        other => other.to_string(),
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    telemetry::init(&cli.log.log, cli.log.log_format)
        .map_err(|problem| ConfigError::new("LOG", problem))?;
    // Migrations need the multi-thread runtime.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        match cli.role {
            Role::Up(args) => roles::up::run(*args).await,
            Role::Serve(args) => roles::serve::run(args).await,
            Role::Work(args) => roles::work::run(args).await,
            Role::Topology(args) => roles::topology::run(args).await,
            Role::Purge(args) => roles::purge::run(args).await,
            Role::Migrate(args) => roles::migrate::run(args).await,
            Role::Token(args) => roles::token::run(args).await,
            Role::Dlq(args) => roles::dlq::run(args).await,
        }
    });
    // Whatever still runs in the background is not waited for: what had to end has ended.
    runtime.shutdown_background();
    code
}
