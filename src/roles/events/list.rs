//! `taskd events list`.

use std::process::ExitCode;

use chrono::{DateTime, Utc};

use super::super::source::SourceArgs;
use super::print;
use crate::config::{self, whole};
use crate::ground::output;
use crate::http::dto::EventView;
use crate::http::routes::operator::events::{self, EventListOrder};
use crate::http::routes::operator::socket;

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Only those that are unpublished, queued, retrying, parked, dead or done
    #[arg(long)]
    state: Option<String>,
    /// Only those of this task
    #[arg(long, value_name = "TASK_ID", value_parser = whole(1..=i64::MAX))]
    task: Option<i64>,
    /// Only those of this type, such as TASK_CREATED
    #[arg(long = "type")]
    event_type: Option<String>,
    /// Only those since then: an RFC 3339 time, or how long ago, such as 2h
    #[arg(long, value_parser = config::since)]
    since: Option<DateTime<Utc>>,
    /// How many to list at most
    #[arg(long, default_value_t = 20, value_parser = whole(1..=10_000_u32))]
    limit: u32,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) source: SourceArgs,
}

pub(super) async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let order = EventListOrder {
        state: args.state,
        task_id: args.task,
        event_type: args.event_type,
        since: args.since,
        limit: args.limit,
    };
    let listed = args.source.give(socket::EVENT_LIST, &order, async |connection| {
        events::list(connection, &order).await
    });
    let rows: Vec<EventView> = listed.await?;
    if args.json {
        output::print(serde_json::to_string_pretty(&rows)?)?;
    } else {
        print::list(&rows)?;
    }
    Ok(ExitCode::SUCCESS)
}
