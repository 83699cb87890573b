//! Matches publisher confirms to published messages (<https://www.rabbitmq.com/docs/confirms>).
//!
//! On a channel in confirm mode the n-th published message has delivery tag n. The broker answers
//! each with an ack or a nack, in any order, and one answer may cover all tags up to its own. A
//! mandatory message that no queue took is returned first (`basic.return`), and acked after that.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::broker::BrokerError;

type Confirm = Result<(), BrokerError>;

/// The messages of one channel that the broker has not answered yet.
#[derive(Default)]
pub(super) struct Confirms {
    state: Mutex<Unconfirmed>,
}

#[derive(Default)]
struct Unconfirmed {
    last_tag: u64,
    ended: bool,
    waiting: BTreeMap<u64, PendingConfirm>,
}

struct PendingConfirm {
    queue: String,
    message_id: Option<String>,
    returned: bool,
    answer: oneshot::Sender<Confirm>,
}

impl Confirms {
    /// Takes the next tag. Tags must be in the order of publishing: hold one lock around both
    /// calls.
    pub(super) fn expect(
        &self,
        queue: &str,
        message_id: Option<&str>,
    ) -> oneshot::Receiver<Confirm> {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.lock();
        state.last_tag += 1;
        // On an ended channel the sender is dropped, and the receiver sees that at once.
        if !state.ended {
            let waiting = PendingConfirm {
                queue: queue.to_owned(),
                message_id: message_id.map(str::to_owned),
                returned: false,
                answer,
            };
            let tag = state.last_tag;
            state.waiting.insert(tag, waiting);
        }
        receiver
    }

    /// Notes the broker's answer to `tag`, and with `multiple` to all waiting tags below it.
    pub(super) fn settle(&self, tag: u64, multiple: bool, acked: bool) {
        let mut state = self.lock();
        let settled = if multiple {
            let later = state.waiting.split_off(&tag.saturating_add(1));
            std::mem::replace(&mut state.waiting, later)
        } else {
            state.waiting.remove(&tag).map(|w| (tag, w)).into_iter().collect()
        };
        drop(state);
        for waiting in settled.into_values() {
            let answer = match (acked, waiting.returned) {
                (false, _) => Err(BrokerError::Nacked),
                (true, true) => Err(BrokerError::Returned(waiting.queue)),
                (true, false) => Ok(()),
            };
            // Nobody is listening if the publisher's time is up.
            let _ = waiting.answer.send(answer);
        }
    }

    /// Notes a message that came back. If two alike are in flight, both count as returned:
    /// publishing one of them again is harmless, losing it is not.
    pub(super) fn returned(&self, queue: &str, message_id: Option<&str>) {
        for waiting in self.lock().waiting.values_mut() {
            if waiting.queue == queue && waiting.message_id.as_deref() == message_id {
                waiting.returned = true;
            }
        }
    }

    /// Notes that the channel has ended: whoever waits, or will wait, learns that there is no
    /// answer.
    pub(super) fn fail_all(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.waiting.clear();
    }

    /// Whether the channel has ended.
    pub(super) fn ended(&self) -> bool {
        self.lock().ended
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Unconfirmed> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(receivers: Vec<oneshot::Receiver<Confirm>>) -> Vec<Option<Confirm>> {
        receivers.into_iter().map(|mut r| r.try_recv().ok()).collect()
    }

    fn publish(confirms: &Confirms, ids: &[&str]) -> Vec<oneshot::Receiver<Confirm>> {
        ids.iter().map(|id| confirms.expect("q", Some(id))).collect()
    }

    #[test]
    fn multiple_answers_every_lower_tag_and_no_other() {
        let confirms = Confirms::default();
        let receivers = publish(&confirms, &["a", "b", "c", "d", "e"]);
        confirms.settle(4, false, true);
        confirms.settle(2, true, false);
        confirms.settle(9, false, true);
        let nacked = Some(Err(BrokerError::Nacked));
        assert_eq!(answers(receivers), [nacked.clone(), nacked, None, Some(Ok(())), None]);
    }

    #[test]
    fn a_returned_message_is_not_published_though_it_is_acked() {
        let confirms = Confirms::default();
        let receivers = publish(&confirms, &["a", "b"]);
        confirms.returned("q", Some("b"));
        confirms.returned("other", Some("a"));
        confirms.settle(2, true, true);
        assert_eq!(
            answers(receivers),
            [Some(Ok(())), Some(Err(BrokerError::Returned("q".into())))]
        );
    }

    #[test]
    fn the_end_of_the_channel_is_an_answer_for_all_also_for_who_comes_later() {
        let confirms = Confirms::default();
        let mut before = confirms.expect("q", None);
        confirms.fail_all();
        let mut after = confirms.expect("q", None);
        assert!(matches!(before.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        assert!(matches!(after.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        assert!(confirms.ended());
    }
}
