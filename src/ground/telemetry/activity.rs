//! What a process has done in all: the few counters of which a history is kept.

use prometheus::core::Metric;

use super::Metrics;

/// The upper ends of the buckets of the way from commit to effect, in seconds: one millisecond to
/// half an hour, since a retried message takes its time. The last bucket has no end. A history has
/// a count for each, so a bucket may be added at the end alone.
pub const ROAD_BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 1800.0];

/// What was done, by the counters of a process. See [`Metrics`] for what each counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity {
    /// Events that its writers of tasks have written (`taskd_events_written_total`).
    pub created: u64,
    /// Events that the broker has confirmed (`taskd_events_published_total`).
    pub published: u64,
    /// Deliveries whose effects were all done (`taskd_deliveries_total`, `processed`).
    pub processed: u64,
    /// Deliveries that failed and are tried again (`retried`).
    pub retried: u64,
    /// Deliveries that became dead letters (`dead`).
    pub dead: u64,
    /// How many first attempts began within each of [`ROAD_BUCKETS`] after their commit, and beyond
    /// the last (`taskd_commit_to_effect_seconds`). Empty counts as zeros.
    pub road: Vec<u64>,
}

impl Metrics {
    /// What this process has done since its start.
    pub fn activity(&self) -> Activity {
        let deliveries = |outcome| self.deliveries.with_label_values(&[outcome]).get();
        let road = self.commit_to_effect_seconds.metric();
        let road = road.get_histogram();
        let mut below = 0;
        let ends = road.get_bucket().iter().map(|bucket| bucket.cumulative_count());
        let road = ends.chain([road.get_sample_count()]).map(|count| {
            let within = count.saturating_sub(below);
            below = below.max(count);
            within
        });
        Activity {
            created: self.events_written.get(),
            published: self.events_published.get(),
            processed: deliveries("processed"),
            retried: deliveries("retried"),
            dead: deliveries("dead"),
            road: road.collect(),
        }
    }
}

impl Activity {
    /// What was done between an earlier look and this one.
    pub fn since(&self, before: &Activity) -> Activity {
        let earlier = |bucket: usize| before.road.get(bucket).copied().unwrap_or_default();
        let road = self.road.iter().enumerate();
        Activity {
            created: self.created.saturating_sub(before.created),
            published: self.published.saturating_sub(before.published),
            processed: self.processed.saturating_sub(before.processed),
            retried: self.retried.saturating_sub(before.retried),
            dead: self.dead.saturating_sub(before.dead),
            road: road.map(|(bucket, count)| count.saturating_sub(earlier(bucket))).collect(),
        }
    }

    /// Whether nothing was done.
    pub fn is_none(&self) -> bool {
        let Activity { created, published, processed, retried, dead, road } = self;
        [created, published, processed, retried, dead].into_iter().chain(road).all(|n| *n == 0)
    }

    /// Within how many seconds this part (0 to 1) of the first attempts began, estimated as evenly
    /// spread within each bucket; `None` if there was none. Of those beyond the last bucket it is
    /// only known that they took longer than its end.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let total: u64 = self.road.iter().sum();
        if total == 0 {
            return None;
        }
        let wanted = part * total as f64;
        let (mut below, mut start) = (0, 0.0);
        for (count, end) in self.road.iter().zip(ROAD_BUCKETS) {
            if *count > 0 && (below + count) as f64 >= wanted {
                let into = (wanted - below as f64) / *count as f64;
                return Some(start + (end - start) * into.clamp(0.0, 1.0));
            }
            (below, start) = (below + count, end);
        }
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_are_read_and_their_difference_is_what_was_done_since() {
        let metrics = Metrics::new().unwrap();
        assert!(metrics.activity().is_none());
        metrics.events_written.inc_by(3);
        metrics.deliveries.with_label_values(&["processed"]).inc_by(2);
        for seconds in [0.0005, 0.002, 0.002, 3600.0] {
            metrics.commit_to_effect_seconds.observe(seconds);
        }
        let before = metrics.activity();
        assert_eq!((before.created, before.processed, before.dead), (3, 2, 0));
        assert_eq!(before.road.len(), ROAD_BUCKETS.len() + 1);
        assert_eq!((&before.road[..3], before.road.last()), (&[1, 2, 0][..], Some(&1)));
        assert!(metrics.activity().since(&before).is_none());
        metrics.deliveries.with_label_values(&["dead"]).inc();
        metrics.commit_to_effect_seconds.observe(0.0005);
        let since = metrics.activity().since(&before);
        assert_eq!((since.created, since.dead, since.road[0]), (0, 1, 1));
        assert_eq!(before.since(&Activity::default()), before);
    }

    #[test]
    fn a_quantile_is_within_its_bucket() {
        let of = |road: &[u64]| Activity { road: road.to_vec(), ..Activity::default() };
        assert_eq!(of(&[]).quantile(0.5), None);
        assert_eq!(of(&[0, 0]).quantile(0.5), None);
        // Half of ten, all in the bucket from 1 to 2.5 ms: in its middle.
        assert_eq!(of(&[0, 10]).quantile(0.5), Some(0.00175));
        assert_eq!(of(&[10, 10]).quantile(0.5), Some(0.001));
        assert_eq!(of(&[90, 0, 0, 10]).quantile(0.95), Some(0.0075));
        let mut beyond = vec![0; ROAD_BUCKETS.len()];
        beyond.push(1);
        assert_eq!(of(&beyond).quantile(0.5), Some(1800.0));
    }
}
