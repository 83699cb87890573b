//! Each effect of an event happens once: the key is (event id, effect).
//!
//! A database effect needs nothing from here: its record commits with it, in one statement (see
//! `store::activity::record_once`). An effect outside the database can't commit with a record, so
//! it is guarded by a claim with a lease: claim, run, record. A worker that dies between running
//! and recording, or is held up there for longer than the lease, leaves a claim that runs out, and
//! the effect is run again: that is the one window in which it can happen twice.
//!
//! A failed delivery leaves its effects open on record, and its copy says that all have a record.
//! Records go when all effects of their event are done. So a letter that is replayed after years
//! finds either what is done and what is open, or nothing, and then all is done.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::batcher::Batcher;
use crate::defects::{self, Defect};
use crate::domain::claim::{self, Claim};
use crate::effects::RUN_TIMEOUT;
use crate::store::processed::{self, Finished, Subject};
use crate::store::{Store, StoreError};

/// How long a claim holds. Longer than an effect may take (`effects::RUN_TIMEOUT`), and short,
/// since it is what passes until another worker takes over from one that died in mid-effect.
pub const LEASE: Duration = Duration::from_secs(25);

/// The claims of one worker process.
#[derive(Clone)]
pub struct Idempotency {
    store: Store,
    owner: String,
    claims: Batcher<(&'static str, Subject), Result<Claim, StoreError>>,
    finished: Batcher<Finished, Result<(), StoreError>>,
}

/// How many claims or records go into one statement.
const BATCH: usize = 128;

impl Idempotency {
    /// The store of claims for a worker of this name.
    pub fn new(store: Store, worker: &str) -> Idempotency {
        // Two processes may have been given one name; their claims must differ all the same.
        let owner = format!("{worker}/{}", Uuid::now_v7().simple());
        let claims = {
            let (store, owner) = (store.clone(), owner.clone());
            Batcher::start(BATCH, move |wanted| {
                let (store, owner) = (store.clone(), owner.clone());
                async move { claim_all(&store, &owner, &wanted).await }
            })
        };
        let finished = {
            let store = store.clone();
            Batcher::start(BATCH, move |finished| {
                let store = store.clone();
                async move { finish_all(&store, finished).await }
            })
        };
        Idempotency { store, owner, claims, finished }
    }

    /// Claims an effect of an event.
    ///
    /// # Errors
    /// The database fails.
    pub async fn claim(&self, effect: &'static str, subject: Subject) -> Result<Claim, StoreError> {
        let asked = Instant::now();
        let claim = self.claims.call((effect, subject)).await.unwrap_or_else(|| Err(ended()))?;
        Ok(in_hand(claim, asked.elapsed()))
    }

    /// Records that a claimed effect has happened, or that there was nothing to do.
    ///
    /// # Errors
    /// The database fails.
    pub async fn finish(&self, finished: Finished) -> Result<(), StoreError> {
        self.finished.call(finished).await.unwrap_or_else(|| Err(ended()))
    }

