//! What the mails say.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::email::NAME;
use crate::domain::event::Event;
use crate::domain::task::Task;
use crate::domain::task::events::{CREATED, DELETED};
use crate::domain::text::isolated;
use crate::domain::webhook::events::{FAILING, Trouble};
use crate::mail::Mail;
use crate::store::accounts::users::User;

/// The mail's `Message-ID`. It is the same for each repetition, so a receiver that checks it sees
/// the mail at most once. The part after the @ names the program, not a host: workers are
/// interchangeable.
fn message_id(event: &Event) -> String {
    format!("{}.{NAME}@taskd", event.metadata.event_id)
}

/// The mail to a user about an event; `None` if nothing is mailed about it.
pub(super) fn compose(event: &Event, user: &User) -> Option<Mail> {
    match (event.task(), Trouble::of(event)) {
        (Some(task), _) => Some(about_task(event, &task, user)),
        (None, Some(trouble)) => Some(about_webhook(event, &trouble, user)),
        (None, None) => None,
    }
}

fn about_task(event: &Event, task: &Task, user: &User) -> Mail {
    let what = if event.event_type == CREATED {
        "New task"
    } else if event.event_type == DELETED {
        "Task deleted"
    } else {
        "Task changed"
    };
    let subject = format!("{what}: {}", task.title);
    let headline = format!("{what}: {}", isolated(&task.title));
    mail(event, user, (subject, headline), &rows(event, task), task.description.as_deref())
}

/// What a webhook's owner is told when it fails. Its URL may have a secret in it, so only the host
/// is named.
fn about_webhook(event: &Event, trouble: &Trouble, user: &User) -> Mail {
    let days = match (event.event_type == FAILING, trouble.reason.as_str()) {
        (true, _) => "no delivery has succeeded for a day; after five days it is disabled",
        (false, "gone") => "it answered 410 and is disabled",
        (false, _) => "no delivery has succeeded for five days, and it is disabled",
    };
    let what = if event.event_type == FAILING { "fails" } else { "is disabled" };
    let (host, id) = (isolated(&trouble.host), trouble.id);
    let subject = format!("Webhook {id} {what}: {}", trouble.host);
    let headline = format!("Webhook {id} to {host}: {days}");
    let mut rows = vec![("Webhook".to_owned(), id.to_string()), ("Host".to_owned(), host)];
    if let Some(since) = trouble.failing_since {
        rows.push(("Failing since".to_owned(), seconds(since)));
    }
    let again = format!(
        "GET /webhooks/{id}/deliveries?state=failed says what was answered. When the endpoint is well, \
         PATCH /webhooks/{id} with enabled true, POST /webhooks/{id}/recover sends again what was given up, and \
         …/replay-history what came while it was disabled."
    );
    let text = match &trouble.description {
        Some(description) => format!("{description}\n\n{again}"),
        None => again,
    };
    mail(event, user, (subject, headline), &rows, Some(&text))
}

fn seconds(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn mail(
    event: &Event,
    user: &User,
    (subject, headline): (String, String),
    rows: &[(String, String)],
    description: Option<&str>,
) -> Mail {
    let mut text = format!("{headline}\n\n");
    let mut html =
        format!("<!doctype html>\n<html><body>\n<h1>{}</h1>\n<table>\n", escape(&headline));
    for (name, value) in rows {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{name}: {value}");
        let _ = writeln!(html, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(value));
    }
    if let Some(description) = description.map(isolated) {
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
        rows.push(("Due".to_owned(), seconds(due)));
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
    use crate::domain::webhook::events::DISABLED;

    fn changed(before: &Task, after: &Task) -> Event {
        events::updated(before, after, Origin::of(Actor::user(1))).into()
    }

    fn user(id: i64, email: &str) -> User {
        let (created_at, updated_at) = (Utc::now(), Utc::now());
        let (email, role) = (email.into(), "member".into());
        User { id, email, name: None, created_at, updated_at, role }
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
        let user = user(1, "a@example.com");
        let mail = compose(&event, &user).unwrap();
        assert_eq!(mail.message_id, format!("{}.email@taskd", event.metadata.event_id));
        assert!(mail.text.contains("Changed status: pending → completed"), "{}", mail.text);
        assert!(
            !mail.html.contains("<script>") && mail.html.contains("a &amp; b"),
            "{}",
            mail.html
        );
    }

    #[test]
    fn the_owner_of_a_webhook_is_told_its_host_and_what_to_do() {
        let trouble = Trouble {
            id: 3,
            version: 1,
            user_id: Some(1),
            description: Some("<b>Billing</b>".into()),
            host: "example.com".into(),
            reason: "failing".into(),
            failing_since: Some(Utc::now()),
        };
        let user = user(1, "a@example.com");
        let event: Event = trouble.event(FAILING, Utc::now()).into();
        let mail = compose(&event, &user).unwrap();
        assert_eq!(mail.subject, "Webhook 3 fails: example.com");
        assert!(mail.text.contains("for a day; after five days"), "{}", mail.text);
        assert!(mail.text.contains("POST /webhooks/3/recover"), "{}", mail.text);
        assert!(!mail.html.contains("<b>"), "{}", mail.html);
        let gone = Trouble { reason: "gone".into(), ..trouble };
        let mail = compose(&gone.event(DISABLED, Utc::now()).into(), &user).unwrap();
        assert!(mail.text.contains("answered 410"), "{}", mail.text);
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
        let user = user(2, "b@example.com");
        let mail = compose(&event, &user).unwrap();
        for text in [&mail.text, &mail.html, &mail.subject] {
            assert!(!text.contains("private"), "{text}");
        }
        assert!(mail.text.contains("Changed title: public title"), "{}", mail.text);
    }
}
