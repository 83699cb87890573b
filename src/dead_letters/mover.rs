//! Moves dead letters from the queue into the database, where they can be found.
//!
//! A letter is acked when its row is committed. So if the mover is killed, the letter is delivered
//! again and finds its row. Each worker has a mover, and they share the queue.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::letter;
use crate::authenticity::{Authenticity, Authority};
use crate::broker::{Broker, BrokerError, DeadLetterQueue, Delivery};
use crate::domain::event::EventTypes;
use crate::ground::shutdown::{Backoff, Shutdown};
use crate::store::letters::moving::{self, NewLetter};
use crate::store::{Store, StoreError};

/// How often the queue is looked at while it is empty.
const EVERY: Duration = Duration::from_secs(1);
/// How many letters are moved in one statement, and about how many bytes of them.
const BATCH: usize = 200;
const BATCH_BYTES: usize = 4 << 20;

/// For how long a letter is left that another mover seems to be moving.
const LEFT_FOR: Duration = Duration::from_secs(10);

/// What was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moves {
    /// How many letters are new in the database.
    pub added: usize,
    /// Whether letters were left because another mover seems to be moving them.
    pub left_some: bool,
}

/// Moves letters.
pub struct Mover {
    broker: Arc<dyn Broker>,
    store: Store,
    types: EventTypes,
    authenticity: Authenticity,
    id: Uuid,
}

/// Why letters could not be moved. They stay in the queue.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The broker failed.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Mover {
    /// A mover from this broker into this database, which knows these types of events.
    pub fn new(broker: Arc<dyn Broker>, store: Store, types: EventTypes) -> Mover {
        let authenticity = Authenticity::new(store.clone());
        Mover { broker, store, types, authenticity, id: Uuid::now_v7() }
    }

    /// Moves letters until told to stop.
    pub async fn run(self, shutdown: Shutdown) {
        let mut backoff = Backoff::default();
        let mut failing = false;
        while !shutdown.stopped() {
            let Err(error) = self.keep_moving(&shutdown, &mut failing).await else { continue };
            // An outage is told once; the consumer tells of it too.
            if !std::mem::replace(&mut failing, true) {
                tracing::warn!(%error, "dead letters can't be moved into the database; retrying");
            }
            shutdown.sleep(backoff.pause()).await;
        }
    }

    async fn keep_moving(&self, shutdown: &Shutdown, failing: &mut bool) -> Result<(), MoveError> {
        let mut queue = self.broker.dead_letters().await?;
        let moving = async {
            loop {
                let moves = self.move_waiting_of(queue.as_mut()).await?;
                *failing = false;
                // What was left is held until the queue is closed.
                let pause = if moves.left_some { LEFT_FOR } else { EVERY };
                if !shutdown.sleep(pause).await || moves.left_some {
                    return Ok(());
                }
            }
        };
        let ended = moving.await;
        queue.close().await;
        ended
    }

    /// Moves what waits in the queue now.
    ///
    /// # Errors
    /// The broker or the database fails; what was moved until then stays moved.
    pub async fn move_waiting(&self) -> Result<Moves, MoveError> {
        match self.move_once().await {
            // The second time it gets past a letter over which the first has lost its connection.
            Err(MoveError::Broker(BrokerError::Unavailable(_))) => self.move_once().await,
            moved => moved,
        }
    }

    async fn move_once(&self) -> Result<Moves, MoveError> {
        let mut queue = self.broker.dead_letters().await?;
        let moved = self.move_waiting_of(queue.as_mut()).await;
        queue.close().await;
        moved
    }

    async fn move_waiting_of(&self, queue: &mut dyn DeadLetterQueue) -> Result<Moves, MoveError> {
        let mut moves = Moves { added: 0, left_some: false };
        while queue.waiting().await? > 0 {
            let batch = take(queue).await?;
            if batch.is_empty() {
                break;
            }
            let authority = self.authenticity.authority().await?;
            let tags: Vec<_> = batch.iter().map(|delivery| delivery.tag).collect();
            let letters: Vec<NewLetter> =
                batch.into_iter().map(|delivery| self.letter(delivery, &authority)).collect();
            let moved =
                moving::insert(&mut *self.store.connection().await?, &letters, self.id).await?;
            moves.added += moved.added;
            for (tag, written) in tags.iter().zip(&moved.written) {
                if *written {
                    queue.remove(*tag).await?;
                }
            }
            if letters.iter().any(|letter| letter.unstamped.is_some()) {
                // The answer comes after the acks have been dealt with.
                queue.waiting().await?;
                moving::gone_from_queue(&mut *self.store.connection().await?, self.id).await?;
            }
            if moved.written.contains(&false) {
                moves.left_some = true;
                break;
            }
        }
        Ok(moves)
    }

    fn letter(&self, delivery: Delivery, authority: &Authority) -> NewLetter {
        let is_ours = authority.accepts(&delivery.message);
        letter::to_be_moved(delivery, is_ours, &self.types)
    }
}

/// The next letters of the queue, as many as are moved together.
async fn take(queue: &mut dyn DeadLetterQueue) -> Result<Vec<Delivery>, BrokerError> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while batch.len() < BATCH && bytes < BATCH_BYTES {
        let Some(delivery) = queue.next().await? else { break };
        bytes += delivery.message.body.len();
        batch.push(delivery);
    }
    Ok(batch)
}
