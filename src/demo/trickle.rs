//! The story goes on: every second or two somebody changes a task.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::Demo;
use super::people::{Api, AskError, Member, gather};
use super::story::{self, CATEGORIES};
use crate::ground::shutdown::Shutdown;
use crate::operate::OrderError;

/// The time between two changes, on average.
const PACE: Duration = Duration::from_millis(1500);
/// How many tasks each of the people has at least, and at most: some forty to sixty in all, however
/// long the demo runs.
const FEWEST: usize = 6;
const MOST: usize = 9;
/// How long after a trouble the story begins anew.
const REST: Duration = Duration::from_secs(5);
/// After how many changes the story looks how much waits, and beyond how much it waits itself: a
/// fault that somebody leaves overnight must not fill the disk.
const LOOK_EVERY: usize = 20;
const MOST_WAITING: i64 = 1_000;

/// What somebody does to one of their tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Create,
    Start(i64),
    Complete(i64),
    Remark(i64),
    Postpone(i64),
    HandOver(i64),
    Delete(i64),
}

/// What is known of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Pending,
    InProgress,
    Completed,
}

/// Chooses what somebody with these tasks, the oldest first, does next. `below` gives a number
/// below its argument.
fn choose(tasks: &[(i64, Status)], mut below: impl FnMut(usize) -> usize) -> Deed {
    let mut one = |status| {
        let such: Vec<i64> =
            tasks.iter().filter(|task| task.1 == status).map(|task| task.0).collect();
        if such.is_empty() { None } else { such.get(below(such.len())).copied() }
    };
    if tasks.len() < FEWEST {
        return Deed::Create;
    }
    let (completed, started, pending) =
        (one(Status::Completed), one(Status::InProgress), one(Status::Pending));
    if tasks.len() >= MOST
        && let Some(task) = completed.or(tasks.first().map(|task| task.0))
    {
        return Deed::Delete(task);
    }
    let open = started.or(pending);
    let wanted = match below(12) {
        0..=2 => Some(Deed::Create),
        3..=5 => pending.map(Deed::Start),
        6..=8 => started.map(Deed::Complete),
        9 => open.map(Deed::Remark),
        10 => open.map(Deed::Postpone),
        _ => pending.map(Deed::HandOver),
    };
    wanted.or(completed.map(Deed::Delete)).unwrap_or(Deed::Create)
}

/// Why the story has to begin anew.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    People(#[from] OrderError),
}

/// The story in a running process.
struct Story {
    api: Api,
    members: Vec<Member>,
    /// The ids of [`CATEGORIES`], in their order.
    categories: Vec<i64>,
    /// Counts the tasks that were made.
    made: usize,
}

impl Demo {
    /// Has the people of the story change tasks at this address until told to stop.
    pub async fn tell(self, address: SocketAddr, shutdown: Shutdown) {
        while !shutdown.stopped() {
            let telling = async {
                let mut story = Story::begin(&self, address).await?;
                self.go_on(&mut story).await
            };
            tokio::select! {
                () = shutdown.requested() => return,
                ended = telling => if let Err(error) = ended {
                    tracing::debug!(%error, "the story begins anew");
                },
            }
            shutdown.sleep(REST).await;
        }
    }

    async fn go_on(&self, story: &mut Story) -> Result<(), Trouble> {
        let mut running = self.0.trickles.subscribe();
        loop {
            for _ in 0..LOOK_EVERY {
                tokio::time::sleep(PACE.mul_f64(0.5 + rand::random::<f64>())).await;
                // It fails only if the sender is gone, which this demo has.
                let _ = running.wait_for(|running| *running).await;
                let _turn = self.0.turn.lock().await;
                if *running.borrow() {
                    story.step().await?;
                }
            }
            let waits = async |most| self.proof().await.is_ok_and(|proof| proof.waiting() > most);
            if waits(MOST_WAITING).await {
                self.0.resting.store(true, Ordering::Relaxed);
                while waits(MOST_WAITING / 2).await {
                    tokio::time::sleep(REST).await;
                }
                self.0.resting.store(false, Ordering::Relaxed);
            }
        }
    }
}

fn below(count: usize) -> usize {
    rand::random_range(0..count.max(1))
}

impl Story {
    /// Brings in who is missing, and gives each of them as many tasks as they have at least.
    async fn begin(demo: &Demo, address: SocketAddr) -> Result<Story, Trouble> {
        let api = Api::at(address)?;
        let members = gather(&demo.0.store).await?;
        let mut story = Story { api, members, categories: Vec::new(), made: below(1_000) };
        for member in story.members.iter().filter(|member| member.is_new) {
            let name = json!({ "name": member.person.name });
            story
                .change(story.lead(), Method::PATCH, &format!("/users/{}", member.id), name)
                .await?;
        }
        story.categories = story.categories().await?;
        for index in 0..story.members.len() {
            for number in story.tasks(index).await?.len()..FEWEST {
                let status = ["pending", "completed", "in-progress"][number % 3];
                story.create(index, index, status).await?;
            }
        }
        Ok(story)
    }

