//! Tracks the unsettled deliveries of a channel, and settles the others with as few acks as
//! possible.

use std::collections::BTreeSet;

use crate::broker::Tag;

/// The unsettled deliveries of one channel.
#[derive(Default)]
pub(super) struct Ledger {
    unsettled: BTreeSet<Tag>,
}

/// One `basic.ack` frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AckFrame {
    pub(super) tag: Tag,
    pub(super) multiple: bool,
}

impl Ledger {
    /// Notes a delivery that was handed out.
    pub(super) fn taken(&mut self, tag: Tag) {
        self.unsettled.insert(tag);
    }

    /// Removes deliveries that are settled by other means, and returns them. Tags that were settled
    /// before are skipped: naming one again would make the broker close the channel.
    pub(super) fn remove(&mut self, tags: &[Tag]) -> Vec<Tag> {
        tags.iter().copied().filter(|tag| self.unsettled.remove(tag)).collect()
    }

    /// Settles these deliveries and returns the frames to send: one `multiple` for all below the
    /// oldest that stays unsettled, and a single ack for each above it.
    pub(super) fn ack(&mut self, tags: &[Tag]) -> Vec<AckFrame> {
        let mut acked = self.remove(tags);
        acked.sort_unstable();
        let oldest_left = self.unsettled.first().copied().unwrap_or(Tag::MAX);
        let below = acked.partition_point(|tag| *tag < oldest_left);
        let mut frames = Vec::new();
        if let Some(last) = below.checked_sub(1).and_then(|i| acked.get(i)) {
            frames.push(AckFrame { tag: *last, multiple: below > 1 });
        }
        frames.extend(acked.iter().skip(below).map(|tag| AckFrame { tag: *tag, multiple: false }));
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(tags: std::ops::RangeInclusive<Tag>) -> Ledger {
        let mut ledger = Ledger::default();
        tags.for_each(|t| ledger.taken(t));
        ledger
    }

    fn one(tag: Tag) -> AckFrame {
        AckFrame { tag, multiple: false }
    }

    #[test]
    fn a_whole_batch_is_one_frame() {
        assert_eq!(
            ledger(1..=100).ack(&(1..=100).collect::<Vec<_>>()),
            [AckFrame { tag: 100, multiple: true }]
        );
    }

    #[test]
    fn multiple_never_reaches_past_an_unsettled_delivery() {
        let mut ledger = ledger(1..=6);
        assert_eq!(
            ledger.ack(&[6, 2, 1, 4]),
            [AckFrame { tag: 2, multiple: true }, one(4), one(6)]
        );
        assert_eq!(ledger.ack(&[5]), [one(5)]);
        assert_eq!(ledger.ack(&[3]), [one(3)]);
    }

    #[test]
    fn a_tag_is_settled_once() {
        let mut ledger = ledger(1..=3);
        assert_eq!(ledger.remove(&[2, 2, 9]), [2]);
        assert_eq!(ledger.ack(&[2]), []);
        assert_eq!(ledger.ack(&[1, 1]), [one(1)]);
    }
}
