//! Logging, and the metrics of a process.

mod escape;
mod logs;
mod metrics;
mod process;

pub use escape::printable;
pub use logs::{LogFormat, check, init};
pub use metrics::Metrics;
