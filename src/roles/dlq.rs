//! `taskd dlq`: dead letters.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use reqwest::StatusCode;
use serde::de::DeserializeOwned;

use super::parts;
use crate::authenticity::Authenticity;
use crate::broker::Broker;
use crate::broker::amqp::AmqpBroker;
use crate::config::{BrokerArgs, ConfigError, DataArgs, DatabaseArgs, TlsArgs};
use crate::dead_letters::{DeadLetter, DeadLetters, Order, Report, Selection};
use crate::http::operator;
use crate::secret::Secret;
use crate::store::Store;

/// Options of `taskd dlq`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List dead letters, oldest first
    List {
        #[command(flatten)]
        place: PlaceArgs,
        /// How many to list at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a dead letter whole: reason, history, headers, body
    Show {
        #[command(flatten)]
        place: PlaceArgs,
        /// Its id, or its event's
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Send dead letters round again, from their first attempt on
    Replay(Choice),
    /// Throw dead letters away
    Discard(Choice),
}

#[derive(clap::Args)]
struct Choice {
    #[command(flatten)]
    place: PlaceArgs,
    /// Their ids, or their events'
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All that are there now
    #[arg(long)]
    all: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Choice {
    fn selection(&self) -> Selection {
        if self.all { Selection::All } else { Selection::Ids(self.ids.clone()) }
    }
}

/// Where the dead letters are: on RabbitMQ, else in the tables of a database, else with a running
/// `taskd up`.
#[derive(clap::Args)]
struct PlaceArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    data: DataArgs,
    /// An admin's token, for a running `taskd up` that asks for one
    #[arg(long, env = "TASKD_TOKEN", value_name = "TASKD_TOKEN", hide_env_values = true)]
    token: Option<Secret>,
}

/// Lists, shows, replays or discards. Exits 1 if an id was not found.
///
/// # Errors
/// The configuration is wrong, or the broker fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List { place, limit, json } => {
            let (letters, total): (Vec<DeadLetter>, u64) =
                give(&place, Order::List { limit }).await?;
            if json {
                super::print(serde_json::to_string_pretty(&letters)?);
            } else {
                list(&letters, total);
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Show { place, id, json } => {
            let order = Order::Show { selection: Selection::Ids(vec![id]) };
            let report: Report = give(&place, order).await?;
            if json {
                super::print(serde_json::to_string_pretty(&report.letters)?);
            } else {
                report.letters.iter().for_each(show);
            }
            Ok(missed(&report))
        }
        Action::Replay(choice) => {
            let report =
                give(&choice.place, Order::Replay { selection: choice.selection() }).await?;
            said(&choice, &report, "replayed")
        }
        Action::Discard(choice) => {
            let report =
                give(&choice.place, Order::Discard { selection: choice.selection() }).await?;
            said(&choice, &report, "discarded")
        }
    }
}

/// Has an order carried out where the letters are.
async fn give<T: DeserializeOwned>(place: &PlaceArgs, order: Order) -> anyhow::Result<T> {
    let tls = place.tls.load()?;
    let broker = place.broker.url(&tls)?;
    // Without RabbitMQ the letters are in a database. With it the database has the key that signs what is
    // replayed; it is connected to for that alone.
    let needed = broker.is_none() || matches!(order, Order::Replay { .. });
    let store = match place.database.url(&tls)?.filter(|_| needed) {
        Some(url) => {
            super::check_sessions(&url).await?;
            Some(Store::new(&url, 1)?)
        }
        None => None,
    };
    let broker: Arc<dyn Broker> = match (broker, &store) {
        (Some(url), _) => Arc::new(AmqpBroker::new(url, place.broker.topology()?, "taskd dlq")),
        (None, Some(store)) => parts::broker(&place.broker, &tls, "taskd dlq", store, false)?,
        (None, None) => return ask_running(place, &order).await,
    };
    if store.is_none() && matches!(order, Order::Replay { .. }) {
        let problem =
            "is not set: what is replayed has to be signed, and the key is in the database";
        return Err(ConfigError::new("DATABASE_URL", problem).into());
    }
    let mut letters = DeadLetters::new(broker);
    if let Some(store) = store {
        letters = letters.signing(Authenticity::new(store));
    }
    Ok(serde_json::from_value(letters.obey(order).await?)?)
}

