//! What of an endpoint is to be changed, read from JSON: requests and commands say the same.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::WebhookError;
use crate::domain::catalog;
use crate::domain::rate::Rate;
use crate::domain::text::shows_something;
use crate::domain::webhook::{DESCRIPTION, check_delays, check_filter, check_rate, events::KIND};
use crate::store::webhooks::Settings;

/// The members that say what an endpoint is.
pub const MEMBERS: [&str; 8] =
    ["url", "description", "eventTypes", "filter", "ordered", "rate", "retryDelays", "enabled"];

/// Members to be changed; `None` leaves one as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    url: Option<String>,
    description: Option<Option<String>>,
    event_types: Option<Option<Vec<String>>>,
    filter: Option<Value>,
    ordered: Option<bool>,
    rate: Option<Option<Rate>>,
    retry_delays: Option<Option<Vec<Duration>>>,
    enabled: Option<bool>,
}

/// A member that is wrong, and what is wrong with it.
pub type Wrong = (&'static str, String);

impl Change {
    /// Reads the members that there are; others are the caller's business.
    ///
    /// # Errors
    /// Every member that is wrong.
    pub fn read(members: &Map<String, Value>) -> Result<Change, Vec<Wrong>> {
        let mut wrong = Vec::new();
        let change = Change {
            url: member(members, "url", &mut wrong, text),
            description: member(members, "description", &mut wrong, or_null(description)),
            event_types: member(members, "eventTypes", &mut wrong, or_null(event_types)),
            filter: member(members, "filter", &mut wrong, filter),
            ordered: member(members, "ordered", &mut wrong, flag),
            rate: member(members, "rate", &mut wrong, or_null(rate)),
            retry_delays: member(members, "retryDelays", &mut wrong, or_null(delays)),
            enabled: member(members, "enabled", &mut wrong, flag),
        };
        if wrong.is_empty() { Ok(change) } else { Err(wrong) }
    }

    /// The settings of a new endpoint.
    ///
    /// # Errors
    /// It has no URL.
    pub(super) fn of_new(self) -> Result<Settings, WebhookError> {
        let missing = || WebhookError::Invalid("url", "is required".to_owned());
        Ok(Settings {
            url: self.url.ok_or_else(missing)?,
            description: self.description.flatten(),
            event_types: self.event_types.flatten(),
            filter: self.filter.unwrap_or_else(|| json!({})),
            ordered: self.ordered.unwrap_or(false),
            rate: self.rate.flatten(),
            retry_delays: self.retry_delays.flatten(),
            enabled: self.enabled.unwrap_or(true),
        })
    }

    /// The settings of an endpoint with this change.
    pub(super) fn of(self, before: Settings) -> Settings {
        Settings {
            url: self.url.unwrap_or(before.url),
            description: self.description.unwrap_or(before.description),
            event_types: self.event_types.unwrap_or(before.event_types),
            filter: self.filter.unwrap_or(before.filter),
            ordered: self.ordered.unwrap_or(before.ordered),
            rate: self.rate.unwrap_or(before.rate),
            retry_delays: self.retry_delays.unwrap_or(before.retry_delays),
            enabled: self.enabled.unwrap_or(before.enabled),
        }
    }
}

fn member<T>(
    members: &Map<String, Value>,
    name: &'static str,
    wrong: &mut Vec<Wrong>,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Option<T> {
    let value = read(members.get(name)?);
    value.map_err(|problem| wrong.push((name, problem))).ok()
}

fn or_null<T>(
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> impl FnOnce(&Value) -> Result<Option<T>, String> {
    move |value| if value.is_null() { Ok(None) } else { read(value).map(Some) }
}

fn text(value: &Value) -> Result<String, String> {
    let text = value.as_str().ok_or("must be a text")?;
    if text.contains('\0') {
        return Err("must not contain the NUL character".to_owned());
    }
    Ok(text.to_owned())
}

fn description(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    match DESCRIPTION.allows_length_of(&text) && shows_something(&text) {
        true => Ok(text),
        false => Err(format!("{}, and show something", DESCRIPTION.expected_length())),
    }
}

fn flag(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

/// The types of events that a webhook can be told.
pub fn types() -> Vec<&'static str> {
    let told = catalog::built_in().iter().filter(|known| known.kind != KIND).collect::<Vec<_>>();
    told.iter().map(|known| known.name).collect()
}

/// Reads a list of types of events, not empty.
pub fn event_types(value: &Value) -> Result<Vec<String>, String> {
    let known = types();
    let expected = || format!("must be a list of event types: {}", known.join(", "));
    let named = value.as_array().filter(|list| !list.is_empty()).ok_or_else(expected)?;
    let mut read: Vec<String> = Vec::new();
    for name in named {
        let name = name.as_str().filter(|name| known.contains(name)).ok_or_else(expected)?;
        if !read.iter().any(|other| other == name) {
            read.push(name.to_owned());
        }
    }
    Ok(read)
}

fn filter(value: &Value) -> Result<Value, String> {
    let members = value.as_object().ok_or("must be an object such as {\"userId\": 7}")?;
    check_filter(members).map(|()| value.clone())
}

/// A number of deliveries a second, or a rate such as `60/1m`.
fn rate(value: &Value) -> Result<Rate, String> {
    let second = Duration::from_secs(1);
    let whole = value.as_u64().and_then(|count| u32::try_from(count).ok());
    let rate = match (whole, value.as_str()) {
        (Some(count), _) => Rate::of(count, second),
        (None, Some(text)) if text.contains('/') => text.parse()?,
        _ => {
            return Err(
                "must be a whole number of deliveries a second, or a rate such as 60/1m".to_owned()
            );
        }
    };
    check_rate(rate).map(|()| rate)
}

fn delays(value: &Value) -> Result<Vec<Duration>, String> {
    let expected = "must be a list of durations such as [\"5s\", \"5m\"]";
    let listed = value.as_array().ok_or(expected)?;
    let delay = |value: &Value| humantime::parse_duration(value.as_str()?).ok();
    let delays: Option<Vec<Duration>> = listed.iter().map(delay).collect();
    let delays = delays.ok_or(expected)?;
    check_delays(&delays).map(|()| delays)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Result<Change, Vec<Wrong>> {
        Change::read(value.as_object().unwrap())
    }

    #[test]
    fn every_wrong_member_is_named_at_once() {
        let wrong = read(json!({
            "url": 7, "description": " ", "eventTypes": [], "filter": { "x": 1 }, "ordered": "yes",
            "rate": -1, "retryDelays": ["soon"], "enabled": null,
        }));
        let wrong = wrong.unwrap_err();
        assert_eq!(wrong.iter().map(|(name, _)| *name).collect::<Vec<_>>(), MEMBERS);
        let others = json!({ "eventTypes": ["TASK_CREATED", "WEBHOOK_FAILING"], "rate": "1001/1s",
            "retryDelays": ["8d"], "url": "a\u{0}" });
        assert_eq!(read(others).unwrap_err().len(), 4);
    }

    #[test]
    fn what_is_not_named_stays_and_null_clears() {
        let all = json!({
            "url": "https://example.com", "description": "d", "ordered": true, "rate": 10,
            "eventTypes": ["TASK_CREATED", "TASK_CREATED"], "filter": { "userId": 7 },
            "retryDelays": ["5s", "5m"], "enabled": false,
        });
        let made = read(all).unwrap().of_new().unwrap();
        assert_eq!(made.event_types.as_deref(), Some(&["TASK_CREATED".to_owned()][..]));
        assert_eq!(made.rate, Some(Rate::of(10, Duration::from_secs(1))));
        assert_eq!(read(json!({})).unwrap().of(made.clone()), made);
        let cleared =
            json!({ "description": null, "eventTypes": null, "rate": null, "retryDelays": null });
        let cleared = read(cleared).unwrap().of(made);
        assert_eq!((cleared.description, cleared.event_types, cleared.rate), (None, None, None));
        assert_eq!((cleared.retry_delays, cleared.ordered), (None, true));
        assert!(Change::default().of_new().is_err());
    }
}
