//! What this process has read from the server lately.
//!
//! An entry that is asked for all the time would come over the network all the time, thousands of bytes to
//! be told that nothing has changed. Here it is kept with its generation, so that a look asks for the
//! generation alone. Whether a copy counts is for the server to say, each time.

use std::time::Duration;

use bytes::Bytes;
use moka::sync::Cache as Map;

use crate::cache::Place;

/// How long a copy is kept: it may outlive its entry by as much.
const KEPT: Duration = Duration::from_secs(1);
/// How many bytes of values and keys are kept at most.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// See the module.
#[derive(Clone)]
pub(super) struct Copies(Map<Place, Copy>);

/// An entry as it was read.
#[derive(Clone)]
pub(super) struct Copy {
    /// The generation it was found under.
    pub(super) generation: Bytes,
    /// Its value.
    pub(super) value: Bytes,
}

impl Default for Copies {
    fn default() -> Copies {
        let size = |place: &Place, copy: &Copy| {
            u32::try_from(place.key.len() + copy.value.len()).unwrap_or(u32::MAX)
        };
        Copies(Map::builder().weigher(size).max_capacity(MOST_BYTES).time_to_live(KEPT).build())
    }
}

impl Copies {
    pub(super) fn get(&self, place: &Place) -> Option<Copy> {
        self.0.get(place)
    }

    pub(super) fn keep(&self, place: &Place, copy: Copy) {
        self.0.insert(place.clone(), copy);
    }
}
