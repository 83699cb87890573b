//! What is found after a run: in the database, in the mail server, among the dead letters.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::Value;
use taskd::domain::processing::retry::DeadReason;

use super::receivers::Delivered;
use super::system::System;

pub struct Event {
    pub id: String,
    pub task: i64,
    pub version: i64,
    pub event_type: String,
    pub title: String,
    pub occurred_at: DateTime<Utc>,
    pub published: bool,
}

pub struct Evidence {
    /// By task and version.
    pub events: Vec<Event>,
    /// When the activity of an event was recorded, each time.
    pub activity: HashMap<String, Vec<DateTime<Utc>>>,
    /// When the mail of an event came, each time.
    pub mails: HashMap<String, Vec<DateTime<Utc>>>,
    /// How often the queue of somebody else has got each event.
    pub others: HashMap<String, usize>,
    /// Version and title of each task there is.
    pub tasks: HashMap<i64, (i64, String)>,
    pub letters: Vec<Value>,
    /// What each webhook's endpoint has got.
    pub delivered: Vec<Delivered>,
}

impl Evidence {
    pub async fn gather(system: &System) -> Evidence {
        let db = system.db().await;
        let events = db
            .rows(
                "SELECT id, task_id, task_version, type, payload->>'title' AS title, occurred_at,
                        published_at IS NOT NULL AS published
                 FROM events ORDER BY task_id, task_version, seq",
            )
            .await;
        let events = events.iter().map(|row| Event {
            id: text(row, "id"),
            task: number(row, "task_id"),
            version: number(row, "task_version"),
            event_type: text(row, "type"),
            title: text(row, "title"),
            occurred_at: time(&row["occurred_at"]),
            published: row["published"] == true,
        });
        let mut activity: HashMap<String, Vec<DateTime<Utc>>> = HashMap::new();
        for row in db.rows("SELECT event_id, recorded_at FROM task_activity ORDER BY id").await {
            activity.entry(text(&row, "event_id")).or_default().push(time(&row["recorded_at"]));
        }
        let mut mails: HashMap<String, Vec<DateTime<Utc>>> = HashMap::new();
        for mail in system.smtp.mails() {
            let event = mail.message_id.split('.').next().unwrap_or_default().to_owned();
            mails.entry(event).or_default().push(mail.at);
        }
        let tasks = db.rows("SELECT id, version, title FROM tasks").await;
        let tasks = tasks
            .iter()
            .map(|row| (number(row, "id"), (number(row, "version"), text(row, "title"))))
            .collect();
        Evidence {
            events: events.collect(),
            activity,
            mails,
            others: system.others().await,
            tasks,
            letters: letters(system).await,
            delivered: system.receivers.delivered(),
        }
    }

    /// The events that have a dead letter of ours: a forged one says nothing of the event it names.
    pub fn dead(&self) -> HashSet<&str> {
        self.of_ours().filter_map(|letter| letter["eventId"].as_str()).collect()
    }

    /// The dead letters of messages that were not forged.
    pub fn of_ours(&self) -> impl Iterator<Item = &Value> {
        self.letters.iter().filter(|letter| letter["reason"] != DeadReason::NotOurs.as_str())
    }

    /// Everything known of an event, in the order of time where there is one.
    pub fn timeline(&self, system: &System, event: &str) -> String {
        let mut lines = vec![format!("event {event}")];
        if let Some(found) = self.events.iter().find(|found| found.id == event) {
            let Event { task, version, event_type, title, occurred_at, published, .. } = found;
            lines.push(format!(
                "  {occurred_at} {event_type} task {task} version {version} {title:?} published: {published}"
            ));
        }
        let times =
            |map: &HashMap<String, Vec<DateTime<Utc>>>| map.get(event).cloned().unwrap_or_default();
        lines.extend(times(&self.activity).iter().map(|at| format!("  {at} activity recorded")));
        lines.extend(times(&self.mails).iter().map(|at| format!("  {at} mail taken")));
        lines.extend(
            self.letters
                .iter()
                .filter(|l| l["eventId"] == event)
                .map(|l| format!("  dead letter {l}")),
        );
        for (name, path) in system.logs() {
            let log = std::fs::read_to_string(path).unwrap_or_default();
            let about = log.lines().filter(|line| line.contains(event));
            lines.extend(about.map(|line| format!("  {name}: {line}")));
        }
        lines.join("\n")
    }
}

pub async fn letters(system: &System) -> Vec<Value> {
    let listed = system.command(&["dlq", "list", "--json", "--limit", "100000"]).await;
    serde_json::from_str(&listed).unwrap()
}

fn text(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_default().to_owned()
}

fn number(row: &Value, name: &str) -> i64 {
    row[name].as_i64().unwrap()
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}
