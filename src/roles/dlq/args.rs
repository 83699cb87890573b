//! The command line of `taskd dlq`.

use crate::config::{BrokerArgs, ConfigError, DataArgs, DatabaseArgs, TlsArgs, whole};
use crate::dead_letters::Selection;

/// Options of `taskd dlq`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub(super) action: Action,
}

#[derive(clap::Subcommand)]
pub(super) enum Action {
    /// List dead letters, oldest first
    List {
        #[command(flatten)]
        place: LetterSourceArgs,
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
        place: LetterSourceArgs,
        /// Its id, or its event's
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Send dead letters round again, from their first attempt on
    Replay(LetterSelection),
    /// Throw dead letters away
    Discard(LetterSelection),
}

#[derive(clap::Args)]
pub(super) struct LetterSelection {
    #[command(flatten)]
    pub(super) place: LetterSourceArgs,
    /// Their ids, or their events'
    #[arg(conflicts_with = "all")]
    ids: Vec<String>,
    /// All that are there now
    #[arg(long)]
    all: bool,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl LetterSelection {
    pub(super) fn selection(&self) -> Result<Selection, ConfigError> {
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
pub(super) struct LetterSourceArgs {
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
    #[command(flatten)]
    pub(super) data: DataArgs,
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
