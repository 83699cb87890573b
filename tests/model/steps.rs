//! What each action does.

use taskd::domain::processing::claim::{self, Claim as Answer};
use taskd::domain::processing::retry::Route;

use super::actions::Action;
use super::publishing::publishing;
use super::state::*;
use super::{Defect, Protocol};

/// The queue's delivery limit; in the product it is 20.
pub const DELIVERY_LIMIT: u8 = 2;

impl Protocol {
    /// The state after an action that is possible in this one.
    pub fn after(&self, state: &State, action: Action) -> State {
        let mut next = state.clone();
        self.act(&mut next, action);
        next.sort();
        next
    }

    fn act(&self, state: &mut State, action: Action) {
        use Action::*;
        match action {
            Commit(event) => {
                let event = &mut state.events[event];
                event.committed = true;
                event.outbox = match self.defect {
                    Some(Defect::PublishAfterCommit) => Outbox::Unwritten,
                    _ => Outbox::Waiting,
                };
            }
            WriteEvent(event) => state.events[event].outbox = Outbox::Waiting,
            CrashApi(event) => {
                state.left.crashes -= 1;
                state.events[event].outbox = Outbox::Absent;
            }
            Lease { .. }
            | Publish(_)
            | PublishUnconfirmed(_)
            | PublishRefused(_)
            | MarkPublished(_)
            | Release(_)
            | LeaseEnds(_)
            | CrashPublisher(_) => {
                publishing(state, action);
            }
            DelayEnds(message) => state.messages[message].place = Place::Main,
            Replay(letter) => {
                state.left.replays -= 1;
                let letter = state.messages[letter];
                let revived = Message { place: Place::Main, attempt: 1, deliveries: 0, ..letter };
                state.messages.push(revived);
                state.replaying = Some(letter);
            }
            RemoveReplayed => {
                if let Some(letter) = state.replaying.take() {
                    remove(state, letter);
                }
            }
            CrashReplay => {
                state.left.crashes -= 1;
                state.replaying = None;
            }
            BringBack(_) | DeleteParked | CrashKeeper => self.keeping(state, action),
            Discard(letter) => {
                state.left.discards -= 1;
                let letter = state.messages.remove(letter);
                state.events[usize::from(letter.event)].discarded = true;
            }
            Pass => {
                state.left.ticks -= 1;
                state.tick += 1;
            }
            Purge(event) => self.purge(state, event),
            ClaimEnds(number) => {
                if state.claimant_lives(number) {
                    state.left.stalls -= 1;
                    state.events[number].excuses += 1;
                }
                if let Some(row) = &mut state.events[number].records[OUTSIDE] {
                    row.state = RowState::Claimed { expired: true };
                }
            }
            Deliver { worker, message } => {
                let message = state.messages.remove(message);
                state.workers[worker] = Worker::Busy(Job {
                    message,
                    step: Step::Taken,
                    progress: [Progress::Open; EFFECTS],
                    claims: false,
                    cut: self.defect == Some(Defect::AckBeforeEffect),
                });
            }
            _ => self.working(state, action),
        }
    }

    /// The steps of a keeper of gates.
    fn keeping(&self, state: &mut State, action: Action) {
        match action {
            Action::BringBack(parked) => {
                let parked = state.messages[parked];
                state.messages.push(Message { place: Place::Main, deliveries: 0, ..parked });
                state.returning = Some((parked, true));
            }
            Action::CrashKeeper => {
                state.left.crashes -= 1;
                state.returning = None;
            }
            _ => {
                let Some((parked, is_leased)) = state.returning.take() else { return };
                if is_leased || self.defect == Some(Defect::DeleteReparked) {
                    remove_row(state, parked.event);
                }
            }
        }
    }

    /// Writes the row of a message that waits for a gate, in place of one that is there.
    fn park(&self, state: &mut State, message: Message) {
        remove_row(state, message.event);
        state.messages.push(Message { place: Place::Gated, deliveries: 0, ..message });
        if let Some((returning, is_leased)) = &mut state.returning {
            *is_leased &= returning.event != message.event;
        }
    }

