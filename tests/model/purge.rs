//! What purge does.

use taskd::domain::processing::retention::{horizon, may_forget};

use super::state::*;
use super::{Defect, Protocol};

impl Protocol {
    /// Whether there is anything to forget about an event.
    pub fn forgettable(&self, state: &State, event: usize) -> bool {
        let it = &state.events[event];
        let horizon = horizon(at(state.tick), KEEP);
        let mut rows = it.records.iter().flatten();
        if self.defect == Some(Defect::ForgetByAge) {
            return rows.any(|row| row.trace().touched_at < horizon);
        }
        let traces: Vec<_> = rows.map(|row| row.trace()).collect();
        !traces.is_empty() && may_forget(&traces, EFFECTS, it.sent(), horizon)
    }

    pub fn purge(&self, state: &mut State, event: usize) {
        let horizon = horizon(at(state.tick), KEEP);
        let it = &mut state.events[event];
        for row in &mut it.records {
            if row.is_some_and(|row| row.trace().touched_at < horizon) {
                *row = None;
            }
        }
        it.forgotten = true;
    }
}
