//! Single flight: one load for all readers that miss the same key at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

/// The loads in flight in this process.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<String, Arc<OnceCell<Bytes>>>>>);

/// A reader's share in a load. The first reader to finish, or to be dropped because its client hung
/// up, removes the load from the map; a reader that comes later starts a new one.
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
