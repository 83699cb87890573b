//! The notification mail.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::mail_limit::MailLimit;
use super::{Effect, EffectContext, ExternalWork, Outcome, Prepared, Target, Work, is_probe};
use crate::domain::event::Event;
use crate::domain::task::Task;
use crate::domain::task::events::{CREATED, DELETED};
use crate::domain::text::isolated;
use crate::ground::batcher::Batcher;
use crate::mail::{Mail, Mailer};
use crate::store::accounts::users::{self, User};
use crate::store::{Store, StoreError};

pub(super) const NAME: &str = "email";

/// A mail that tells a task's user what happened to the task: outside the database, under a claim.
pub(super) struct Email;

impl Effect for Email {
    fn name(&self) -> &'static str {
        NAME
    }

    fn applies(&self, event: &Event) -> bool {
        event.task_user().is_some()
    }

    fn start(&self, context: &EffectContext) -> Option<Work> {
        Some(Work::External(Arc::new(Notifier::new(context))))
    }
}

/// Finds the user, keeps to the limit, and sends the mail.
struct Notifier {
    /// Mails that are due at the same time share one look-up of their users.
    users: Batcher<i64, Result<Option<User>, StoreError>>,
    mailer: Arc<dyn Mailer>,
    limit: Option<MailLimit>,
}

/// How many users are looked up at a time.
const BATCH: usize = 128;

impl Notifier {
    fn new(context: &EffectContext) -> Notifier {
        let store = context.store.clone();
        let limit = context.mail_limit.0.map(|rate| MailLimit::new(store.clone(), rate));
        let users = Batcher::start(BATCH, move |ids: Vec<i64>| {
            let store = store.clone();
            async move {
                match find(&store, &ids).await {
                    Ok(users) => ids.iter().map(|id| Ok(users.get(id).cloned())).collect(),
                    Err(error) => vec![Err(error); ids.len()],
                }
            }
        });
        Notifier { users, mailer: Arc::clone(&context.mailer), limit }
    }

    /// The user who gets the mail about a task, as it is now: the address may have changed since.
    async fn recipient(&self, task: &Task) -> Result<Option<User>, StoreError> {
        let Some(id) = task.user_id else { return Ok(None) };
        let ended = || Err(StoreError::Fault("the look-up of users has failed".into()));
        self.users.call(id).await.unwrap_or_else(ended)
    }
}

#[async_trait]
impl ExternalWork for Notifier {
    async fn prepare(&self, event: &Event, _: &Target) -> Result<Prepared, StoreError> {
        let skipped =
            |why: &'static str| Prepared::run(async move { Ok(Outcome::Skipped(why.to_owned())) });
        let Some(task) = event.task() else { return Ok(skipped("it is not about a task")) };
        let Some(user) = self.recipient(&task).await? else {
            return Ok(skipped("the user is gone"));
        };
        if let Some(limit) = &self.limit
            && !is_probe()
            && let Some(wait) = limit.take(user.id).await?
        {
            let why = "MAIL_LIMIT: the user has had as many mails as are allowed".to_owned();
            return Ok(Prepared::Wait { at_most: wait, why });
        }
        let (mail, mailer) = (compose(event, &task, &user), Arc::clone(&self.mailer));
        let event_id = event.metadata.event_id;
        Ok(Prepared::run(async move {
            mailer.send(&mail).await?;
            let (recipient, message_id) = (mail.to.as_str(), mail.message_id.as_str());
            tracing::info!(recipient, message_id, %event_id, "mail");
            Ok(Outcome::Noted(mail.to))
        }))
    }
}

async fn find(store: &Store, ids: &[i64]) -> Result<HashMap<i64, User>, StoreError> {
    let distinct: Vec<i64> = ids.iter().copied().collect::<HashSet<_>>().into_iter().collect();
    let found = users::find_all(&mut *store.connection().await?, &distinct).await?;
    Ok(found.into_iter().map(|user| (user.id, user)).collect())
}

/// The mail's `Message-ID`. It is the same for each repetition, so a receiver that checks it sees
/// the mail at most once. The part after the @ names the program, not a host: workers are
/// interchangeable.
fn message_id(event: &Event) -> String {
    format!("{}.{NAME}@taskd", event.metadata.event_id)
}

