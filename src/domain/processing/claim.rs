//! Whether an effect may be run: decided from what is on record about it.

use std::time::Duration;

/// What stands about an effect of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Record {
    /// It is still to come, and nobody is at it.
    Open,
    /// Somebody has claimed it, for so long still; zero once the lease has run out.
    Claimed(Duration),
    /// It has happened, or there was nothing to do.
    Done,
}

/// What a claim is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Run the effect: nobody else will for the time of the lease.
    Granted,
    /// It is done; nothing is left to do.
    Done,
    /// Somebody is at it, for that long at most: it is neither done nor free.
    Leased(Duration),
}

/// The answer. `recorded` is what the message says: that each effect of its event has had a record.
/// Records are forgotten only when all effects are done, so one that is missing then was done. Of
/// any other message it was never begun.
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
