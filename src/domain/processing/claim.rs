//! Decides from the record of an effect whether it may be run.

use std::time::Duration;

/// The record of an effect of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Record {
    /// The effect is still to come, and no worker has claimed it.
    Open,
    /// A worker has claimed it; the time left of the lease, zero once it has run out.
    Claimed(Duration),
    /// It was done, or there was nothing to do.
    Done,
}

/// The answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Run the effect: nobody else will while the lease lasts.
    Granted,
    /// It is done; nothing is left to do.
    Done,
    /// Another worker has leased it, for this long at most: it is neither done nor free.
    Leased(Duration),
}

/// Decides a claim. `recorded` is what the message says: that each effect of its event has had a
/// record. Records are deleted only when all effects are done, so a record that is missing then
/// means done. For any other message it means that the effect was never begun.
pub fn decide(record: Option<Record>, recorded: bool) -> Claim {
    match record {
        None if recorded => Claim::Done,
        None | Some(Record::Open) => Claim::Granted,
        Some(Record::Claimed(remaining)) if remaining.is_zero() => Claim::Granted,
        Some(Record::Claimed(remaining)) => Claim::Leased(remaining),
        Some(Record::Done) => Claim::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_free_but_for_a_message_that_knows_better() {
        assert_eq!(decide(None, false), Claim::Granted);
        assert_eq!(decide(None, true), Claim::Done);
    }

    #[test]
    fn what_is_on_record_decides_whatever_the_message_says() {
        let second = Duration::from_secs(1);
        for recorded in [false, true] {
            for (record, claim) in [
                (Record::Open, Claim::Granted),
                (Record::Claimed(second), Claim::Leased(second)),
                (Record::Claimed(Duration::ZERO), Claim::Granted),
                (Record::Done, Claim::Done),
            ] {
                assert_eq!(decide(Some(record), recorded), claim, "{record:?}");
            }
        }
    }
}
