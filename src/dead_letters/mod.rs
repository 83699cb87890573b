//! Dead letters: moving them out of the queue, and what operators do with them.
//!
//! RabbitMQ isolates them, PostgreSQL remembers them. While the database is away they stay in the
//! queue.

mod documents;
mod edit;
mod fingerprint;
mod letter;
mod mover;
mod orders;
mod replayer;

pub use documents::{
    DiscardOrder, Discarded, Forecast, LetterGroup, LetterPage, Order, Replay, ReplayAnswer,
    ReplayOrder, Report,
};
pub use edit::{EditOrder, Edited};
pub use letter::{DeadLetter, LetterSubject};
pub use mover::{MoveError, Mover};
pub use replayer::Replayer;

use crate::domain::catalog;
use crate::domain::event::EventTypes;
use crate::store::Store;

/// The dead letters of a database.
#[derive(Clone)]
pub struct DeadLetters {
    store: Store,
    types: EventTypes,
}

impl DeadLetters {
    /// The dead letters of this database.
    pub fn new(store: Store) -> DeadLetters {
        DeadLetters { store, types: catalog::built_in() }
    }

    /// The same, with the subjects of events of these types.
    pub fn of_types(self, types: EventTypes) -> DeadLetters {
        DeadLetters { types, ..self }
    }
}
