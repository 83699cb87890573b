//! What a webhook is to be, from the command line: the members that a request has, too.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::config::{ConfigError, duration, whole};
use crate::webhooks::orders::{Change, types};

/// What a new webhook is to be.
#[derive(clap::Args)]
pub(super) struct NewArgs {
    /// Where to send: https, or with WEBHOOK_ALLOW http
    #[arg(long, value_name = "URL")]
    url: String,
    /// Whose it is: a member's is told of that member's tasks, an admin's and nobody's of all
    /// [default: nobody's]
    #[arg(long, value_name = "ID", value_parser = whole(1..=i64::MAX))]
    pub(super) user: Option<i64>,
    #[command(flatten)]
    common: CommonArgs,
    /// Tell it nothing until `taskd webhooks update ID --enable`
    #[arg(long)]
    disabled: bool,
}

/// What of a webhook is to change.
#[derive(clap::Args)]
pub(super) struct PatchArgs {
    /// Where to send: https, or with WEBHOOK_ALLOW http
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
    /// Take the description away
    #[arg(long, conflicts_with = "description")]
    no_description: bool,
    /// Tell it of events of every type
    #[arg(long, conflicts_with = "types")]
    all_types: bool,
    /// Tell it of tasks whatever they are
    #[arg(long, conflicts_with = "filter")]
    no_filter: bool,
    /// Keep no order
    #[arg(long, conflicts_with = "ordered")]
    unordered: bool,
    /// Take the limit away
    #[arg(long, conflicts_with = "rate")]
    no_rate: bool,
    /// Retry after the usual delays
    #[arg(long, conflicts_with_all = ["retry_delays", "no_retries"])]
    usual_retries: bool,
    /// Tell it of events from now on
    #[arg(long)]
    enable: bool,
    /// Tell it nothing; what is still to be delivered waits
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
}

#[derive(clap::Args)]
struct CommonArgs {
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Only events of this type, such as TASK_CREATED; can be repeated
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = event_type)]
    types: Vec<String>,
    /// Only events after which the task has these members, such as {"status": "completed"}
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// Send the versions of a task one by one, each when the one before is done or given up
    #[arg(long)]
    ordered: bool,
    /// How many deliveries at most, over all workers: a number a second, or such as 60/1m
    #[arg(long)]
    rate: Option<String>,
    /// The delay before the first retry, and with each repetition before the next
    /// [default: 5s,5m,30m,2h,5h,10h,10h]
    #[arg(long = "retry-delay", value_name = "DURATION", value_delimiter = ',', value_parser = duration)]
    retry_delays: Vec<Duration>,
    /// Never retry
    #[arg(long, conflicts_with = "retry_delays")]
    no_retries: bool,
}

impl NewArgs {
    /// The members of the new webhook.
    ///
    /// # Errors
    /// An option is wrong.
    pub(super) fn members(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut members = self.common.members()?;
        members.insert("url".to_owned(), json!(self.url));
        if self.disabled {
            members.insert("enabled".to_owned(), json!(false));
        }
        checked(members)
    }
}

impl PatchArgs {
    /// The members to be changed.
    ///
    /// # Errors
    /// An option is wrong, or there is none.
    pub(super) fn members(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut members = self.common.members()?;
        if let Some(url) = &self.url {
            members.insert("url".to_owned(), json!(url));
        }
        let plain = [
            (self.no_description, "description", Value::Null),
            (self.all_types, "eventTypes", Value::Null),
            (self.no_filter, "filter", json!({})),
            (self.unordered, "ordered", json!(false)),
            (self.no_rate, "rate", Value::Null),
            (self.usual_retries, "retryDelays", Value::Null),
            (self.enable, "enabled", json!(true)),
            (self.disable, "enabled", json!(false)),
        ];
        let said = plain.into_iter().filter(|(said, ..)| *said);
        members.extend(said.map(|(_, name, value)| (name.to_owned(), value)));
        if members.is_empty() {
            let problem = "say what to change: --url, --enable, --disable or another option that \
                           `taskd webhooks update --help` lists";
            return Err(ConfigError::new("OPTIONS", problem));
        }
        checked(members)
    }
}

impl CommonArgs {
    fn members(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut members = Map::new();
        let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
        if let Some(text) = &self.description {
            set("description", json!(text));
        }
        if !self.types.is_empty() {
            set("eventTypes", json!(self.types));
        }
        if let Some(text) = &self.filter {
            let filter: Value = serde_json::from_str(text).map_err(|_| {
                let problem = "must be JSON such as {\"status\": \"completed\"}, in single quotes for a shell";
                ConfigError::new("--filter", problem)
            })?;
            set("filter", filter);
        }
        if self.ordered {
            set("ordered", json!(true));
        }
        if let Some(text) = &self.rate {
            set("rate", text.parse::<u64>().map_or(json!(text), |number| json!(number)));
        }
        if self.no_retries || !self.retry_delays.is_empty() {
            let written = |delay: &Duration| humantime::format_duration(*delay).to_string();
            set("retryDelays", self.retry_delays.iter().map(written).collect());
        }
        Ok(members)
    }
}

/// Reads an event type that a webhook can be told.
pub(super) fn event_type(name: &str) -> Result<String, String> {
    let known = types();
    match known.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(format!("must be one of {}", known.join(", "))),
    }
}

/// Checks the members by the rules for requests. An error names the option.
fn checked(members: Map<String, Value>) -> Result<Map<String, Value>, ConfigError> {
    let Err(mut wrong) = Change::read(&members) else { return Ok(members) };
    let (name, problem) = wrong.swap_remove(0);
    let option = match name {
        "eventTypes" => "type",
        "retryDelays" => "retry-delay",
        other => other,
    };
    Err(ConfigError::new(format!("--{option}"), problem))
}
