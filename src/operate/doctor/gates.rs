//! The check of what keeps effects from running.

use chrono::{DateTime, Utc};

use super::database::told;
use super::wording::{count, words};
use super::{Patient, Verdict};
use crate::domain::processing::gate::{Outage, Pause};
use crate::effects;
use crate::store::gates;
use crate::store::gates::parked::{self, Orphans};

/// What is to be said of an open breaker before which so many messages wait.
pub(in crate::operate) fn of_outage(effect: &str, outage: &Outage, waiting: i64) -> Verdict {
    let Outage { since, error, .. } = outage;
    let waiting = count(waiting, "message");
    let found = format!(
        "the {effect} breaker has been open for {} ({error}); {waiting} parked",
        ago(*since)
    );
    let about = match effect {
        "email" => "SMTP_URL",
        "exchange" => "EVENTS_EXCHANGE",
        other => other,
    };
    let mend = format!(
        "taskd effects list  # it closes by itself when the other side is back; to try at once: \
         taskd effects resume {effect}"
    );
    Verdict::fail(found, about, mend)
}

/// The same of a pause, which is an operator's will.
pub(in crate::operate) fn of_pause(effect: &str, pause: &Pause, waiting: i64) -> Verdict {
    let Pause { by, since, reason } = pause;
    let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let waiting = count(waiting, "message");
    let found = format!("{by} has paused {effect} {} ago{reason}; {waiting} parked", ago(*since));
    Verdict::warn(found, effect, format!("taskd effects resume {effect}"))
}

/// The same of messages that wait for an effect which no worker of this version has. Only a worker
/// that has it brings them back.
fn of_orphans(orphans: &Orphans, names: &str) -> Verdict {
    let Orphans { effect, parked, since } = orphans;
    let (waiting, ago) = (count(*parked, "message"), ago(*since));
    let found =
        format!("{waiting} parked for {effect}, which this version doesn't have, for up to {ago}");
    let mend = format!("taskd work  # of a version that has {effect}; this one has {names}");
    Verdict::warn(found, "parked_messages", mend)
}

fn ago(since: DateTime<Utc>) -> String {
    words((Utc::now() - since).as_seconds_f64())
}

pub(super) async fn effects(of: Patient) -> Vec<Verdict> {
    let checked = async {
        let names: Vec<&'static str> = effects::built_in().names().collect();
        let mut connection = of.store.connection().await?;
        let found = gates::look(&mut connection, &names).await?;
        let parked = parked::counts(&mut connection, &names, parked::COUNTED).await?;
        let mut verdicts = Vec::new();
        for gates::EffectGate { effect, gate, .. } in found {
            let waiting = parked.get(&effect).copied().unwrap_or_default();
            let outage = gate.outage.iter().map(|outage| of_outage(&effect, outage, waiting));
            let pause = gate.pause.iter().map(|pause| of_pause(&effect, pause, waiting));
            verdicts.extend(outage.chain(pause));
        }
        let orphans = parked::orphans(&mut connection, &names).await?;
        verdicts.extend(orphans.iter().map(|orphans| of_orphans(orphans, &names.join(", "))));
        if verdicts.is_empty() {
            verdicts.push(Verdict::ok("every effect runs"));
        }
        Ok(verdicts)
    };
    told(checked.await)
}
