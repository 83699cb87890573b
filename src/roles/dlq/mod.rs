//! `taskd dlq`: dead letters.

mod print;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use reqwest::Method;
use serde::de::DeserializeOwned;

use super::parts;
use super::reach::{self, Stopped};
use crate::authenticity::Authenticity;
use crate::broker::Broker;
use crate::broker::amqp::AmqpBroker;
use crate::config::{BrokerArgs, ConfigError, DataArgs, DatabaseArgs, TlsArgs, whole};
use crate::dead_letters::{DeadLetter, DeadLetters, Order, Report, Selection};
use crate::ground::output;
use crate::http::routes::operator;
use crate::store::Store;
use print::{list, show};

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
        #[arg(long, default_value_t = 100, conflicts_with = "all", value_parser = whole(1..=1_000_000_usize))]
        limit: usize,
        /// List all that are there
        #[arg(long)]
        all: bool,
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
    #[arg(conflicts_with = "all")]
    ids: Vec<String>,
    /// All that are there now
    #[arg(long)]
    all: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Choice {
    fn selection(&self) -> Result<Selection, ConfigError> {
        match (self.all, self.ids.as_slice()) {
            (true, _) => Ok(Selection::All),
            (false, []) => Err(ConfigError::new(
                "ID",
                "say which letters: one or more ids, which `taskd dlq list` shows, or --all",
            )),
            (false, ids) => Ok(Selection::Ids(ids.to_vec())),
        }
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
}

impl Args {
    /// The data directory of the `taskd up` that may be asked.
    pub fn data(&self) -> &DataArgs {
        match &self.action {
            Action::List { place, .. } | Action::Show { place, .. } => &place.data,
            Action::Replay(choice) | Action::Discard(choice) => &choice.place.data,
        }
    }
}

/// Lists, shows, replays or discards. Exits 1 if an id was not found.
///
/// # Errors
/// The configuration is wrong, or the broker fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List { place, limit, all, json } => {
            let limit = if all { usize::MAX } else { limit };
            let (letters, total): (Vec<DeadLetter>, u64) =
                give(&place, Order::List { limit }).await?;
            if json {
                output::print(serde_json::to_string_pretty(&letters)?)?;
            } else {
                list(&letters, total)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Show { place, id, json } => {
            let order = Order::Show { selection: Selection::Ids(vec![id]) };
            let report: Report = give(&place, order).await?;
            if json {
                output::print(serde_json::to_string_pretty(&report.letters)?)?;
            } else {
                report.letters.iter().try_for_each(show)?;
            }
            Ok(missed(&report))
        }
        Action::Replay(choice) => {
            let order = Order::Replay { selection: choice.selection()? };
            let report: Report = give(&choice.place, order).await?;
            let count = report.letters.len();
            let text = match choice.json {
                true => serde_json::to_string_pretty(&report)?,
                false => {
                    let ids =
                        report.letters.iter().map(|letter| format!("replayed  {}\n", letter.id));
                    format!("{}{count} replayed", ids.collect::<String>())
                }
            };
            output::print(text).with_context(|| format!("{count} replayed"))?;
            Ok(missed(&report))
        }
        Action::Discard(choice) => discard(&choice).await,
    }
}

/// Prints each letter before it is discarded. If it can't be printed, nothing is discarded.
async fn discard(choice: &Choice) -> anyhow::Result<ExitCode> {
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

/// Carries out an order where the letters are.
async fn give<T: DeserializeOwned>(place: &PlaceArgs, order: Order) -> anyhow::Result<T> {
    let tls = place.tls.load()?;
    let broker = place.broker.url(&tls)?;
    // Without RabbitMQ the letters are in a database. With RabbitMQ the database is only needed for
    // the key that signs replayed messages.
    let needed = broker.is_none() || matches!(order, Order::Replay { .. });
    let store = match place.database.url(&tls)?.filter(|_| needed) {
        Some(url) => {
            super::runtime::check_sessions(&url).await?;
            Some(Store::new(&url, 1)?)
        }
        None => None,
    };
    let broker: Arc<dyn Broker> = match (broker, &store) {
        (Some(url), _) => Arc::new(AmqpBroker::new(url, place.broker.topology()?, "taskd dlq")),
        (None, Some(store)) => parts::broker(&place.broker, &tls, "taskd dlq", store, false)?,
        (None, None) => return ask_up(place, order).await,
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

/// Has the order carried out by the `taskd up` that runs on the data directory, or on its database.
async fn ask_up<T: DeserializeOwned>(place: &PlaceArgs, order: Order) -> anyhow::Result<T> {
    let data = &place.data;
    if let Some(answer) = reach::ask(data, Method::POST, operator::PATH, &order).await? {
        let status = answer.status();
        anyhow::ensure!(
            status.is_success(),
            "the `taskd up` on {} answered {status}: {}",
            data.data_dir.display(),
            answer.text().await.unwrap_or_default()
        );
        return Ok(answer.json().await?);
    }
    let Some(stopped) = Stopped::open(data).await? else {
        let problem = format!(
            "is not set, nor is DATABASE_URL, and no `taskd up` has run on {}: set one of them, or start `taskd up`",
            data.data_dir.display()
        );
        return Err(ConfigError::new("RABBITMQ_URL", problem).into());
    };
    let letters = DeadLetters::new(Arc::new(parts::tables(&place.broker, &stopped.store)?));
    let letters = letters.signing(Authenticity::new(stopped.store.clone()));
    Ok(serde_json::from_value(letters.obey(order).await?)?)
}

fn missed(report: &Report) -> ExitCode {
    for id in &report.not_found {
        output::complain(format_args!("there is no dead letter {id}"));
    }
    if report.not_found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
