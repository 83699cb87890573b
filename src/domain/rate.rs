//! Rate limits by GCRA, the generic cell rate algorithm, which is a leaky bucket kept in one
//! number.
//!
//! The number is how far a client is ahead of an even pace. Each request puts it one interval
//! further ahead, time brings it back, and no client may be further ahead than a whole period. So a
//! quiet client may send all its requests of a period at once, and then one each interval.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of requests per period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    period: Duration,
}

/// A rate, or no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limit(pub Option<Rate>);

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may go on.
    pub granted: bool,
    /// How many requests may follow at once.
    pub remaining: u32,
    /// When the full count is available again.
    pub reset_after: Duration,
    /// When the next request may come; zero if this one was granted.
    pub retry_after: Duration,
}

/// The shortest interval between requests, in microseconds, which is how time is counted here. With
/// a shorter one the count would be inexact by more than a hundredth.
const LEAST_INTERVAL: u64 = 100;
/// A server that counts in doubles, as Redis does in scripts, must be able to tell microseconds
/// apart.
const LONGEST_PERIOD: Duration = Duration::from_secs(24 * 3600);

impl Rate {
    /// A rate that is not a setting. The period must be from a second to a day.
    pub const fn of(count: u32, period: Duration) -> Rate {
        Rate { count, period }
    }

    /// How many requests are allowed per period.
    pub fn count(self) -> u32 {
        self.count
    }

    /// The time in which that many are allowed.
    pub fn period(self) -> Duration {
        self.period
    }

    /// How far each request puts a client ahead, in microseconds.
    pub fn interval(self) -> u64 {
        let period = u64::try_from(self.period.as_micros()).unwrap_or(u64::MAX);
        period.div_ceil(u64::from(self.count))
    }

    /// How far ahead a client may be, in microseconds.
    pub fn capacity(self) -> u64 {
        self.interval().saturating_mul(u64::from(self.count))
    }

    /// Counts a request of a client that is `ahead` microseconds ahead. Returns the outcome, and
    /// how far ahead the client is then.
    pub fn take(self, ahead: u64) -> (Decision, u64) {
        // Further ahead than is possible: the rate was lowered, or a clock was set back.
        let ahead = ahead.min(self.capacity());
        let next = ahead.saturating_add(self.interval());
        let granted = next <= self.capacity();
        let ahead = if granted { next } else { ahead };
        (self.taken(granted, ahead), ahead)
    }

    /// The outcome for a client that is `ahead` microseconds ahead after its request.
    pub fn taken(self, granted: bool, ahead: u64) -> Decision {
        let left = self.capacity().saturating_sub(ahead);
        let missing = if granted { 0 } else { self.interval().saturating_sub(left) };
        Decision {
            granted,
            remaining: u32::try_from(left / self.interval()).unwrap_or(u32::MAX),
            reset_after: Duration::from_micros(ahead),
            retry_after: Duration::from_micros(missing),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, humantime::format_duration(self.period))
    }
}

impl FromStr for Rate {
    type Err = String;

