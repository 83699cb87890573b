//! The side work that events bring about: what an effect is, and the one list of those that taskd has.
//!
//! An event has the effects of the worker that takes it first. One that is added later is run for the events
//! that are taken from then on, and never for a message that had failed before: the records of that message say
//! which effects its event has.

mod activity;
mod email;
mod mail_limit;
mod simulation;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::domain::event::Event;
use crate::domain::processing::effect::is_name;
use crate::domain::processing::failure::Failure;
use crate::domain::rate::Limit;
use crate::mail::Mailer;
use crate::store::delivery::processed::Subject;
use crate::store::{Connection, Store, StoreError};

use activity::Activity;
use email::Email;
pub use simulation::Simulation;

/// The effects of taskd. To add one, write it in a file of its own and add it here.
pub fn built_in() -> Effects {
    Effects(vec![Arc::new(Activity), Arc::new(Email)])
}

/// A piece of side work.
pub trait Effect: Send + Sync {
    /// Its name in records, histories, logs, metrics and options: lower-case letters, digits, `-` and `_`. It is
    /// part of the idempotency key, so it must never change.
    fn name(&self) -> &'static str;

    /// Whether there is anything to do for this event. Asked again at each attempt, so it must depend on the
    /// event alone.
    fn applies(&self, event: &Event) -> bool;

    /// Makes what does the work, once for each worker process, inside its runtime.
    fn start(&self, wiring: &Wiring) -> Work;
}

/// What an effect may be made of.
#[derive(Clone)]
pub struct Wiring {
    /// The database.
    pub store: Store,
    /// Delivers mail.
    pub mailer: Arc<dyn Mailer>,
    /// How many mails each user gets.
    pub mail_limit: Limit,
}

/// What does the work of an effect.
#[derive(Clone)]
pub enum Work {
    /// In the database: exactly once.
    Database(Arc<dyn DatabaseWork>),
    /// Outside: at least once, under a claim.
    External(Arc<dyn ExternalWork>),
}

/// Work that commits together with the record that it is done, for many events at once. It has one target.
#[async_trait]
pub trait DatabaseWork: Send + Sync {
    /// Does it for those of these events for which it is not on record as done, and records that in the same
    /// transaction. Returns the ids of the events for which it was done now. The events are distinct.
    ///
    /// # Errors
    /// The database fails; then nothing is done.
    async fn run_once(
        &self,
        connection: &mut Connection,
        events: &[(&Event, Subject)],
    ) -> Result<Vec<Uuid>, StoreError>;
}

/// Work outside the database, one event and target at a time.
#[async_trait]
pub trait ExternalWork: Send + Sync {
    /// Its targets for an event, each of which has records, claims and retries of its own. `None` stands for the
    /// one target of an effect that has no more. It must depend on the event alone.
    fn targets(&self, _event: &Event) -> Vec<Option<Arc<str>>> {
        vec![None]
    }

    /// How long a run may take, [`LONGEST_TIME_LIMIT`] at most. Then it counts as failed for now; the other side
    /// may have done it all the same, which is why it should be told a stable key.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(15)
    }

    /// Gets ready all that a run needs, before the claim: while the database is away this is tried again, and no
    /// attempt is counted.
    ///
    /// # Errors
    /// The database fails.
    async fn prepare(&self, event: &Event, target: Option<&str>) -> Result<Prepared, StoreError>;
}

/// What is to happen next with an external effect.
pub enum Prepared {
    /// It is claimed, then this is run.
    Run(BoxFuture<'static, Result<Outcome, Failure>>),
    /// It can't be run for so long. No attempt is counted.
    Wait(Duration),
}

impl Prepared {
    /// To be run under the claim.
    pub fn run(work: impl Future<Output = Result<Outcome, Failure>> + Send + 'static) -> Prepared {
        Prepared::Run(Box::pin(work))
    }
}

/// How an effect has ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has happened.
    Done,
    /// There was nothing to do, for this reason.
    Skipped(String),
}

/// The longest that a run may take: a claim holds longer (`idempotency::LEASE`), with time to record the end.
pub const LONGEST_TIME_LIMIT: Duration = Duration::from_secs(20);

/// A list of effects with different names.
#[derive(Clone)]
pub struct Effects(Vec<Arc<dyn Effect>>);

impl Effects {
    /// The list with one more.
    ///
    /// # Errors
    /// Its name is taken, or can't be one.
    pub fn with(mut self, effect: impl Effect + 'static) -> Result<Effects, String> {
        let name = effect.name();
        if !is_name(name) {
            return Err(format!(
                "{name:?} can't be the name of an effect: lower-case letters, digits, - and _ can"
            ));
        }
        if self.names().any(|taken| taken == name) {
            return Err(format!("there is an effect {name:?} already"));
        }
        self.0.push(Arc::new(effect));
        Ok(self)
    }

    /// Their names, in the order in which they run.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|effect| effect.name())
    }

    /// Each of them with what does its work.
    pub fn start(&self, wiring: &Wiring) -> Vec<Started> {
        let start = |effect: &Arc<dyn Effect>| Started {
            effect: Arc::clone(effect),
            work: effect.start(wiring),
        };
        self.0.iter().map(start).collect()
    }
}

/// An effect that can be run.
#[derive(Clone)]
pub struct Started {
    /// What it is.
    pub effect: Arc<dyn Effect>,
    /// What does it.
    pub work: Work,
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(&'static str);

    impl Effect for Named {
        fn name(&self) -> &'static str {
            self.0
        }

        fn applies(&self, _: &Event) -> bool {
            false
        }

        fn start(&self, _: &Wiring) -> Work {
            Work::Database(Arc::new(Activity))
        }
    }

    #[test]
    fn each_effect_of_a_list_has_a_name_of_its_own() {
        let effects = built_in().with(Named("audit")).ok().unwrap();
        assert_eq!(effects.names().collect::<Vec<_>>(), ["activity", "email", "audit"]);
        for (name, part) in [("email", "already"), ("Audit", "lower-case"), ("a/b", "lower-case")] {
            let error = built_in().with(Named(name)).err().unwrap();
            assert!(error.contains(part), "{error}");
        }
    }
}
