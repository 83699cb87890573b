//! Probes of every process all the time, as an orchestrator and a load balancer send them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::system::System;

/// How many ask each process at the same moment, and how long they rest between two rounds.
const AT_ONCE: usize = 4;
const REST: Duration = Duration::from_millis(100);
/// Longer than an answer takes, and short enough to go on past a process that is frozen.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Probes {
    stop: Arc<AtomicBool>,
    asking: JoinSet<()>,
}

impl Probes {
    pub fn start(system: &System) -> Probes {
        let (stop, mut asking) = (Arc::<AtomicBool>::default(), JoinSet::new());
        for port in system.listening() {
            let stop = Arc::clone(&stop);
            asking.spawn(async move {
                let client = taskd_testing::http().timeout(PATIENCE).build().unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let urls =
                        ["readyz", "metrics"].map(|p| format!("http://127.0.0.1:{port}/{p}"));
                    let asked = urls.iter().cycle().take(AT_ONCE).map(|url| client.get(url).send());
                    for answer in futures_util::future::join_all(asked).await.into_iter().flatten()
                    {
                        let status = answer.status().as_u16();
                        // 408 is from a process that was frozen before it had read the request.
                        let expected = [200, 408, 503].contains(&status);
                        assert!(expected, "{}: {status}", answer.url());
                    }
                    tokio::time::sleep(REST).await;
                }
            });
        }
        Probes { stop, asking }
    }

    /// Asks no more. What was answered wrong fails the run.
    pub async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.asking.join_next().await {
            ended.unwrap();
        }
    }
}
