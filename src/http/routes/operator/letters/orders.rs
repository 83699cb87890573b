//! Reads orders about dead letters from requests.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::dead_letters::{DiscardOrder, ReplayOrder};
use crate::http::extract::cursor;
use crate::http::extract::fields::{Fields, FromFields};
use crate::http::extract::moment::moment;
use crate::http::extract::paging::{self, read_id};
use crate::store::letters::{LetterFilter, LetterState};

/// The parameters of `GET /dead-letters`.
pub(super) struct LetterParams {
    pub(super) state: LetterState,
    pub(super) filter: LetterFilter,
    /// The last letter of the page before.
    pub(super) after: Option<(DateTime<Utc>, String)>,
    pub(super) limit: Option<i64>,
}

/// Which causes are asked for.
pub(super) struct GroupParams {
    /// This one alone.
    pub(super) group: Option<String>,
    /// So many at most; all of them, if nothing is said.
    pub(super) limit: Option<i64>,
}

impl FromFields for GroupParams {
    fn from_fields(fields: &mut Fields) -> GroupParams {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        GroupParams {
            group: fields.parameter("group", "a fingerprint of /dead-letters/groups", text),
            limit: paging::limit(fields),
        }
    }
}

impl FromFields for LetterParams {
    fn from_fields(fields: &mut Fields) -> LetterParams {
        let states = format!("one of {}", LetterState::ALL.map(LetterState::as_str).join(", "));
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let filter = LetterFilter {
            ids: None,
            group: fields.parameter("group", "a fingerprint of /dead-letters/groups", text),
            event_type: fields.parameter("type", "an event type", text),
            effect: fields.parameter("effect", "the name of an effect", text),
            task_id: fields.parameter("taskId", "a whole number from 1", read_id),
            since: fields.parameter("since", "an RFC 3339 time", moment),
            before: fields.parameter("before", "an RFC 3339 time", moment),
        };
        LetterParams {
            state: fields
                .parameter("state", states, LetterState::from_name)
                .unwrap_or(LetterState::Open),
            filter,
            after: fields.parameter(
                "cursor",
                "the nextCursor of a page of the same list",
                cursor::decode,
            ),
            limit: paging::limit(fields),
        }
    }
}

/// Reads which letters are meant; some way to choose them has to be said.
fn selection(fields: &mut Fields) -> LetterFilter {
    let all = fields.optional("all").unwrap_or(false);
    let ids = match fields.unchecked("ids") {
        None | Some(Value::Null) => None,
        Some(value) => match serde_json::from_value::<Vec<String>>(value) {
            Ok(ids) if !ids.iter().any(|id| id.contains('\0')) => Some(ids),
            _ => {
                fields.fault("ids", "must be a list of ids of letters or of their events");
                None
            }
        },
    };
    let mut time = |name| match fields.optional::<String>(name).map(|text| moment(&text)) {
        None => None,
        Some(Some(at)) => Some(at),
        Some(None) => {
            fields.fault(name, "must be an RFC 3339 time");
            None
        }
    };
    let (since, before) = (time("since"), time("before"));
    let filter = LetterFilter {
        ids,
        group: fields.optional("group"),
        event_type: fields.optional("type"),
        effect: fields.optional("effect"),
        task_id: fields.optional("taskId"),
        since,
        before,
    };
    if !all && filter == LetterFilter::default() {
        fields.fault("all", "say which letters: ids, group or another filter, or all");
    }
    filter
}

/// Reads a count, which has an upper limit.
fn count(fields: &mut Fields, name: &'static str, least: i64) -> Option<u32> {
    let number = fields.optional::<i64>(name)?;
    let fits = u32::try_from(number).ok().filter(|n| i64::from(*n) >= least && *n <= MOST);
    if fits.is_none() {
        fields.fault(name, format!("must be a whole number from {least} to {MOST}"));
    }
    fits
}

const MOST: u32 = 1_000_000;

impl FromFields for ReplayOrder {
    fn from_fields(fields: &mut Fields) -> ReplayOrder {
        ReplayOrder {
            selection: selection(fields),
            dry_run: fields.optional("dryRun").unwrap_or(false),
            canary: count(fields, "canary", 0).unwrap_or(0),
            rate: count(fields, "rate", 1),
            max_failures: count(fields, "maxFailures", 0),
        }
    }
}

impl FromFields for DiscardOrder {
    fn from_fields(fields: &mut Fields) -> DiscardOrder {
        DiscardOrder {
            selection: selection(fields),
            reason: fields.optional("reason"),
            dry_run: fields.optional("dryRun").unwrap_or(false),
        }
    }
}

/// The body of an edit.
pub(super) struct EditBody {
    pub(super) payload: Value,
    pub(super) dry_run: bool,
}

impl FromFields for EditBody {
    fn from_fields(fields: &mut Fields) -> EditBody {
        let payload = fields.unchecked("payload").unwrap_or_default();
        if !payload.is_object() {
            fields.fault("payload", "is required: the whole payload, as an object");
        }
        EditBody { payload, dry_run: fields.optional("dryRun").unwrap_or(false) }
    }
}
