//! The side work that events need: what an effect is, and the one list of taskd's effects.
//!
//! An event has the effects of the worker that takes it first. An effect that is added later runs
//! for events that are taken from then on, and never for a message that failed before: the records
//! of that message say which effects its event has.

mod activity;
mod canary;
mod email;
mod exchange;
mod mail_state;
mod mail_limit;
mod mail_text;
mod off;
mod simulation;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::broker::amqp::ExchangePublisher;
use crate::domain::canary::{EFFECT as CANARY_EFFECT, KIND as CANARY_KIND};
use crate::domain::event::Event;
pub use crate::domain::processing::effect::Target;
use crate::domain::processing::effect::is_name;
use crate::domain::processing::failure::Failure;
use crate::domain::rate::Limit;
use crate::mail::Mailer;
use crate::store::delivery::processed::EventRecord;
use crate::store::{Connection, Store, StoreError};

use activity::Activity;
use canary::Canary;
use email::Email;
use exchange::Exchange;
pub use mail_state::{MailState, mail_states};
use off::Off;
pub use simulation::Simulation;

/// The effects of taskd. To add one, write it in a file of its own and add it here.
pub fn built_in() -> Effects {
    Effects(vec![Arc::new(Activity), Arc::new(Email), Arc::new(Exchange)])
}

/// What a worker with this name runs: the effects of taskd, and that of canaries, which is in no
/// list.
pub fn of_worker(worker: &str) -> Effects {
    let mut effects = built_in();
    effects.0.push(Arc::new(Canary { worker: worker.to_owned() }));
    effects
}

/// A kind of side work.
pub trait Effect: Send + Sync {
    /// Its name in records, histories, logs, metrics and options: lower-case letters, digits, `-`
    /// and `_`. The name is part of the idempotency key, so it must never change.
    fn name(&self) -> &'static str;

    /// Whether there is anything to do for this event. Asked again at each attempt, so the answer
    /// must depend on the event alone.
    fn applies(&self, event: &Event) -> bool;

    /// Creates what does the work. Called once per worker process, inside its runtime. `None` if
    /// the effect is off: events that this process takes first don't have it then, and it is
    /// skipped for those that have it already.
    fn start(&self, context: &EffectContext) -> Option<Work>;
}

/// What effects may use.
#[derive(Clone)]
pub struct EffectContext {
    /// The database.
    pub store: Store,
    /// Delivers mail.
    pub mailer: Arc<dyn Mailer>,
    /// How many mails each user may get.
    pub mail_limit: Limit,
    /// Where events are published for others, if anywhere.
    pub exchange: Option<Arc<ExchangePublisher>>,
}

/// What does the work of an effect.
#[derive(Clone)]
pub enum Work {
    /// In the database: exactly once.
    Database(Arc<dyn DatabaseWork>),
    /// Outside the database: at least once, under a claim.
    External(Arc<dyn ExternalWork>),
}

/// Work that commits together with the record that it is done, for many events at once. It has one
/// target.
#[async_trait]
pub trait DatabaseWork: Send + Sync {
    /// Does the work for those events that have no record of it as done, and writes the records in
    /// the same transaction. Returns the ids of the events for which it was done now. `events` has
    /// no duplicates.
    ///
    /// # Errors
    /// The database fails; then nothing is done.
    async fn run_once(
        &self,
        connection: &mut Connection,
        events: &[(&Event, EventRecord)],
    ) -> Result<Vec<Uuid>, StoreError>;
}

/// Work outside the database, one event and target at a time.
#[async_trait]
pub trait ExternalWork: Send + Sync {
    /// The targets of an event. Each has records, claims and retries of its own. The list must
    /// depend on the event alone; a target that is in it twice counts once.
    fn targets(&self, _event: &Event) -> Vec<Target> {
        vec![Target::ONLY]
    }

    /// How long a run may take, [`LONGEST_TIME_LIMIT`] at most. After that it is a transient
    /// failure. The other side may have done the work all the same, so it should be told a stable
    /// key.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(15)
    }

    /// Prepares all that a run needs, before the claim. While the database is away, this is retried
    /// and no attempt is counted.
    ///
    /// # Errors
    /// The database fails.
    async fn prepare(&self, event: &Event, target: &Target) -> Result<Prepared, StoreError>;
}

