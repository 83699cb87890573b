//! Makes each effect of an event happen once for each of its targets: the key is (event id, effect,
//! target).
//!
//! A database effect needs nothing from here: its record commits with it, in one statement (see
//! `store::activity::record_once`). An effect outside the database can't commit with a record, so a
//! claim with a lease guards it: claim, run, record. If a worker dies between running and
//! recording, or is held up there for longer than the lease, its claim runs out and the effect runs
//! again. That is the one window in which an effect can happen twice.
//!
//! A failed delivery leaves records of its open effects, and its copy says that all effects have a
//! record. Records are deleted when all effects of their event are done. So when a dead letter is
//! replayed after years, either the records say what is done and what is open, or there are none,
//! and then all is done.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::domain::processing::claim::{self, Claim};
use crate::domain::processing::effect::EffectKey;
use crate::domain::processing::setback::Setback;
use crate::ground::batcher::Batcher;
use crate::store::delivery::processed::{self, EventRecord, Finished};
use crate::store::events::setbacks::{self, Reporter};
use crate::store::gates::parked::{self, ToPark};
use crate::store::{Store, StoreError, transaction};

/// How long the lease of a claim lasts. Longer than an effect may take
/// (`effects::LONGEST_TIME_LIMIT`), but short, since another worker takes over from one that died
/// mid-effect only when the lease ends.
pub const LEASE: Duration = Duration::from_secs(25);

/// The claims of one worker process.
#[derive(Clone)]
pub struct Idempotency {
    store: Store,
    worker: String,
    owner: String,
    claims: Batcher<(EffectKey, EventRecord), Result<Claim, StoreError>>,
    finished: Batcher<Finished, Result<(), StoreError>>,
}

type ClaimBatch = fn(
    Store,
    String,
    Vec<(EffectKey, EventRecord)>,
) -> BoxFuture<'static, Vec<Result<Claim, StoreError>>>;

/// How many claims or records go into one statement.
const BATCH: usize = 128;

impl Idempotency {
    /// The claims of a worker with this name.
    pub fn new(store: Store, worker: &str) -> Idempotency {
        Idempotency::claiming_by(store, worker, |store, owner, wanted| {
            async move { claim_all(&store, &owner, &wanted).await }.boxed()
        })
    }

    /// The same with another way to claim a batch for an owner, which answers each in order.
    pub(crate) fn claiming_by(store: Store, worker: &str, claim: ClaimBatch) -> Idempotency {
        // Two processes may have been given the same name, but their claims must differ.
        let owner = format!("{worker}/{}", Uuid::now_v7().simple());
        let claims = {
            let (store, owner) = (store.clone(), owner.clone());
            Batcher::start(BATCH, move |wanted| claim(store.clone(), owner.clone(), wanted))
        };
        let finished = {
            let (store, owner) = (store.clone(), owner.clone());
            Batcher::start(BATCH, move |finished| {
                let (store, owner) = (store.clone(), owner.clone());
                async move { finish_all(&store, &owner, finished).await }
            })
        };
        Idempotency { store, worker: worker.to_owned(), owner, claims, finished }
    }

    /// Claims an effect of an event. The effect takes at most `time_limit`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn claim(
        &self,
        effect: &EffectKey,
        event: EventRecord,
        time_limit: Duration,
    ) -> Result<Claim, StoreError> {
        let asked = Instant::now();
        let claim = self.claims.call((effect.clone(), event)).await;
        Ok(in_hand(claim.unwrap_or_else(|| Err(ended()))?, asked.elapsed(), time_limit))
    }

    /// Records that a claimed effect was done or skipped.
    ///
    /// # Errors
    /// The database fails.
    pub async fn finish(&self, finished: Finished) -> Result<(), StoreError> {
        self.finished.call(finished).await.unwrap_or_else(|| Err(ended()))
    }

    /// Leaves effects open after a failure, so that the next attempt need not wait for our claim to
    /// run out, and so that no record of the event is deleted until they are done. Keeps for
    /// operators what happened, and which dead letter it led to.
    ///
    /// # Errors
    /// The database fails.
    pub async fn leave_open(
        &self,
        event: EventRecord,
        effects: &[EffectKey],
        setback: &Setback,
        letter: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut connection = self.store.connection().await?;
        let by = Reporter { worker: &self.worker, owner: &self.owner, letter };
        setbacks::record(&mut connection, event, effects, setback, by).await
    }

    /// Does the same, and parks the message, all or nothing.
    ///
    /// # Errors
    /// The database fails.
    pub async fn park(
        &self,
        event: EventRecord,
        effects: &[EffectKey],
        setback: &Setback,
        message: &ToPark,
    ) -> Result<(), StoreError> {
        let mut connection = self.store.connection().await?;
        let by = Reporter { worker: &self.worker, owner: &self.owner, letter: None };
        transaction(&mut connection, async |connection| {
            // In the order of whoever brings messages back, so that the two don't deadlock.
            parked::park(connection, message).await?;
            setbacks::record(connection, event, effects, setback, by).await
        })
        .await
    }
}

