//! Carries out replays: sends the letters of a plan round again, a few first, then the rest at a
//! rate.
//!
//! A letter is marked before it is sent and after the broker has confirmed it. A worker that dies
//! in between leaves it to be sent once more, which repeats no effect: effects are idempotent. A
//! letter is done when its event's effects are, and has failed again when it has become another.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::letter;
use super::mover::MoveError;
use crate::authenticity::Authenticity;
use crate::broker::message::{self, Message};
use crate::broker::{Broker, BrokerError, Destination, Outgoing};
use crate::ground::shutdown::{Backoff, Shutdown};
use crate::store::Store;
use crate::store::letters::sending::{self, LeasedReplay, Standing};

/// How often plans are looked for, and how often one goes on.
const TURN: Duration = Duration::from_millis(200);
/// How long a plan is leased. After that another worker carries it on.
const LEASE: Duration = Duration::from_secs(5);
/// How many letters are sent together.
const BATCH: i64 = 200;
/// How many letters of a plan without a rate may be under way: as many as a few workers take.
const UNDER_WAY: i64 = 1_000;

/// Carries out replays for this worker.
pub struct Replayer {
    broker: Arc<dyn Broker>,
    store: Store,
    authenticity: Authenticity,
    owner: Uuid,
    /// How many letters each plan with a rate may send now.
    allowed: HashMap<i64, f64>,
}

impl Replayer {
    /// A replayer of the letters in this database.
    pub fn new(broker: Arc<dyn Broker>, store: Store) -> Replayer {
        let authenticity = Authenticity::new(store.clone());
        let allowed = HashMap::new();
        Replayer { broker, store, authenticity, owner: Uuid::now_v7(), allowed }
    }

    /// Carries out plans until told to stop.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut backoff = Backoff::default();
        let mut last = Instant::now();
        let mut failing = false;
        while shutdown.sleep(TURN).await {
            let since = std::mem::replace(&mut last, Instant::now()).elapsed();
            match self.turn(since).await {
                Ok(()) => {
                    backoff.reset();
                    failing = false;
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "replays can't go on; retrying");
                    }
                    shutdown.sleep(backoff.pause()).await;
                }
            }
        }
        let released =
            async { sending::release(&mut *self.store.connection().await?, self.owner).await };
        if let Err(error) = released.await {
            tracing::debug!(%error, "the leases of replays end by themselves");
        }
    }

    /// Goes on with each plan, `since` so long after the last turn.
    async fn turn(&mut self, since: Duration) -> Result<(), MoveError> {
        let leased =
            sending::lease(&mut *self.store.connection().await?, self.owner, LEASE).await?;
        self.allowed.retain(|id, _| leased.iter().any(|replay| replay.id == *id));
        for replay in leased {
            let allowed = self.allowed.entry(replay.id).or_default();
            if let Some(rate) = replay.rate {
                *allowed = more(*allowed, rate, since);
            }
            let now = allowed.floor() as i64;
            let sent = self.go_on(&replay, now).await?;
            self.allowed.entry(replay.id).and_modify(|allowed| *allowed -= sent as f64);
        }
        Ok(())
    }

    /// Goes on with a plan that may send so many letters now, if it has a rate. Returns how many
    /// were sent.
    async fn go_on(&self, replay: &LeasedReplay, allowed: i64) -> Result<i64, MoveError> {
        let standing = sending::settle(&mut *self.store.connection().await?, replay).await?;
        match step(replay, standing, allowed) {
            Step::Send { among, most } => {
                let mut sent = 0;
                while sent < most {
                    match self.send(replay, among, (most - sent).min(BATCH)).await? {
                        0 => break,
                        more => sent += more,
                    }
                }
                Ok(sent)
            }
            Step::Wait => Ok(0),
            Step::Set(state, reason) => {
                tracing::info!(replay = replay.id, state, reason, "replay");
                let mut connection = self.store.connection().await?;
                sending::set_state(&mut connection, replay, self.owner, state, reason).await?;
                Ok(0)
            }
        }
    }

    /// Sends the next letters. Returns how many.
    async fn send(
        &self,
        replay: &LeasedReplay,
        among: Option<i64>,
        most: i64,
    ) -> Result<i64, MoveError> {
        let rows = sending::next(&mut *self.store.connection().await?, replay, among, most).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let authority = self.authenticity.authority().await?;
        let copies = rows.iter().map(|row| {
            let letter = letter::message_of(row);
            let mut message = revived(&letter, &row.id);
            if authority.accepts(&letter) {
                authority.sign(&mut message);
            }
            Outgoing { to: Destination::Main, message }
        });
        let answers = self.broker.publish(copies.collect()).await;
        let confirmed: Vec<String> = rows
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.is_ok())
            .map(|(row, _)| row.id.clone())
            .collect();
        sending::sent(&mut *self.store.connection().await?, replay, &confirmed).await?;
        // What was not confirmed is sent again in the next turn.
        match answers.into_iter().find_map(Result::err) {
            Some(error @ BrokerError::Unavailable(_)) => Err(error.into()),
            Some(error) => {
                tracing::warn!(%error, replay = replay.id, "a letter could not be sent; retrying");
                Ok(0)
            }
            None => Ok(rows.len() as i64),
        }
    }
}