fn compose(event: &Event, task: &Task, user: &User) -> Mail {
    let what = if event.event_type == CREATED {
        "New task"
    } else if event.event_type == DELETED {
        "Task deleted"
    } else {
        "Task changed"
    };
    let subject = format!("{what}: {}", task.title);
    let headline = format!("{what}: {}", isolated(&task.title));
    let rows = rows(event, task);
    let mut text = format!("{headline}\n\n");
    let mut html =
        format!("<!doctype html>\n<html><body>\n<h1>{}</h1>\n<table>\n", escape(&headline));
    for (name, value) in &rows {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{name}: {value}");
        let _ = writeln!(html, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(value));
    }
    if let Some(description) = task.description.as_deref().map(isolated) {
        let _ = write!(text, "\n{description}\n");
        let _ = writeln!(html, "<tr><td colspan=\"2\">{}</td></tr>", escape(&description));
    }
    html.push_str("</table>\n</body></html>\n");
    Mail {
        message_id: message_id(event),
        to: user.email.clone(),
        to_name: user.name.clone(),
        subject,
        text,
        html,
    }
}

/// The rows of the mail, a name and a value each.
fn rows(event: &Event, task: &Task) -> Vec<(String, String)> {
    let mut rows = vec![
        ("Task".to_owned(), task.id.to_string()),
        ("Status".to_owned(), task.status.as_str().to_owned()),
    ];
    if let Some(due) = task.due_at {
        rows.push(("Due".to_owned(), due.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)));
    }
    let changes = event.payload["changes"].as_object();
    let is_given = changes.is_some_and(|changes| changes.contains_key("userId"));
    for (field, change) in changes.into_iter().flatten() {
        let side = |name: &str| match change.get(name) {
            Some(Value::String(text)) => isolated(text),
            Some(Value::Null) | None => "(none)".to_owned(),
            Some(other) => other.to_string(),
        };
        // A new user must not see what the task was when it was somebody else's.
        let change = match is_given {
            true => side("to"),
            false => format!("{} → {}", side("from"), side("to")),
        };
        rows.push((format!("Changed {field}"), change));
    }
    rows
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Actor, Origin};
    use crate::domain::task::{Status, TaskFields, events};
    use chrono::Utc;

    fn changed(before: &Task, after: &Task) -> Event {
        events::updated(before, after, Origin::of(Actor::user(1))).into()
    }

    #[test]
    fn a_mail_says_what_changed_and_is_harmless_html() {
        let fields = TaskFields {
            title: "<script>alert(1)</script>".into(),
            description: Some("a & b".into()),
            status: Status::Pending,
            user_id: Some(1),
            category_id: None,
            due_at: None,
        };
        let before = Task { id: 7, ..Task::create(fields.clone(), Utc::now()) };
        let after =
            before.update(TaskFields { status: Status::Completed, ..fields }, Utc::now()).unwrap();
        let event = changed(&before, &after);
        let user = User {
            id: 1,
            email: "a@example.com".into(),
            name: None,
            created_at: Utc::now(),
            updated_at: Utc::now(),
            role: "member".into(),
        };
        let mail = compose(&event, &event.task().unwrap(), &user);
        assert_eq!(mail.message_id, format!("{}.email@taskd", event.metadata.event_id));
        assert!(mail.text.contains("Changed status: pending → completed"), "{}", mail.text);
        assert!(
            !mail.html.contains("<script>") && mail.html.contains("a &amp; b"),
            "{}",
            mail.html
        );
    }

    #[test]
    fn the_mail_to_a_new_user_says_nothing_of_what_the_task_was_before() {
        let fields = TaskFields {
            title: "private title".into(),
            description: Some("private text".into()),
            status: Status::Pending,
            user_id: Some(1),
            category_id: None,
            due_at: None,
        };
        let before = Task { id: 7, ..Task::create(fields.clone(), Utc::now()) };
        let given = TaskFields {
            title: "public title".into(),
            description: None,
            user_id: Some(2),
            ..fields
        };
        let event = changed(&before, &before.update(given, Utc::now()).unwrap());
        let user = User {
            id: 2,
            email: "b@example.com".into(),
            name: None,
            created_at: Utc::now(),
            updated_at: Utc::now(),
            role: "member".into(),
        };
        let mail = compose(&event, &event.task().unwrap(), &user);
        for text in [&mail.text, &mail.html, &mail.subject] {
            assert!(!text.contains("private"), "{text}");
        }
        assert!(mail.text.contains("Changed title: public title"), "{}", mail.text);
    }
}