/// Turns down a claim that was granted so late that the effect could outlast its lease. The claim
/// is left to run out, and the message waits as it would for another worker's.
fn in_hand(claim: Claim, waited: Duration, time_limit: Duration) -> Claim {
    match claim {
        Claim::Granted if waited + time_limit >= LEASE => {
            Claim::Leased(LEASE.saturating_sub(waited))
        }
        claim => claim,
    }
}

fn ended() -> StoreError {
    StoreError::Fault("a task of the idempotency store has failed".into())
}

async fn claim_all(
    store: &Store,
    owner: &str,
    wanted: &[(EffectKey, EventRecord)],
) -> Vec<Result<Claim, StoreError>> {
    let mut distinct: BTreeMap<(Uuid, &EffectKey), EventRecord> = BTreeMap::new();
    for (effect, event) in wanted {
        let one = distinct.entry((event.event_id, effect)).or_insert(*event);
        // What one copy of a message knows is true of all copies.
        one.recorded |= event.recorded;
    }
    let asked: Vec<(EffectKey, EventRecord)> =
        distinct.into_iter().map(|((_, effect), event)| (effect.clone(), event)).collect();
    let claims = match claim_distinct(store, owner, &asked).await {
        Ok(claims) => claims,
        Err(error) => return vec![Err(error); wanted.len()],
    };
    let key = |(effect, event): &(EffectKey, EventRecord)| (event.event_id, effect.clone());
    let mut claims: HashMap<(Uuid, EffectKey), Claim> = asked.iter().map(key).zip(claims).collect();
    // Of two copies of one event in one batch, the first gets the claim and the other meets a
    // lease.
    let answer = |wanted| match claims.get_mut(&key(wanted)) {
        Some(claim) => {
            let given = *claim;
            if given == Claim::Granted {
                *claim = Claim::Leased(LEASE);
            }
            Ok(given)
        }
        None => Err(ended()),
    };
    wanted.iter().map(answer).collect()
}

/// Claims those effects that are free. Returns an answer for each, in order. They must be distinct.
async fn claim_distinct(
    store: &Store,
    owner: &str,
    wanted: &[(EffectKey, EventRecord)],
) -> Result<Vec<Claim>, StoreError> {
    let mut connection = store.connection().await?;
    let key = |(effect, event): &(EffectKey, EventRecord)| (event.event_id, effect.to_string());
    let granted = processed::claim(&mut connection, wanted, owner.to_owned(), LEASE).await?;
    let refused: Vec<(EffectKey, EventRecord)> =
        wanted.iter().filter(|one| !granted.contains(&key(one))).cloned().collect();
    if refused.is_empty() {
        return Ok(vec![Claim::Granted; wanted.len()]);
    }
    let records = processed::records(&mut connection, &refused).await?;
    let claim = |one: &(EffectKey, EventRecord)| {
        let (effect, event) = one;
        if granted.contains(&key(one)) {
            return Claim::Granted;
        }
        let record = records.get(&key(one)).copied();
        if record.is_none() && event.recorded {
            // Expected after the retention, and for an effect that was added since. Otherwise this
            // is the only sign of a database that has gone back in time.
            tracing::warn!(event_id = %event.event_id, %effect, "the message says that this effect was recorded, and there is no record; skipping it");
        }
        match claim::decide(record, event.recorded) {
            // It was left open between the two statements, and can be claimed very soon.
            Claim::Granted => Claim::Leased(Duration::ZERO),
            claim => claim,
        }
    };
    Ok(wanted.iter().map(claim).collect())
}

/// Records a batch. If it fails for its content, records one by one, so that each fault has its own
/// answer.
async fn finish_all(
    store: &Store,
    owner: &str,
    finished: Vec<Finished>,
) -> Vec<Result<(), StoreError>> {
    let count = finished.len();
    // A statement can't write one row twice.
    let mut distinct: HashMap<(Uuid, EffectKey), Finished> = HashMap::new();
    for one in &finished {
        distinct.entry((one.event_id, one.effect.clone())).or_insert_with(|| one.clone());
    }
    let distinct: Vec<Finished> = distinct.into_values().collect();
    match finish(store, owner, &distinct).await {
        Ok(()) => vec![Ok(()); count],
        Err(StoreError::Fault(_) | StoreError::TooSlow(_)) if count > 1 => {
            let mut answers = Vec::with_capacity(count);
            for one in finished {
                answers.push(finish(store, owner, &[one]).await);
            }
            answers
        }
        Err(error) => vec![Err(error); count],
    }
}

async fn finish(store: &Store, owner: &str, finished: &[Finished]) -> Result<(), StoreError> {
    processed::finish(&mut *store.connection().await?, finished, owner.to_owned()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_comes_late_is_not_used() {
        let (soon, limit) = (Duration::from_secs(1), Duration::from_secs(15));
        assert_eq!(in_hand(Claim::Granted, soon, limit), Claim::Granted);
        assert_eq!(in_hand(Claim::Done, LEASE * 2, limit), Claim::Done);
        let late = LEASE - limit;
        assert_eq!(in_hand(Claim::Granted, late, limit), Claim::Leased(limit));
        assert_eq!(in_hand(Claim::Granted, LEASE * 2, limit), Claim::Leased(Duration::ZERO));
    }
}
