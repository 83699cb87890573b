//! What must always hold, what must come, and what must be possible.

use stateright::{Model, Property};
use taskd::domain::processing::retry::RetryPolicy;

use super::actions::Action;
use super::state::*;
use super::steps::DELIVERY_LIMIT;
use super::{Defect, Protocol};

pub const LOST: &str = "no committed event is lost";
pub const TWICE: &str = "no database effect happens twice";
pub const REPEATED: &str =
    "an effect outside is repeated only after a fault between it and its record";
pub const FORGOTTEN: &str = "purge never forgets what a message that can still arrive needs";
pub const DROPPED: &str =
    "no message, replayed or not, is settled before its effects have happened";
pub const AT_REST: &str = "where nothing is left to do, every event is processed or dead";
pub const COMES_TO_REST: &str = "every path comes to rest with every event processed or dead";

/// What a configuration must be able to reach, or it proves nothing about it.
pub mod reached {
    pub const PROCESSED: &str = "every event is processed";
    pub const DEAD: &str = "a worker makes a dead letter";
    pub const SET_ASIDE: &str = "the broker sets a message aside";
    pub const REPLAYED: &str = "a replayed letter is processed";
    pub const REPEATED: &str = "an effect outside is repeated";
    pub const PURGED: &str = "the records of an event are forgotten";
    pub const LATE: &str = "a message arrives whose records are forgotten";
    pub const SIDE_BY_SIDE: &str = "two workers have copies of one message";
    pub const PARKED: &str = "a message waits for another worker's claim";
    pub const TWO_SENT: &str = "an event is published twice";
    pub const GATED: &str = "a message waits for a gate";
    pub const PARKED_ANEW: &str = "a message is parked anew while it comes back";
    pub const DISCARDED: &str = "a letter is discarded";
}

impl Protocol {
    pub fn retries(delays: &str) -> RetryPolicy {
        delays.parse().unwrap()
    }

    /// Whether nothing is left that happens by itself.
    fn at_rest(&self, state: &State) -> bool {
        let mut actions = Vec::new();
        self.possible(state, &mut actions);
        !actions.into_iter().any(Action::is_progress)
    }
}

/// Processed, or in the hands of the operator.
fn is_settled(state: &State) -> bool {
    state.events.iter().enumerate().all(|(number, event)| {
        let dead = || state.copies(number).any(|copy| copy.place == Place::Dead);
        !event.committed || event.happened() || event.discarded || dead()
    })
}

fn every(state: &State, holds: impl Fn(usize, &Event) -> bool) -> bool {
    state.events.iter().enumerate().all(|(number, event)| holds(number, event))
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            events: vec![Event::default(); self.events],
            messages: Vec::new(),
            workers: vec![Worker::Idle; self.workers],
            publishers: vec![Publisher::Idle; self.publishers],
            replaying: None,
            returning: None,
            tick: 0,
            left: self.budget,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(self.after(state, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::<Self>::always(LOST, |_, state| {
                every(state, |number, event| {
                    let to_come = event.unpublished() || event.outbox == Outbox::Unwritten;
                    let on_its_way = || to_come || state.copies(number).next().is_some();
                    !event.committed || event.happened() || event.discarded || on_its_way()
                })
            }),
            Property::<Self>::always(TWICE, |_, state| {
                every(state, |_, event| event.runs[DATABASE] <= 1)
            }),
            Property::<Self>::always(REPEATED, |_, state| {
                every(state, |_, event| event.runs[OUTSIDE] <= 1 + event.excuses)
            }),
            Property::<Self>::always(FORGOTTEN, |model, state| {
                let known = |number| state.copies(number).all(|copy| copy.recorded);
                every(state, |number, event| {
                    // With that defect copies are never marked, so nothing follows from it.
                    let known = model.defect == Some(Defect::ForgetByAge) || known(number);
                    !event.forgotten || event.happened() && !event.unpublished() && known
                })
            }),
            Property::<Self>::always(DROPPED, |_, state| every(state, |_, event| !event.dropped)),
            Property::<Self>::always(AT_REST, |model, state| {
                is_settled(state) || !model.at_rest(state)
            }),
            Property::<Self>::eventually(COMES_TO_REST, |model, state| {
                model.at_rest(state) && is_settled(state)
            }),
        ];
        properties.extend(possible().into_iter().filter(|p| self.reaches.contains(&p.name)));
        properties
    }
}

fn possible() -> Vec<Property<Protocol>> {
    vec![
        Property::<Protocol>::sometimes(reached::PROCESSED, |_, state| {
            every(state, |_, event| event.happened() && event.finished())
        }),
        Property::<Protocol>::sometimes(reached::DEAD, |_, state| {
            state.messages.iter().any(|m| m.place == Place::Dead && m.deliveries < DELIVERY_LIMIT)
        }),
        Property::<Protocol>::sometimes(reached::SET_ASIDE, |_, state| {
            state.messages.iter().any(|m| m.place == Place::Dead && m.deliveries >= DELIVERY_LIMIT)
        }),
        Property::<Protocol>::sometimes(reached::REPLAYED, |model, state| {
            let replayed = state.left.replays < model.budget.replays && state.messages.is_empty();
            replayed && every(state, |_, event| event.happened() && event.finished())
        }),
        Property::<Protocol>::sometimes(reached::REPEATED, |_, state| {
            state.events.iter().any(|event| event.runs[OUTSIDE] > 1)
        }),
        Property::<Protocol>::sometimes(reached::PURGED, |_, state| {
            state.events.iter().any(|event| event.forgotten)
        }),
        Property::<Protocol>::sometimes(reached::LATE, |_, state| {
            let jobs = state.workers.iter().filter_map(Worker::job);
            let mut events = jobs.map(|job| &state.events[usize::from(job.message.event)]);
            events.any(|event| event.forgotten)
        }),
        Property::<Protocol>::sometimes(reached::SIDE_BY_SIDE, |_, state| {
            let jobs: Vec<&Job> = state.workers.iter().filter_map(Worker::job).collect();
            jobs.windows(2).any(|pair| pair[0].message.event == pair[1].message.event)
        }),
        Property::<Protocol>::sometimes(reached::PARKED, |_, state| {
            state.messages.iter().any(|message| message.place == Place::Parked)
        }),
        Property::<Protocol>::sometimes(reached::GATED, |_, state| {
            state.messages.iter().any(|message| message.place == Place::Gated)
        }),
        Property::<Protocol>::sometimes(reached::PARKED_ANEW, |_, state| {
            matches!(state.returning, Some((_, false)))
        }),
        Property::<Protocol>::sometimes(reached::TWO_SENT, |_, state| {
            let main = state.messages.iter().filter(|m| m.place == Place::Main && m.event == 0);
            main.count() > 1
        }),
        Property::<Protocol>::sometimes(reached::DISCARDED, |_, state| {
            state.events.iter().any(|event| event.discarded)
        }),
    ]
}
