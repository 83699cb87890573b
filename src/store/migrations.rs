//! The schema's history, compiled in.

use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::store::sql::Statement;
use crate::store::{PostgresUrl, StoreError, pool};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Names the advisory lock of whoever migrates: "taskdmig" in ASCII.
const LOCK: i64 = 0x7461_736b_646d_6967;

/// A migration and whether the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its directory's name.
    pub name: String,
    /// Whether it has been applied.
    pub applied: bool,
}

/// A connection for migrations alone, which holds the lock until it is dropped.
pub struct Migrator {
    harness: AsyncMigrationHarness<AsyncPgConnection>,
}

impl Migrator {
    /// Connects, and waits until no other process migrates. Needs the multi-thread runtime.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database can't be reached.
    pub async fn connect(url: &PostgresUrl) -> Result<Migrator, StoreError> {
        let mut connection =
            pool::connect(url, "0").await.map_err(|e| StoreError::Unavailable(e.to_string()))?;
        Statement::new("SELECT pg_advisory_lock($1)")
            .bind::<diesel::sql_types::BigInt, _>(LOCK)
            .execute(&mut connection)
            .await?;
        Ok(Migrator { harness: AsyncMigrationHarness::new(connection) })
    }

    /// Every migration, oldest first.
    ///
    /// # Errors
    /// The database fails.
    pub fn status(&mut self) -> Result<Vec<Status>, StoreError> {
        let pending: Vec<String> = self
            .harness
            .pending_migrations(MIGRATIONS)
            .map_err(fault)?
            .iter()
            .map(|m| m.name().to_string())
            .collect();
        let all: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations().map_err(fault)?;
        let mut all: Vec<String> = all.iter().map(|m| m.name().to_string()).collect();
        all.sort();
        Ok(all.into_iter().map(|name| Status { applied: !pending.contains(&name), name }).collect())
    }

    /// Applies what is pending and returns the names. Each migration is a transaction.
    ///
    /// # Errors
    /// The database fails; the migrations before stay applied.
    pub fn up(&mut self) -> Result<Vec<String>, StoreError> {
        let applied = self.harness.run_pending_migrations(MIGRATIONS).map_err(fault)?;
        Ok(applied.iter().map(ToString::to_string).collect())
    }

    /// Takes the newest migration back and returns its version. For tests; operators restore a backup.
    ///
    /// # Errors
    /// The database fails, or there is none.
    pub fn down(&mut self) -> Result<String, StoreError> {
        let reverted = self.harness.revert_last_migration(MIGRATIONS).map_err(fault)?;
        Ok(reverted.to_string())
    }
}

fn fault(error: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    StoreError::Fault(error.to_string())
}
