//! Retries work that conflicted with another transaction.

use crate::store::StoreError;

/// How many retries: a deadlock or serialization failure passes at once, and one that persists is
/// no accident.
const MOST: u32 = 5;

/// An error that may be a conflict.
pub trait MaybeConflict {
    /// Whether another transaction was in the way.
    fn is_conflict(&self) -> bool;
}

impl MaybeConflict for StoreError {
    fn is_conflict(&self) -> bool {
        matches!(self, StoreError::Conflict(_))
    }
}

/// Counts how often one piece of work has conflicted with another transaction.
#[derive(Debug, Default)]
pub struct Conflicts(u32);

impl Conflicts {
    /// Whether `outcome` is a conflict after which the same work may be tried again. Nothing of the
    /// work was done.
    pub fn may_try_again<T, E: MaybeConflict>(&mut self, outcome: &Result<T, E>) -> bool {
        let conflict = outcome.as_ref().err().is_some_and(E::is_conflict);
        self.0 += u32::from(conflict);
        conflict && self.0 <= MOST
    }
}

/// The outcome of a piece of work, which is done again while it conflicts with another transaction.
/// A macro, since an async closure that is called again and again is not `Send` as far as the
/// compiler can tell (<https://github.com/rust-lang/rust/issues/102211>).
macro_rules! unless_in_conflict {
    ($work:expr) => {{
        let mut conflicts = $crate::store::Conflicts::default();
        loop {
            let outcome = $work;
            if !conflicts.may_try_again(&outcome) {
                break outcome;
            }
        }
    }};
}
pub(crate) use unless_in_conflict;
