//! What open pages of the console cost the API: creates and lists without any, and beside 200 that
//! follow what happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use taskd_testing::{Api, World, eventually_within};
use tokio::task::JoinSet;

use crate::Size;
use crate::creates::POST;
use crate::report::{Reading, Target};
use crate::system::Program;
use crate::tools::wrk;

/// How many pages are open.
const OPEN: usize = 200;
/// Which pages they are, with what changes them.
const PAGES: [(&str, &str); 5] = [
    ("", "events,work,letters,gates,processes"),
    ("/tasks", "tasks"),
    ("/board", "tasks"),
    ("/events", "events,work"),
    ("/dead-letters", "letters"),
];
/// Longer than any stream takes to say something.
const PATIENCE: Duration = Duration::from_secs(60);

const GET: &str = "wrk.method = \"GET\"";

/// A page that is open: whenever its stream says so, it is fetched again.
async fn follow(api: Api, page: usize, open: Arc<AtomicUsize>, fetched: Arc<AtomicUsize>) {
    let (path, topics) = PAGES[page % PAGES.len()];
    let stream = format!("{}/console/live?topics={topics}", api.base);
    // Longer than the whole measurement, unlike other requests.
    let client = taskd_testing::http().build().unwrap();
    let mut stream = client.get(stream).send().await.unwrap();
    open.fetch_add(1, Ordering::Relaxed);
    while let Ok(Some(said)) = stream.chunk().await {
        if said.windows(7).any(|part| part == b"changed") {
            let page = client.get(format!("{}/console{path}", api.base)).send().await.unwrap();
            assert!(page.status().is_success(), "{path}: {}", page.status());
            page.bytes().await.unwrap();
            fetched.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub async fn run(size: Size) -> Vec<Reading> {
    let world = World::new().await;
    let serve = Program::start(&world, &["serve"], &[], "serving").await;
    let _work = Program::start(&world, &["work"], &[], "consuming").await;
    let url = format!("{}/tasks", serve.api().base);
    let load = async |script| wrk(&world.directory, &url, script, 64, size.seconds()).await;
    // Each pair is measured in both orders: the tables grow.
    let mut readings = Vec::new();
    for (what, script) in [("created", POST), ("pages listed", GET)] {
        let before = load(script).await;
        let mut pages = JoinSet::new();
        let (open, fetched) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        for page in 0..OPEN {
            pages.spawn(follow(serve.api(), page, open.clone(), fetched.clone()));
        }
        eventually_within(PATIENCE, "all pages are open", || async {
            (open.load(Ordering::Relaxed) == OPEN).then_some(())
        })
        .await;
        let (began, already) = (Instant::now(), fetched.load(Ordering::Relaxed));
        let beside = load(script).await;
        let fetched = fetched.load(Ordering::Relaxed) - already;
        let fetched = fetched as f64 / began.elapsed().as_secs_f64();
        pages.shutdown().await;
        let after = load(script).await;
        let alone = (before.rate + after.rate) / 2.0;
        readings.push(
            Reading::new(
                format!("{what} a second beside {OPEN} consoles"),
                beside.rate,
                Target::OfLimit(0.9),
            )
            .beside(alone),
        );
        readings.push(Reading::new(
            format!("consoles fetched a second, {what}"),
            fetched,
            Target::None,
        ));
    }
    readings
}
