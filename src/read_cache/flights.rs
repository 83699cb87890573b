//! Loads that several wait for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

/// The loads that are under way in this process.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<String, Arc<OnceCell<Bytes>>>>>);

/// One load for all who miss the same key at the same time. The first to leave clears it away, also
/// where its client has hung up; whoever comes then begins another.
pub(super) struct Flight<'a> {
    flights: &'a Flights,
    key: &'a str,
    pub(super) cell: Arc<OnceCell<Bytes>>,
}

impl Flights {
    pub(super) fn join<'a>(&'a self, key: &'a str) -> Flight<'a> {
        let cell = Arc::clone(self.under_way().entry(key.to_owned()).or_default());
        Flight { flights: self, key, cell }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, Arc<OnceCell<Bytes>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.flights.under_way().remove(self.key);
    }
}
