//! One delivery from its first effect to its settlement.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::{Abandoned, Session, counts, spans};
use crate::broker::Delivery;
use crate::domain::event::Event;
use crate::domain::processing::claim::Claim;
use crate::domain::processing::effect::{EffectKey, Target};
use crate::domain::processing::failure::{Failure, Failures, Hold};
use crate::domain::processing::gate::Pass;
use crate::effects::{ExternalWork, LONGEST_TIME_LIMIT, Outcome, Prepared, Started, Work, probing};
use crate::gates::Place;
use crate::ground::traces::Span;
use crate::store::StoreError;
use crate::store::delivery::processed::{EventRecord, Finished};

/// Why an effect waits that another worker has leased.
const LEASED: &str = "another worker is running it";
/// Why an effect waits whose claim took too long.
const PLACE_TOO_OLD: &str = "its place among those that run was too old";

/// A delivery, its event, and how far each of its effects has come.
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) event: Event,
    pub(super) tasks: Vec<Task>,
    /// It ends when the job does.
    pub(super) span: Span,
}

/// One effect of the event, for one of its targets.
pub(super) struct Task {
    pub(super) effect: EffectKey,
    /// The effect's index in the worker's list.
    pub(super) index: usize,
    pub(super) progress: Progress,
}

/// How far an effect has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not begun.
    Open,
    /// It was done or skipped in this job.
    Ended(Outcome),
    /// Done before, by an earlier attempt or for another copy of the message.
    AlreadyDone,
    /// Leased by another worker; the most time that may be left.
    Leased(Duration),
    /// It failed in this job, or has to wait before it can begin.
    Failed(Failure),
}

impl Job {
    pub(super) fn new(delivery: Delivery, event: Event, effects: &[Started], span: Span) -> Job {
        let recorded = delivery.message.is_recorded();
        let applying =
            effects.iter().enumerate().filter(|(_, started)| started.applies(&event, recorded));
        let tasks = applying.flat_map(|(index, started)| {
            // Each target once: it has one record.
            let targets = match &started.work {
                Work::Database(_) => BTreeSet::from([Target::ONLY]),
                Work::External(work) => BTreeSet::from_iter(work.targets(&event)),
            };
            let name = started.effect.name();
            targets.into_iter().map(move |target| Task {
                effect: EffectKey { effect: name, target },
                index,
                progress: Progress::Open,
            })
        });
        Job { delivery, tasks: tasks.collect(), event, span }
    }

    /// The task of the effect at `index` of the worker's list, if the event has it.
    pub(super) fn task(&mut self, index: usize) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.index == index)
    }

    /// Whether every effect is done, so that all that is left is the ack.
    pub(super) fn is_finished(&self) -> bool {
        self.tasks
            .iter()
            .all(|task| matches!(task.progress, Progress::AlreadyDone | Progress::Ended(_)))
    }

    /// The failures and waits that stand in the way of the ack.
    fn failures(&self) -> Option<Failures> {
        Failures::of(self.tasks.iter().filter_map(|task| match &task.progress {
            Progress::Failed(failure) => Some(failure.clone().of(task.effect.clone())),
            Progress::Leased(at_most) => {
                Some(Failure::waiting(*at_most, LEASED).of(task.effect.clone()))
            }
            Progress::Open | Progress::Ended(_) | Progress::AlreadyDone => None,
        }))
    }

    /// The event, as the store of records needs it.
    pub(super) fn event_record(&self) -> EventRecord {
        EventRecord {
            event_id: self.event.metadata.event_id,
            effects: i16::try_from(self.tasks.len()).unwrap_or(i16::MAX),
            recorded: self.delivery.message.is_recorded(),
        }
    }

    /// The effects that were to be run here and have not happened yet.
    pub(super) fn left_open(&self) -> Vec<EffectKey> {
        let failed = |task: &&Task| matches!(task.progress, Progress::Failed(_));
        self.tasks.iter().filter(failed).map(|task| task.effect.clone()).collect()
    }

    /// Whether this is a duplicate: a first attempt that found everything done.
    pub(super) fn is_duplicate(&self) -> bool {
        self.delivery.message.attempt() == 1
            && !self.tasks.is_empty()
            && self.tasks.iter().all(|task| task.progress == Progress::AlreadyDone)
    }
}

impl Session {
    /// Runs what is still open, then settles.
    pub(super) async fn go_on(&self, mut job: Job) {
        let record = job.event_record();
        for task in &mut job.tasks {
            let (Progress::Open, Work::External(work)) =
                (&task.progress, &self.tools.effects[task.index].work)
            else {
                continue;
            };
            let pass = job.delivery.message.pass(task.effect.effect);
            let running = self.external(work, &task.effect, &job.event, record, pass);
            match spans::effect(&job.span, &task.effect, running).await {
                Ok(progress) => task.progress = progress,
                Err(Abandoned) => {
                    let _ = self.settlement.release(&[job.delivery.tag]).await;
                    return;
                }
            }
        }
        match job.failures() {
            None => self.settle_finished(vec![job]).await,
            Some(failures) => {
                spans::end(&mut job.span, &failures);
                self.route(&job.delivery, Some(&job), failures).await;
            }
        }
    }