/// What happens next with an effect outside the database.
pub enum Prepared {
    /// The effect is claimed, then this is run.
    Run(BoxFuture<'static, Result<Outcome, Failure>>),
    /// The effect can't run yet. No attempt is counted.
    Wait {
        /// How long that lasts at most.
        at_most: Duration,
        /// Why, for people.
        why: String,
    },
}

impl Prepared {
    /// Work to run under the claim.
    pub fn run(work: impl Future<Output = Result<Outcome, Failure>> + Send + 'static) -> Prepared {
        Prepared::Run(Box::pin(work))
    }
}

tokio::task_local! {
    static PROBE: bool;
}

/// Prepares a run that is, or is not, the probe of an open breaker.
pub async fn probing<T>(is_probe: bool, preparing: impl Future<Output = T>) -> T {
    PROBE.scope(is_probe, preparing).await
}

/// Whether what is being prepared is a probe of an open breaker. It is most likely in vain, so it
/// should not count against a limit of its user.
pub fn is_probe() -> bool {
    PROBE.try_with(|is_probe| *is_probe).unwrap_or_default()
}

/// The result of an effect that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was done, with something for the record: for whom, say.
    Noted(String),
    /// There was nothing to do, for this reason.
    Skipped(String),
}

/// The longest that a run may take. A claim's lease is longer (`idempotency::LEASE`), which leaves
/// time to record the end.
pub const LONGEST_TIME_LIMIT: Duration = Duration::from_secs(20);

/// A list of effects with different names.
#[derive(Clone)]
pub struct Effects(Vec<Arc<dyn Effect>>);

impl Effects {
    /// Adds an effect to the list.
    ///
    /// # Errors
    /// The name is taken, or is not allowed.
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

    /// Checks that there is an effect of this name.
    ///
    /// # Errors
    /// There is none; the error says which there are.
    pub fn check(&self, name: &str) -> Result<(), String> {
        if self.names().any(|known| known == name) {
            return Ok(());
        }
        let names: Vec<&str> = self.names().collect();
        Err(format!("there is no effect {name:?}; there are: {}", names.join(", ")))
    }

    /// Starts every effect.
    pub fn start(&self, context: &EffectContext) -> Vec<Started> {
        let start = |effect: &Arc<dyn Effect>| {
            let work = effect.start(context);
            let is_off = work.is_none();
            let work = work.unwrap_or_else(|| Work::External(Arc::new(Off)));
            Started { effect: Arc::clone(effect), work, is_off }
        };
        self.0.iter().map(start).collect()
    }
}

/// An effect, with what does its work.
#[derive(Clone)]
pub struct Started {
    /// The effect.
    pub effect: Arc<dyn Effect>,
    /// What does its work.
    pub work: Work,
    /// Whether it is off in this process.
    pub is_off: bool,
}

impl Started {
    /// Whether there is anything to do for this event. An effect that is off is looked at only
    /// where the event's effects are `recorded` already: it may be among them. A canary has an
    /// effect of its own and no other, whatever others apply to.
    pub fn applies(&self, event: &Event, recorded: bool) -> bool {
        let is_its_own = self.effect.name() == CANARY_EFFECT;
        (recorded || !self.is_off)
            && is_its_own == (event.subject.kind == CANARY_KIND)
            && self.effect.applies(event)
    }
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

        fn start(&self, _: &EffectContext) -> Option<Work> {
            Some(Work::Database(Arc::new(Activity)))
        }
    }

    #[test]
    fn each_effect_of_a_list_has_a_name_of_its_own() {
        let effects = built_in().with(Named("another")).ok().unwrap();
        assert_eq!(
            effects.names().collect::<Vec<_>>(),
            ["activity", "email", "exchange", "another"]
        );
        for (name, part) in [("email", "already"), ("Another", "lower-case"), ("a/b", "lower-case")]
        {
            let error = built_in().with(Named(name)).err().unwrap();
            assert!(error.contains(part), "{error}");
        }
    }
}
