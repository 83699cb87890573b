//! What operators ask and order over HTTP. The user who runs the process has the `socket` instead.

pub(in crate::http) mod audit;
mod caller;
pub(in crate::http) mod demo;
pub(in crate::http) mod effects;
pub mod events;
pub(in crate::http) mod examination;
pub(in crate::http) mod letters;
pub(in crate::http) mod overview;
pub(in crate::http) mod processes;
pub mod socket;

pub(in crate::http) use caller::OperatorOf;
