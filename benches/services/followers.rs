//! What it costs to follow the change feed: many streams of one instance, and how long after a write's
//! answer each has been told.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use taskd_testing::{Follower, World, eventually_within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::report::{Reading, Target};
use crate::system::Program;
use crate::{Size, limits};

/// Longer than all streams take to be told everything.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many of them note when each event came; the others only count.
const WATCHED: usize = 5;

/// A stream that counts events, and does as little as possible for that.
async fn count(address: String, open: Arc<AtomicUsize>, told: Arc<AtomicUsize>) {
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let request = format!("GET /changes/stream?since=now HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 64 * 1024];
    // What may be the beginning of a mark that goes on in the next read.
    const MARK: &[u8] = b"\ndata: ";
    let (mut kept, mut is_open) = (0, false);
    loop {
        let read = stream.read(&mut buffer[kept..]).await.unwrap();
        assert!(read > 0, "a follower was cut off");
        let filled = kept + read;
        let marks = buffer[..filled].windows(MARK.len()).filter(|part| *part == MARK).count();
        told.fetch_add(marks, Ordering::Relaxed);
        if !is_open {
            is_open = true;
            open.fetch_add(1, Ordering::Relaxed);
        }
        kept = filled.min(MARK.len() - 1);
        buffer.copy_within(filled - kept..filled, 0);
    }
}

/// When it was told of each task.
async fn watch(mut follower: Follower, tasks: usize) -> HashMap<i64, Instant> {
    let mut times = HashMap::new();
    while times.len() < tasks {
        let (_, entry) = follower.next().await.expect("the stream goes on");
        times.insert(entry["taskId"].as_i64().unwrap(), Instant::now());
    }
    times
}

pub async fn run(size: Size, followers: usize, rate: f64) -> Vec<Reading> {
    let world = World::new().await;
    let serve =
        Program::start(&world, &["serve"], &[("RATE_LIMIT_WRITES", "off")], "serving").await;
    let api = serve.api();
    let address = api.base.trim_start_matches("http://").to_owned();
    let tasks = (rate * size.seconds() as f64) as usize;
    let (open, told) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let mut counting = JoinSet::new();
    let counted = followers - WATCHED;
    for _ in 0..counted {
        counting.spawn(count(address.clone(), open.clone(), told.clone()));
    }
    let mut watching = JoinSet::new();
    for _ in 0..WATCHED {
        let follower = Follower::open(&api, "/changes/stream?since=now", None).await;
        watching.spawn(watch(follower, tasks));
    }
    eventually_within(PATIENCE, "all streams are open", || async {
        (open.load(Ordering::Relaxed) == counted).then_some(())
    })
    .await;
    let (began, worked) = (Instant::now(), serve.processor_time());
    let mut writing = JoinSet::new();
    for number in 0..tasks {
        let api = api.clone();
        let at = began + Duration::from_secs_f64(number as f64 / rate);
        writing.spawn(async move {
            tokio::time::sleep_until(at.into()).await;
            let task = api.task("Write Docs", None).await;
            (task["id"].as_i64().unwrap(), Instant::now())
        });
    }
    let written: HashMap<i64, Instant> = writing.join_all().await.into_iter().collect();
    let mut late = Vec::new();
    for times in watching.join_all().await {
        late.extend(
            times.iter().map(|(task, at)| {
                at.saturating_duration_since(written[task]).as_secs_f64() * 1000.0
            }),
        );
    }
    eventually_within(PATIENCE, "all streams are told everything", || async {
        (told.load(Ordering::Relaxed) == counted * tasks).then_some(())
    })
    .await;
    let share = (serve.processor_time() - worked).as_secs_f64() / began.elapsed().as_secs_f64();
    let (half, nearly_all) = limits::half_and_nearly_all(late);
    let whom = format!("{followers} followers, {rate} events/s");
    vec![
        Reading::new(format!("{whom}: half told within, ms"), half, Target::AtMost(200.0)),
        Reading::new(format!("{whom}: 99 of 100 within, ms"), nearly_all, Target::AtMost(1_000.0)),
        Reading::new(format!("{whom}: processors in use"), share, Target::None),
        Reading::new(format!("{whom}: memory at most, MB"), serve.memory().peak, Target::None),
    ]
}