    /// Reads a rate like `600/1m`.
    fn from_str(text: &str) -> Result<Rate, String> {
        let (count, period) =
            text.split_once('/').ok_or("must be a rate such as 600/1m, or off")?;
        let count = count.trim().parse().ok().filter(|count| *count > 0);
        let count: u32 = count.ok_or("must begin with a whole number from 1, as 600/1m does")?;
        let period = humantime::parse_duration(period.trim())
            .map_err(|_| "must end with a duration, as 600/1m does")?;
        if period < Duration::from_secs(1) || period > LONGEST_PERIOD {
            return Err("the period must be from 1s to 24h".into());
        }
        let rate = Rate { count, period };
        if period.as_micros() < u128::from(count) * u128::from(LEAST_INTERVAL) {
            return Err("must be 10000 a second at most".into());
        }
        Ok(rate)
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Limit, String> {
        if text.trim().eq_ignore_ascii_case("off") {
            return Ok(Limit(None));
        }
        text.parse().map(|rate| Limit(Some(rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn a_whole_period_at_once_and_then_one_each_interval() {
        let rate = rate("3/1m");
        let mut ahead = 0;
        for remaining in [2, 1, 0] {
            let (taken, next) = rate.take(ahead);
            assert_eq!((taken.granted, taken.remaining), (true, remaining));
            assert_eq!(
                (taken.retry_after, taken.reset_after),
                (Duration::ZERO, Duration::from_micros(next))
            );
            ahead = next;
        }
        let (refused, same) = rate.take(ahead);
        assert_eq!((refused.granted, refused.remaining, same), (false, 0, ahead));
        assert_eq!(refused.retry_after, Duration::from_secs(20));
        assert_eq!(refused.reset_after, Duration::from_secs(60));
        assert!(!rate.take(ahead - 19_999_999).0.granted);
        let (again, _) = rate.take(ahead - 20_000_000);
        assert_eq!((again.granted, again.remaining), (true, 0));
    }

    #[test]
    fn who_is_impossibly_far_ahead_waits_no_longer_than_an_interval() {
        let rate = rate("10/1s");
        let (taken, ahead) = rate.take(u64::MAX);
        assert!(!taken.granted && taken.retry_after == Duration::from_millis(100));
        assert_eq!(ahead, rate.capacity());
    }

    /// However requests arrive: no window has more of them than the count plus what time has
    /// brought since, and a refusal says exactly when the next is granted.
    #[test]
    fn no_arrivals_get_more_than_the_rate() {
        let mut random = SmallRng::seed_from_u64(7);
        for text in ["1/1s", "3/1s", "7/1s", "10000/1s", "600/1m", "1000/7s", "1/24h"] {
            let rate = rate(text);
            let (mut now, mut arrival, mut granted) = (0_u64, 0_u64, Vec::new());
            for _ in 0..3_000 {
                now += match random.random_range(0..3) {
                    0 => 0,
                    1 => random.random_range(0..=rate.interval()),
                    _ => random.random_range(0..=rate.interval() * 2),
                };
                let (taken, ahead) = rate.take(arrival.saturating_sub(now));
                if taken.granted {
                    arrival = now + ahead;
                    granted.push(now);
                } else {
                    let missing = taken.retry_after.as_micros() as u64;
                    assert!(rate.take(ahead - missing).0.granted, "{text}");
                    assert!(!rate.take(ahead - missing + 1).0.granted, "{text}");
                }
                assert!(taken.remaining < rate.count());
            }
            for (first, from) in granted.iter().enumerate() {
                for (last, to) in granted.iter().enumerate().skip(first) {
                    let most = u64::from(rate.count()) + (to - from) / rate.interval();
                    assert!((last - first + 1) as u64 <= most, "{text}: {from} to {to}");
                }
            }
        }
    }

    #[test]
    fn an_even_pace_is_never_refused() {
        let rate = rate("7/1s");
        let mut ahead = 0;
        for _ in 0..1_000 {
            let (taken, next) = rate.take(ahead);
            assert!(taken.granted);
            ahead = next - rate.interval();
        }
    }

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, count, seconds) in [("600/1m", 600, 60), ("10/1s", 10, 1), (" 5 / 1h ", 5, 3600)]
        {
            let rate = rate(text);
            assert_eq!((rate.count(), rate.period()), (count, Duration::from_secs(seconds)));
        }
        assert_eq!(rate("600/1m").to_string(), "600/1m");
        assert_eq!("off".parse(), Ok(Limit(None)));
        assert_eq!("1/1s".parse::<Limit>(), Ok(Limit(Some(rate("1/1s")))));
        for wrong in [
            "", "600", "/1m", "600/", "0/1m", "-1/1m", "1.5/1m", "600/m", "1/999ms", "1/25h",
            "10001/1s",
        ] {
            assert!(wrong.parse::<Limit>().is_err(), "{wrong}");
        }
    }
}
