//! When a delivery that has failed is tried again.

use std::time::Duration;

/// The delays before retries, if an endpoint names none.
pub const USUAL_DELAYS: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3_600),
    Duration::from_secs(5 * 3_600),
    Duration::from_secs(10 * 3_600),
    Duration::from_secs(10 * 3_600),
];

/// By how much of itself a delay is longer at most, so that what has failed together doesn't come
/// back together.
const JITTER: f64 = 0.1;

/// How long to wait after the failed try of this number (from 1) until the next; `None` if there is
/// none. The endpoint may ask for a longer `wait`. `chance` is from 0 to 1.
pub fn after_failure(
    attempt: u32,
    delays: &[Duration],
    wait: Option<Duration>,
    chance: f64,
) -> Option<Duration> {
    let delay = delays.get(usize::try_from(attempt).ok()?.checked_sub(1)?)?;
    let delay = delay.mul_f64(1.0 + JITTER * chance.clamp(0.0, 1.0));
    Some(delay.max(wait.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_delay_and_the_last_has_none() {
        let seconds = |n| Duration::from_secs(n);
        let next = |attempt, wait, chance| after_failure(attempt, &USUAL_DELAYS, wait, chance);
        assert_eq!(next(1, None, 0.0), Some(seconds(5)));
        assert_eq!(next(2, None, 1.0), Some(seconds(330)));
        assert_eq!(next(7, None, 0.0), Some(seconds(36_000)));
        assert_eq!((next(8, None, 0.0), next(0, None, 0.0)), (None, None));
        // What the endpoint asks for counts where it is longer, and gives no further try.
        assert_eq!(next(1, Some(seconds(60)), 0.0), Some(seconds(60)));
        assert_eq!(next(2, Some(seconds(60)), 0.0), Some(seconds(300)));
        assert_eq!(next(8, Some(seconds(60)), 0.0), None);
        assert_eq!(after_failure(1, &[], None, 0.0), None);
    }
}