/// What a plan does next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Sends at most this many letters, of the first ones only if so many are named.
    Send { among: Option<i64>, most: i64 },
    /// Waits until what was sent is settled.
    Wait,
    /// Takes another state, for this reason.
    Set(&'static str, Option<String>),
}

/// How many letters a plan may send, after so many that it could have sent before and so much time.
/// After an outage it makes up for three turns, not for all that were missed.
fn more(allowed: f64, rate: i32, since: Duration) -> f64 {
    let most = (f64::from(rate) * TURN.as_secs_f64() * 3.0).max(1.0);
    (allowed + f64::from(rate) * since.as_secs_f64()).min(most)
}

/// Decides what a plan does next. With a rate, it may send `allowed` letters now.
fn step(replay: &LeasedReplay, standing: Standing, allowed: i64) -> Step {
    let Standing { waiting, canary_open, sent, failed } = standing;
    match replay.state.as_str() {
        "stopping" if sent == 0 => return Step::Set("stopped", None),
        "stopping" => return Step::Wait,
        _ => {}
    }
    if replay.state == "canary" {
        let canary = i64::from(replay.canary);
        if failed > 0 {
            let problem = format!("{failed} of the canary's {canary} letters failed again");
            return Step::Set("stopping", Some(problem));
        }
        return match canary_open {
            0 => Step::Set("running", None),
            _ => Step::Send { among: Some(canary), most: canary },
        };
    }
    if replay.max_failures.is_some_and(|most| failed > i64::from(most)) {
        return Step::Set("stopping", Some(format!("{failed} letters failed again")));
    }
    if waiting == 0 {
        return if sent == 0 { Step::Set("done", None) } else { Step::Wait };
    }
    let room = (UNDER_WAY - sent).max(0);
    Step::Send { among: None, most: if replay.rate.is_some() { allowed } else { room } }
}

/// The letter as a first attempt. It keeps its history, and that its effects have records.
fn revived(letter: &Message, id: &str) -> Message {
    let mut copy = letter.copy();
    for header in [
        message::ATTEMPT,
        message::DEAD_REASON,
        message::DEAD_ERROR,
        message::DEAD_AT,
        message::DEAD_ID,
        message::SIGNATURE,
    ] {
        copy.headers.remove(header);
    }
    copy.set_text(message::REPLAY_OF, id);
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(state: &str) -> LeasedReplay {
        LeasedReplay {
            id: 1,
            state: state.into(),
            created_by: "ann".into(),
            canary: 5,
            rate: Some(200),
            max_failures: Some(10),
        }
    }

    fn standing(waiting: i64, canary_open: i64, sent: i64, failed: i64) -> Standing {
        Standing { waiting, canary_open, sent, failed }
    }

    #[test]
    fn a_canary_goes_first_and_alone_and_has_to_be_done() {
        let next = |standing| step(&plan("canary"), standing, 40);
        assert_eq!(next(standing(100, 5, 0, 0)), Step::Send { among: Some(5), most: 5 });
        assert_eq!(next(standing(95, 0, 0, 0)), Step::Set("running", None));
        assert!(matches!(next(standing(95, 0, 0, 1)), Step::Set("stopping", Some(_))));
    }

    #[test]
    fn the_rest_goes_at_its_rate_until_too_much_fails() {
        let next = |standing| step(&plan("running"), standing, 40);
        assert_eq!(next(standing(95, 0, 0, 0)), Step::Send { among: None, most: 40 });
        assert_eq!(next(standing(0, 0, 3, 0)), Step::Wait);
        assert_eq!(next(standing(0, 0, 0, 10)), Step::Set("done", None));
        assert!(matches!(next(standing(1, 0, 0, 11)), Step::Set("stopping", Some(_))));
        assert_eq!(more(0.0, 200, TURN), 40.0);
        assert_eq!(more(0.0, 200, Duration::from_secs(60)), 120.0);
        assert_eq!(more(0.2, 1, TURN), 0.4);
        assert_eq!(more(0.9, 1, Duration::from_secs(60)), 1.0);
    }

    #[test]
    fn a_plan_that_stops_waits_for_what_it_has_sent() {
        let next = |standing| step(&plan("stopping"), standing, 40);
        assert_eq!(next(standing(95, 0, 3, 1)), Step::Wait);
        assert_eq!(next(standing(95, 0, 0, 1)), Step::Set("stopped", None));
    }
}
