//! Reads a task from its row.

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};

use crate::domain::task::{Status, Task};

/// The columns of a task.
pub(in crate::store) const COLUMNS: &str = "id, title, description, status, user_id, category_id, due_at, version, \
     created_at, updated_at, completed_at";

/// The types of [`COLUMNS`].
pub(in crate::store) type ColumnTypes = (
    BigInt,
    Text,
    Nullable<Text>,
    Text,
    Nullable<BigInt>,
    Nullable<BigInt>,
    Nullable<Timestamptz>,
    BigInt,
    Timestamptz,
    Timestamptz,
    Nullable<Timestamptz>,
);

/// Builds a task from its columns, which are read by position.
impl Queryable<ColumnTypes, Pg> for Task {
    type Row = (
        i64,
        String,
        Option<String>,
        StoredStatus,
        Option<i64>,
        Option<i64>,
        Option<DateTime<Utc>>,
        i64,
        DateTime<Utc>,
        DateTime<Utc>,
        Option<DateTime<Utc>>,
    );

    fn build(row: Self::Row) -> deserialize::Result<Task> {
        let (id, title, description, status, user_id, category_id, due_at, version, ..) = row;
        let (.., created_at, updated_at, completed_at) = row;
        Ok(Task {
            id,
            title,
            description,
            status: status.0,
            user_id,
            category_id,
            due_at,
            version,
            created_at,
            updated_at,
            completed_at,
        })
    }
}

/// A status, stored by its name. A check constraint guards the column.
#[derive(FromSqlRow)]
pub struct StoredStatus(Status);

impl FromSql<Text, Pg> for StoredStatus {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<StoredStatus> {
        let name = std::str::from_utf8(value.as_bytes())?;
        let status = Status::from_name(name);
        Ok(StoredStatus(status.ok_or_else(|| format!("there is no status {name:?}"))?))
    }
}
