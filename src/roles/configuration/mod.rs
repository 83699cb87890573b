//! What a process is configured with, and what is wrong with that: for `taskd doctor`, and for the
//! routes of a process that serves.

mod check;
mod variables;

pub(super) use self::check::{Examined, Settings, read};
pub use self::variables::Invocation;
pub(super) use self::variables::all as variables;
use crate::operate::doctor::{Configuration, Examination};

/// How a process that serves examines itself.
pub(super) fn examination(
    role: &'static str,
    examined: &Examined<'_>,
    invocation: &Invocation,
) -> Examination {
    let all = variables(invocation);
    let (Settings { dependencies, .. }, verdicts) = read(examined, invocation, &all);
    let own = variables::of_process(invocation);
    Examination::new(Configuration { role, own, all, verdicts, dependencies })
}
