//! Effects as text.

use chrono::SecondsFormat;

use crate::gates::EffectView;
use crate::ground::output::{self, OutputError};

/// Prints one line for each effect, and why it doesn't run.
pub(super) fn table(effects: &[EffectView]) -> Result<(), OutputError> {
    output::print(format_args!("{:16}  {:8}  {:>8}  WHY", "EFFECT", "STATE", "PARKED"))?;
    for effect in effects {
        output::print(format_args!(
            "{:16}  {:8}  {:>8}  {}",
            effect.name,
            effect.state,
            effect.parked,
            why(effect)
        ))?;
    }
    Ok(())
}

fn why(effect: &EffectView) -> String {
    let mut reasons = Vec::new();
    if let (Some(by), Some(at)) = (&effect.paused_by, effect.paused_at) {
        let reason = effect.pause_reason.as_deref().map(|why| format!(": {why}"));
        let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
        reasons.push(format!("paused by {by} since {at}{}", reason.unwrap_or_default()));
    }
    if let Some(at) = effect.opened_at {
        let error = effect.error.as_deref().unwrap_or_default();
        let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
        reasons.push(format!("the breaker is open since {at} ({error})"));
    }
    if effect.is_unknown() {
        reasons.push("this version doesn't have it; a worker that has it brings them back".into());
    }
    reasons.join("; ")
}
