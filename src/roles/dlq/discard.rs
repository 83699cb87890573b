//! `taskd dlq discard`.

use std::process::ExitCode;

use super::args::LetterSelection;
use super::missed;
use super::order::give;
use crate::dead_letters::{Order, Report, Selection};
use crate::ground::output;

/// Prints each letter before it is discarded. If it can't be printed, nothing is discarded.
pub(super) async fn discard(choice: &LetterSelection) -> anyhow::Result<ExitCode> {
    let found: Report = give(&choice.place, Order::Show { selection: choice.selection()? }).await?;
    if choice.json {
        output::print(serde_json::to_string_pretty(&found)?)?;
    } else {
        for letter in &found.letters {
            output::print(format_args!("discarding  {}", letter.id))?;
        }
    }
    let mut discarded = 0;
    for ids in in_requests(found.letters.iter().map(|letter| letter.id.clone())) {
        let selection = Selection::Ids(ids);
        let report: Report = give(&choice.place, Order::Discard { selection }).await?;
        discarded += report.letters.len();
        // Another process discarded these first.
        missed(&report);
    }
    if !choice.json {
        output::print(format_args!("{discarded} discarded"))?;
    }
    let met = missed(&found);
    Ok(if discarded == found.letters.len() { met } else { ExitCode::FAILURE })
}

/// Shorter than the longest body that a process accepts, in bytes, with room for quotes and commas.
const BYTES_A_REQUEST: usize = 100_000;

/// Groups the ids, as many together as one request may have.
fn in_requests(ids: impl Iterator<Item = String>) -> Vec<Vec<String>> {
    let mut requests: Vec<Vec<String>> = Vec::new();
    let mut room = 0;
    for id in ids {
        let size = id.len() + 3;
        match requests.last_mut().filter(|_| size <= room) {
            Some(request) => request.push(id),
            None => {
                room = BYTES_A_REQUEST;
                requests.push(vec![id]);
            }
        }
        room = room.saturating_sub(size);
    }
    requests
}
