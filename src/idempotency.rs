//! Each effect of an event happens once: the key is (event id, effect).
//!
//! A database effect needs nothing from here: its record commits with it, in one statement (see
//! `store::activity::record_once`). An effect outside the database can't commit with a record, so
//! it is guarded by a claim with a lease: claim, run, record. A worker that dies between running
//! and recording leaves a claim that runs out, and the effect is run again: that is the one window
//! in which it can happen twice.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use crate::batcher::Batcher;
use crate::defects::{self, Defect};
use crate::store::processed::{self, Finished};
use crate::store::{Store, StoreError};

/// How long a claim holds. Longer than an effect may take (`effects::RUN_TIMEOUT`), and short,
/// since it is what passes until another worker takes over from one that died in mid-effect.
pub const LEASE: Duration = Duration::from_secs(25);

/// What a claim was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Run the effect: nobody else will for the time of the lease.
    Granted,
    /// It is done; nothing is left to do.
    Done,
    /// Somebody is at it, for that long at most: it is neither done nor free.
    Leased(Duration),
}

/// The claims of one worker process.
#[derive(Clone)]
pub struct Idempotency {
    store: Store,
    owner: String,
    claims: Batcher<(&'static str, Uuid), Result<Claim, StoreError>>,
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
    pub async fn claim(&self, effect: &'static str, event: Uuid) -> Result<Claim, StoreError> {
        self.claims.call((effect, event)).await.unwrap_or_else(|| Err(ended()))
    }

    /// Records that a claimed effect has happened, or that there was nothing to do.
    ///
    /// # Errors
    /// The database fails.
    pub async fn finish(&self, finished: Finished) -> Result<(), StoreError> {
        self.finished.call(finished).await.unwrap_or_else(|| Err(ended()))
    }

    /// Gives a claim back after a failure, so that the next attempt need not wait for its end.
    ///
    /// # Errors
    /// The database fails.
    pub async fn release(&self, effect: &'static str, event: Uuid) -> Result<(), StoreError> {
        let mut connection = self.store.connection().await?;
        processed::release(&mut connection, effect, vec![event], self.owner.clone()).await
    }
}

fn ended() -> StoreError {
    StoreError::Fault("a task of the idempotency store has failed".into())
}

async fn claim_all(
    store: &Store,
    owner: &str,
    wanted: &[(&'static str, Uuid)],
) -> Vec<Result<Claim, StoreError>> {
    let mut by_effect: HashMap<&'static str, Vec<Uuid>> = HashMap::new();
    for (effect, event) in wanted {
        by_effect.entry(effect).or_default().push(*event);
    }
    let mut answers: HashMap<(&'static str, Uuid), Result<Claim, StoreError>> = HashMap::new();
    for (effect, events) in by_effect {
        match claim_effect(store, owner, effect, events.clone()).await {
            Ok(claims) => {
                answers.extend(claims.into_iter().map(|(id, claim)| ((effect, id), Ok(claim))))
            }
            Err(error) => {
                answers.extend(events.into_iter().map(|id| ((effect, id), Err(error.clone()))))
            }
        }
    }
    // Two copies of one event in one batch: the first gets the claim, the other meets a lease.
    wanted
        .iter()
        .map(|key| match answers.get_mut(key) {
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
    mut events: Vec<Uuid>,
) -> Result<HashMap<Uuid, Claim>, StoreError> {
    events.sort_unstable();
    events.dedup();
    let mut connection = store.connection().await?;
    if defects::has(Defect::CheckThenInsert) {
        let known = processed::standings(&mut connection, effect, events.clone()).await?;
        let done = |id: &Uuid| known.iter().any(|row| row.event_id == *id);
        let claim = |id: Uuid| (id, if done(&id) { Claim::Done } else { Claim::Granted });
        return Ok(events.into_iter().map(claim).collect());
    }
    let granted =
        processed::claim(&mut connection, effect, events.clone(), owner.to_owned(), LEASE).await?;
    let mut claims: HashMap<Uuid, Claim> =
        granted.into_iter().map(|id| (id, Claim::Granted)).collect();
    events.retain(|id| !claims.contains_key(id));
    if events.is_empty() {
        return Ok(claims);
    }
    let standings = processed::standings(&mut connection, effect, events.clone()).await?;
    claims.extend(standings.into_iter().map(|row| {
        let claim = match row.leased_ms {
            Some(ms) => Claim::Leased(Duration::from_millis(u64::try_from(ms).unwrap_or_default())),
            None => Claim::Done,
        };
        (row.event_id, claim)
    }));
    // Given back in the moment between the two statements: free again very soon.
    for id in events {
        claims.entry(id).or_insert(Claim::Leased(Duration::ZERO));
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
        Err(StoreError::Fault(_)) if count > 1 => {
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
