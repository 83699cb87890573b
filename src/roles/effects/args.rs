//! The command line of `taskd effects`.

use super::super::source::SourceArgs;

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) source: SourceArgs,
}

#[derive(clap::Args)]
pub(super) struct PauseArgs {
    /// Why, for others to read
    #[arg(long)]
    pub(super) reason: Option<String>,
    #[command(flatten)]
    pub(super) one: ResumeArgs,
}

#[derive(clap::Args)]
pub(super) struct ResumeArgs {
    /// The effect
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// Change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) source: SourceArgs,
}
