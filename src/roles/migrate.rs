//! `taskd migrate`: brings the schema up to date.

use std::process::ExitCode;

use super::progress::Progress;
use crate::config::{DatabaseArgs, TlsArgs};
use crate::ground::output;
use crate::store::Store;
use crate::store::accounts::users;
use crate::store::migrations;

/// Options of `taskd migrate`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    tls: TlsArgs,
    /// Only say which migrations are applied
    #[arg(long)]
    status: bool,
    /// Add the user of the documentation's examples, user1@example.com, as user 1 where there is
    /// none
    #[arg(long, conflicts_with = "status")]
    example: bool,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
}

/// Applies the pending migrations. If another process is migrating, it waits for it.
///
/// # Errors
/// The configuration is wrong, or the database fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let url = args.database.required_url(&args.tls.load()?)?;
    super::runtime::check_sessions(&url).await?;
    if args.status {
        for migration in migrations::status(&url).await? {
            output::print(format_args!(
                "{}  {}",
                if migration.applied { "applied" } else { "pending" },
                migration.name
            ))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut progress = Progress::new(args.quiet, "migrations");
    let applied = migrations::bring_up_to_date_telling(&url, |done, total, name| {
        progress.show(done, total, name);
    });
    let applied = applied.await;
    progress.end();
    let applied = applied?;
    if applied.is_empty() {
        output::print("the schema is up to date")?;
    }
    for name in applied {
        output::print(format_args!("applied  {name}"))?;
    }
    if args.example {
        let store = Store::new(&url, 1)?;
        let added = users::add_example(&mut *store.connection().await?).await?;
        output::print(match added {
            true => "added    user 1, user1@example.com",
            false => "there is a user 1 or a user1@example.com already",
        })?;
    }
    Ok(ExitCode::SUCCESS)
}
