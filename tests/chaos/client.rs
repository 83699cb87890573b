//! Clients that write, over whatever network there is, and record every request and its answer.
//!
//! Each has tasks of its own, and a text that no other request has goes with every write: by it the
//! write is found again in the database, whatever was answered. A write is repeated until its
//! answer is definite: a POST under its Idempotency-Key, the others under the version they were
//! made for, so that what was carried out before is never carried out again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::system::System;

/// Longer than the API takes to answer 503.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between a try without a definite answer and the next.
const PAUSE: Duration = Duration::from_millis(200);
/// How many tasks a client has at most; then it changes and deletes more than it creates.
const TASKS: usize = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Create,
    Update,
    Delete,
    /// One that must be refused.
    Wrong,
}

/// What came of one try. A violation is told with all of them.
#[derive(Debug, Clone)]
#[expect(dead_code, reason = "shown by Debug")]
pub enum Answer {
    Status(u16),
    Lost(String),
}

/// What came of a write, as far as its client can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answered 2xx, or found done: this task, at this version.
    Done { task: i64, version: i64 },
    /// Answered 4xx.
    Refused,
    /// No definite answer until the end of the run.
    Unknown,
}

/// A write, with every try of it.
#[derive(Debug, Clone)]
pub struct Record {
    pub kind: Kind,
    /// In the title of what was written.
    pub mark: String,
    /// The task and the version that it changes or deletes.
    pub target: Option<(i64, i64)>,
    pub tries: Vec<(DateTime<Utc>, usize, Answer)>,
    pub verdict: Verdict,
    /// It turned out to have been carried out by a try that was answered 5xx.
    pub hidden: bool,
}

/// What all clients have met.
pub struct Met {
    pub records: Vec<Record>,
    /// Reads after an answered write that did not show it.
    pub stale: Vec<String>,
}

/// Traffic that goes on until it is told to stop.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    pub answered: Arc<AtomicUsize>,
    clients: JoinSet<Met>,
}

impl Traffic {
    /// So many clients, each with about so many writes a second while nothing stands in the way.
    pub fn start(system: &System, seed: u64, clients: usize, rate: f64) -> Traffic {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut set = JoinSet::new();
        for number in 0..clients {
            let writer = Writer {
                number,
                apis: system.apis(),
                token: system.token.clone(),
                http: taskd_testing::http().timeout(PATIENCE).build().unwrap(),
                random: StdRng::seed_from_u64(seed ^ (number as u64 + 1) << 32),
                tasks: Vec::new(),
                met: Met { records: Vec::new(), stale: Vec::new() },
                stop: Arc::clone(&stop),
                paused: Arc::clone(&system.paused),
            };
            set.spawn(writer.run(Duration::from_secs_f64(1.0 / rate), Arc::clone(&answered)));
        }
        Traffic { stop, answered, clients: set }
    }

    /// Ends it, and has every record.
    pub async fn end(mut self) -> Met {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Met { records: Vec::new(), stale: Vec::new() };
        while let Some(met) = self.clients.join_next().await {
            let met = met.unwrap();
            all.records.extend(met.records);
            all.stale.extend(met.stale);
        }
        all
    }
}

struct Task {
    id: i64,
    version: i64,
}

struct Writer {
    number: usize,
    apis: Vec<String>,
    token: String,
    http: Client,
    random: StdRng,
    tasks: Vec<Task>,
    met: Met,
    stop: Arc<AtomicBool>,
    paused: Arc<AtomicBool>,
}

