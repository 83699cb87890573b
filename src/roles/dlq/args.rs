//! The command line of `taskd dlq`.

use chrono::{DateTime, Utc};

use crate::config::{self, BrokerArgs, ConfigError, DataArgs, DatabaseArgs, TlsArgs, whole};
use crate::store::letters::LetterFilter;

/// Options of `taskd dlq`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub(super) action: Action,
}

#[derive(clap::Subcommand)]
pub(super) enum Action {
    /// List dead letters, oldest first
    List(ListArgs),
    /// Print a dead letter whole: reason, history, headers, body
    Show(ShowArgs),
    /// Dead letters by cause: how many, since when, growing or not
    Groups(GroupsArgs),
    /// Send dead letters round again, from their first attempt on; a worker does it
    Replay(ReplayArgs),
    /// List replays, newest first
    Replays(ReplaysArgs),
    /// Stop a replay; what it has not sent is open again
    Stop(OneReplayArgs),
    /// Let a stopped replay go on, and wait for it
    Resume(OneReplayArgs),
    /// Send a corrected payload in place of a dead letter, for the effects that failed
    Edit(EditArgs),
    /// Throw dead letters away
    Discard(DiscardArgs),
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) place: LetterSourceArgs,
    /// open, replaying, replayed, failed again, replaced or discarded
    #[arg(long, default_value = "open")]
    pub(super) state: String,
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    /// How many to list at most
    #[arg(long, default_value_t = 100, conflicts_with = "all", value_parser = whole(1..=1_000_000_u32))]
    pub(super) limit: u32,
    /// List all that are there
    #[arg(long)]
    pub(super) all: bool,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(clap::Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    pub(super) place: LetterSourceArgs,
    /// Its id, or its event's
    pub(super) id: String,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(clap::Args)]
pub(super) struct GroupsArgs {
    #[command(flatten)]
    pub(super) place: LetterSourceArgs,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(clap::Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    pub(super) place: LetterSourceArgs,
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    /// Say only what would happen
    #[arg(long)]
    pub(super) dry_run: bool,
    /// How many go first, and have to be done before the others go
    #[arg(long, default_value_t = 0, value_parser = whole(0..=1_000_000_u32))]
    pub(super) canary: u32,
    /// How many go a second; as fast as they go, if nothing is said
    #[arg(long, value_parser = whole(1..=100_000_u32))]
    pub(super) rate: Option<u32>,
    /// Stop when more than this many have failed again
    #[arg(long, value_parser = whole(0..=1_000_000_u32))]
    pub(super) max_failures: Option<u32>,
    /// Don't wait for the end
    #[arg(long)]
    pub(super) no_wait: bool,
    /// Ask nothing; replaying never does
    #[arg(long)]
    pub(super) yes: bool,
    /// Show no progress
    #[arg(long)]
    pub(super) quiet: bool,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(clap::Args)]
pub(super) struct ReplaysArgs {
    #[command(flatten)]
    pub(super) place: LetterSourceArgs,
    /// How many to list at most
    #[arg(long, default_value_t = 20, value_parser = whole(1..=10_000_u32))]
    pub(super) limit: u32,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(clap::Args)]
pub(super) struct OneReplayArgs {
    #[command(flatten)]
    pub(super) place: LetterSourceArgs,
    /// Its id, as `taskd dlq replays` shows it
    #[arg(value_parser = whole(1..=i64::MAX))]
    pub(super) id: i64,
    /// Don't wait for the end
    #[arg(long)]
    pub(super) no_wait: bool,
    /// Show no progress
    #[arg(long)]
    pub(super) quiet: bool,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(clap::Args)]
pub(super) struct EditArgs {
    #[command(flatten)]
    pub(super) place: LetterSourceArgs,
    /// Its id, or its event's
    pub(super) id: String,
    /// The whole payload as JSON, or - to read it from standard input
    #[arg(long)]
    pub(super) payload: String,
    /// Check it only
    #[arg(long)]
    pub(super) dry_run: bool,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(clap::Args)]
pub(super) struct DiscardArgs {
    #[command(flatten)]
    pub(super) place: LetterSourceArgs,
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    /// Why, for the record
    #[arg(long)]
    pub(super) reason: Option<String>,
    /// Say only how many
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Don't ask
    #[arg(long)]
    pub(super) yes: bool,
    /// Show no progress
    #[arg(long)]
    pub(super) quiet: bool,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Which letters, besides by id.
#[derive(clap::Args)]
pub(super) struct FilterArgs {
    /// Those of this cause, a fingerprint that `taskd dlq groups` shows
    #[arg(long)]
    group: Option<String>,
    /// Those of this event type, such as TASK_CREATED
    #[arg(long = "type")]
    event_type: Option<String>,
    /// Those whose effect failed last, such as email
    #[arg(long)]
    effect: Option<String>,
    /// Those that are about this task
    #[arg(long, value_name = "TASK_ID", value_parser = whole(1..=i64::MAX))]
    task: Option<i64>,
    /// Those that have died since then: an RFC 3339 time, or how long ago, such as 2h
    #[arg(long, value_parser = config::since)]
    since: Option<DateTime<Utc>>,
    /// Those that had died before then
    #[arg(long, value_parser = config::since)]
    before: Option<DateTime<Utc>>,
}

impl FilterArgs {
    pub(super) fn filter(&self) -> LetterFilter {
        LetterFilter {
            ids: None,
            group: self.group.clone(),
            event_type: self.event_type.clone(),
            effect: self.effect.clone(),
            task_id: self.task,
            since: self.since,
            before: self.before,
        }
    }
}

/// Which letters: some way to choose them has to be said.
#[derive(clap::Args)]
pub(super) struct SelectionArgs {
    /// Their ids, or their events'
    #[arg(conflicts_with = "all")]
    ids: Vec<String>,
    /// All that are open now
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

impl SelectionArgs {
    pub(super) fn selection(&self) -> Result<LetterFilter, ConfigError> {
        let filter = self.filter.filter();
        if self.ids.is_empty() && !self.all && filter == LetterFilter::default() {
            return Err(ConfigError::new(
                "ID",
                "say which letters: one or more ids, which `taskd dlq list` shows, --group or another \
                 filter, or --all",
            ));
        }
        let ids = (!self.ids.is_empty()).then(|| self.ids.clone());
        Ok(LetterFilter { ids, ..filter })
    }
}

/// Where the dead letters are: in a database, else with a running `taskd up`; and the broker whose
/// queue is emptied into the database first.
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
        let place = match &self.action {
            Action::List(args) => &args.place,
            Action::Show(args) => &args.place,
            Action::Groups(args) => &args.place,
            Action::Replay(args) => &args.place,
            Action::Replays(args) => &args.place,
            Action::Stop(args) | Action::Resume(args) => &args.place,
            Action::Edit(args) => &args.place,
            Action::Discard(args) => &args.place,
        };
        &place.data
    }
}