    /// Runs one effect outside the database: pass its gate, prepare, claim, run, record.
    async fn external(
        &self,
        work: &Arc<dyn ExternalWork>,
        effect: &EffectKey,
        event: &Event,
        record: EventRecord,
        pass: Option<Pass>,
    ) -> Result<Progress, Abandoned> {
        let gates = &self.gates;
        let place = match gates.closed(effect.effect, pass) {
            Some(held) => Ok(Err(held)),
            None => self.hold(|| gates.place(effect.effect)).await?,
        };
        // Claim only when the effect's turn has come and all it needs is at hand, so that the lease
        // covers the run alone.
        let Ok(_permit) = self.external.acquire().await else { return Err(Abandoned) };
        let ready = match place {
            Ok(Ok(place)) => {
                let ready = self.ready(work, effect, event, record, pass, &place).await?;
                ready.map(|run| (run, place))
            }
            Ok(Err(held)) => Err(Progress::Failed(held)),
            Err(error) => Err(Progress::Failed(Failure::transient(error.to_string()))),
        };
        let (run, _place) = match ready {
            Ok(ready) => ready,
            Err(progress) => {
                gates.probe_without_answer(effect.effect, pass).await;
                return Ok(progress);
            }
        };
        let time_limit = work.time_limit().min(LONGEST_TIME_LIMIT);
        let outcome = self.run(effect, run, time_limit).await;
        let outcome = match gates.ran(effect.effect, pass, outcome).await {
            Ok(outcome) => outcome,
            Err(failure) => return Ok(Progress::Failed(failure)),
        };
        let note = match &outcome {
            Outcome::Done => None,
            Outcome::Noted(note) | Outcome::Skipped(note) => Some(note.clone()),
        };
        let skipped = matches!(outcome, Outcome::Skipped(_));
        let finished =
            Finished { event_id: record.event_id, effect: effect.clone(), skipped, note };
        match self.insist(|| self.tools.idempotency.finish(finished.clone())).await? {
            Ok(()) => Ok(Progress::Ended(outcome)),
            Err(error) => Ok(Progress::Failed(Failure::transient(error.to_string()))),
        }
    }

    /// Gets all that a run with this place needs: the run itself, its turn and its claim. `Err` if
    /// the effect doesn't run now.
    async fn ready(
        &self,
        work: &Arc<dyn ExternalWork>,
        effect: &EffectKey,
        event: &Event,
        record: EventRecord,
        pass: Option<Pass>,
        place: &Place,
    ) -> Result<Result<Run, Progress>, Abandoned> {
        let failed =
            |error: StoreError| Ok(Err(Progress::Failed(Failure::transient(error.to_string()))));
        let gates = &self.gates;
        // The gate may have closed while this waited for its place.
        if let Some(held) = gates.closed(effect.effect, pass) {
            return Ok(Err(Progress::Failed(held)));
        }
        // Before all that is counted elsewhere: a message that comes back for its turn counts once.
        match self.hold(|| gates.turn(effect.effect, pass)).await? {
            Ok(None) => {}
            Ok(Some(held)) => return Ok(Err(Progress::Failed(held))),
            Err(error) => return failed(error),
        }
        let prepare = || probing(pass == Some(Pass::Probe), work.prepare(event, &effect.target));
        let run = match self.hold(prepare).await? {
            Ok(Prepared::Run(run)) => run,
            Ok(Prepared::Wait { at_most, why }) => {
                return Ok(Err(Progress::Failed(Failure::waiting(at_most, why))));
            }
            Err(error) => return failed(error),
        };
        let idempotency = &self.tools.idempotency;
        let time_limit = work.time_limit().min(LONGEST_TIME_LIMIT);
        match self.hold(|| idempotency.claim(effect, record, time_limit)).await? {
            Ok(Claim::Granted) => {}
            Ok(Claim::Done) => return Ok(Err(Progress::AlreadyDone)),
            Ok(Claim::Leased(remaining)) => return Ok(Err(Progress::Leased(remaining))),
            Err(error) => return failed(error),
        }
        match self.hold(|| gates.start(effect.effect)).await? {
            Ok(None) => {}
            Ok(Some(held)) => return Ok(Err(Progress::Failed(held))),
            Err(error) => return failed(error),
        }
        if !place.is_fresh() {
            return Ok(Err(Progress::Failed(Failure::held(Hold::default(), PLACE_TOO_OLD))));
        }
        Ok(Ok(run))
    }

    async fn run(
        &self,
        effect: &EffectKey,
        run: Run,
        time_limit: Duration,
    ) -> Result<Outcome, Failure> {
        let started = Instant::now();
        let outcome = match self.tools.simulation.failure(effect.effect) {
            Some(error) => Err(Failure::transient(error)),
            None => tokio::time::timeout(time_limit, run).await.unwrap_or_else(|_| {
                Err(Failure::transient(format!("not done within {} s", time_limit.as_secs_f32())))
            }),
        };
        counts::observe(&self.tools.metrics, effect.effect, &outcome, started.elapsed());
        outcome
    }
}

/// A run that is ready.
type Run = BoxFuture<'static, Result<Outcome, Failure>>;
