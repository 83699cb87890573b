//! The identity of this installation, and the key that signs its messages.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Binary, Double, Nullable, Text};

use crate::store::sql::{RunQueryDsl, Statement};
use crate::store::{Store, StoreError};

/// The identity of a database, as an SQL expression. A dump copies the installation's id, so the
/// identity also has the server's system identifier and the database's OID in it; a standby has the
/// same as its primary.
pub(super) const IDENTITY: &str = "(SELECT encode(substr(sha256(convert_to(
         concat_ws(':', installation.id, system_identifier, pg_database.oid), 'UTF8')), 1, 8), 'hex')
     FROM installation, pg_control_system(), pg_database WHERE datname = current_database())";

/// How long facts that were read may be used: another database can come to stand at the same
/// address.
const FRESH: Duration = Duration::from_secs(5);

/// What taskd knows of the installation.
pub struct Facts {
    /// Tells the database from every other.
    pub identity: String,
    /// The key that signs messages, 32 bytes.
    pub message_key: Vec<u8>,
    /// Until when messages with no signature or a wrong one are accepted.
    pub unsigned_until: Option<DateTime<Utc>>,
}

/// The installation's facts, cached. Clones share the cache.
#[derive(Clone)]
pub struct Installation(Arc<Inner>);

struct Inner {
    store: Store,
    known: RwLock<Option<(Instant, Arc<Facts>)>>,
    /// Held by the one caller that asks the database.
    asking: tokio::sync::Mutex<()>,
}

impl Installation {
    /// The installation of this database, which is read when first needed.
    pub fn new(store: Store) -> Installation {
        Installation(Arc::new(Inner {
            store,
            known: RwLock::default(),
            asking: Default::default(),
        }))
    }

    /// The facts, no older than five seconds unless the database is away. Hold no connection
    /// meanwhile.
    ///
    /// # Errors
    /// The database fails; if it is only away, facts that were read before are returned instead.
    pub async fn facts(&self) -> Result<Arc<Facts>, StoreError> {
        if let Some((_, facts)) = self.known().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(facts);
        }
        let _asking = self.0.asking.lock().await;
        let known = self.known();
        if let Some((_, facts)) = known.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(Arc::clone(facts));
        }
        let facts = match (self.read().await, known) {
            (Ok(facts), _) => Arc::new(facts),
            (Err(StoreError::Unavailable(_)), Some((_, facts))) => facts,
            (Err(error), _) => return Err(error),
        };
        let known = Some((Instant::now(), Arc::clone(&facts)));
        *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(facts)
    }

    fn known(&self) -> Option<(Instant, Arc<Facts>)> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn read(&self) -> Result<Facts, StoreError> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            identity: String,
            #[diesel(sql_type = Binary)]
            message_key: Vec<u8>,
            /// In seconds since 1970: the client has no representation of PostgreSQL's infinite
            /// times.
            #[diesel(sql_type = Nullable<Double>)]
            unsigned_until: Option<f64>,
        }
        let row: Row = Statement::new(format!(
            "SELECT {IDENTITY} AS identity, message_key,
                 nullif(extract(epoch FROM unsigned_until), '-infinity')::float8 AS unsigned_until
             FROM installation"
        ))
        .get_result(&mut *self.0.store.connection().await?)
        .await?;
        let unsigned_until = row.unsigned_until.map(|seconds| {
            DateTime::from_timestamp_millis((seconds * 1000.0) as i64)
                .unwrap_or(DateTime::<Utc>::MAX_UTC)
        });
        Ok(Facts { identity: row.identity, message_key: row.message_key, unsigned_until })
    }
}
