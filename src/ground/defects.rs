//! Deliberate mistakes, to test the tests: each is one that taskd exists to avoid, and the fault
//! harness (`scripts/chaos`) must notice it.
//!
//! They exist only with the cargo feature `defects`, which a release build refuses.

#[cfg(all(feature = "defects", not(debug_assertions)))]
compile_error!("the feature `defects` makes taskd lose and repeat work: it is for tests alone");

/// A deliberate mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// The event of a new task is written after the task's commit, by a statement of its own.
    PublishAfterCommit,
    /// A delivery is acked before its effects.
    AckBeforeEffect,
    /// Whether an effect is done is read first and recorded later, without a claim.
    CheckThenInsert,
}

impl Defect {
    /// Its name in `TASKD_DEFECT`.
    pub const fn name(self) -> &'static str {
        match self {
            Defect::PublishAfterCommit => "publish-after-commit",
            Defect::AckBeforeEffect => "ack-before-effect",
            Defect::CheckThenInsert => "check-then-insert",
        }
    }
}

/// How long after the commit a late event is written: as long as a broker may take to confirm.
pub const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// Whether this process is to make that mistake: `TASKD_DEFECT` names it, if the feature is on.
pub fn has(defect: Defect) -> bool {
    cfg!(feature = "defects")
        && std::env::var_os("TASKD_DEFECT").is_some_and(|name| name == defect.name())
}