    /// Whether the route of what this job has left is the database.
    pub fn is_held(&self, job: &Job) -> bool {
        let failures = job.failures();
        failures.is_some_and(|failures| {
            matches!(self.policy.route(job.message.attempt.into(), &failures), Route::Hold(_))
        })
    }

    /// The steps of a worker that has a delivery.
    fn working(&self, state: &mut State, action: Action) {
        use Action::*;
        let (DatabaseEffect(number)
        | DatabaseEffectFails(number)
        | Check(number)
        | Insert(number)
        | MeetGate(number)
        | Claim(number)
        | FailBeforeClaim(number)
        | Run(number)
        | RunUnanswered(number)
        | RunFails(number)
        | RunRefused(number)
        | Finish(number)
        | LeaveOpen(number)
        | Park(number)
        | PassOn(number)
        | PassOnUnconfirmed(number)
        | Ack(number)
        | CrashWorker(number)
        | Cut(number)) = action
        else {
            return;
        };
        let Worker::Busy(mut job) = state.workers[number] else { return };
        let tick = state.tick;
        let event = usize::from(job.message.event);
        let done = Some(Row { state: RowState::Done, touched: tick });
        match action {
            DatabaseEffect(_) | Check(_) => {
                let granted = self.decide(state, &job, DATABASE) == Answer::Granted;
                job.step = match action {
                    Check(_) if granted => Step::Checked,
                    _ => Step::Unclaimed,
                };
                if job.step == Step::Unclaimed {
                    job.progress[DATABASE] = Progress::Done;
                }
                if granted && job.step == Step::Unclaimed {
                    state.events[event].runs[DATABASE] += 1;
                    state.events[event].records[DATABASE] = done;
                }
            }
            Insert(_) => {
                state.events[event].runs[DATABASE] += 1;
                state.events[event].records[DATABASE] = done;
                job.progress[DATABASE] = Progress::Done;
                job.step = Step::Unclaimed;
            }
            DatabaseEffectFails(_) => {
                state.left.failures -= 1;
                job.progress[DATABASE] = Progress::Transient;
                job.step = Step::Unclaimed;
            }
            Claim(_) => match self.decide(state, &job, OUTSIDE) {
                Answer::Granted => {
                    for other in &mut state.workers {
                        if let Worker::Busy(other) = other
                            && usize::from(other.message.event) == event
                        {
                            other.claims = false;
                        }
                    }
                    let claimed = RowState::Claimed { expired: false };
                    state.events[event].records[OUTSIDE] =
                        Some(Row { state: claimed, touched: tick });
                    (job.claims, job.step) = (true, Step::Claimed);
                }
                Answer::Done => {
                    (job.progress[OUTSIDE], job.step) = (Progress::Done, Step::Tried);
                }
                Answer::Leased(_) => {
                    (job.progress[OUTSIDE], job.step) = (Progress::Leased, Step::Tried);
                }
            },
            Run(_) => {
                state.events[event].runs[OUTSIDE] += 1;
                job.step = Step::Ran;
            }
            RunUnanswered(_) | RunFails(_) | RunRefused(_) | FailBeforeClaim(_) => {
                state.left.failures -= 1;
                if let RunUnanswered(_) = action {
                    state.events[event].runs[OUTSIDE] += 1;
                    state.events[event].excuses += 1;
                }
                job.progress[OUTSIDE] = match action {
                    RunRefused(_) => Progress::Permanent,
                    _ => Progress::Transient,
                };
                job.step = Step::Tried;
            }
            Finish(_) => {
                state.events[event].records[OUTSIDE] = done;
                job.progress[OUTSIDE] = Progress::Done;
                (job.claims, job.step) = (false, Step::Tried);
            }
            LeaveOpen(_) => self.leave_open(&mut state.events[event], &mut job, tick),
            Park(_) => {
                self.leave_open(&mut state.events[event], &mut job, tick);
                self.park(state, job.message);
                job.step = Step::PassedOn;
            }
            MeetGate(_) => {
                state.left.holds -= 1;
                (
                    job.progress[if job.step == Step::Taken { DATABASE } else { OUTSIDE }],
                    job.step,
                ) = match job.step {
                    Step::Taken => (Progress::Held, Step::Unclaimed),
                    _ => (Progress::Held, Step::Tried),
                };
            }
            PassOn(_) | PassOnUnconfirmed(_) => {
                if let Some(copy) = self.copy(&job) {
                    state.messages.push(copy);
                }
                if let PassOn(_) = action {
                    job.step = Step::PassedOn;
                } else {
                    state.left.losses -= 1;
                }
            }
            Ack(_) => {
                let passed_on = job.step == Step::PassedOn;
                let it = &mut state.events[event];
                it.dropped |= !passed_on && !job.cut && !it.happened();
                state.workers[number] = Worker::Idle;
                return;
            }
            CrashWorker(_) => {
                state.left.crashes -= 1;
                state.events[event].excuses += u8::from(job.step == Step::Ran);
                if !job.cut {
                    state.messages.push(delivered_once_more(job.message));
                }
                state.workers[number] = Worker::Idle;
                return;
            }
            Cut(_) => {
                state.left.cuts -= 1;
                job.cut = true;
                state.messages.push(delivered_once_more(job.message));
            }
            _ => {}
        }
        state.workers[number] = Worker::Busy(job);
    }

