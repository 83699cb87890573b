//! The report of the doctor, and how a process that serves examines itself.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use super::canary::Flight;
use super::{
    DatabaseReport, Dependencies, OUTSIDE, Patient, State, Variable, Verdict, examine,
    examine_database,
};

/// All that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether everything works; warnings don't count.
    pub ok: bool,
    /// A verdict or more for each check.
    pub checks: Vec<Verdict>,
    /// What became of the canary, if one was sent.
    pub canary: Option<Flight>,
    /// The variables, each with its source.
    pub variables: Vec<Variable>,
}

impl Report {
    /// The report of what was found of the configuration, of the database and of the other
    /// dependencies.
    pub fn of(
        configuration: Vec<Verdict>,
        database: DatabaseReport,
        outside: Vec<Verdict>,
        variables: Vec<Variable>,
    ) -> Report {
        let DatabaseReport { checks: of_database, canary } = database;
        // The canary comes last: it goes through all that the others are about.
        let (canaries, of_database): (Vec<_>, Vec<_>) =
            of_database.into_iter().partition(|verdict| verdict.name == "canary");
        let mut checks = configuration;
        checks.extend(of_database.into_iter().chain(outside).chain(canaries));
        let ok = checks.iter().all(|verdict| verdict.state != State::Fail);
        Report { ok, checks, canary, variables }
    }
}

/// What a process knows of its own configuration, since its start.
pub struct Configuration {
    /// Its role: `serve` or `up`.
    pub role: &'static str,
    /// The variables that it reads.
    pub own: Vec<Variable>,
    /// The variables that any role reads.
    pub all: Vec<Variable>,
    /// What is to be said of all that.
    pub verdicts: Vec<Verdict>,
    /// What it depends on besides the database.
    pub dependencies: Dependencies,
}

/// Examines the process that it is in. However many ask at a time, there is one examination, whose
/// report all of them get: each opens connections to every dependency.
pub struct Examination {
    configuration: Configuration,
    running: Mutex<Option<watch::Receiver<Option<Arc<Report>>>>>,
}

impl Examination {
    /// Of a process with this configuration.
    pub fn new(configuration: Configuration) -> Examination {
        Examination { configuration, running: Mutex::default() }
    }

    /// What the process knows of its configuration.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Makes every check but the canary, or waits for those that are being made. Each has a time
    /// limit, and they are made side by side. `None` if they were broken off.
    pub async fn run(self: &Arc<Self>, patient: Patient) -> Option<Arc<Report>> {
        let mut report = self.running(patient);
        let made = report.wait_for(Option::is_some).await.ok()?;
        made.clone()
    }

    /// The report that is being made, in a task of its own: whoever asked first may hang up.
    fn running(self: &Arc<Self>, patient: Patient) -> watch::Receiver<Option<Arc<Report>>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(report) = running.as_ref().filter(|report| report.has_changed().is_ok()) {
            return report.clone();
        }
        let (made, report) = watch::channel(None);
        *running = Some(report.clone());
        let of = Arc::clone(self);
        tokio::spawn(async move {
            let found = of.examine(&patient).await;
            // With the sender the examination ends: who asks from then on begins the next.
            let _ = made.send(Some(Arc::new(found)));
        });
        report
    }

    async fn examine(&self, patient: &Patient) -> Report {
        let Configuration { all, verdicts, dependencies, .. } = &self.configuration;
        let (database, outside) =
            tokio::join!(examine_database(patient, None), examine(OUTSIDE, dependencies));
        Report::of(verdicts.clone(), database, outside, all.clone())
    }
}
