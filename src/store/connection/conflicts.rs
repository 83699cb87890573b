//! Trying again what another transaction was in the way of.

use crate::store::StoreError;

/// How often: deadlocks and serialization failures pass at once, and what goes on longer is no accident.
const MOST: u32 = 5;

/// Counts how often one piece of work has met another transaction.
#[derive(Debug, Default)]
pub struct Conflicts(u32);

impl Conflicts {
    /// Whether this is a conflict after which the same work may be tried again: nothing of it was done.
    pub fn may_try_again<T>(&mut self, outcome: &Result<T, StoreError>) -> bool {
        let conflict = matches!(outcome, Err(StoreError::Conflict(_)));
        self.0 += u32::from(conflict);
        conflict && self.0 <= MOST
    }
}
