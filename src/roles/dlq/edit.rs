//! `taskd dlq edit`: a corrected payload in place of a letter.

use std::process::ExitCode;

use super::args::EditArgs;
use super::json;
use super::order::give;
use crate::config::ConfigError;
use crate::dead_letters::{EditOrder, Edited, Order};
use crate::ground::output;

pub(super) async fn edit(args: EditArgs) -> anyhow::Result<ExitCode> {
    let text = match args.payload.as_str() {
        "-" => std::io::read_to_string(std::io::stdin())?,
        text => text.to_owned(),
    };
    let payload = serde_json::from_str(&text)
        .map_err(|error| ConfigError::new("--payload", format!("is not JSON: {error}")))?;
    let order = EditOrder { id: args.id, payload, dry_run: args.dry_run };
    let edited: Edited = give(&args.place, Order::Edit { order }).await?;
    if args.json {
        json(&edited)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::print(match edited.event_id {
        Some(id) => format!("sent as event {id}"),
        None => "the payload is valid; nothing was sent".to_owned(),
    })?;
    for effect in &edited.done_before {
        output::print(format_args!("{effect} is done already, and is not run again"))?;
    }
    Ok(ExitCode::SUCCESS)
}