    /// The one who may give tasks to others.
    fn lead(&self) -> &Member {
        &self.members[0]
    }

    async fn change(
        &self,
        by: &Member,
        method: Method,
        path: &str,
        body: Value,
    ) -> Result<Value, AskError> {
        self.api.ask(by, method, path, Some(&body)).await
    }

    async fn categories(&self) -> Result<Vec<i64>, AskError> {
        let page = self.api.ask(self.lead(), Method::GET, "/categories?limit=100", None).await?;
        let mut ids = Vec::with_capacity(CATEGORIES.len());
        for name in CATEGORIES {
            let there =
                page["data"].as_array().into_iter().flatten().find(|row| row["name"] == name);
            let category = match there {
                Some(row) => row.clone(),
                None => {
                    let new = json!({ "name": name });
                    self.change(self.lead(), Method::POST, "/categories", new).await?
                }
            };
            ids.extend(category["id"].as_i64());
        }
        Ok(ids)
    }

    /// The tasks of a member, the oldest first.
    async fn tasks(&self, index: usize) -> Result<Vec<(i64, Status)>, AskError> {
        let member = &self.members[index];
        let path = format!("/tasks?limit=100&sort=createdAt&userId={}", member.id);
        let page = self.api.ask(member, Method::GET, &path, None).await?;
        let task = |row: &Value| {
            let status = match row["status"].as_str()? {
                "pending" => Status::Pending,
                "in-progress" => Status::InProgress,
                _ => Status::Completed,
            };
            Some((row["id"].as_i64()?, status))
        };
        Ok(page["data"].as_array().into_iter().flatten().filter_map(task).collect())
    }

    async fn create(&mut self, by: usize, of: usize, status: &str) -> Result<(), AskError> {
        self.made = self.made.wrapping_add(1);
        let (title, category) = story::task(self.made);
        let task = json!({
            "title": title, "status": status, "userId": self.members[of].id,
            "categoryId": self.categories.get(category), "dueAt": due(),
        });
        self.change(&self.members[by], Method::POST, "/tasks", task).await.map(drop)
    }

    /// Somebody does something.
    async fn step(&mut self) -> Result<(), AskError> {
        let index = below(self.members.len());
        let deed = choose(&self.tasks(index).await?, below);
        let patch = |task: i64, body: Value| (Method::PATCH, format!("/tasks/{task}"), Some(body));
        let (method, path, body) = match deed {
            Deed::Create => {
                // Half of the tasks come from the one who leads.
                let by = if below(2) == 0 { 0 } else { index };
                return self.create(by, index, "pending").await;
            }
            Deed::Start(task) => patch(task, json!({ "status": "in-progress" })),
            Deed::Complete(task) => patch(task, json!({ "status": "completed" })),
            Deed::Remark(task) => patch(task, json!({ "description": story::remark(below(100)) })),
            Deed::Postpone(task) => patch(task, json!({ "dueAt": due() })),
            Deed::HandOver(task) => {
                let other = &self.members[below(self.members.len())];
                patch(task, json!({ "userId": other.id }))
            }
            Deed::Delete(task) => (Method::DELETE, format!("/tasks/{task}"), None),
        };
        let may_give = matches!(deed, Deed::HandOver(_));
        let by = if may_give { self.lead() } else { &self.members[index] };
        match self.api.ask(by, method, &path, body.as_ref()).await {
            // Somebody else was there first.
            Err(AskError::Refused { status: 404 | 409 | 412, .. }) => Ok(()),
            answered => answered.map(drop),
        }
    }
}

/// A time within two weeks, to the hour.
fn due() -> String {
    let hours = i64::try_from(below(14 * 24)).unwrap_or_default();
    (Utc::now() + TimeDelta::hours(hours + 1)).to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_long_it_goes_on_somebody_has_a_few_tasks_in_every_status() {
        let (mut tasks, mut last) = (Vec::new(), 0);
        let mut deeds = std::collections::BTreeSet::new();
        for _ in 0..20_000 {
            let deed = choose(&tasks, below);
            deeds.insert(format!("{deed:?}").split('(').next().unwrap().to_owned());
            match deed {
                Deed::Create => {
                    last += 1;
                    tasks.push((last, Status::Pending));
                }
                Deed::Start(id) => set(&mut tasks, id, Status::InProgress),
                Deed::Complete(id) => set(&mut tasks, id, Status::Completed),
                Deed::Delete(id) | Deed::HandOver(id) => tasks.retain(|task| task.0 != id),
                Deed::Remark(_) | Deed::Postpone(_) => {}
            }
            assert!(tasks.len() <= MOST);
        }
        assert!(tasks.len() >= FEWEST - 1 && last > 1_000);
        assert_eq!(deeds.len(), 7, "{deeds:?}");
    }

    fn set(tasks: &mut [(i64, Status)], id: i64, status: Status) {
        if let Some(task) = tasks.iter_mut().find(|task| task.0 == id) {
            task.1 = status;
        }
    }
}
