//! The notification mail.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;

use super::mail_limit::MailLimit;
use super::mail_text::compose;
use super::{Effect, EffectContext, ExternalWork, Outcome, Prepared, Target, Work, is_probe};
use crate::domain::event::Event;
use crate::domain::webhook::events::Trouble;
use crate::ground::batcher::Batcher;
use crate::mail::Mailer;
use crate::store::accounts::users::{self, User};
use crate::store::{Store, StoreError};

pub(super) const NAME: &str = "email";

/// A mail that tells a task's user what happened to the task, or a webhook's that it fails: outside
/// the database, under a claim.
pub(super) struct Email;

impl Effect for Email {
    fn name(&self) -> &'static str {
        NAME
    }

    fn applies(&self, event: &Event) -> bool {
        recipient(event).is_some()
    }

    fn start(&self, context: &EffectContext) -> Option<Work> {
        Some(Work::External(Arc::new(Notifier::new(context))))
    }
}

/// The user who is told of an event.
fn recipient(event: &Event) -> Option<i64> {
    event.task_user().or_else(|| Trouble::of(event)?.user_id)
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

    /// The user who gets the mail about an event, as it is now: the address may have changed since.
    async fn recipient(&self, event: &Event) -> Result<Option<User>, StoreError> {
        let Some(id) = recipient(event) else { return Ok(None) };
        let ended = || Err(StoreError::Fault("the look-up of users has failed".into()));
        self.users.call(id).await.unwrap_or_else(ended)
    }
}

#[async_trait]
impl ExternalWork for Notifier {
    async fn prepare(&self, event: &Event, _: &Target) -> Result<Prepared, StoreError> {
        let skipped =
            |why: &'static str| Prepared::run(async move { Ok(Outcome::Skipped(why.to_owned())) });
        let Some(user) = self.recipient(event).await? else {
            return Ok(skipped("the user is gone"));
        };
        let Some(mail) = compose(event, &user) else {
            return Ok(skipped("nothing is mailed about it"));
        };
        if let Some(limit) = &self.limit
            && !is_probe()
            && let Some(wait) = limit.take(user.id).await?
        {
            let why = "MAIL_LIMIT: the user has had as many mails as are allowed".to_owned();
            return Ok(Prepared::Wait { at_most: wait, why });
        }
        let mailer = Arc::clone(&self.mailer);
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