    /// Leaves effects open after a failure, so that the next attempt need not wait for the end of a
    /// claim of ours, and so that nothing of the event is forgotten until they are done.
    ///
    /// # Errors
    /// The database fails.
    pub async fn leave_open(
        &self,
        subject: Subject,
        effects: Vec<&'static str>,
    ) -> Result<(), StoreError> {
        let mut connection = self.store.connection().await?;
        processed::leave_open(&mut connection, subject, effects, self.owner.clone()).await
    }
}

/// A claim that was answered so late that the effect could outlast its lease: it is left to run out, and
/// the message waits as it would for another worker's.
fn in_hand(claim: Claim, waited: Duration) -> Claim {
    match claim {
        Claim::Granted if waited + RUN_TIMEOUT >= LEASE => {
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
    wanted: &[(&'static str, Subject)],
) -> Vec<Result<Claim, StoreError>> {
    let mut by_effect: HashMap<&'static str, BTreeMap<Uuid, Subject>> = HashMap::new();
    for (effect, subject) in wanted {
        let one = by_effect.entry(effect).or_default().entry(subject.event_id).or_insert(*subject);
        // What one copy of a message knows is true of all.
        one.recorded |= subject.recorded;
    }
    let mut answers: HashMap<(&'static str, Uuid), Result<Claim, StoreError>> = HashMap::new();
    for (effect, subjects) in by_effect {
        let subjects: Vec<Subject> = subjects.into_values().collect();
        match claim_effect(store, owner, effect, &subjects).await {
            Ok(claims) => {
                answers.extend(claims.into_iter().map(|(id, claim)| ((effect, id), Ok(claim))))
            }
            Err(error) => {
                answers.extend(subjects.iter().map(|s| ((effect, s.event_id), Err(error.clone()))))
            }
        }
    }
    // Two copies of one event in one batch: the first gets the claim, the other meets a lease.
    wanted
        .iter()
        .map(|(effect, subject)| match answers.get_mut(&(*effect, subject.event_id)) {
            Some(Ok(claim)) => {
                let given = *claim;
                if given == Claim::Granted {
                    *claim = Claim::Leased(LEASE);
                }
                Ok(given)
            }
            Some(Err(error)) => Err(error.clone()),
            None => Err(ended()),
        })
        .collect()
}

async fn claim_effect(
    store: &Store,
    owner: &str,
    effect: &'static str,
    subjects: &[Subject],
) -> Result<HashMap<Uuid, Claim>, StoreError> {
    let mut connection = store.connection().await?;
    if defects::has(Defect::CheckThenInsert) {
        let ids = subjects.iter().map(|subject| subject.event_id).collect();
        let known = processed::records(&mut connection, effect, ids).await?;
        let claim = |subject: &Subject| {
            let record = known.get(&subject.event_id).copied();
            match claim::decide(record, subject.recorded) {
                Claim::Done => (subject.event_id, Claim::Done),
                _ => (subject.event_id, Claim::Granted),
            }
        };
        return Ok(subjects.iter().map(claim).collect());
    }
    let granted =
        processed::claim(&mut connection, effect, subjects, owner.to_owned(), LEASE).await?;
    let mut claims: HashMap<Uuid, Claim> =
        granted.into_iter().map(|id| (id, Claim::Granted)).collect();
    let refused: Vec<&Subject> =
        subjects.iter().filter(|s| !claims.contains_key(&s.event_id)).collect();
    if refused.is_empty() {
        return Ok(claims);
    }
    let ids = refused.iter().map(|subject| subject.event_id).collect();
    let records = processed::records(&mut connection, effect, ids).await?;
    for subject in refused {
        let record = records.get(&subject.event_id).copied();
        if record.is_none() && subject.recorded {
            // Lawful after the retention, and the only sign of a database that has gone back in time.
            tracing::warn!(event_id = %subject.event_id, effect, "done and forgotten, by its message: no record is left");
        }
        let claim = match claim::decide(record, subject.recorded) {
            // Left open in the moment between the two statements: to be had very soon.
            Claim::Granted => Claim::Leased(Duration::ZERO),
            claim => claim,
        };
        claims.insert(subject.event_id, claim);
    }
    Ok(claims)
}

/// Records a batch; one that fails for its content is tried one by one, so that each fault has
/// its own answer.
async fn finish_all(store: &Store, finished: Vec<Finished>) -> Vec<Result<(), StoreError>> {
    let count = finished.len();
    // One row can't be written twice in a statement.
    let mut distinct: HashMap<(Uuid, &'static str), Finished> = HashMap::new();
    for one in &finished {
        distinct.entry((one.event_id, one.effect)).or_insert_with(|| one.clone());
    }
    let distinct: Vec<Finished> = distinct.into_values().collect();
    match finish(store, &distinct).await {
        Ok(()) => vec![Ok(()); count],
        Err(StoreError::Fault(_) | StoreError::TooSlow(_)) if count > 1 => {
            let mut answers = Vec::with_capacity(count);
            for one in finished {
                answers.push(finish(store, &[one]).await);
            }
            answers
        }
        Err(error) => vec![Err(error); count],
    }
}

async fn finish(store: &Store, finished: &[Finished]) -> Result<(), StoreError> {
    processed::finish(&mut *store.connection().await?, finished).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_comes_late_is_not_used() {
        let soon = Duration::from_secs(1);
        assert_eq!(in_hand(Claim::Granted, soon), Claim::Granted);
        assert_eq!(in_hand(Claim::Done, LEASE * 2), Claim::Done);
        let late = LEASE - RUN_TIMEOUT;
        assert_eq!(in_hand(Claim::Granted, late), Claim::Leased(RUN_TIMEOUT));
        assert_eq!(in_hand(Claim::Granted, LEASE * 2), Claim::Leased(Duration::ZERO));
    }
}
