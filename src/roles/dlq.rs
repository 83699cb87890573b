//! `taskd dlq`: dead letters.

use std::process::ExitCode;

use crate::config::BrokerArgs;
use crate::dead_letters::{DeadLetter, DeadLetters, Report, Selection};

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
        broker: BrokerArgs,
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
        broker: BrokerArgs,
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
    broker: BrokerArgs,
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

/// Lists, shows, replays or discards. Exits 1 if an id was not found.
///
/// # Errors
/// The configuration is wrong, or the broker fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List { broker, limit, json } => {
            let (letters, total) = open(&broker)?.list(limit).await?;
            if json {
                super::print(serde_json::to_string_pretty(&letters)?);
            } else {
                list(&letters, total);
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Show { broker, id, json } => {
            let report = open(&broker)?.show(&Selection::Ids(vec![id])).await?;
            if json {
                super::print(serde_json::to_string_pretty(&report.letters)?);
            } else {
                report.letters.iter().for_each(show);
            }
            Ok(missed(&report))
        }
        Action::Replay(choice) => {
            let report = open(&choice.broker)?.replay(&choice.selection()).await?;
            said(&choice, &report, "replayed")
        }
        Action::Discard(choice) => {
            let report = open(&choice.broker)?.discard(&choice.selection()).await?;
            said(&choice, &report, "discarded")
        }
    }
}

fn open(args: &BrokerArgs) -> anyhow::Result<DeadLetters> {
    Ok(DeadLetters::new(super::broker(args, "taskd dlq")?))
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
        eprintln!("taskd: there is no dead letter {id}");
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
