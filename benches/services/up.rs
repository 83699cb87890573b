//! `taskd up` on its embedded defaults: no service beside it.

use std::time::{Duration, Instant};

use crate::Size;
use crate::report::{Reading, Target};
use crate::system::Program;
use crate::tools::hey;
use taskd_testing::{World, eventually_within};

const CLIENTS: usize = 16;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
const TASK: &str =
    r#"{"title":"Write Docs","description":"Testing async","status":"in-progress","userId":1}"#;

pub async fn run(size: Size) -> Vec<Reading> {
    let world = World::alone();
    let count = size.count(CLIENTS * 1_000);
    let (up, first) = start(&world).await;
    let api = up.api();
    let began = Instant::now();
    let created = hey(&format!("{}/tasks", api.base), TASK, CLIENTS, count).await;
    eventually_within(PATIENCE, "every task is processed", || async {
        let processed = api.metric("taskd_deliveries_total", "processed").await;
        (processed as usize == count).then_some(())
    })
    .await;
    let both = count as f64 / began.elapsed().as_secs_f64();
    let mails = std::fs::read_dir(world.directory.join(".taskd/mail")).unwrap().count();
    assert_eq!(mails, count, "each task has its mail");
    let memory = up.memory().now;
    let stopped = up.stop().await.as_secs_f64();
    let (_up, again) = start(&world).await;
    vec![
        Reading::new("created and processed a second", both, Target::AtLeast(800.0)),
        Reading::new("created a second", created, Target::None),
        Reading::new("first start until ready, s", first, Target::None),
        Reading::new("second start until ready, s", again, Target::None),
        Reading::new("SIGINT until gone, s", stopped, Target::None),
        Reading::new("memory after it, MB", memory, Target::None),
    ]
}

/// Starts it in this world's directory, and the seconds until it has said that it is ready.
async fn start(world: &World) -> (Program, f64) {
    let began = Instant::now();
    let up = Program::start(world, &["up"], &[], " up address=").await;
    let ready = up.api().get("/readyz").await;
    ready.expect(200);
    (up, began.elapsed().as_secs_f64())
}
