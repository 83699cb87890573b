//! What can happen next. `docs/model.md` says which function of the product each action stands for.

use super::state::*;
use super::{Defect, Protocol};

/// One step of one process, or one fault. Numbers name events, workers, publishers and messages by
/// their places in the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Commit(usize),
    /// Only with a defect: the event is written after the commit.
    WriteEvent(usize),
    CrashApi(usize),

    Lease {
        publisher: usize,
        event: usize,
    },
    Publish(usize),
    PublishUnconfirmed(usize),
    PublishRefused(usize),
    MarkPublished(usize),
    Release(usize),
    LeaseEnds(usize),
    CrashPublisher(usize),

    Deliver {
        worker: usize,
        message: usize,
    },
    DatabaseEffect(usize),
    DatabaseEffectFails(usize),
    /// Only with a defect: what `DatabaseEffect` does, in two steps.
    Check(usize),
    Insert(usize),
    /// The gate of its next effect is closed.
    MeetGate(usize),
    Claim(usize),
    FailBeforeClaim(usize),
    Run(usize),
    /// It happens, and the answer is lost: a failure that may pass.
    RunUnanswered(usize),
    RunFails(usize),
    RunRefused(usize),
    Finish(usize),
    LeaveOpen(usize),
    /// What `LeaveOpen` does, and the row of the message.
    Park(usize),
    PassOn(usize),
    PassOnUnconfirmed(usize),
    Ack(usize),
    ClaimEnds(usize),
    CrashWorker(usize),
    Cut(usize),

    DelayEnds(usize),
    Replay(usize),
    RemoveReplayed,
    CrashReplay,
    BringBack(usize),
    DeleteParked,
    CrashKeeper,
    Discard(usize),
    Pass,
    Purge(usize),
}

use Action::*;

impl Action {
    /// Whether it needs no fault, operator or calendar: what happens by itself sooner or later.
    pub fn is_progress(self) -> bool {
        !matches!(
            self,
            CrashApi(_)
                | PublishUnconfirmed(_)
                | PublishRefused(_)
                | CrashPublisher(_)
                | DatabaseEffectFails(_)
                | MeetGate(_)
                | FailBeforeClaim(_)
                | RunUnanswered(_)
                | RunFails(_)
                | RunRefused(_)
                | PassOnUnconfirmed(_)
                | CrashWorker(_)
                | Cut(_)
                | Replay(_)
                | CrashReplay
                | CrashKeeper
                | Discard(_)
                | Pass
                | Purge(_)
        )
    }
}

