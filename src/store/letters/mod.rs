//! Dead letters, as they are remembered, and what operators do with them.

pub mod audit;
pub mod edits;
pub mod groups;
pub mod moving;
pub mod replays;
mod selection;
pub mod sending;
pub mod settling;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Binary, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

pub use self::selection::LetterFilter;
use self::selection::filtered;
use crate::store::StoreError;
use crate::store::events::unfinished::finished;
use crate::store::sql::{RunQueryDsl, Statement};

/// A dead letter.
#[derive(Debug, Clone, QueryableByName)]
pub struct LetterRow {
    /// Its id.
    #[diesel(sql_type = Text)]
    pub id: String,
    /// The name of a [`LetterState`].
    #[diesel(sql_type = Text)]
    pub state: String,
    /// The event it is about, if it can be read.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub event_id: Option<Uuid>,
    /// The effect that failed last, as `NAME` or `NAME/TARGET`.
    #[diesel(sql_type = Nullable<Text>)]
    pub effect: Option<String>,
    /// How many attempts it had.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    /// When it died, or was set aside.
    #[diesel(sql_type = Timestamptz)]
    pub died_at: DateTime<Utc>,
    /// What it has in common with letters of the same cause.
    #[diesel(sql_type = Text)]
    pub fingerprint: String,
    /// The message's properties and headers, as JSON.
    #[diesel(sql_type = Text)]
    pub message: String,
    /// Its body.
    #[diesel(sql_type = Binary)]
    pub body: Vec<u8>,
    /// The letter it was before it was replayed.
    #[diesel(sql_type = Nullable<Text>)]
    pub replay_of: Option<String>,
    /// When it was settled.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub settled_at: Option<DateTime<Utc>>,
    /// By whom.
    #[diesel(sql_type = Nullable<Text>)]
    pub settled_by: Option<String>,
}

const COLUMNS: &str = "id, state, event_id, effect, attempts, died_at, fingerprint, message, body, \
     replay_of, settled_at, settled_by";

/// What has become of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterState {
    /// Nobody has dealt with it.
    Open,
    /// It is part of a replay that has not ended.
    Replaying,
    /// It was replayed, and its event is done.
    Replayed,
    /// It was replayed, and has become another letter.
    FailedAgain,
    /// An edited event took its place.
    Replaced,
    /// It was discarded.
    Discarded,
}

impl LetterState {
    /// Every state.
    pub const ALL: [LetterState; 6] = [
        LetterState::Open,
        LetterState::Replaying,
        LetterState::Replayed,
        LetterState::FailedAgain,
        LetterState::Replaced,
        LetterState::Discarded,
    ];

    /// Its name in the database and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            LetterState::Open => "open",
            LetterState::Replaying => "replaying",
            LetterState::Replayed => "replayed",
            LetterState::FailedAgain => "failed again",
            LetterState::Replaced => "replaced",
            LetterState::Discarded => "discarded",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<LetterState> {
        LetterState::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// The letters in a state that pass the filter, oldest first, after a position (the time and the id
/// of the letter before).
///
/// # Errors
/// The database fails.
pub async fn list(
    connection: &mut AsyncPgConnection,
    state: LetterState,
    filter: &LetterFilter,
    after: Option<(DateTime<Utc>, String)>,
    limit: i64,
) -> Result<Vec<LetterRow>, StoreError> {
    let (at, id) = after.unzip();
    let statement = filtered(selection::page(filter, COLUMNS), filter)
        .bind::<Text, _>(state.as_str())
        .bind::<Nullable<Timestamptz>, _>(at)
        .bind::<Nullable<Text>, _>(id)
        .bind::<BigInt, _>(limit);
    Ok(statement.load(connection).await?)
}

/// How many letters in a state pass the filter. Open letters are not counted one by one where the
/// counts of their groups tell it: the letters of a group have one effect and one type.
///
/// # Errors
/// The database fails.
pub async fn count(
    connection: &mut AsyncPgConnection,
    state: LetterState,
    filter: &LetterFilter,
) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Total {
        #[diesel(sql_type = BigInt)]
        total: i64,
    }
    let others = LetterFilter { group: None, event_type: None, effect: None, ..filter.clone() };
    let statement = if others == LetterFilter::default() && state == LetterState::Open {
        Statement::new(
            "SELECT coalesce(sum(open), 0)::bigint AS total FROM dead_letter_groups
             WHERE ($1 IS NULL OR fingerprint = $1) AND ($2 IS NULL OR event_type = $2)
                 AND ($3 IS NULL OR effect = $3)",
        )
        .bind::<Nullable<Text>, _>(filter.group.clone())
        .bind::<Nullable<Text>, _>(filter.event_type.clone())
        .bind::<Nullable<Text>, _>(filter.effect.clone())
    } else {
        let condition = filter.condition();
        let sql =
            format!("SELECT count(*) AS total FROM dead_letters WHERE {condition} AND state = $8");
        filtered(sql, filter).bind::<Text, _>(state.as_str())
    };
    let total: Total = statement.get_result(connection).await?;
    Ok(total.total)
}

/// The letters with one of these ids, or of one of these events or messages, whatever their state.
///
/// # Errors
/// The database fails.
pub async fn find(
    connection: &mut AsyncPgConnection,
    ids: &[String],
) -> Result<Vec<LetterRow>, StoreError> {
    let statement = Statement::new(format!(
        "SELECT {COLUMNS} FROM dead_letters WHERE id = ANY($1) OR message_id = ANY($1)
         ORDER BY died_at, id"
    ))
    .bind::<Array<Text>, _>(ids.to_vec());
    Ok(statement.load(connection).await?)
}

/// A condition: whether the event of the letter `alias` is done. Records are deleted only when all
/// is done, so of an event that has had records, missing ones mean the same.
fn is_done(alias: &str) -> String {
    format!(
        "({alias}.is_ours AND {alias}.event_id IS NOT NULL AND ({finished} OR {alias}.recorded
             AND NOT EXISTS (SELECT FROM processed_messages p WHERE p.event_id = {alias}.event_id)))",
        finished = finished(&format!("{alias}.event_id"))
    )
}