/// Asks the `taskd up` that has the data directory.
async fn ask_running<T: DeserializeOwned>(place: &PlaceArgs, order: &Order) -> anyhow::Result<T> {
    let data = &place.data;
    let Some(address) = data.running()? else {
        let problem = format!(
            "is not set, nor is DATABASE_URL, and no `taskd up` runs on {}: set one of them, or start `taskd up`",
            data.data_dir.display()
        );
        return Err(ConfigError::new("RABBITMQ_URL", problem).into());
    };
    let url = format!("http://{address}{}", operator::PATH);
    let mut request = reqwest::Client::new().post(&url).json(order);
    if let Some(token) = &place.token {
        request = request.bearer_auth(token.expose());
    }
    let answer = request.send().await;
    let answer = answer.with_context(|| format!("`taskd up` does not answer at {address}"))?;
    if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&answer.status()) {
        let problem = format!("`taskd up` at {address} asks for an admin's token");
        return Err(ConfigError::new("TASKD_TOKEN", problem).into());
    }
    anyhow::ensure!(
        answer.status().is_success(),
        "`taskd up` at {address} answered {}",
        answer.status()
    );
    Ok(answer.json().await?)
}

fn said(choice: &Choice, report: &Report, what: &str) -> anyhow::Result<ExitCode> {
    if choice.json {
        super::print(serde_json::to_string_pretty(report)?);
    } else {
        for letter in &report.letters {
            super::print(format_args!("{what}  {}", letter.id));
        }
        super::print(format_args!("{} {what}", report.letters.len()));
    }
    Ok(missed(report))
}

fn missed(report: &Report) -> ExitCode {
    for id in &report.not_found {
        super::complain(format_args!("there is no dead letter {id}"));
    }
    if report.not_found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn list(letters: &[DeadLetter], total: u64) {
    super::print(format_args!(
        "{:36}  {:12}  {:17}  {:>8}  {:20}  ERROR",
        "ID", "TYPE", "REASON", "ATTEMPTS", "DIED"
    ));
    for letter in letters {
        let died = letter
            .died_at
            .map_or("?".into(), |at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
        super::print(format_args!(
            "{:36}  {:12}  {:17}  {:>8}  {died:20}  {}",
            letter.id,
            letter.event_type.as_deref().unwrap_or("?"),
            letter.reason,
            letter.attempts,
            letter.error.as_deref().unwrap_or("").replace('\n', " ")
        ));
    }
    super::print(format_args!("{} of {total}", letters.len()));
}

fn show(letter: &DeadLetter) {
    let none = || "none".to_owned();
    super::print(format_args!("id        {}", letter.id));
    super::print(format_args!("event     {}", letter.event_id.clone().unwrap_or_else(none)));
    super::print(format_args!("type      {}", letter.event_type.clone().unwrap_or_else(none)));
    super::print(format_args!("reason    {}", letter.reason));
    super::print(format_args!("error     {}", letter.error.clone().unwrap_or_else(none)));
    super::print(format_args!("attempts  {}", letter.attempts));
    super::print("history");
    for failure in &letter.history {
        super::print(format_args!(
            "  {}  attempt {}  {}  {}: {}",
            failure.at.to_rfc3339(),
            failure.attempt,
            failure.worker,
            failure.effect.as_deref().unwrap_or("message"),
            failure.error
        ));
    }
    super::print("headers");
    for (name, value) in &letter.headers {
        super::print(format_args!("  {name}: {value}"));
    }
    super::print("body");
    super::print(serde_json::to_string_pretty(&letter.body).unwrap_or_default());
}