/// A write as it is sent, again and again.
struct Request {
    kind: Kind,
    method: &'static str,
    path: String,
    header: (&'static str, String),
    body: Option<Value>,
    mark: String,
}

impl Request {
    fn target(&self) -> Option<(i64, i64)> {
        let id = self.path.rsplit('/').next()?.parse().ok()?;
        let version = self.header.1.trim_matches('"').parse().ok()?;
        Some((id, version))
    }
}

impl Writer {
    async fn run(mut self, pause: Duration, answered: Arc<AtomicUsize>) -> Met {
        for round in 0_u64.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            if self.paused.load(Ordering::Relaxed) {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let request = self.next(round);
            let record = self.carry_out(&request).await;
            if record.verdict != Verdict::Unknown {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            self.remember(&record).await;
            self.met.records.push(record);
            let share = self.random.random_range(0.5..1.5);
            tokio::time::sleep(pause.mul_f64(share)).await;
        }
        self.met
    }

    fn next(&mut self, round: u64) -> Request {
        let mark = format!("mark-{}-{round}", self.number);
        let title = json!({ "title": mark, "userId": 1, "description": "<b>&</b> ünïcödé" });
        let dice = self.random.random_range(0..100);
        let post = |kind, body, mark: String| Request {
            kind,
            method: "POST",
            path: "/tasks".to_owned(),
            header: ("Idempotency-Key", mark.clone()),
            body: Some(body),
            mark,
        };
        if dice < 4 {
            let body = json!({ "title": mark, "userId": 1, "status": "NO_SUCH_STATUS" });
            return post(Kind::Wrong, body, mark);
        }
        let grown = self.tasks.len() >= TASKS;
        if self.tasks.is_empty() || (dice < 55 && !grown) {
            return post(Kind::Create, title, mark);
        }
        let index = self.random.random_range(0..self.tasks.len());
        let Task { id, version } = self.tasks[index];
        let (path, header) = (format!("/tasks/{id}"), ("If-Match", format!("\"{version}\"")));
        if dice < 8 {
            // A version that is long gone, or will never be.
            let header = ("If-Match", format!("\"{}\"", version + 1_000));
            let body = Some(json!({ "title": mark }));
            return Request { kind: Kind::Wrong, method: "PATCH", path, header, body, mark };
        }
        match dice {
            8..75 => {
                let body = Some(json!({ "title": mark }));
                Request { kind: Kind::Update, method: "PATCH", path, header, body, mark }
            }
            75..85 => {
                Request { kind: Kind::Update, method: "PUT", path, header, body: Some(title), mark }
            }
            _ => Request { kind: Kind::Delete, method: "DELETE", path, header, body: None, mark },
        }
    }

    /// Sends a write until it has a definite answer, or the traffic has ended.
    async fn carry_out(&mut self, request: &Request) -> Record {
        let mut record = Record {
            kind: request.kind,
            mark: request.mark.clone(),
            target: request.target(),
            tries: Vec::new(),
            verdict: Verdict::Unknown,
            hidden: false,
        };
        // What is under way at the end has its answer all the same, if the system is well.
        let mut after_the_end = 0;
        while after_the_end < 20 {
            if self.paused.load(Ordering::Relaxed) {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            after_the_end += usize::from(self.stop.load(Ordering::Relaxed));
            let api = self.random.random_range(0..self.apis.len());
            let sent_at = Utc::now();
            match self.send(api, request).await {
                Ok((status, replayed, body)) => {
                    let answered =
                        |(_, _, answer): &(_, _, Answer)| matches!(answer, Answer::Status(_));
                    let repeat = replayed || matches!(status, 404 | 412);
                    record.hidden = repeat
                        && request.kind != Kind::Wrong
                        && !record.tries.is_empty()
                        && record.tries.iter().all(answered);
                    record.tries.push((sent_at, api, Answer::Status(status)));
                    if let Some(verdict) = self.verdict(request, status, &body).await {
                        record.verdict = verdict;
                        return record;
                    }
                }
                Err(error) => record.tries.push((sent_at, api, Answer::Lost(error.to_string()))),
            }
            tokio::time::sleep(PAUSE).await;
        }
        record
    }

    async fn send(&self, api: usize, request: &Request) -> reqwest::Result<(u16, bool, Value)> {
        let url = format!("{}{}", self.apis[api], request.path);
        let (name, value) = &request.header;
        let mut sending = self
            .http
            .request(request.method.parse().unwrap(), url)
            .bearer_auth(&self.token)
            .header(*name, value);
        if let Some(body) = &request.body {
            sending = sending.json(body);
        }
        let answer = sending.send().await?;
        let status = answer.status().as_u16();
        let replayed = answer.headers().contains_key("idempotency-replayed");
        let text = answer.text().await?;
        Ok((status, replayed, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// What an answer says about the write; `None` if it is to be sent again.
    async fn verdict(&self, request: &Request, status: u16, body: &Value) -> Option<Verdict> {
        let number = |name: &str| body[name].as_i64().unwrap_or_default();
        match (request.kind, status) {
            // The same key is being worked on, perhaps by an instance that is frozen.
            (_, 409) | (_, 500..) => None,
            (Kind::Create | Kind::Update, 200 | 201) => {
                Some(Verdict::Done { task: number("id"), version: number("version") })
            }
            // Only this client deletes this task, so an earlier try did.
            (Kind::Delete, 204 | 404) => {
                request.target().map(|(task, version)| Verdict::Done { task, version: version + 1 })
            }
            (Kind::Update | Kind::Delete, 412) => {
                // An earlier try, whose answer was lost, may have been carried out: then it shows.
                let (task, version) = request.target()?;
                let now = self.read(task).await?;
                let done = now["title"] == request.mark.as_str();
                let version = version + 1;
                Some(if done { Verdict::Done { task, version } } else { Verdict::Refused })
            }
            _ => Some(Verdict::Refused),
        }
    }

    /// A task as one of the APIs shows it, null if there is none; `None` if none answers.
    async fn read(&self, task: i64) -> Option<Value> {
        let first = rand::random_range(0..self.apis.len());
        for offset in 0..self.apis.len() {
            let api = &self.apis[(first + offset) % self.apis.len()];
            let url = format!("{api}/tasks/{task}");
            let Ok(answer) = self.http.get(url).bearer_auth(&self.token).send().await else {
                continue;
            };
            match answer.status().as_u16() {
                404 => return Some(Value::Null),
                200 => {
                    if let Ok(task) = answer.json().await {
                        return Some(task);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Keeps track of the client's tasks, and looks whether another instance shows what was written.
    async fn remember(&mut self, record: &Record) {
        let Verdict::Done { task, version } = record.verdict else {
            if record.verdict == Verdict::Unknown {
                // Whether it is still there, and at which version, is not known: it is left alone.
                self.tasks.clear();
            }
            return;
        };
        self.tasks.retain(|known| known.id != task);
        let gone = record.kind == Kind::Delete;
        if !gone {
            self.tasks.push(Task { id: task, version });
        }
        if self.random.random_range(0..2) == 0
            && let Some(seen) = self.read(task).await
            && if gone { !seen.is_null() } else { seen["version"] != version }
        {
            let mark = &record.mark;
            self.met.stale.push(format!("{mark}: task {task} at {version} was read as {seen}"));
        }
    }
}
