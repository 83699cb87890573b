//! Counts how many mails each user has had lately; all workers share the counts.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Timestamptz};
use diesel_async::AsyncPgConnection;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement, transaction, unseen};

/// For each user, how many microseconds it is ahead of an even pace.
pub type AheadByUser = HashMap<i64, u64>;

/// Lets `decide` set how far ahead these users are after their next mails, while their counts are
/// locked. `users` must have no duplicates. Must be awaited to its end.
///
/// # Errors
/// The database fails; then nothing was counted.
pub async fn count(
    connection: &mut AsyncPgConnection,
    users: Vec<i64>,
    decide: impl FnOnce(&mut AheadByUser),
) -> Result<(), StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        user_id: i64,
        #[diesel(sql_type = BigInt)]
        ahead: i64,
        #[diesel(sql_type = Timestamptz)]
        at: DateTime<Utc>,
    }
    transaction(connection, async |connection| {
        // All workers take rows in one order, so that two with the same users wait instead of
        // deadlocking. The update changes nothing: it locks the rows, and returns them.
        let statement = Statement::new(format!(
            "INSERT INTO mail_limits AS m (user_id, ahead_until)
             SELECT user_id, now() FROM unnest({users}) AS t (user_id) ORDER BY user_id
             ON CONFLICT (user_id) DO UPDATE SET ahead_until = m.ahead_until
             RETURNING user_id, clock_timestamp() AS at,
                 greatest(0, extract(epoch FROM ahead_until - clock_timestamp()) * 1000000)::bigint AS ahead",
            users = unseen([1])
        ))
        .bind::<Array<BigInt>, _>(users);
        let rows: Vec<Row> = statement.load(connection).await?;
        let [Row { at, .. }, ..] = rows.as_slice() else { return Ok(()) };
        let at = *at;
        let mut ahead: AheadByUser =
            rows.into_iter().map(|row| (row.user_id, row.ahead.unsigned_abs())).collect();
        decide(&mut ahead);
        let (users, ahead): (Vec<i64>, Vec<i64>) = ahead
            .into_iter()
            .map(|(user, ahead)| (user, i64::try_from(ahead).unwrap_or(i64::MAX)))
            .unzip();
        let statement = Statement::new(format!(
            "UPDATE mail_limits AS m SET ahead_until = $3 + t.ahead * interval '1 us'
             FROM unnest({arrays}) AS t (user_id, ahead) WHERE m.user_id = t.user_id",
            arrays = unseen([1, 2])
        ))
        .bind::<Array<BigInt>, _>(users)
        .bind::<Array<BigInt>, _>(ahead)
        .bind::<Timestamptz, _>(at);
        statement.execute(connection).await?;
        Ok(())
    })
    .await
}

/// Deletes the count of a user that is being deleted.
///
/// # Errors
/// The database fails.
pub(super) async fn forget(
    connection: &mut AsyncPgConnection,
    user: i64,
) -> Result<(), StoreError> {
    let statement =
        Statement::new("DELETE FROM mail_limits WHERE user_id = $1").bind::<BigInt, _>(user);
    statement.execute(connection).await?;
    Ok(())
}
