//! The checks of the database itself.

use std::time::Instant;

use chrono::{TimeDelta, Utc};

use super::wording::{count, quoted, rename, restart};
use super::{LIMIT, Patient, Verdict};
use crate::store::connection::pooling::pools_transactions;
use crate::store::operation::inspect;
use crate::store::{PostgresUrl, StoreError, migrations};

/// Clocks that differ by more than this are worth a look: times of events and ends of tokens are
/// compared with them.
const SKEW: TimeDelta = TimeDelta::seconds(1);
/// Clocks that differ by more than this make ends of tokens wrong by as much.
const GREAT_SKEW: TimeDelta = TimeDelta::seconds(60);

/// A check that can't be made, because the database fails.
fn failed(error: &StoreError) -> Vec<Verdict> {
    vec![Verdict::fail(error.to_string(), "DATABASE_URL", restart("DATABASE_URL"))]
}

/// The verdicts of a check, or that it could not be made.
pub(super) fn told(checked: Result<Vec<Verdict>, StoreError>) -> Vec<Verdict> {
    checked.unwrap_or_else(|error| failed(&error))
}

/// Connects to a database. What is wrong with it is a verdict.
///
/// # Errors
/// The database can't be reached, refuses us, or is behind a pooler that shares sessions.
pub async fn reach(url: &PostgresUrl) -> Result<(), Verdict> {
    const VARIABLE: &str = "DATABASE_URL";
    let another = || rename(VARIABLE, "postgres://USER:PASSWORD@HOST:5432/DATABASE");
    match tokio::time::timeout(LIMIT, pools_transactions(url)).await {
        Ok(Ok(false)) => Ok(()),
        Ok(Ok(true)) => {
            let found = "it leads to a pooler that shares sessions between transactions";
            let mend =
                format!("{}  # PostgreSQL itself, or a pooler with pool_mode=session", another());
            Err(Verdict::fail(found, VARIABLE, mend))
        }
        Ok(Err(StoreError::Refused(why))) => {
            Err(Verdict::fail(format!("{url} refuses: {why}"), VARIABLE, another()))
        }
        Ok(Err(error)) => {
            Err(Verdict::fail(format!("{url}: {error}"), VARIABLE, restart(VARIABLE)))
        }
        Err(_) => {
            let found = format!("{url} gives no answer within {} s", LIMIT.as_secs());
            Err(Verdict::fail(found, VARIABLE, restart(VARIABLE)))
        }
    }
}

pub(super) async fn server(of: Patient) -> Vec<Verdict> {
    let checked = async {
        let mut connection = of.store.connection().await?;
        let asked = Instant::now();
        let server = inspect::server(&mut connection).await?;
        let ms = asked.elapsed().as_secs_f64() * 1e3;
        if server.read_only {
            let found = format!("PostgreSQL {} can only be read", server.version);
            let mend = "psql \"$DATABASE_URL\" -c 'SELECT pg_promote()'  # if it is the standby that takes over; else name the primary";
            return Ok(vec![Verdict::fail(found, "DATABASE_URL", mend)]);
        }
        let lacking = inspect::lacking_rights(&mut connection).await?;
        if lacking.is_empty() {
            let version = &server.version;
            let found =
                format!("PostgreSQL {version}, {ms:.1} ms, takes writes, all rights on the tables");
            return Ok(vec![Verdict::ok(found)]);
        }
        let (role, schema) = (&server.role_name, server.tables_in.as_deref().unwrap_or("public"));
        let grant = format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO \"{role}\""
        );
        let mend = format!(
            "psql {} -c {}",
            quoted("postgres://OWNER:PASSWORD@HOST/DATABASE"),
            quoted(&grant)
        );
        Ok(lacking
            .into_iter()
            .map(|lacks| {
                let found = format!(
                    "the user {role} has no right to {} on {}",
                    lacks.rights, lacks.table_name
                );
                Verdict::fail(found, &lacks.table_name, mend.clone())
            })
            .collect())
    };
    told(checked.await)
}

/// The first few of these names.
fn some(names: &[&str]) -> String {
    let shown: Vec<&str> = names.iter().copied().take(3).collect();
    let more = if names.len() > shown.len() { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

pub(super) async fn schema(of: Patient) -> Vec<Verdict> {
    let checked = async {
        let schema = migrations::read(&mut *of.store.connection().await?).await?;
        let pending: Vec<&str> = schema
            .migrations
            .iter()
            .filter(|migration| !migration.applied)
            .map(|migration| migration.name.as_str())
            .collect();
        let mut verdicts = Vec::new();
        if !pending.is_empty() {
            let names = some(&pending);
            let found = format!(
                "the database lacks {} of this program: {names}",
                count(pending.len(), "migration")
            );
            verdicts.push(Verdict::fail(found, "DATABASE_URL", "taskd migrate"));
        }
        if !schema.newer.is_empty() {
            let newer: Vec<&str> = schema.newer.iter().map(String::as_str).collect();
            let found = format!(
                "the database has {} that this program (version {}) doesn't know: {}",
                count(newer.len(), "migration"),
                env!("CARGO_PKG_VERSION"),
                some(&newer)
            );
            let mend = "taskd --version  # then replace this program by the newer one";
            verdicts.push(Verdict::warn(found, "DATABASE_URL", mend));
        }
        if verdicts.is_empty() {
            verdicts.push(Verdict::ok(format!(
                "all {} are applied",
                count(schema.migrations.len(), "migration")
            )));
        }
        Ok(verdicts)
    };
    told(checked.await)
}

pub(super) async fn clock(of: Patient) -> Vec<Verdict> {
    let checked = async {
        let mut connection = of.store.connection().await?;
        let before = Utc::now();
        let server = inspect::server(&mut connection).await?;
        let took = Utc::now() - before;
        Ok(vec![skew("the database", server.time - (before + took / 2), "DATABASE_URL")])
    };
    told(checked.await)
}

/// What is to be said of a clock that is ahead of this machine's by so much.
pub(super) fn skew(whose: &str, ahead: TimeDelta, about: &str) -> Verdict {
    let by = ahead.abs();
    let seconds = by.as_seconds_f64();
    if by <= SKEW {
        return Verdict::ok(format!("{whose} and this machine agree, to {:.0} ms", seconds * 1e3));
    }
    let direction = if ahead > TimeDelta::zero() { "ahead of" } else { "behind" };
    let found = format!("the clock of {whose} is {seconds:.1} s {direction} that of this machine");
    let mend = "timedatectl set-ntp true  # on the machine that is wrong";
    if by > GREAT_SKEW {
        Verdict::fail(found, about, mend)
    } else {
        Verdict::warn(found, about, mend)
    }
}
