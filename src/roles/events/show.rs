//! `taskd events show`.

use std::process::ExitCode;

use uuid::Uuid;

use super::super::source::SourceArgs;
use super::print;
use crate::ground::output;
use crate::http::dto::EventDetailView;
use crate::http::routes::operator::events;
use crate::http::routes::operator::socket;

#[derive(clap::Args)]
pub(super) struct ShowArgs {
    /// Its id
    id: Uuid,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) source: SourceArgs,
}

pub(super) async fn show(args: ShowArgs) -> anyhow::Result<ExitCode> {
    let id = args.id;
    let shown = args
        .source
        .give(socket::EVENT_STORY, &id, async |connection| events::show(connection, id).await);
    let event: EventDetailView = shown.await?;
    if args.json {
        output::print(serde_json::to_string_pretty(&event)?)?;
    } else {
        print::story(&event)?;
    }
    Ok(ExitCode::SUCCESS)
}