    fn decide(&self, state: &State, job: &Job, effect: usize) -> Answer {
        let row = state.events[usize::from(job.message.event)].records[effect];
        claim::decide(row.map(Row::record), job.message.recorded)
    }

    /// `setbacks::record`, and the mark on the copy.
    fn leave_open(&self, event: &mut Event, job: &mut Job, tick: u8) {
        let by_age = self.defect == Some(Defect::ForgetByAge);
        for (row, progress) in event.records.iter_mut().zip(job.progress) {
            if !matches!(progress, Progress::Transient | Progress::Permanent | Progress::Held) {
                continue;
            }
            let unrecorded = by_age || self.defect == Some(Defect::MarkUnrecorded);
            let open = (!unrecorded).then_some(Row { state: RowState::Open, touched: tick });
            match row.map(|row| row.state) {
                None if !job.message.recorded => *row = open,
                Some(RowState::Claimed { .. }) if job.claims => *row = open,
                _ => {}
            }
        }
        job.claims = false;
        job.message.recorded |= !by_age;
        job.step = Step::LeftOpen;
    }

    /// The copy that the retry router publishes.
    fn copy(&self, job: &Job) -> Option<Message> {
        let route = self.policy.route(job.message.attempt.into(), &job.failures()?);
        let copy = Message { deliveries: 0, ..job.message };
        Some(match route {
            Route::Retry { attempt, .. } => Message {
                place: Place::Delayed,
                attempt: u8::try_from(attempt).unwrap_or(u8::MAX),
                ..copy
            },
            Route::Park { .. } => Message { place: Place::Parked, ..copy },
            // It has a row instead: `park`.
            Route::Hold(_) => return None,
            Route::Dead(_) => Message { place: Place::Dead, ..copy },
        })
    }
}

/// A delivery that comes back; too often, and the broker sets it aside as it is.
fn delivered_once_more(message: Message) -> Message {
    let deliveries = message.deliveries + 1;
    let place = if deliveries >= DELIVERY_LIMIT { Place::Dead } else { Place::Main };
    Message { place, deliveries, ..message }
}

/// The row of an event's message that waits for a gate: there is one at most.
fn remove_row(state: &mut State, event: u8) {
    state.messages.retain(|other| other.place != Place::Gated || other.event != event);
}

fn remove(state: &mut State, message: Message) {
    if let Some(place) = state.messages.iter().position(|other| *other == message) {
        state.messages.remove(place);
    }
}
