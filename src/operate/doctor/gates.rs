//! The check of what keeps effects from running.

use chrono::{DateTime, Utc};

use super::database::told;
use super::wording::{count, words};
use super::{Patient, Verdict};
use crate::domain::processing::gate::{Outage, Pause};
use crate::effects;
use crate::store::gates::{self, parked};

pub(super) async fn effects(of: Patient) -> Vec<Verdict> {
    let checked = async {
        let names: Vec<&'static str> = effects::built_in().names().collect();
        let mut connection = of.store.connection().await?;
        let found = gates::look(&mut connection, &names).await?;
        let parked = parked::counts(&mut connection, &names).await?;
        let mut verdicts = Vec::new();
        for gates::EffectGate { effect, gate, .. } in found {
            let waiting = parked.get(&effect).copied().unwrap_or_default();
            let waiting = count(waiting, "message");
            let ago = |since: DateTime<Utc>| words((Utc::now() - since).as_seconds_f64());
            if let Some(Outage { since, error, .. }) = gate.outage {
                let found = format!(
                    "the {effect} breaker has been open for {} ({error}); {waiting} parked",
                    ago(since)
                );
                let about = if effect == "email" { "SMTP_URL" } else { &effect };
                let mend = format!(
                    "taskd effects list  # it closes by itself when the other side is back; to try \
                     at once: taskd effects resume {effect}"
                );
                verdicts.push(Verdict::fail(found, about, mend));
            }
            if let Some(Pause { by, since, reason }) = gate.pause {
                let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                let found = format!(
                    "{by} has paused {effect} {} ago{reason}; {waiting} parked",
                    ago(since)
                );
                verdicts.push(Verdict::warn(
                    found,
                    &effect,
                    format!("taskd effects resume {effect}"),
                ));
            }
        }
        if verdicts.is_empty() {
            verdicts.push(Verdict::ok("every effect runs"));
        }
        Ok(verdicts)
    };
    told(checked.await)
}
