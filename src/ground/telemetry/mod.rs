//! Logging, and the metrics of a process.

mod activity;
mod escape;
mod load;
mod logs;
mod metrics;
mod process;
mod registering;

pub use activity::{Activity, ROAD_BUCKETS};
pub use escape::printable;
pub use load::{InHand, Load};
pub use logs::{LogFormat, check, init};
pub use metrics::Metrics;
