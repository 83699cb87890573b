//! Dead letters, for operators: list, show, replay and discard them.

mod letter;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use letter::{DeadLetter, LetterSubject, Selection};

use crate::authenticity::Authenticity;
use crate::broker::message::{self, Message};
use crate::broker::{Broker, BrokerError, DeadLetterQueue, Delivery, Destination, Outgoing, Tag};
use crate::domain::catalog;
use crate::domain::event::EventTypes;

/// The result of a command.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The letters concerned.
    pub letters: Vec<DeadLetter>,
    /// Ids that no letter has.
    pub not_found: Vec<String>,
}

/// What to do with which letters. It can be sent to the process that has the letters to itself.
#[derive(Debug, Serialize)]
#[serde(tag = "action", rename_all = "camelCase")]
#[expect(missing_docs, reason = "named like the functions of `DeadLetters`")]
pub enum Order {
    List { limit: usize },
    Show { selection: Selection },
    Replay { selection: Selection },
    Discard { selection: Selection },
}

/// How many letters are published again at once.
const BATCH: usize = 100;

/// How long to wait before looking again for a letter that is not there. One that somebody has just
/// looked at comes back a moment after the broker has confirmed that the look is over.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// Access to the dead letters of a broker.
pub struct DeadLetters {
    broker: Arc<dyn Broker>,
    types: EventTypes,
    authenticity: Option<Authenticity>,
}

impl DeadLetters {
    /// The dead letters of this broker, to be listed, shown and discarded.
    pub fn new(broker: Arc<dyn Broker>) -> DeadLetters {
        DeadLetters { broker, types: catalog::built_in(), authenticity: None }
    }

    /// The same, with the subjects of events of these types.
    pub fn of_types(self, types: EventTypes) -> DeadLetters {
        DeadLetters { types, ..self }
    }

    /// The same, but letters can also be replayed: each copy is signed, unless its letter is not
    /// ours.
    pub fn signing(self, authenticity: Authenticity) -> DeadLetters {
        DeadLetters { authenticity: Some(authenticity), ..self }
    }

