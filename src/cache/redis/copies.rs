//! Local copies of entries that were read from the server lately.
//!
//! Without them, an entry that is read all the time would cross the network each time: thousands of
//! bytes to learn that nothing has changed. A copy is kept with its generation, so that a lookup
//! asks the server for the generation alone. A copy is used only if the server still has that
//! generation.

use std::time::Duration;

use bytes::Bytes;
use moka::sync::Cache as Map;

use crate::cache::EntryKey;

/// How long a copy is kept. It may outlive the entry in Redis by as much.
const KEPT: Duration = Duration::from_secs(1);
/// The limit on all copies together, in bytes of keys and values.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// Copies by place. See the module.
#[derive(Clone)]
pub(super) struct Copies(Map<EntryKey, Copy>);

/// An entry as it was read.
#[derive(Clone)]
pub(super) struct Copy {
    /// The generation it was found under.
    pub(super) generation: Bytes,
    /// The cached body, without the generation.
    pub(super) value: Bytes,
}

impl Default for Copies {
    fn default() -> Copies {
        let size = |place: &EntryKey, copy: &Copy| {
            u32::try_from(place.key.len() + copy.value.len()).unwrap_or(u32::MAX)
        };
        Copies(Map::builder().weigher(size).max_capacity(MOST_BYTES).time_to_live(KEPT).build())
    }
}

impl Copies {
    pub(super) fn get(&self, place: &EntryKey) -> Option<Copy> {
        self.0.get(place)
    }

    pub(super) fn keep(&self, place: &EntryKey, copy: Copy) {
        self.0.insert(place.clone(), copy);
    }
}
