//! The migrations of the schema, compiled in.

use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::store::connection::connect::{PATIENCE, connect};
use crate::store::connection::sqlstate::ReadOnlySince;
use crate::store::sql::{RunQueryDsl, Statement};
use crate::store::{PostgresUrl, StoreError};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The version of the first migration.
const FIRST: &str = "20261124000001";

/// The advisory lock of the process that migrates: "taskdmig" in ASCII.
const LOCK: i64 = 0x7461_736b_646d_6967;

/// A migration and whether the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its directory's name.
    pub name: String,
    /// Whether it has been applied.
    pub applied: bool,
}

/// Every migration, oldest first, once no other process migrates. This only needs the right to read
/// the table of applied migrations, and doesn't create that table.
///
/// # Errors
/// The database can't be reached, refuses, or fails.
pub async fn status(url: &PostgresUrl) -> Result<Vec<Status>, StoreError> {
    let mut connection = connect_and_lock(url, "pg_advisory_lock_shared").await?;
    Ok(read(&mut connection).await?.migrations)
}

/// Which migrations a database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Those of this program, oldest first.
    pub migrations: Vec<Status>,
    /// The versions of those that it has and this program doesn't know.
    pub newer: Vec<String>,
}

/// Reads which migrations a database has at the moment, whether or not somebody is migrating.
///
/// # Errors
/// The database fails.
pub async fn read(connection: &mut AsyncPgConnection) -> Result<Schema, StoreError> {
    #[derive(QueryableByName)]
    struct Exists {
        #[diesel(sql_type = Bool)]
        exists: bool,
    }
    #[derive(QueryableByName)]
    struct Applied {
        #[diesel(sql_type = Text)]
        version: String,
    }
    let known = "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS exists";
    let Exists { exists } = Statement::new(known).get_result(connection).await?;
    let applied: Vec<Applied> = match exists {
        true => {
            let versions = "SELECT version FROM __diesel_schema_migrations";
            Statement::new(versions).load(connection).await?
        }
        false => Vec::new(),
    };
    let migrations: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations().map_err(fault)?;
    let mut all: Vec<Status> = migrations
        .iter()
        .map(|migration| {
            let version = migration.name().version().to_string();
            let applied = applied.iter().any(|row| row.version == version);
            Status { name: migration.name().to_string(), applied }
        })
        .collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    let is_known = |version: &str| {
        migrations.iter().any(|known| known.name().version().to_string() == version)
    };
    let newer = applied.iter().map(|row| row.version.clone()).filter(|version| !is_known(version));
    Ok(Schema { newer: newer.collect(), migrations: all })
}

/// A connection that holds the lock. It has no time limit, since the process with the lock may
/// migrate for long.
async fn connect_and_lock(url: &PostgresUrl, lock: &str) -> Result<AsyncPgConnection, StoreError> {
    let mut connection = connect(url, PATIENCE, "0", &ReadOnlySince::default()).await?;
    let locking = Statement::new(format!("SELECT {lock}($1)")).bind::<BigInt, _>(LOCK);
    diesel_async::RunQueryDsl::execute(locking, &mut connection).await?;
    Ok(connection)
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
        let connection = connect_and_lock(url, "pg_advisory_lock").await?;
        Ok(Migrator { harness: AsyncMigrationHarness::new(connection) })
    }

    /// Applies pending migrations and returns their names. Each migration is a transaction.
    ///
    /// # Errors
    /// The database fails; earlier migrations stay applied.
    pub fn up(&mut self) -> Result<Vec<String>, StoreError> {
        self.up_telling(|_, _, _| {})
    }

    /// The same, and says before each migration how many of how many are applied, and its name.
    ///
    /// # Errors
    /// The database fails; earlier migrations stay applied.
    pub fn up_telling(
        &mut self,
        mut tell: impl FnMut(i64, i64, &str),
    ) -> Result<Vec<String>, StoreError> {
        let pending = self.harness.pending_migrations(MIGRATIONS).map_err(fault)?;
        let mut applied = Vec::with_capacity(pending.len());
        for migration in &pending {
            tell(applied.len() as i64, pending.len() as i64, &migration.name().to_string());
            let version = self.harness.run_migration(migration).map_err(fault)?;
            applied.push(version.to_string());
        }
        Ok(applied)
    }

    /// Reverts the newest migration and returns its version. For tests; operators restore a backup.
    ///
    /// # Errors
    /// The database fails, or there is no migration to revert.
    pub fn down(&mut self) -> Result<String, StoreError> {
        let reverted = self.harness.revert_last_migration(MIGRATIONS).map_err(fault)?;
        Ok(reverted.to_string())
    }
}

/// Whether these migrations, as [`Migrator::up`] returns them, created the schema.
pub fn made_schema(applied: &[String]) -> bool {
    let digits = |text: &String| text.chars().filter(char::is_ascii_digit).collect::<String>();
    applied.iter().any(|name| digits(name).starts_with(FIRST))
}

/// Applies pending migrations, as [`Migrator::up`] does, and returns their names. Where none is
/// pending, this needs no right to create: the library would create its table before it looks.
///
/// # Errors
/// The database can't be reached, refuses, or fails.
pub async fn bring_up_to_date(url: &PostgresUrl) -> Result<Vec<String>, StoreError> {
    bring_up_to_date_telling(url, |_, _, _| {}).await
}

/// The same, and tells of each migration as [`Migrator::up_telling`] does.
///
/// # Errors
/// The database can't be reached, refuses, or fails.
pub async fn bring_up_to_date_telling(
    url: &PostgresUrl,
    tell: impl FnMut(i64, i64, &str),
) -> Result<Vec<String>, StoreError> {
    if status(url).await?.iter().all(|migration| migration.applied) {
        return Ok(Vec::new());
    }
    Migrator::connect(url).await?.up_telling(tell)
}

fn fault(error: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    StoreError::Fault(error.to_string())
}