    /// The letters that died first, at most `limit`, oldest first, and how many there are in all.
    /// Letters of unknown age come last.
    ///
    /// # Errors
    /// The broker fails.
    pub async fn list(&self, limit: usize) -> Result<(Vec<DeadLetter>, u64), BrokerError> {
        let listed = self.oldest(limit).await?;
        if listed.1 > 0 {
            return Ok(listed);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        self.oldest(limit).await
    }

    /// The queue is not in order of age, since whoever looks at letters puts them back. So this
    /// looks at all of them.
    async fn oldest(&self, limit: usize) -> Result<(Vec<DeadLetter>, u64), BrokerError> {
        let mut queue = self.broker.dead_letters().await?;
        let listed = async {
            let total = queue.waiting().await?;
            let mut letters = Vec::new();
            let age = |letter: &DeadLetter| {
                let at = letter.died_at.or(letter.first_failed_at);
                (at.is_none(), at)
            };
            for _ in 0..total {
                let Some(delivery) = queue.next().await? else { break };
                letters.push(DeadLetter::of(&delivery.message, &self.types));
                if letters.len() >= limit.saturating_mul(2).saturating_add(BATCH) {
                    letters.sort_by_key(age);
                    letters.truncate(limit);
                }
            }
            letters.sort_by_key(age);
            letters.truncate(limit);
            Ok((letters, total))
        }
        .await;
        queue.close().await;
        listed
    }

    /// Shows the selected letters.
    ///
    /// # Errors
    /// The broker fails.
    pub async fn show(&self, selection: &Selection) -> Result<Report, BrokerError> {
        self.each(selection, Action::Look).await
    }

    /// Replays the selected letters, from their first attempt on and with their history. Each is
    /// removed when its copy is confirmed; after an interruption the rest stay as they are.
    ///
    /// # Errors
    /// The broker fails; what was replayed until then stays replayed.
    pub async fn replay(&self, selection: &Selection) -> Result<Report, BrokerError> {
        self.each(selection, Action::Replay).await
    }

    /// Discards the selected letters.
    ///
    /// # Errors
    /// The broker fails; what was discarded until then stays discarded.
    pub async fn discard(&self, selection: &Selection) -> Result<Report, BrokerError> {
        self.each(selection, Action::Discard).await
    }

    /// Executes an order, and returns the answer of its function as JSON.
    ///
    /// # Errors
    /// Those of that function.
    pub async fn obey(&self, order: Order) -> Result<Value, BrokerError> {
        Ok(match order {
            Order::List { limit } => json!(self.list(limit).await?),
            Order::Show { selection } => json!(self.show(&selection).await?),
            Order::Replay { selection } => json!(self.replay(&selection).await?),
            Order::Discard { selection } => json!(self.discard(&selection).await?),
        })
    }

    /// Does `action` to the selected letters, and looks once more for those that it has not met.
    async fn each(&self, selection: &Selection, action: Action) -> Result<Report, BrokerError> {
        let mut report = self.pass(selection, action).await?;
        let rest = match selection {
            Selection::All if report.letters.is_empty() => Selection::All,
            Selection::Ids(_) if !report.not_found.is_empty() => {
                Selection::Ids(std::mem::take(&mut report.not_found))
            }
            _ => return Ok(report),
        };
        tokio::time::sleep(LOOK_AGAIN).await;
        let again = self.pass(&rest, action).await?;
        report.letters.extend(again.letters);
        Ok(Report { not_found: again.not_found, ..report })
    }

    async fn pass(&self, selection: &Selection, action: Action) -> Result<Report, BrokerError> {
        let mut queue = self.broker.dead_letters().await?;
        let done = self.walk(queue.as_mut(), selection, action).await;
        queue.close().await;
        done
    }

    async fn walk(
        &self,
        queue: &mut dyn DeadLetterQueue,
        selection: &Selection,
        action: Action,
    ) -> Result<Report, BrokerError> {
        // Counted first, so that a letter that is replayed and dies again isn't met a second time.
        let mut left = queue.waiting().await?;
        let mut letters = Vec::new();
        let mut batch: Vec<Delivery> = Vec::new();
        while left > 0 {
            let Some(delivery) = queue.next().await? else { break };
            left -= 1;
            if !selection.has(&delivery.message) {
                continue;
            }
            letters.push(DeadLetter::of(&delivery.message, &self.types));
            match action {
                Action::Look => {}
                Action::Discard => queue.remove(delivery.tag).await?,
                Action::Replay => batch.push(delivery),
            }
            if batch.len() == BATCH {
                self.publish_again(queue, std::mem::take(&mut batch)).await?;
            }
        }
        self.publish_again(queue, batch).await?;
        Ok(Report { not_found: selection.missed(&letters), letters })
    }

    async fn publish_again(
        &self,
        queue: &mut dyn DeadLetterQueue,
        batch: Vec<Delivery>,
    ) -> Result<(), BrokerError> {
        if batch.is_empty() {
            return Ok(());
        }
        let authenticity = self.authenticity.as_ref().ok_or(BrokerError::Unsigned)?;
        let authority = authenticity.authority().await;
        let authority = authority.map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        let tags: Vec<Tag> = batch.iter().map(|delivery| delivery.tag).collect();
        let copies = batch.iter().map(|Delivery { message: letter, .. }| {
            let mut message = revived(letter);
            if authority.accepts(letter) {
                authority.sign(&mut message);
            }
            Outgoing { to: Destination::Main, message }
        });
        let answers = self.broker.publish(copies.collect()).await;
        for (tag, answer) in tags.into_iter().zip(answers) {
            answer?;
            queue.remove(tag).await?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Action {
    Look,
    Replay,
    Discard,
}

/// The letter as a first attempt. It keeps its history, and that its effects have records.
fn revived(letter: &Message) -> Message {
    let mut copy = letter.copy();
    for header in [
        message::ATTEMPT,
        message::DEAD_REASON,
        message::DEAD_ERROR,
        message::DEAD_AT,
        message::DEAD_ID,
        message::SIGNATURE,
    ] {
        copy.headers.remove(header);
    }
    copy
}

#[cfg(test)]
mod tests;
