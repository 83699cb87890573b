//! What operators ask and order over HTTP. The user who runs the process has the `socket` instead.

pub(in crate::http) mod audit;
mod caller;
pub(in crate::http) mod demo;
pub(in crate::http) mod effects;
pub mod events;
mod letter_docs;
mod letter_orders;
pub(in crate::http) mod letters;
pub(in crate::http) mod processes;
pub mod socket;

pub(in crate::http) use caller::OperatorOf;
