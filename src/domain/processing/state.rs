//! Where an event stands, and what it waits for.

use chrono::{DateTime, Utc};

use crate::domain::processing::effect::split_key;

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventState {
    /// In the outbox: no broker has confirmed it.
    Unpublished,
    /// In the queue, or with a worker, and nothing has failed.
    Queued,
    /// An attempt has failed, and another will follow.
    Retrying,
    /// It waits, and no attempt is counted.
    Parked,
    /// A dead letter.
    Dead,
    /// Every effect is done, or there was nothing to do.
    Done,
}

impl EventState {
    /// Every state.
    pub const ALL: [EventState; 6] = [
        EventState::Unpublished,
        EventState::Queued,
        EventState::Retrying,
        EventState::Parked,
        EventState::Dead,
        EventState::Done,
    ];

    /// Its name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventState::Unpublished => "unpublished",
            EventState::Queued => "queued",
            EventState::Retrying => "retrying",
            EventState::Parked => "parked",
            EventState::Dead => "dead",
            EventState::Done => "done",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<EventState> {
        EventState::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What is known of an event that may not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Situation<'a> {
    /// Where it stands.
    pub state: EventState,
    /// Since when it has stood there.
    pub since: DateTime<Utc>,
    /// The attempt that came last, from 1, and how many retries there are in all.
    pub attempts: Option<(u32, u32)>,
    /// The effect that failed or has to wait, as `NAME` or `NAME/TARGET`.
    pub effect: Option<&'a str>,
    /// The error, or why it waits.
    pub reason: Option<&'a str>,
    /// When its message comes back by itself.
    pub next_try_at: Option<DateTime<Utc>>,
    /// Its dead letter.
    pub letter: Option<&'a str>,
    /// Who discarded that letter, and when.
    pub discarded: Option<(&'a str, DateTime<Utc>)>,
    /// The worker that is running an effect, and which effect.
    pub running: Option<(&'a str, &'a str)>,
    /// Why the effect that it waits for may not run at this moment.
    pub gate: Option<&'a str>,
    /// That no worker is alive, in words; `None` if one is.
    pub no_worker: Option<&'a str>,
}

/// Why an event is not done, in one sentence; `None` if it is done.
pub fn why_not_done(of: &Situation<'_>, now: DateTime<Utc>) -> Option<String> {
    let time = |at: DateTime<Utc>| clock(at, now);
    let since = time(of.since);
    let error = |verb: &str| match (of.effect, of.reason) {
        (Some(effect), Some(reason)) => format!("{} {verb} ({reason})", named(effect)),
        (None, Some(reason)) => format!("the message {verb} ({reason})"),
        (_, None) => format!("it {verb}"),
    };
    Some(match of.state {
        EventState::Done => return None,
        EventState::Unpublished => format!("waiting for the broker since {since}"),
        EventState::Queued => match of.running {
            Some((worker, effect)) => format!("{worker} is running {}", named(effect)),
            None => {
                let no_worker = of.no_worker.map_or(String::new(), |why| format!("{why}; "));
                format!("{no_worker}waiting in the queue since {since}")
            }
        },
        EventState::Retrying => {
            let retry = match of.attempts {
                Some((attempt, retries)) => format!("retry {attempt} of {retries}"),
                None => "a retry".to_owned(),
            };
            let failed = error("failed");
            match of.next_try_at {
                Some(at) if at > now => format!("{retry} at {}: {failed}", time(at)),
                Some(at) => format!("{retry} has been due since {}: {failed}", time(at)),
                None => format!("{retry} is under way: {failed}"),
            }
        }
        EventState::Parked => {
            if let Some(why) = of.gate {
                return Some(why.to_owned());
            }
            let waits = match (of.effect, of.reason) {
                (Some(effect), Some(reason)) => format!("{} waits ({reason})", named(effect)),
                (_, Some(reason)) => reason.to_owned(),
                (_, None) => "it waits".to_owned(),
            };
            match of.next_try_at {
                Some(at) => format!("parked until {}: {waits}", time(at)),
                None => format!("parked since {since}: {waits}"),
            }
        }
        EventState::Dead => {
            let letter = of.letter.map_or("a dead letter".to_owned(), |id| format!("letter {id}"));
            match of.discarded {
                Some((who, at)) => format!("dead: {letter}, discarded by {who} at {}", time(at)),
                None => format!("dead: {letter}, since {since}: {}", error("failed")),
            }
        }
    })
}

/// An effect as people name it: `webhook (to 7)` for `webhook/7`.
fn named(key: &str) -> String {
    match split_key(key) {
        (name, None) => name.to_owned(),
        (name, Some(target)) => format!("{name} (to {target})"),
    }
}

/// A time of day, with the date if it is not today's.
pub(in crate::domain) fn clock(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let form = if at.date_naive() == now.date_naive() { "%H:%M:%S UTC" } else { "%F %H:%M:%S UTC" };
    at.format(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> DateTime<Utc> {
        format!("2026-11-24T{time}Z").parse().unwrap()
    }

    fn situation(state: EventState) -> Situation<'static> {
        Situation {
            state,
            since: at("14:02:00"),
            attempts: None,
            effect: None,
            reason: None,
            next_try_at: None,
            letter: None,
            discarded: None,
            running: None,
            gate: None,
            no_worker: None,
        }
    }

    fn why(of: &Situation<'_>) -> String {
        why_not_done(of, at("14:05:00")).unwrap()
    }

    #[test]
    fn each_state_has_its_reason() {
        let of = situation;
        assert_eq!(why_not_done(&of(EventState::Done), at("14:05:00")), None);
        assert_eq!(why(&of(EventState::Unpublished)), "waiting for the broker since 14:02:00 UTC");
        assert_eq!(why(&of(EventState::Queued)), "waiting in the queue since 14:02:00 UTC");
        let running = Situation { running: Some(("w1", "webhook/7")), ..of(EventState::Queued) };
        assert_eq!(why(&running), "w1 is running webhook (to 7)");
        let alone = Situation { no_worker: Some("no worker"), ..of(EventState::Queued) };
        assert_eq!(why(&alone), "no worker; waiting in the queue since 14:02:00 UTC");
    }

    #[test]
    fn a_failure_says_what_comes_next() {
        let failed = Situation {
            attempts: Some((3, 5)),
            effect: Some("email"),
            reason: Some("451 later"),
            next_try_at: Some(at("14:07:00")),
            ..situation(EventState::Retrying)
        };
        assert_eq!(why(&failed), "retry 3 of 5 at 14:07:00 UTC: email failed (451 later)");
        let due = Situation { next_try_at: Some(at("14:04:00")), ..failed.clone() };
        assert_eq!(
            why(&due),
            "retry 3 of 5 has been due since 14:04:00 UTC: email failed (451 later)"
        );
        let parked =
            Situation { state: EventState::Parked, reason: Some("leased"), ..failed.clone() };
        assert_eq!(why(&parked), "parked until 14:07:00 UTC: email waits (leased)");
        let held = Situation { gate: Some("email is paused by ann"), ..parked };
        assert_eq!(why(&held), "email is paused by ann");
        let dead = Situation { state: EventState::Dead, letter: Some("L"), ..failed };
        assert_eq!(why(&dead), "dead: letter L, since 14:02:00 UTC: email failed (451 later)");
        let yesterday = "2026-11-23T10:00:00Z".parse().unwrap();
        let discarded = Situation { discarded: Some(("ann", yesterday)), ..dead };
        assert_eq!(why(&discarded), "dead: letter L, discarded by ann at 2026-11-23 10:00:00 UTC");
    }

    #[test]
    fn every_state_is_found_by_its_name() {
        for state in EventState::ALL {
            assert_eq!(EventState::from_name(state.as_str()), Some(state));
        }
        assert_eq!(EventState::from_name("open"), None);
    }
}
