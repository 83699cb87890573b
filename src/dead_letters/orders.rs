//! What operators ask of dead letters, and order.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::documents::{
    DiscardOrder, Discarded, Forecast, LetterGroup, LetterPage, Order, Replay, ReplayAnswer,
    ReplayOrder, Report,
};
use super::{DeadLetter, DeadLetters};
use crate::operate::{Operator, OrderError};
use crate::store::letters::replays::{self, NewReplay};
use crate::store::letters::{self, LetterFilter, LetterState, groups, settling};
use crate::store::transaction;

/// How many letters are discarded in one statement.
const DISCARDED_AT_ONCE: i64 = 10_000;

impl DeadLetters {
    /// The letters in a state that pass the filter, oldest first, and how many there are. `after`
    /// is the last letter of the page before.
    ///
    /// # Errors
    /// There is no such state, or the database fails.
    pub async fn list(
        &self,
        state: &str,
        filter: &LetterFilter,
        after: Option<(DateTime<Utc>, String)>,
        limit: i64,
    ) -> Result<LetterPage, OrderError> {
        let state = LetterState::from_name(state).ok_or_else(|| OrderError::Invalid {
            field: "state",
            problem: format!(
                "{state:?} is not one of {}",
                LetterState::ALL.map(LetterState::as_str).join(", ")
            ),
        })?;
        let mut connection = self.store.connection().await?;
        let rows = letters::list(&mut connection, state, filter, after, limit).await?;
        let total = letters::count(&mut connection, state, filter).await?;
        let letters = rows.iter().map(|row| DeadLetter::of(row, &self.types)).collect();
        Ok(LetterPage { letters, total })
    }

    /// The letters with these ids, or of these events or messages.
    ///
    /// # Errors
    /// The database fails.
    pub async fn show(&self, ids: &[String]) -> Result<Report, OrderError> {
        let rows = letters::find(&mut *self.store.connection().await?, ids).await?;
        let letters: Vec<DeadLetter> =
            rows.iter().map(|row| DeadLetter::of(row, &self.types)).collect();
        Ok(Report { not_found: missed(ids, &letters), letters })
    }

