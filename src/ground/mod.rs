//! The foundation of all other modules: nothing here knows what taskd is about.

pub mod batcher;
pub mod data_dir;
pub mod networks;
pub mod opaque;
pub mod output;
pub mod private;
pub mod secret;
pub mod service_url;
pub mod shutdown;
pub mod telemetry;
pub mod traces;
pub mod tls;
pub mod keyed_semaphore;
