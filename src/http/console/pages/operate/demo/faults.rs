//! What is broken on purpose at the moment, and which of it is behind a problem.

use maud::{Markup, html};
use serde::Deserialize;

use crate::http::console::ROOT;
use crate::http::console::parts::badge;

/// The faults, as `GET /demo` has them.
#[derive(Deserialize)]
pub(in crate::http::console::pages) struct Faults {
    worker: String,
    broker: String,
    mail: MailFault,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MailFault {
    failing: i64,
    for_good: bool,
}

impl Faults {
    /// How this fault stands, if it is on.
    pub(super) fn state(&self, fault: &str) -> Option<Markup> {
        let is = |state: &str, word| (state == word).then(|| badge(word));
        let fails = |for_good| {
            let percent = self.mail.failing;
            let fails = percent > 0 && self.mail.for_good == for_good;
            fails.then(|| html! { span.badge.bad { (percent) " % fail" } })
        };
        match fault {
            "stop" => is(&self.worker, "stopped"),
            "freeze" => is(&self.worker, "frozen"),
            "hold" => is(&self.broker, "held"),
            "mail" => fails(false),
            "mailForGood" => fails(true),
            _ => None,
        }
    }

    /// The way to the fault that makes this problem of the overview, if one that does is on.
    pub(in crate::http::console::pages) fn behind(&self, kind: &str, what: &str) -> Option<Markup> {
        let makers: &[&str] = match kind {
            "broker_away" | "outbox_waits" => &["hold"],
            "no_worker" | "no_consumer" => &["stop", "hold"],
            "worker_without_progress" => &["freeze", "stop", "hold"],
            "breaker_open" | "most_die" => &["mail", "mailForGood"],
            "dead_letters" if what.contains(" of email: ") => &["mailForGood", "mail"],
            _ => &[],
        };
        let fault = makers.iter().find(|fault| self.state(fault).is_some())?;
        Some(html! {
            "Broken on purpose: end "
            a href={ (ROOT) "/demo#fault-" (fault) } { (title(fault)) }
            " on the page Break it."
        })
    }
}

/// What a fault is called.
pub(super) fn title(fault: &str) -> &str {
    match fault {
        "stop" => "Stop the workers",
        "freeze" => "Freeze a worker",
        "hold" => "Hold the broker",
        "mail" => "Mail fails, for now",
        "mailForGood" => "Mail is refused, for good",
        "duplicates" => "Publish copies",
        "garbage" => "Publish garbage",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_blamed_for_what_it_makes_while_it_is_on() {
        let faults = |broker: &str, failing| Faults {
            worker: "running".to_owned(),
            broker: broker.to_owned(),
            mail: MailFault { failing, for_good: true },
        };
        let letters = "3 dead letters of email: 550";
        let blamed = |faults: &Faults, kind, what| {
            faults.behind(kind, what).is_some_and(|way| way.into_string().contains("/demo#fault-"))
        };
        let held = faults("held", 0);
        assert!(blamed(&held, "broker_away", "") && blamed(&held, "no_consumer", ""));
        assert!(!blamed(&held, "dead_letters", letters) && !blamed(&held, "paused", ""));
        let refusing = faults("running", 50);
        assert!(
            blamed(&refusing, "dead_letters", letters) && !blamed(&refusing, "broker_away", "")
        );
        assert!(!blamed(&refusing, "dead_letters", "3 dead letters of not_ours: garbage"));
        assert!(!blamed(&faults("running", 0), "dead_letters", letters));
    }
}
