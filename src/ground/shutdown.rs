//! The stop signal, and how long is left after it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Tells the parts of a process to stop, and when all of them must have.
#[derive(Debug, Clone)]
pub struct Shutdown {
    stop: CancellationToken,
    drain: Arc<Drain>,
}

/// The time for draining, which all parts of a process share.
#[derive(Debug)]
struct Drain {
    timeout: Duration,
    /// When the first part was told to stop.
    since: OnceLock<Instant>,
}

impl Shutdown {
    /// Not stopped yet. From the stop on, parts have `drain_timeout` to finish what is in flight.
    pub fn new(drain_timeout: Duration) -> Shutdown {
        let drain = Drain { timeout: drain_timeout, since: OnceLock::new() };
        Shutdown { stop: CancellationToken::new(), drain: Arc::new(drain) }
    }

    /// A stop of its own for a part that has to outlive others. Its time for draining is what the
    /// others leave.
    pub fn later(&self) -> Shutdown {
        Shutdown { stop: CancellationToken::new(), drain: Arc::clone(&self.drain) }
    }

    /// Stops.
    pub fn stop(&self) {
        self.drain.since.get_or_init(Instant::now);
        self.stop.cancel();
    }

    /// Whether it has been stopped.
    pub fn stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits for the stop.
    pub async fn requested(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until the time for draining is up. It begins with the first stop.
    pub async fn deadline(&self) {
        self.requested().await;
        let since = *self.drain.since.get_or_init(Instant::now);
        match since.checked_add(self.drain.timeout) {
            Some(until) => tokio::time::sleep_until(until.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Runs a last step, such as saying goodbye to a server, for what is left of the time for
    /// draining, but for a moment at least. The end of the process does the same less politely.
    pub async fn last_step(&self, step: impl Future<Output = ()>) {
        self.stop();
        let up = async {
            tokio::join!(self.deadline(), tokio::time::sleep(LAST_STEP));
        };
        tokio::select! {
            () = step => {}
            () = up => {}
        }
    }

    /// How long draining may take.
    pub fn drain_timeout(&self) -> Duration {
        self.drain.timeout
    }

    /// Sleeps, but not past the stop. Returns whether it slept to the end.
    pub async fn sleep(&self, duration: Duration) -> bool {
        tokio::select! {
            () = self.requested() => false,
            () = tokio::time::sleep(duration) => true,
        }
    }
}

/// How long a process's last step may take if draining has used up all its time.
const LAST_STEP: Duration = Duration::from_millis(200);

/// A signal that comes again within this time is the same one: `timeout`, a shell and a supervisor
/// each send it to the process and to its whole group.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// Stops on SIGTERM or SIGINT; a second one ends the process at once.
///
/// # Errors
/// The operating system doesn't allow signals to be handled.
pub fn stop_on_signals(shutdown: Shutdown) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let first = next().await;
        let since = Instant::now();
        shutdown.stop();
        let seconds = shutdown.drain_timeout().as_secs_f32();
        tracing::info!(
            signal = first,
            drain_seconds = seconds,
            "draining; a second signal stops at once"
        );
        loop {
            let again = next().await;
            if is_another(first, again, since.elapsed()) {
                tracing::warn!(signal = again, "stopping at once");
                // What a shell reports for a process that SIGINT ended.
                std::process::exit(130);
            }
        }
    });
    Ok(())
}

/// Whether a signal this long after the first is a second request to stop.
fn is_another(first: &str, again: &str, later: Duration) -> bool {
    again != first || later > SAME_SIGNAL
}

/// Growing pauses between attempts to reach a dependency that is down.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

/// Short enough that a restart of a dependency is hardly noticed.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// Long enough to be no burden on a dependency that is down for hours.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { next: SHORTEST_PAUSE }
    }
}

impl Backoff {
    /// The next pause: twice the last, up to two seconds, less a random part of up to a quarter, so
    /// that many processes don't come back at the same moment.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        pause.mul_f64(1.0 - rand::random::<f64>() / 4.0)
    }

    /// After a success: the next pause is a short one again.
    pub fn reset(&mut self) {
        *self = Backoff::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_sent_twice_within_a_second_is_one() {
        for name in ["SIGTERM", "SIGINT"] {
            assert!(!is_another(name, name, Duration::ZERO));
            assert!(!is_another(name, name, SAME_SIGNAL));
            assert!(is_another(name, name, SAME_SIGNAL + Duration::from_millis(1)));
        }
        assert!(is_another("SIGTERM", "SIGINT", Duration::ZERO));
    }
}