impl Protocol {
    /// Everything that can happen in a state.
    pub fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, event) in state.events.iter().enumerate() {
            self.with_event(state, number, event, actions);
        }
        for number in distinct(&state.publishers) {
            self.with_publisher(state, number, actions);
        }
        let mut idle_seen = false;
        for number in distinct(&state.workers) {
            match &state.workers[number] {
                Worker::Idle if idle_seen => {}
                Worker::Idle => {
                    idle_seen = true;
                    for message in distinct(&state.messages) {
                        if state.messages[message].place == Place::Main {
                            actions.push(Deliver { worker: number, message });
                        }
                    }
                }
                Worker::Busy(job) => self.with_job(state, number, job, actions),
            }
        }
        for number in distinct(&state.messages) {
            self.with_message(state, number, actions);
        }
        if state.replaying.is_some() {
            actions.push(RemoveReplayed);
            if state.left.crashes > 0 {
                actions.push(CrashReplay);
            }
        }
        if state.returning.is_some() {
            actions.push(DeleteParked);
            if state.left.crashes > 0 {
                actions.push(CrashKeeper);
            }
        }
        if state.left.ticks > 0 && self.may_pass(state) {
            actions.push(Pass);
        }
    }

    fn with_event(&self, state: &State, number: usize, event: &Event, actions: &mut Vec<Action>) {
        let left = &state.left;
        if !event.committed {
            actions.push(Commit(number));
        }
        match event.outbox {
            Outbox::Unwritten => {
                actions.push(WriteEvent(number));
                if left.crashes > 0 {
                    actions.push(CrashApi(number));
                }
            }
            Outbox::Leased { expired: false } if !state.leaser_lives(number) || left.stalls > 0 => {
                actions.push(LeaseEnds(number));
            }
            _ => {}
        }
        let claimed = event.records[OUTSIDE].map(|row| row.state);
        if claimed == Some(RowState::Claimed { expired: false })
            && (!state.claimant_lives(number) || left.stalls > 0)
        {
            actions.push(ClaimEnds(number));
        }
        if self.forgettable(state, number) {
            actions.push(Purge(number));
        }
    }

    fn with_publisher(&self, state: &State, number: usize, actions: &mut Vec<Action>) {
        let left = &state.left;
        match state.publishers[number] {
            Publisher::Idle => {
                for (event, it) in state.events.iter().enumerate() {
                    if matches!(it.outbox, Outbox::Waiting | Outbox::Leased { expired: true }) {
                        actions.push(Lease { publisher: number, event });
                    }
                }
                return;
            }
            Publisher::Leased { .. } => {
                actions.push(Publish(number));
                if left.losses > 0 {
                    actions.push(PublishUnconfirmed(number));
                }
                if left.failures > 0 {
                    actions.push(PublishRefused(number));
                }
            }
            Publisher::Confirmed { .. } => actions.push(MarkPublished(number)),
            Publisher::Unconfirmed { .. } => actions.push(Release(number)),
        }
        if left.crashes > 0 {
            actions.push(CrashPublisher(number));
        }
    }

    fn with_job(&self, state: &State, number: usize, job: &Job, actions: &mut Vec<Action>) {
        let left = &state.left;
        match job.step {
            Step::Taken => {
                if self.defect == Some(Defect::CheckThenInsert) {
                    actions.push(Check(number));
                } else {
                    actions.push(DatabaseEffect(number));
                }
                if left.failures > 0 {
                    actions.push(DatabaseEffectFails(number));
                }
                if left.holds > 0 {
                    actions.push(MeetGate(number));
                }
            }
            Step::Checked => actions.push(Insert(number)),
            Step::Unclaimed => {
                actions.push(Claim(number));
                if left.failures > 0 {
                    actions.push(FailBeforeClaim(number));
                }
                if left.holds > 0 {
                    actions.push(MeetGate(number));
                }
            }
            Step::Claimed => {
                actions.push(Run(number));
                if left.failures > 0 {
                    actions.extend([RunUnanswered(number), RunFails(number), RunRefused(number)]);
                }
            }
            Step::Ran => actions.push(Finish(number)),
            Step::Tried if self.is_held(job) => actions.push(Park(number)),
            Step::Tried if job.failures().is_some() => actions.push(LeaveOpen(number)),
            Step::LeftOpen => {
                actions.push(PassOn(number));
                if left.losses > 0 {
                    actions.push(PassOnUnconfirmed(number));
                }
            }
            Step::Tried | Step::PassedOn => actions.push(Ack(number)),
        }
        if left.crashes > 0 {
            actions.push(CrashWorker(number));
        }
        if left.cuts > 0 && !job.cut {
            actions.push(Cut(number));
        }
    }

    fn with_message(&self, state: &State, number: usize, actions: &mut Vec<Action>) {
        let message = &state.messages[number];
        let event = &state.events[usize::from(message.event)];
        match message.place {
            Place::Main => {}
            Place::Delayed => actions.push(DelayEnds(number)),
            // It waits for at least as long as the lease it met.
            Place::Parked => {
                let leased = RowState::Claimed { expired: false };
                if event.records[OUTSIDE].is_none_or(|row| row.state != leased) {
                    actions.push(DelayEnds(number));
                }
            }
            Place::Gated => {
                if state.returning.is_none() {
                    actions.push(BringBack(number));
                }
            }
            Place::Dead => {
                // An operator who has a letter in hand takes no other meanwhile.
                if state.replaying.is_none() {
                    if state.left.replays > 0 {
                        actions.push(Replay(number));
                    }
                    if state.left.discards > 0 {
                        actions.push(Discard(number));
                    }
                }
            }
        }
    }

    /// What is assumed of time: once an event is finished, a copy that does not say that the event
    /// is recorded does not wait for longer than the retention, and no publisher that has leased the
    /// event stands still for so long before it sends another.
    fn may_pass(&self, state: &State) -> bool {
        let leased = |event: usize| {
            let mut leases = state.publishers.iter().filter_map(Publisher::lease);
            leases.any(|(leased, _)| usize::from(leased) == event)
        };
        (0..state.events.len()).all(|event| match self.defect {
            Some(Defect::LateCopy) => true,
            // What it relied on: nothing but a dead letter waits for so long.
            Some(Defect::ForgetByAge) => state.copies(event).all(|copy| copy.place == Place::Dead),
            _ => {
                let known = || state.copies(event).all(|copy| copy.recorded);
                !state.events[event].finished() || known() && !leased(event)
            }
        })
    }
}

/// The places of the first of each run of equals.
fn distinct<T: PartialEq>(items: &[T]) -> impl Iterator<Item = usize> {
    (0..items.len()).filter(|number| *number == 0 || items[*number] != items[*number - 1])
}
