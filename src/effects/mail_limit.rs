//! Limits how many mails a user gets. A user may have given somebody else's address: the owner of
//! that address gets no more than this.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::rate::Rate;
use crate::ground::batcher::Batcher;
use crate::store::{Store, StoreError, mail_limits};

/// Counts the mails of each user over all workers: the counts are in the database.
#[derive(Clone)]
pub(super) struct MailLimit(Batcher<i64, Result<Option<Duration>, StoreError>>);

/// How many mails are counted at a time.
const BATCH: usize = 128;

impl MailLimit {
    /// A limit with this rate for each user.
    pub(super) fn new(store: Store, rate: Rate) -> MailLimit {
        MailLimit(Batcher::start(BATCH, move |users: Vec<i64>| {
            let store = store.clone();
            async move {
                match take_all(&store, rate, &users).await {
                    Ok(waits) => waits.into_iter().map(Ok).collect(),
                    Err(error) => vec![Err(error); users.len()],
                }
            }
        }))
    }

    /// Counts one more mail for this user: `None` if it may go out, or else how long it has to
    /// wait.
    ///
    /// # Errors
    /// The database fails.
    pub(super) async fn take(&self, user: i64) -> Result<Option<Duration>, StoreError> {
        let ended = || Err(StoreError::Fault("the count of mails has failed".into()));
        self.0.call(user).await.unwrap_or_else(ended)
    }
}

async fn take_all(
    store: &Store,
    rate: Rate,
    users: &[i64],
) -> Result<Vec<Option<Duration>>, StoreError> {
    let mut distinct = users.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let mut waits = Vec::with_capacity(users.len());
    let connection = &mut store.connection().await?;
    mail_limits::count(connection, distinct, |ahead| {
        let mut refused: HashMap<i64, u32> = HashMap::new();
        for user in users {
            let before = ahead.entry(*user).or_default();
            let (taken, after) = rate.take(*before);
            *before = after;
            waits.push((!taken.granted).then(|| {
                // Mails that are refused together come back one after the other.
                let others = refused.entry(*user).or_default();
                let wait = taken.retry_after + Duration::from_micros(rate.interval()) * *others;
                *others += 1;
                wait
            }));
        }
    })
    .await?;
    Ok(waits)
}
