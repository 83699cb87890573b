//! Has the database examined, where it is.

use super::super::configuration::Settings;
use super::super::reach::StoppedUp;
use super::super::source;
use super::args::Args;
use crate::http::routes::operator::socket;
use crate::operate::doctor::{
    self, DATABASE, DatabaseReport, Patient, Setting, Verdict, examine_database, without_database,
};
use crate::store::{PostgresUrl, Store};

/// How many connections the checks share.
const CONNECTIONS: usize = 4;

/// Examines the database that is given, or else that of the `taskd up` of the data directory.
pub(super) async fn database(args: &Args, settings: &Settings) -> DatabaseReport {
    match &settings.database {
        Setting::Set(url) => given(args, url).await,
        Setting::Wrong => {
            let unknown = || Verdict::unknown("DATABASE_URL is wrong");
            let checks = DATABASE.iter().map(|check| unknown().of(check.name)).collect();
            DatabaseReport { checks, canary: None }
        }
        Setting::Absent => match of_up(args).await {
            Ok(report) => report,
            Err(error) => {
                let mend = "taskd up  # or: export DATABASE_URL='postgres://USER:PASSWORD@HOST:5432/DATABASE'";
                without(&Verdict::fail(error.to_string(), "DATABASE_URL", mend))
            }
        },
    }
}

fn without(told: &Verdict) -> DatabaseReport {
    DatabaseReport { checks: without_database(told), canary: None }
}

async fn given(args: &Args, url: &PostgresUrl) -> DatabaseReport {
    if let Err(told) = doctor::reach(url).await {
        return without(&told);
    }
    match Store::new(url, CONNECTIONS) {
        Ok(store) => {
            let patient = Patient { store, embedded: false };
            examine_database(&patient, args.canary.then_some(args.canary_timeout)).await
        }
        Err(error) => without(&Verdict::fail(error.to_string(), "DATABASE_URL", "taskd doctor")),
    }
}

async fn of_up(args: &Args) -> anyhow::Result<DatabaseReport> {
    let canary = args.canary.then_some(args.canary_timeout);
    let milliseconds = canary.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    if let Some(report) = source::ask_up(&args.data, socket::DOCTOR, &milliseconds).await? {
        return Ok(report);
    }
    match StoppedUp::open(&args.data).await? {
        Some(stopped) => {
            let patient = Patient { store: stopped.store.clone(), embedded: true };
            Ok(examine_database(&patient, canary).await)
        }
        None => anyhow::bail!(
            "is not set, and no `taskd up` has run on {}",
            args.data.data_dir.display()
        ),
    }
}
