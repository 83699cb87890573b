//! What operators ask about gates, and order.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::processing::gate::{Gate, Outage, Pause};
use crate::domain::text::without_nul;
use crate::effects;
use crate::operate::{Operator, OrderError};
use crate::store::gates::{self as store, parked};
use crate::store::{Connection, transaction};

/// Something about effects that an operator wants.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "order")]
pub enum EffectOrder {
    /// To see them all.
    List,
    /// To keep one from running.
    Pause {
        /// Its name.
        effect: String,
        /// Why, for others to read.
        reason: Option<String>,
        /// Whether only to say what would change.
        dry_run: bool,
    },
    /// To let one run again: ends its pause and closes its breaker.
    Resume {
        /// Its name.
        effect: String,
        /// Whether only to say what would change.
        dry_run: bool,
    },
}

/// An effect as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectView {
    /// Its name.
    pub name: String,
    /// `running`, `paused`, `held` while its breaker is open, or `unknown` if messages wait for it
    /// and this version does not have it.
    pub state: String,
    /// Who has paused it.
    pub paused_by: Option<String>,
    /// Since when it has been paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// Why.
    pub pause_reason: Option<String>,
    /// `closed` or `open`.
    pub breaker: String,
    /// Since when its breaker has been open.
    pub opened_at: Option<DateTime<Utc>>,
    /// The last error while it was.
    pub error: Option<String>,
    /// When the next message is let through.
    pub next_probe_at: Option<DateTime<Utc>>,
    /// How many messages wait for it; counted up to 100,000.
    pub parked: i64,
}

/// The state of an effect which this version does not have.
const UNKNOWN: &str = "unknown";

impl EffectView {
    /// Whether messages wait for it and this version does not have it, so that it takes no orders.
    pub fn is_unknown(&self) -> bool {
        self.state == UNKNOWN
    }

    fn of(name: String, gate: Gate, parked: i64) -> EffectView {
        let state = gate.state().to_owned();
        let breaker = if gate.outage.is_some() { "open" } else { "closed" };
        let (paused_by, paused_at, pause_reason) = match gate.pause {
            Some(Pause { by, since, reason }) => (Some(by), Some(since), reason),
            None => (None, None, None),
        };
        let (opened_at, error, next_probe_at) = match gate.outage {
            Some(Outage { since, error, probe_at }) => (Some(since), Some(error), probe_at),
            None => (None, None, None),
        };
        EffectView {
            name,
            state,
            paused_by,
            paused_at,
            pause_reason,
            breaker: breaker.to_owned(),
            opened_at,
            error,
            next_probe_at,
            parked,
        }
    }
}

/// How long a reason may be, in characters.
const LONGEST_REASON: usize = 500;

impl EffectOrder {
    /// Carries the order out for an operator. Returns the effects that it is about, as they are
    /// then; a dry run changes nothing.
    ///
    /// # Errors
    /// There is no such effect, the reason is too long, or the database fails.
    pub async fn obey(
        &self,
        connection: &mut Connection,
        by: &Operator,
    ) -> Result<Vec<EffectView>, OrderError> {
        let names: Vec<&'static str> = effects::built_in().names().collect();
        let (effect, reason, dry_run) = match self {
            EffectOrder::List => {
                let mut found = views(connection, &names).await?;
                found.extend(unknown(connection, &names).await?);
                return Ok(found);
            }
            EffectOrder::Pause { effect, reason, dry_run } => (effect, reason.as_deref(), *dry_run),
            EffectOrder::Resume { effect, dry_run } => (effect, None, *dry_run),
        };
        let Some(name) = names.iter().copied().find(|name| name == effect) else {
            let names = names.join(", ");
            return Err(OrderError::Missing(format!("effect {effect:?}; there are: {names}")));
        };
        if reason.is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
            let problem = format!("has at most {LONGEST_REASON} characters");
            return Err(OrderError::Invalid { field: "reason", problem });
        }
        let reason = reason.map(without_nul);
        let pauses = matches!(self, EffectOrder::Pause { .. });
        let changed = transaction(connection, async |connection| {
            let changed = match (dry_run, pauses) {
                (true, _) => false,
                (false, true) => {
                    store::pause(connection, name, &by.name, reason.as_deref()).await?
                }
                (false, false) => {
                    parked::hurry(connection, name).await?;
                    store::resume(connection, name).await?
                }
            };
            let details = json!({ "reason": reason, "changed": changed });
            let action = if pauses { "pause" } else { "resume" };
            by.audit(connection, action, Some(format!("effect {name}")), details, dry_run).await?;
            Ok(changed)
        });
        if changed.await? {
            tracing::info!(effect = name, paused = pauses, by = by.name, "an operator's order");
        }
        Ok(views(connection, &[name]).await?)
    }
}

async fn views(
    connection: &mut Connection,
    names: &[&'static str],
) -> Result<Vec<EffectView>, crate::store::StoreError> {
    let gates = store::look(connection, names).await?;
    let counts = parked::counts(connection, names, parked::COUNTED).await?;
    let view = |found: store::EffectGate| {
        let parked = counts.get(&found.effect).copied().unwrap_or_default();
        EffectView::of(found.effect, found.gate, parked)
    };
    Ok(gates.into_iter().map(view).collect())
}

/// The effects that only parked messages know of.
async fn unknown(
    connection: &mut Connection,
    names: &[&'static str],
) -> Result<impl Iterator<Item = EffectView>, crate::store::StoreError> {
    let orphans = parked::orphans(connection, names).await?;
    Ok(orphans.into_iter().map(|orphans| EffectView {
        state: UNKNOWN.to_owned(),
        ..EffectView::of(orphans.effect, Gate::default(), orphans.parked)
    }))
}
