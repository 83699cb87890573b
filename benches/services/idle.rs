//! What taskd takes while there is nothing to do.

use std::time::Duration;

use crate::Size;
use crate::report::{Reading, Target};
use crate::system::Program;
use taskd_testing::World;

/// How long after their start they are at rest.
const SETTLED: Duration = Duration::from_secs(2);

pub async fn run(size: Size) -> Vec<Reading> {
    let world = World::new().await;
    let serve = Program::start(&world, &["serve"], &[], "serving").await;
    let mut work = Program::start(&world, &["work"], &[], "health and metrics").await;
    work.line("consuming").await;
    tokio::time::sleep(SETTLED).await;
    let used = || serve.processor_time() + work.processor_time();
    let (before, lasting) = (used(), Duration::from_secs(2 * size.seconds()));
    tokio::time::sleep(lasting).await;
    let share = 100.0 * (used() - before).as_secs_f64() / lasting.as_secs_f64();
    vec![
        Reading::new("serve + work, % of a core", share, Target::AtMost(1.0)),
        Reading::new("memory of serve, MB", serve.memory().now, Target::AtMost(60.0)),
        Reading::new("memory of work, MB", work.memory().now, Target::AtMost(60.0)),
    ]
}
