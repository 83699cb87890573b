//! Which letters are selected, and the conditions that find them without reading all others.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz};
use serde::{Deserialize, Serialize};

use crate::store::sql::Statement;

/// Which letters are selected; a field that is `None` filters nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LetterFilter {
    /// Those with one of these ids, or of one of these events or messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<String>>,
    /// Those of this cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Those of this event type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// Those whose effect this is, as `NAME` or `NAME/TARGET`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// Those that are about this task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<i64>,
    /// Those that have died since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Those that had died before then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<DateTime<Utc>>,
}

/// The condition of a filter on `dead_letters`, for the parameters from `$1` to `$7`.
const EACH_LETTER: &str = "($1 IS NULL OR id = ANY($1) OR message_id = ANY($1))
     AND ($2 IS NULL OR fingerprint = $2) AND ($3 IS NULL OR event_type = $3)
     AND ($4 IS NULL OR effect = $4)
     AND ($5 IS NULL OR subject_id = $5 AND subject_kind = 'task')
     AND ($6 IS NULL OR died_at >= $6) AND ($7 IS NULL OR died_at < $7)";

/// The same on the causes `g`. A cause stays when it has no open letter any more, so it finds the
/// letters in each state.
const CAUSES: &str = "dead_letter_groups g WHERE ($2 IS NULL OR g.fingerprint = $2)
     AND ($3 IS NULL OR g.event_type = $3) AND ($4 IS NULL OR g.effect = $4)";
const TIMES: &str = "($6 IS NULL OR died_at >= $6) AND ($7 IS NULL OR died_at < $7)";

impl LetterFilter {
    /// Whether the letters are found by their causes: those of one cause have one effect and one
    /// type. No index has these, and in the order of time few letters may be far apart.
    fn is_by_cause(&self) -> bool {
        (self.effect.is_some() || self.event_type.is_some())
            && self.ids.is_none()
            && self.task_id.is_none()
    }

    /// The condition on `dead_letters`, for the values of [`filtered`].
    pub(super) fn condition(&self) -> String {
        if self.is_by_cause() {
            format!("fingerprint = ANY (ARRAY(SELECT g.fingerprint FROM {CAUSES})) AND {TIMES}")
        } else {
            EACH_LETTER.to_owned()
        }
    }
}

/// A statement with the values of a filter from `$1` to `$7`, planned for them.
pub(super) fn filtered(sql: String, filter: &LetterFilter) -> Statement {
    Statement::new(sql)
        .planned_for_its_values()
        .bind::<Nullable<Array<Text>>, _>(filter.ids.clone())
        .bind::<Nullable<Text>, _>(filter.group.clone())
        .bind::<Nullable<Text>, _>(filter.event_type.clone())
        .bind::<Nullable<Text>, _>(filter.effect.clone())
        .bind::<Nullable<BigInt>, _>(filter.task_id)
        .bind::<Nullable<Timestamptz>, _>(filter.since)
        .bind::<Nullable<Timestamptz>, _>(filter.before)
}

/// The columns of the letters in the state `$8` that pass the filter, oldest first, after the
/// letter of `$9` and `$10`, at most `$11`.
pub(super) fn page(filter: &LetterFilter, columns: &str) -> String {
    let after = "state = $8 AND ($9 IS NULL OR (died_at, id) > ($9, $10))";
    if !filter.is_by_cause() {
        return format!(
            "SELECT {columns} FROM dead_letters WHERE {condition} AND {after}
             ORDER BY died_at, id LIMIT $11",
            condition = filter.condition()
        );
    }
    // Of n causes with the oldest letters each has at most n letters on a page of n, and no other
    // cause has any.
    let of = |cause: &str, limit: &str| {
        format!(
            "LATERAL (SELECT died_at, id FROM dead_letters
                      WHERE fingerprint = {cause}.fingerprint AND {TIMES} AND {after}
                      ORDER BY died_at, id LIMIT {limit}) AS l"
        )
    };
    format!(
        "WITH oldest AS MATERIALIZED (
             SELECT g.fingerprint FROM (SELECT g.fingerprint FROM {CAUSES}) AS g CROSS JOIN {first}
             ORDER BY l.died_at, l.id LIMIT $11),
         chosen AS MATERIALIZED (
             SELECT l.died_at, l.id FROM oldest CROSS JOIN {letters}
             ORDER BY l.died_at, l.id LIMIT $11)
         SELECT d.* FROM chosen CROSS JOIN LATERAL (
             SELECT {columns} FROM dead_letters WHERE id = chosen.id LIMIT 1) AS d
         ORDER BY chosen.died_at, chosen.id",
        first = of("g", "1"),
        letters = of("oldest", "$11")
    )
}
