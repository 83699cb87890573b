//! What a worker does while the database is away: it holds what it has in hand.

use std::sync::atomic::Ordering;

use super::Session;
use crate::ground::shutdown::Backoff;
use crate::store::{Conflicts, StoreError};

/// A job gave up its delivery: the broker will redeliver it.
pub(super) struct Abandoned;

impl Session {
    /// Retries until `attempt` works or fails for another reason than an outage. `Err(Abandoned)`
    /// if the session ends first, or if the worker is to stop while the dependency is away.
    pub(super) async fn hold<T, F, Fut>(
        &self,
        attempt: F,
    ) -> Result<Result<T, StoreError>, Abandoned>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, StoreError>>,
    {
        self.repeat(attempt, OutageRetry::Session).await
    }

    /// Like `hold`, for an effect that is done already and only has to be recorded: it goes on when
    /// the session has ended, as long as the worker has time. The message will be redelivered, and
    /// only the record keeps the effect from being repeated.
    pub(super) async fn insist<T, F, Fut>(
        &self,
        attempt: F,
    ) -> Result<Result<T, StoreError>, Abandoned>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, StoreError>>,
    {
        self.repeat(attempt, OutageRetry::Worker).await
    }

    async fn repeat<T, F, Fut>(
        &self,
        mut attempt: F,
        until: OutageRetry,
    ) -> Result<Result<T, StoreError>, Abandoned>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, StoreError>>,
    {
        let mut backoff = Backoff::default();
        // Beyond the limit, a conflict is a failed attempt, and the message waits in a delay queue.
        let mut conflicts = Conflicts::default();
        loop {
            let outcome = attempt().await;
            if conflicts.may_try_again(&outcome) {
                self.pause(&mut backoff, until).await?;
                continue;
            }
            match outcome {
                Err(StoreError::Unavailable(error)) => {
                    // Many deliveries meet one outage: only the first logs it, and the first to get
                    // through.
                    if !self.holding.swap(true, Ordering::Relaxed) {
                        tracing::warn!(worker = %self.tools.worker, error, "holding deliveries until the database is back");
                    }
                    self.pause(&mut backoff, until).await?;
                }
                result => {
                    if self.holding.swap(false, Ordering::Relaxed) {
                        tracing::info!(worker = %self.tools.worker, "the database is back");
                    }
                    return Ok(result);
                }
            }
        }
    }

    /// Waits before another try.
    pub(super) async fn pause(
        &self,
        backoff: &mut Backoff,
        until: OutageRetry,
    ) -> Result<(), Abandoned> {
        let gives_up = async {
            match until {
                OutageRetry::Session => tokio::select! {
                    () = self.ended.cancelled() => {}
                    () = self.shutdown.requested() => {}
                },
                OutageRetry::Worker => self.hand_back.cancelled().await,
            }
        };
        tokio::select! {
            () = gives_up => Err(Abandoned),
            () = tokio::time::sleep(backoff.pause()) => Ok(()),
        }
    }
}

/// How long to retry while a dependency is away.
#[derive(Debug, Clone, Copy)]
pub(super) enum OutageRetry {
    /// Until the session ends or the worker is to stop.
    Session,
    /// Until the worker is out of time.
    Worker,
}
