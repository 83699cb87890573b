//! Retries work that conflicted with another transaction.

use crate::store::StoreError;

/// How many retries: a deadlock or serialization failure passes at once, and one that persists is
/// no accident.
const MOST: u32 = 5;

/// Counts how often one piece of work has conflicted with another transaction.
#[derive(Debug, Default)]
pub struct Conflicts(u32);

impl Conflicts {
    /// Whether `outcome` is a conflict after which the same work may be tried again. Nothing of the
    /// work was done.
    pub fn may_try_again<T>(&mut self, outcome: &Result<T, StoreError>) -> bool {
        let conflict = matches!(outcome, Err(StoreError::Conflict(_)));
        self.0 += u32::from(conflict);
        conflict && self.0 <= MOST
    }
}