    /// The open letters by cause, the most frequent first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn groups(
        &self,
        group: Option<&str>,
        limit: Option<i64>,
    ) -> Result<Vec<LetterGroup>, OrderError> {
        let mut connection = self.store.connection().await?;
        let rows = groups::list(&mut connection, group, limit).await?;
        let ids: Vec<String> = rows.iter().map(|row| row.sample.clone()).collect();
        let samples = letters::find(&mut connection, &ids).await?;
        let sample = |id: &str| {
            let row = samples.iter().find(|row| row.id == id)?;
            Some(DeadLetter::of(row, &self.types))
        };
        let group = |row: groups::GroupRow| LetterGroup {
            sample: sample(&row.sample),
            fingerprint: row.fingerprint,
            count: row.open,
            first_at: row.first_at,
            last_at: row.last_at,
            growing: row.growing,
            effect: row.effect,
            event_type: row.event_type,
            reason: row.reason,
            error: row.pattern,
        };
        Ok(rows.into_iter().map(group).collect())
    }

    /// Makes a plan of letters to be replayed, or says what it would do. A worker carries it out.
    ///
    /// # Errors
    /// The order is not valid, or the database fails.
    pub async fn replay(
        &self,
        order: &ReplayOrder,
        by: &Operator,
    ) -> Result<ReplayAnswer, OrderError> {
        let mut connection = self.store.connection().await?;
        let forecast = replays::forecast(&mut connection, &order.selection).await?;
        let not_found = self.closed(&mut connection, &order.selection).await?;
        let some = forecast.iter().any(|cause| cause.letters > 0);
        let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let plan = NewReplay {
            created_by: by.name.clone(),
            canary: number(order.canary),
            rate: order.rate.map(number),
            max_failures: order.max_failures.map(number),
        };
        let details = json!({ "selection": order.selection, "canary": order.canary, "rate": order.rate,
            "maxFailures": order.max_failures,
            "letters": forecast.iter().map(|cause| cause.letters).sum::<i64>() });
        let replay = transaction(&mut connection, async |connection| {
            let replay = match some && !order.dry_run {
                true => {
                    let id = replays::create(connection, &plan, &order.selection).await?;
                    replays::find(connection, id).await?.map(Replay::from)
                }
                false => None,
            };
            let target = replay.as_ref().map(|replay| format!("replay {}", replay.id));
            by.audit(connection, "replay", target, details, order.dry_run).await?;
            Ok(replay)
        })
        .await?;
        let forecast = forecast.into_iter().map(Forecast::from).collect();
        Ok(ReplayAnswer { forecast, not_found, replay })
    }

    /// The newest replays.
    ///
    /// # Errors
    /// The database fails.
    pub async fn replays(&self, limit: i64) -> Result<Vec<Replay>, OrderError> {
        let rows = replays::list(&mut *self.store.connection().await?, None, limit).await?;
        Ok(rows.into_iter().map(Replay::from).collect())
    }

    /// How far a replay has come.
    ///
    /// # Errors
    /// There is no such replay, or the database fails.
    pub async fn progress(&self, id: i64) -> Result<Replay, OrderError> {
        let found = replays::find(&mut *self.store.connection().await?, id).await?;
        found.map(Replay::from).ok_or_else(|| OrderError::Missing(format!("replay {id}")))
    }

    /// Stops a replay. What it has sent goes on; the rest is open again.
    ///
    /// # Errors
    /// There is no such replay, or the database fails.
    pub async fn stop(&self, id: i64, by: &Operator) -> Result<Replay, OrderError> {
        let mut connection = self.store.connection().await?;
        let reason = format!("stopped by {}", by.name);
        transaction(&mut connection, async |connection| {
            if replays::stop(connection, id, &reason).await? {
                let target = Some(format!("replay {id}"));
                by.audit(connection, "stop replay", target, json!({}), false).await?;
            }
            Ok(())
        })
        .await?;
        drop(connection);
        self.progress(id).await
    }

    /// Lets a stopped replay go on.
    ///
    /// # Errors
    /// There is no such replay, or the database fails.
    pub async fn resume(&self, id: i64, by: &Operator) -> Result<Replay, OrderError> {
        let mut connection = self.store.connection().await?;
        transaction(&mut connection, async |connection| {
            if replays::resume(connection, id).await? {
                let target = Some(format!("replay {id}"));
                by.audit(connection, "resume replay", target, json!({}), false).await?;
            }
            Ok(())
        })
        .await?;
        drop(connection);
        self.progress(id).await
    }

    /// Discards letters, or says how many it would discard.
    ///
    /// # Errors
    /// The database fails; what was discarded until then stays discarded, and is written down.
    pub async fn discard(
        &self,
        order: &DiscardOrder,
        by: &Operator,
    ) -> Result<Discarded, OrderError> {
        let mut connection = self.store.connection().await?;
        let not_found = self.closed(&mut connection, &order.selection).await?;
        let why = order.reason.as_deref().unwrap_or("no reason given");
        let mut count = 0;
        let mut failed = None;
        if order.dry_run {
            count = letters::count(&mut connection, LetterState::Open, &order.selection).await?;
        } else {
            loop {
                let discarding = settling::discard(
                    &mut connection,
                    &order.selection,
                    &by.name,
                    why,
                    DISCARDED_AT_ONCE,
                );
                match discarding.await {
                    Ok(ids) if ids.is_empty() => break,
                    Ok(ids) => count += ids.len() as i64,
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
        }
        let details =
            json!({ "selection": order.selection, "reason": order.reason, "letters": count });
        by.audit(&mut connection, "discard", None, details, order.dry_run).await?;
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(Discarded { count, not_found }),
        }
    }

    /// Executes an order, and returns the answer of its function as JSON.
    ///
    /// # Errors
    /// Those of that function.
    pub async fn obey(&self, order: &Order, by: &Operator) -> Result<Value, OrderError> {
        Ok(match order {
            Order::List { state, filter, limit } => {
                json!(self.list(state, filter, None, (*limit).into()).await?)
            }
            Order::Show { ids } => json!(self.show(ids).await?),
            Order::Groups => json!(self.groups(None, None).await?),
            Order::Replay { order } => json!(self.replay(order, by).await?),
            Order::Replays { limit } => json!(self.replays((*limit).into()).await?),
            Order::Progress { id } => json!(self.progress(*id).await?),
            Order::Stop { id } => json!(self.stop(*id, by).await?),
            Order::Resume { id } => json!(self.resume(*id, by).await?),
            Order::Discard { order } => json!(self.discard(order, by).await?),
            Order::Edit { order } => json!(self.edit(order, by).await?),
        })
    }

    /// Those of the ids in a filter that no open letter has.
    async fn closed(
        &self,
        connection: &mut crate::store::Connection,
        filter: &LetterFilter,
    ) -> Result<Vec<String>, OrderError> {
        let Some(ids) = &filter.ids else { return Ok(Vec::new()) };
        let found = letters::find(connection, ids).await?;
        let open = found.iter().filter(|row| row.state == LetterState::Open.as_str());
        let open: Vec<DeadLetter> = open.map(|row| DeadLetter::of(row, &self.types)).collect();
        Ok(missed(ids, &open))
    }
}

/// The ids that none of these letters has, nor its event.
fn missed(ids: &[String], letters: &[DeadLetter]) -> Vec<String> {
    let met = |id: &&String| {
        letters.iter().any(|letter| letter.id == **id || letter.event_id.as_ref() == Some(*id))
    };
    ids.iter().filter(|id| !met(id)).cloned().collect()
}
