//! Parses the command line, dispatches to the role and exits.

mod cli;
mod dotenv;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use cli::{Cli, Role};
use taskd::config::ConfigError;
use taskd::ground::{output, traces};
use taskd::roles::{self, Invocation};

/// Requests and messages are many small values, allocated by one thread and freed by another. The C
/// library's allocator is slow at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code for a wrong command line or configuration; clap uses it too.
const BAD_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    // Help and the version are shown whatever the configuration is.
    let told = ["-h", "--help", "help", "-V", "--version"];
    let asks =
        std::env::args_os().skip(1).any(|argument| told.iter().any(|told| argument == *told));
    let mut from_file = Vec::new();
    if !asks {
        match dotenv::load().and_then(|names| readable(&Cli::command()).map(|()| names)) {
            Ok(names) => from_file = names,
            Err(error) => return ended(Err(error.into())),
        }
    }
    let parsed = Cli::command().try_get_matches().and_then(|matches| {
        let cli =
            Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut Cli::command()));
        Ok((cli?, matches))
    });
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        // Help and the version are no errors.
        Err(told) if !told.use_stderr() => {
            let printed = output::printed(told.print());
            return ended(printed.map(|()| ExitCode::SUCCESS).map_err(Into::into));
        }
        Err(refused) => refused.exit(),
    };
    ended(run(cli, Invocation { command: Cli::command(), matches, from_file }))
}

fn ended(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) => {
            output::complain(format_args!("{error:#}"));
            let configuration = error.downcast_ref::<ConfigError>().is_some();
            ExitCode::from(if configuration { BAD_CONFIGURATION } else { 1 })
        }
    }
}

/// Fails if a variable's value is not UTF-8; clap's error would not name the variable.
fn readable(command: &clap::Command) -> Result<(), ConfigError> {
    for variable in command.get_arguments().filter_map(clap::Arg::get_env) {
        if std::env::var_os(variable).is_some_and(|value| value.to_str().is_none()) {
            return Err(ConfigError::new(variable.to_string_lossy().into_owned(), "is not UTF-8"));
        }
    }
    command.get_subcommands().try_for_each(readable)
}

/// Sets where the embedded database unpacks its files, which it reads from the environment. They go
/// to the data directory with everything else, so no home directory is needed.
fn keep_together(role: &Role) -> anyhow::Result<()> {
    #[cfg(feature = "embedded")]
    {
        let data: &std::path::Path = match role {
            Role::Up(args) => args.data_dir(),
            Role::Dlq(args) => &args.data().data_dir,
            Role::Token(args) => &args.data().data_dir,
            Role::Ps(args) => &args.data().data_dir,
            Role::Doctor(args) => &args.data().data_dir,
            Role::Events(args) => &args.data().data_dir,
            Role::Audit(args) => &args.data().data_dir,
            Role::Effects(args) => &args.data().data_dir,
            Role::Webhooks(args) => &args.data().data_dir,
            _ => return Ok(()),
        };
        let cache = taskd::store::connection::embedded::cache(&std::path::absolute(data)?);
        let cache = cache.to_string_lossy();
        // On macOS `HOME` is the one that counts.
        dotenv::set(&[("XDG_CACHE_HOME", &cache), ("HOME", &cache)])?;
    }
    let _ = role;
    Ok(())
}

fn run(cli: Cli, invocation: Invocation) -> anyhow::Result<ExitCode> {
    keep_together(&cli.role)?;
    cli.log.init();
    // Migrations need the multi-threaded runtime.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        match cli.role {
            Role::Up(args) => roles::up::run(*args, &invocation).await,
            Role::Serve(args) => roles::serve::run(args, &invocation).await,
            Role::Work(args) => roles::work::run(args).await,
            Role::Topology(args) => roles::topology::run(args).await,
            Role::Purge(args) => roles::purge::run(args).await,
            Role::Migrate(args) => roles::migrate::run(args).await,
            Role::Token(args) => roles::token::run(args).await,
            Role::Ps(args) => roles::ps::run(args).await,
            Role::Doctor(args) => roles::doctor::run(*args, &invocation).await,
            Role::Events(args) => roles::events::run(args).await,
            Role::Audit(args) => roles::audit::run(args).await,
            Role::Effects(args) => roles::effects::run(args).await,
            Role::Webhooks(args) => roles::webhooks::run(args).await,
            Role::Dlq(args) => roles::dlq::run(args).await,
        }
    });
    runtime.block_on(traces::finish());
    // Don't wait for what still runs in the background: everything that had to finish has finished.
    runtime.shutdown_background();
    code
}
