//! Whether an effect is done is read first and recorded later, without a claim.

use futures_util::FutureExt;

use crate::domain::processing::claim::{self, Claim};
use crate::domain::processing::effect::EffectKey;
use crate::idempotency::Idempotency;
use crate::store::delivery::processed::{self, EventRecord};
use crate::store::{Store, StoreError};

/// A store of claims that claims nothing.
pub(super) fn idempotency(store: Store, worker: &str) -> Idempotency {
    Idempotency::claiming_by(store, worker, |store, _, wanted| {
        async move {
            match look(&store, &wanted).await {
                Ok(claims) => claims.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error); wanted.len()],
            }
        }
        .boxed()
    })
}

async fn look(
    store: &Store,
    wanted: &[(EffectKey, EventRecord)],
) -> Result<Vec<Claim>, StoreError> {
    let known = processed::records(&mut *store.connection().await?, wanted).await?;
    let claim = |(effect, event): &(EffectKey, EventRecord)| {
        let record = known.get(&(event.event_id, effect.to_string())).copied();
        match claim::decide(record, event.recorded) {
            Claim::Done => Claim::Done,
            _ => Claim::Granted,
        }
    };
    Ok(wanted.iter().map(claim).collect())
}
