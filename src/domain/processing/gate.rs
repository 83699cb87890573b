//! The rules of gates: what stands before an effect that may not run for now.
//!
//! An effect has a breaker and can be paused. The breaker opens when many runs in a row have failed
//! for a reason that may pass: the other side is down, and more attempts would only use up the
//! retries of other messages. Then one message at a time is let through as a probe, and the breaker
//! closes when a probe finds the other side well.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::processing::state::clock;

/// After how many failures in a row a breaker opens; `None` is never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BreakerLimit(pub Option<u32>);

impl FromStr for BreakerLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<BreakerLimit, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(BreakerLimit(None));
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u32>() {
            Ok(limit @ 1..=1_000_000) if digits => Ok(BreakerLimit(Some(limit))),
            _ => Err("must be a whole number from 1 to 1000000, or off".to_owned()),
        }
    }
}

impl fmt::Display for BreakerLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(limit) => limit.fmt(f),
            None => f.write_str("off"),
        }
    }
}

/// How many runs of an effect have failed in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailureRun(u32);

impl FailureRun {
    /// Counts a run that failed for a reason that may pass. Returns whether the breaker opens.
    pub fn failed(&mut self, limit: BreakerLimit) -> bool {
        self.0 = self.0.saturating_add(1);
        limit.0.is_some_and(|limit| self.0 >= limit)
    }

    /// The other side has answered.
    pub fn answered(&mut self) {
        self.0 = 0;
    }
}

/// How long a probe waits after the breaker has opened, after the first in vain, and so on. The
/// last is for all others.
pub const PROBE_PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];

/// What stands before an effect. Nothing, if it is neither paused nor broken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gate {
    /// An operator has paused it.
    pub pause: Option<Pause>,
    /// Its breaker is open.
    pub outage: Option<Outage>,
}

/// An operator has paused an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Who.
    pub by: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Why, if that was said.
    pub reason: Option<String>,
}

/// A breaker is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// Since when.
    pub since: DateTime<Utc>,
    /// The last error.
    pub error: String,
    /// When the next probe may go.
    pub probe_at: Option<DateTime<Utc>>,
}

/// A permission to pass a gate once, which a message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It is the probe of an open breaker.
    Probe,
    /// It has a turn under the effect's rate.
    Turn,
}

impl Pass {
    /// Its name in a header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Pass::Probe => "probe",
            Pass::Turn => "turn",
        }
    }

    /// The pass with this name.
    pub fn from_name(name: &str) -> Option<Pass> {
        [Pass::Probe, Pass::Turn].into_iter().find(|pass| pass.as_str() == name)
    }
}

impl Gate {
    /// Why the effect `name` may not run now, for people; `None` if it may.
    pub fn closed(&self, name: &str, pass: Option<Pass>, now: DateTime<Utc>) -> Option<String> {
        if let Some(Pause { by, since, reason }) = &self.pause {
            let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            return Some(format!("{name} is paused by {by} since {}{reason}", clock(*since, now)));
        }
        let Some(Outage { since, error, .. }) = &self.outage else { return None };
        (pass != Some(Pass::Probe)).then(|| {
            format!("held: the {name} breaker is open since {} ({error})", clock(*since, now))
        })
    }

    /// Its state in one word: `running`, `paused` or `held`.
    pub fn state(&self) -> &'static str {
        match self {
            Gate { pause: Some(_), .. } => "paused",
            Gate { outage: Some(_), .. } => "held",
            Gate { pause: None, outage: None } => "running",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> DateTime<Utc> {
        format!("2026-11-24T{time}Z").parse().unwrap()
    }

    #[test]
    fn a_breaker_opens_after_failures_in_a_row() {
        let limit = BreakerLimit(Some(3));
        let mut run = FailureRun::default();
        assert!(!run.failed(limit) && !run.failed(limit));
        run.answered();
        assert!(!run.failed(limit) && !run.failed(limit));
        assert!(run.failed(limit) && run.failed(limit));
        assert!(!FailureRun(u32::MAX).failed(BreakerLimit(None)));
    }

    #[test]
    fn a_limit_is_a_number_or_off() {
        assert_eq!("20".parse(), Ok(BreakerLimit(Some(20))));
        assert_eq!("OFF".parse(), Ok(BreakerLimit(None)));
        for bad in ["", "0", "-1", "+5", "1.5", "never", "99999999999"] {
            assert!(bad.parse::<BreakerLimit>().unwrap_err().contains("or off"), "{bad:?}");
        }
        assert_eq!(BreakerLimit(None).to_string(), "off");
        assert_eq!(BreakerLimit(Some(20)).to_string(), "20");
    }

    #[test]
    fn a_pause_stops_all_and_a_breaker_all_but_its_probe() {
        let now = at("14:05:00");
        let pause = Pause { by: "ann".into(), since: at("14:02:00"), reason: None };
        let outage = Outage { since: at("14:03:00"), error: "451 no".into(), probe_at: None };
        let broken = Gate { outage: Some(outage), ..Gate::default() };
        let both = Gate { pause: Some(pause), ..broken.clone() };
        let closed = |gate: &Gate, pass| gate.closed("email", pass, now);
        assert_eq!(closed(&Gate::default(), None), None);
        assert_eq!(
            closed(&broken, Some(Pass::Turn)).unwrap(),
            "held: the email breaker is open since 14:03:00 UTC (451 no)"
        );
        assert_eq!(closed(&broken, Some(Pass::Probe)), None);
        let paused = "email is paused by ann since 14:02:00 UTC";
        assert_eq!(closed(&both, Some(Pass::Probe)).unwrap(), paused);
        assert_eq!(
            [both.state(), broken.state(), Gate::default().state()],
            ["paused", "held", "running"]
        );
        assert_eq!([Pass::from_name("turn"), Pass::from_name("x")], [Some(Pass::Turn), None]);
    }
}
