//! Followers of the change feed: each goes from instance to instance with its cursor, by pages and by
//! streams, and breaks off whenever it likes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::evidence::Evidence;
use super::reconcile::Violation;
use super::system::{SETTLED, System};
use taskd_testing::{Answer, Api, Follower};

/// How many there are.
pub const FOLLOWERS: usize = 20;
/// Longer than an instance takes to answer 503.
const PATIENCE: Duration = Duration::from_secs(15);
/// Before it asks again after a failure.
const PAUSE: Duration = Duration::from_millis(200);
/// What it may be answered while something is broken.
const IN_TROUBLE: [u16; 2] = [408, 503];

/// What a follower was told, in order, and what it must not have been answered.
#[derive(Default)]
pub struct Told {
    entries: Vec<Entry>,
    refused: Option<String>,
}

struct Entry {
    event: String,
    task: i64,
    version: i64,
}

pub struct Followers {
    ends: Arc<AtomicBool>,
    following: JoinSet<Told>,
}

impl Followers {
    pub fn start(system: &System, seed: u64) -> Followers {
        let (ends, mut following) = (Arc::<AtomicBool>::default(), JoinSet::new());
        let address = |base: String| base.trim_start_matches("http://").to_owned();
        let api = |base: String| Api::at(&address(base)).with_token(&system.token);
        let apis: Vec<Api> = system.apis().into_iter().map(api).collect();
        for number in 0..FOLLOWERS {
            let random = StdRng::seed_from_u64(seed ^ (number as u64 + 100) << 24);
            let one = One { apis: apis.clone(), random, cursor: None, told: Told::default() };
            following.spawn(one.run(Arc::clone(&ends)));
        }
        Followers { ends, following }
    }

    /// Waits until each has been told nothing new for a while. Nothing is written any more.
    pub async fn end(mut self) -> Vec<Told> {
        self.ends.store(true, Ordering::Relaxed);
        let mut told = Vec::new();
        while let Some(ended) = self.following.join_next().await {
            told.push(ended.unwrap());
        }
        told
    }
}

/// One follower.
struct One {
    apis: Vec<Api>,
    random: StdRng,
    cursor: Option<String>,
    told: Told,
}

impl One {
    async fn run(mut self, ends: Arc<AtomicBool>) -> Told {
        let mut silent: Option<Instant> = None;
        loop {
            let number = self.random.random_range(0..self.apis.len());
            let api = self.apis[number].clone();
            let is_ending = ends.load(Ordering::Relaxed);
            let well = match is_ending || self.random.random_bool(0.5) {
                true => self.page(&api).await,
                false => self.stream(&api).await,
            };
            if self.told.refused.is_some() {
                return self.told;
            }
            if well == Some(0) && is_ending {
                return self.told;
            }
            if well.is_some() {
                silent = None;
                continue;
            }
            if silent.get_or_insert_with(Instant::now).elapsed() > SETTLED && is_ending {
                return self.told;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads a page. Returns how many entries it had; `None` if there was no answer.
    async fn page(&mut self, api: &Api) -> Option<usize> {
        let since = self.cursor.as_ref().map_or(String::new(), |cursor| format!("&since={cursor}"));
        let limit = self.random.random_range(1..=50);
        let request =
            api.request("GET", &format!("/changes?limit={limit}{since}")).timeout(PATIENCE);
        let response = request.send().await.ok()?;
        let (status, text) = (response.status().as_u16(), response.text().await.ok()?);
        if status != 200 {
            self.refused(status, &text);
            return None;
        }
        let page: Value = serde_json::from_str(&text).unwrap();
        let data = page["data"].as_array().unwrap();
        data.iter().for_each(|entry| self.is_told(entry));
        self.cursor = page["nextCursor"].as_str().map(str::to_owned);
        Some(data.len())
    }

    /// Listens to a stream for a while.
    async fn stream(&mut self, api: &Api) -> Option<usize> {
        let until = Instant::now() + Duration::from_millis(self.random.random_range(100..8_000));
        let opening = Follower::try_open(api, "/changes/stream", self.cursor.as_deref());
        let mut stream = match timeout(PATIENCE, opening).await.ok()?.ok()? {
            Ok(stream) => stream,
            Err(Answer { status, text, .. }) => {
                self.refused(status, &text);
                return None;
            }
        };
        let mut count = 0;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let Ok(Some((id, entry))) = timeout(left, stream.next()).await else { break };
            self.is_told(&entry);
            self.cursor = Some(id);
            count += 1;
        }
        Some(count)
    }

    fn is_told(&mut self, entry: &Value) {
        self.told.entries.push(Entry {
            event: entry["eventId"].as_str().unwrap().to_owned(),
            task: entry["taskId"].as_i64().unwrap(),
            version: entry["version"].as_i64().unwrap(),
        });
    }

    fn refused(&mut self, status: u16, text: &str) {
        if !IN_TROUBLE.contains(&status) {
            self.told.refused = Some(format!("{status} {text}"));
        }
    }
}

/// How much they were told, for the report.
pub fn summary(told: &[Told]) -> String {
    let entries: usize = told.iter().map(|told| told.entries.len()).sum();
    format!("{} followers were told {entries} changes", told.len())
}

/// What followers were told wrong.
pub fn wrong(told: &[Told], found: &Evidence) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (number, told) in told.iter().enumerate() {
        let mut versions: HashMap<i64, i64> = HashMap::new();
        let mut times: HashMap<&str, usize> = HashMap::new();
        let mut violation = |what: String, event: &str| {
            let what = format!("follower {number}: {what}");
            violations.push(Violation { what, events: vec![event.to_owned()] });
        };
        for Entry { event, task, version } in &told.entries {
            *times.entry(event).or_default() += 1;
            let before = versions.insert(*task, *version).unwrap_or_default();
            if *version <= before {
                violation(format!("task {task}: version {version} after {before}"), event);
            }
        }
        for (event, _) in times.iter().filter(|(_, times)| **times > 1) {
            violation("was told an event twice".to_owned(), event);
        }
        for event in found.events.iter().filter(|event| !times.contains_key(&*event.id)) {
            violation("was not told an event".to_owned(), &event.id);
        }
        if let Some(refused) = &told.refused {
            violation(format!("was refused: {refused}"), "");
        }
    }
    violations
}
