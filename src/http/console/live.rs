//! The stream that tells an open page that something has changed. It says only that: the page then
//! asks for itself, so a stream needs no right to see anything.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, Query, ServiceConfig};
use futures_util::Stream;
use serde::Deserialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::addresses::page;
use super::viewer::Viewer;
use crate::ground::shutdown::Shutdown;
use crate::http::middleware::observe::Stopping;
use crate::http::response::{SILENCE, event_stream};
use crate::operate::pulse::{Pulse, Subscription, Topics};

/// How often all streams of a process together make a page fetch itself: 20 times a second, so that
/// what open pages cost has a limit, however many there are. With 200 open, each follows a change
/// within ten seconds.
const TURN: Duration = Duration::from_millis(50);

/// How long a stream lasts. The browser then opens another, which shows whether its reader is still
/// signed in.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// What a stream says at first. The browser opens another a second after one has ended.
const HELLO: &[u8] = b"retry: 1000\n\n";
const CHANGED: &[u8] = b"event: changed\ndata: now\n\n";
const STILL_HERE: &[u8] = b": still here\n\n";

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(page("/live", stream));
}

/// The turns of a process's streams.
#[derive(Default)]
pub(in crate::http) struct Turns(Mutex<Option<Instant>>);

impl Turns {
    /// When the next turn is; nobody else has it.
    fn take(&self, now: Instant) -> Instant {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = last.map_or(now, |last| (last + TURN).max(now));
        *last = Some(turn);
        turn
    }
}

/// Which changes a page is about, by their names with commas between them.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    topics: String,
}

impl Asked {
    fn topics(&self) -> Topics {
        let has = |name: &str| self.topics.split(',').any(|topic| topic == name);
        Topics {
            // Each change of a task is an event.
            events: has("events") || has("tasks"),
            work: has("work"),
            letters: has("letters"),
            gates: has("gates"),
            processes: has("processes"),
            webhooks: has("webhooks"),
        }
    }
}

async fn stream(
    _viewer: Viewer,
    asked: Query<Asked>,
    pulse: Data<Pulse>,
    turns: Data<Turns>,
    stopping: Data<Stopping>,
) -> HttpResponse {
    let listener = Listener {
        wanted: asked.topics(),
        changes: pulse.subscribe(),
        turns,
        shutdown: stopping.0.clone(),
        ends: Instant::now() + LIFETIME,
        has_begun: false,
    };
    event_stream(listener.lines())
}

/// The listening end of an open page.
struct Listener {
    wanted: Topics,
    changes: Subscription,
    turns: Data<Turns>,
    shutdown: Shutdown,
    ends: Instant,
    has_begun: bool,
}

impl Listener {
    fn lines(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        futures_util::stream::unfold(self, |mut listener| async move {
            let line = listener.next().await?;
            Some((Ok(Bytes::from_static(line)), listener))
        })
    }

    /// What is said next; `None` at the end, which is also when the process stops.
    async fn next(&mut self) -> Option<&'static [u8]> {
        if !self.has_begun {
            self.has_begun = true;
            return Some(HELLO);
        }
        let silence = sleep(SILENCE);
        tokio::pin!(silence);
        loop {
            tokio::select! {
                changed = self.changes.changed() => {
                    if !self.wanted.share(changed?) {
                        continue;
                    }
                    tokio::select! {
                        () = sleep_until(self.turns.take(Instant::now())) => return Some(CHANGED),
                        () = self.shutdown.requested() => return None,
                    }
                }
                () = &mut silence => return Some(STILL_HERE),
                () = sleep_until(self.ends) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_take_turns() {
        let (turns, began) = (Turns::default(), Instant::now());
        let taken: Vec<Duration> = (0..4).map(|_| turns.take(began) - began).collect();
        assert_eq!(taken, [0, 1, 2, 3].map(|turn| TURN * turn));
        // Turns that nobody took are over.
        let later = began + Duration::from_secs(1);
        assert_eq!(turns.take(later), later);
    }

    #[test]
    fn a_page_is_about_what_it_names() {
        let asked = Asked { topics: "tasks,work".to_owned() };
        let expected = Topics { events: true, work: true, ..Topics::default() };
        assert_eq!(asked.topics(), expected);
        let letters = Topics { letters: true, ..Topics::default() };
        assert!(!expected.share(letters) && expected.share(Topics::ALL));
    }
}
