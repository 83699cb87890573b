//! The endpoints of two webhooks, one of which keeps the order of versions.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::evidence::{Event, Evidence};
use super::faults::Injected;
use super::reconcile::Violation;
use super::system::System;
use taskd_testing::{Api, Manner, Receiver};

const PLAIN: &str = "/plain";
const ORDERED: &str = "/ordered";
/// Longer, all together, than any one fault of theirs.
const DELAYS: [&str; 20] = ["3s"; 20];

pub struct Receivers(Receiver);

/// What an endpoint has got: by event, when each delivery came that it has answered 2xx.
pub struct Delivered {
    path: &'static str,
    accepted: HashMap<String, Vec<DateTime<Utc>>>,
    /// Every delivery in order: the event, and whether it was answered 2xx.
    tries: Vec<(String, bool)>,
}

impl Delivered {
    pub fn has(&self, event: &str) -> bool {
        self.accepted.contains_key(event)
    }
}

impl Receivers {
    pub async fn start() -> Receivers {
        Receivers(Receiver::start().await)
    }

    /// Makes the webhooks.
    pub async fn subscribe(&self, system: &System) {
        let base = system.apis().swap_remove(0);
        let api = Api::at(base.trim_start_matches("http://")).with_token(&system.token);
        for path in [PLAIN, ORDERED] {
            let body = json!({ "url": self.0.url(path), "ordered": path == ORDERED, "retryDelays": DELAYS });
            api.post("/webhooks", body).await.expect(201);
        }
    }

    /// Behaves like this for so long.
    pub async fn misbehave(&self, what: &str, how_long: Duration) {
        let manner = match what {
            "hangs" => Manner::Hang,
            "500" => Manner::Status(500),
            "drops" => Manner::BreakOff,
            "lies" => Manner::LieAboutLength,
            _ => Manner::Status(200),
        };
        let behave = |manner, refuses| {
            [PLAIN, ORDERED].into_iter().for_each(|path| self.0.set(path, manner));
            self.0.refuse(refuses);
        };
        behave(manner, what == "refuses");
        tokio::time::sleep(how_long).await;
        behave(Manner::Status(200), false);
    }

    pub fn delivered(&self) -> Vec<Delivered> {
        let received = self.0.all();
        let of = |path: &'static str| {
            let mut delivered = Delivered { path, accepted: HashMap::new(), tries: Vec::new() };
            for one in received.iter().filter(|one| one.path == path) {
                let is_accepted =
                    matches!(one.manner, Manner::Status(200) | Manner::LieAboutLength);
                let event = one.id().to_owned();
                if is_accepted {
                    delivered.accepted.entry(event.clone()).or_default().push(one.time);
                }
                delivered.tries.push((event, is_accepted));
            }
            delivered
        };
        vec![of(PLAIN), of(ORDERED)]
    }
}

/// Deliveries that were repeated, by their cause.
pub type Repeated = BTreeMap<&'static str, usize>;

/// What was delivered wrong, and what was repeated with a cause.
pub fn wrong(found: &Evidence, faults: &[Injected]) -> (Vec<Violation>, Repeated) {
    let (mut violations, mut repeated) = (Vec::new(), Repeated::new());
    for delivered in &found.delivered {
        let mut violation = |what: &str, event: &str| {
            let what = format!("webhook {}: {what}", delivered.path);
            violations.push(Violation { what, events: vec![event.to_owned()] });
        };
        for event in found.events.iter().filter(|event| !delivered.has(&event.id)) {
            violation("an event was lost", &event.id);
        }
        let known: HashSet<&str> = found.events.iter().map(|event| event.id.as_str()).collect();
        for (event, times) in &delivered.accepted {
            if !known.contains(event.as_str()) {
                violation("something came that is no event", event);
            }
            for (at, again) in times.iter().zip(times.iter().skip(1)) {
                let cause = faults
                    .iter()
                    .find(|f| f.fault.repeats_delivery([*at, *again], [f.from, f.until]));
                match cause {
                    Some(cause) => *repeated.entry(cause.fault.name).or_default() += 1,
                    None => violation("a delivery was repeated without a cause", event),
                }
            }
        }
        if delivered.path == ORDERED {
            out_of_order(found, delivered).iter().for_each(|event| {
                violation("a version came before the one before was accepted", event);
            });
        }
    }
    (violations, repeated)
}

/// The events that were tried before the version before theirs was accepted.
fn out_of_order(found: &Evidence, delivered: &Delivered) -> Vec<String> {
    let events: HashMap<&str, &Event> =
        found.events.iter().map(|event| (event.id.as_str(), event)).collect();
    let mut accepted: HashMap<i64, i64> = HashMap::new();
    let mut wrong = Vec::new();
    for (id, is_accepted) in &delivered.tries {
        let Some(event) = events.get(id.as_str()) else { continue };
        let before = accepted.get(&event.task).copied().unwrap_or_default();
        if event.version > before + 1 {
            wrong.push(id.clone());
        }
        if *is_accepted {
            accepted.insert(event.task, before.max(event.version));
        }
    }
    wrong
}

/// How much was delivered, for the report.
pub fn summary(found: &Evidence, repeated: &Repeated) -> String {
    let tries: usize = found.delivered.iter().map(|one| one.tries.len()).sum();
    let accepted: usize = found.delivered.iter().map(|one| one.accepted.len()).sum();
    format!(
        "{accepted} events were delivered to {} webhooks in {tries} tries; repeated with a cause: {repeated:?}",
        found.delivered.len()
    )
}
