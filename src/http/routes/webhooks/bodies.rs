//! What requests about webhooks say.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::webhook::DeliveryState;
use crate::http::dto::Moment;
use crate::http::extract::fields::{Fields, FromFields};
use crate::http::extract::paging::{cursor, limit};
use crate::webhooks::orders::{Change, MEMBERS, event_types};

/// A webhook to be made.
pub(super) struct NewWebhook(pub(super) Change);

impl FromFields for NewWebhook {
    fn from_fields(fields: &mut Fields) -> NewWebhook {
        if !fields.has("url") {
            fields.fault("url", "is required");
        }
        NewWebhook(read(fields))
    }
}

/// What of a webhook is to be changed.
pub(super) struct ChangedWebhook(pub(super) Change);

impl FromFields for ChangedWebhook {
    const MEDIA_TYPES: &'static [&'static str] =
        &["application/merge-patch+json", "application/json"];

    fn from_fields(fields: &mut Fields) -> ChangedWebhook {
        ChangedWebhook(read(fields))
    }
}

fn read(fields: &mut Fields) -> Change {
    let member = |name: &'static str| Some((name.to_owned(), fields.unchecked(name)?));
    let members: Map<String, Value> = MEMBERS.into_iter().filter_map(member).collect();
    Change::read(&members).unwrap_or_else(|wrong| {
        for (name, problem) in wrong {
            fields.fault(name, problem);
        }
        Change::default()
    })
}

/// Since when what was given up is sent again.
pub(super) struct Recovery {
    pub(super) since: DateTime<Utc>,
}

impl FromFields for Recovery {
    fn from_fields(fields: &mut Fields) -> Recovery {
        Recovery { since: since(fields) }
    }
}

/// Which past events are delivered.
pub(super) struct History {
    pub(super) since: DateTime<Utc>,
    pub(super) types: Option<Vec<String>>,
}

impl FromFields for History {
    fn from_fields(fields: &mut Fields) -> History {
        let since = since(fields);
        let types = fields.unchecked("types").filter(|types| !types.is_null());
        let types = types.and_then(|types| match event_types(&types) {
            Ok(types) => Some(types),
            Err(problem) => {
                fields.fault("types", problem);
                None
            }
        });
        History { since, types }
    }
}

fn since(fields: &mut Fields) -> DateTime<Utc> {
    fields.required::<Moment>("since").0
}

/// Which deliveries are listed.
pub(super) struct DeliveryParams {
    pub(super) state: Option<DeliveryState>,
    pub(super) before: Option<i64>,
    pub(super) limit: Option<i64>,
}

impl FromFields for DeliveryParams {
    fn from_fields(fields: &mut Fields) -> DeliveryParams {
        let names = DeliveryState::ALL.map(DeliveryState::as_str).join(", ");
        let expected = format_args!("one of {names}");
        DeliveryParams {
            state: fields.parameter("state", expected, DeliveryState::from_name),
            before: cursor(fields, |before: &i64| *before >= 1),
            limit: limit(fields),
        }
    }
}
