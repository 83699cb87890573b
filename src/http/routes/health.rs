//! `/healthz`, `/readyz` and `/metrics`, for monitoring.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, Responder};
use chrono::Utc;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::access::Tokens;
use crate::broker::{Broker, QueueWatch};
use crate::ground::telemetry::Metrics;
use crate::http::describe::{OPERATION, answer, problem};
use crate::http::error::ApiError;
use crate::http::middleware::admission::operators_only;
use crate::http::route::{Class, Need, Route};
use crate::read_cache::ReadCache;
use crate::store::delivery::outbox;
use crate::store::{Pools, READ_ONLY, Service, StoreError};

/// How long a dependency may take. A probe has to be answered within a second, even if one hangs.
const PATIENCE: Duration = Duration::from_millis(700);

/// The dependencies of a process, and its metrics.
pub struct HealthSources {
    /// The database.
    pub pools: Pools,
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// Whether the process is useless without the broker. One that only writes to the outbox is
    /// not.
    pub needs_broker: bool,
    /// The cache.
    pub cache: ReadCache,
    /// The metrics that `/metrics` shows.
    pub metrics: Metrics,
    /// Authenticates tokens for `/metrics`, in a process that has no admission table and shows
    /// metrics to admins and viewers alone.
    pub metrics_for_operators: Option<Tokens>,
    /// The last result of `/readyz`.
    pub last: LastReport,
    /// When the broker was last asked about its queues.
    pub queues: Arc<QueueWatch>,
}

/// The last report of `/readyz`, and when it was made. Probes that come while a check runs share
/// its result, so however many there are, each dependency is asked once at a time.
#[derive(Default)]
pub struct LastReport(Mutex<Option<(Instant, Report)>>);

/// The answer to `/readyz`. Anybody may read it, so it says how each dependency is, and no more.
/// The reasons are in the log, since errors name hosts, users and databases.
#[derive(Clone)]
struct Report {
    of_use: bool,
    document: Value,
    /// The dependencies that are not up, and why.
    troubles: Vec<(&'static str, String)>,
}

impl Report {
    /// Logs which dependencies have become worse or better since the last report.
    fn log(&self, before: Option<&Report>) {
        let had = |name: &str| {
            before.is_some_and(|before| before.troubles.iter().any(|(other, _)| *other == name))
        };
        for (dependency, error) in self.troubles.iter().filter(|(name, _)| !had(name)) {
            tracing::warn!(dependency, error, "/readyz: a dependency is down");
        }
        for (dependency, _) in before.into_iter().flat_map(|before| &before.troubles) {
            if !self.troubles.iter().any(|(name, _)| name == dependency) {
                tracing::info!(dependency, "/readyz: the dependency is up again");
            }
        }
    }
}

/// The routes for monitoring. They use the [`HealthSources`] in the app's data.
pub(in crate::http) static ROUTES: &[Route] = &[
    Route::plain_get("/healthz", Need::Nothing, || web::route().to(healthz), || {
        Some(json!({
            "operationId": "isAlive", "tags": [OPERATION],
            "summary": "Whether the process is alive",
            "responses": { "200": answer("It is", "application/json", status_of(&["ok"])) },
        }))
    })
    .says("Answers as long as the process runs, whatever its dependencies are. For a liveness probe.")
    .counted_as(Class::Unlimited),
    Route::plain_get("/readyz", Need::Nothing, || web::route().to(readyz), || {
        let (well, ill) = (status_of(&["ok", "degraded"]), status_of(&["unavailable"]));
        Some(json!({
            "operationId": "isReady", "tags": [OPERATION],
            "summary": "Whether the process can do its work, and how each dependency is",
            "responses": {
                "200": answer("It can, if more slowly", "application/json", well),
                "503": answer("It can't", "application/json", ill),
            },
        }))
    })
    .says(
        "Asks each dependency. `degraded` still does its work, if more slowly; `unavailable` can't, and should get no \
         requests. For a readiness probe.",
    )
    .counted_as(Class::Unlimited),
    Route::plain_get("/metrics", Need::OperationUnlessMetricsArePublic, || web::route().to(metrics), || {
        Some(json!({
            "operationId": "getMetrics", "tags": [OPERATION],
            "summary": "What the process counts, for Prometheus; for admins and viewers unless METRICS_PUBLIC",
            "responses": {
                "200": answer("The text format", "text/plain", json!({ "type": "string" })),
                "401": problem("A token is needed, or the token is not valid"),
                "403": problem("This is for admins and viewers"),
            },
        }))
    })
    .says("Counters and histograms of this process alone, in Prometheus's text format.")
    .counted_as(Class::Unlimited),
];

/// The schema of a document with a status.
fn status_of(values: &[&str]) -> Value {
    json!({
        "type": "object", "required": ["status"],
        "properties": { "status": { "type": "string", "enum": values }, "dependencies": { "type": "object" } },
    })
}

async fn healthz() -> impl Responder {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(json!({ "status": "ok" }))
}

async fn readyz(monitored: Data<HealthSources>) -> impl Responder {
    let asked = Instant::now();
    let mut last = monitored.last.0.lock().await;
    let report = match &*last {
        Some((found, report)) if *found > asked => report.clone(),
        _ => {
            let report = monitored.report().await;
            report.log(last.as_ref().map(|(_, before)| before));
            *last = Some((Instant::now(), report.clone()));
            report
        }
    };
    drop(last);
    let mut response = match report.of_use {
        true => HttpResponse::Ok(),
        false => HttpResponse::ServiceUnavailable(),
    };
    response.insert_header((CACHE_CONTROL, "no-store")).json(report.document)
}

impl HealthSources {
    /// Asks every dependency. Without the database nothing works: unready. Without the cache
    /// everything works, but slower. Without the broker an instance still takes writes, whose
    /// events wait in the outbox. Both are degraded, and the process is still of use. So is one
    /// whose database is read-only, where its URL permits that.
    async fn report(&self) -> Report {
        let (database, broker, cache) = tokio::join!(
            timeout(PATIENCE, self.pools.shared().ping()),
            timeout(PATIENCE, self.broker.ping()),
            timeout(PATIENCE, self.cache.ping()),
        );
        let silent = || ProbeFailure::told(format!("no answer within {} ms", PATIENCE.as_millis()));
        let database = match database {
            Err(_) => Finding::down(silent()),
            Ok(Err(StoreError::Unavailable(why))) if why == READ_ONLY => {
                Finding::down(ProbeFailure::told(why))
            }
            Ok(Err(error)) => Finding::down(ProbeFailure::logged(error)),
            Ok(Ok(Service::ReadOnly)) => {
                Finding::degraded(ProbeFailure::told(READ_ONLY.to_owned()))
            }
            Ok(Ok(Service::Full)) => Finding::up(),
        };
        let broker = match broker {
            Ok(Ok(())) => Finding::up(),
            Ok(Err(error)) => {
                Finding::without_broker(self.needs_broker, ProbeFailure::logged(error))
            }
            Err(_) => Finding::without_broker(self.needs_broker, silent()),
        };
        let cache = match cache {
            Ok(None) => Finding { status: "off", trouble: None },
            Ok(Some(Ok(()))) => Finding::up(),
            Ok(Some(Err(error))) => Finding::degraded(ProbeFailure::logged(error)),
            Err(_) => Finding::degraded(silent()),
        };
        let found = [("database", database), ("broker", broker), ("cache", cache)];
        let has = |status: &str| found.iter().any(|(_, finding)| finding.status == status);
        let status = match (has("down"), has("degraded")) {
            (true, _) => "unavailable",
            (false, true) => "degraded",
            (false, false) => "ok",
        };
        let dependencies: Map<String, Value> =
            found.iter().map(|(name, finding)| ((*name).to_owned(), finding.document())).collect();
        let document = json!({ "status": status, "dependencies": dependencies });
        let troubles = found.into_iter().filter_map(|(name, f)| Some((name, f.trouble?.why)));
        Report { of_use: status != "unavailable", document, troubles: troubles.collect() }
    }
}

/// The status of a dependency.
struct Finding {
    status: &'static str,
    trouble: Option<ProbeFailure>,
}

/// Why a dependency is not up, and how much of that anybody may know: errors name hosts, users and
/// databases.
struct ProbeFailure {
    why: String,
    told: String,
}

impl ProbeFailure {
    /// A message of ours, which anybody may read.
    fn told(why: String) -> ProbeFailure {
        ProbeFailure { told: why.clone(), why }
    }

    /// An error of a library or a server, for the log alone.
    fn logged(error: impl std::fmt::Display) -> ProbeFailure {
        ProbeFailure { why: error.to_string(), told: "not available; the log says why".to_owned() }
    }
}

impl Finding {
    fn up() -> Finding {
        Finding { status: "up", trouble: None }
    }

    fn down(trouble: ProbeFailure) -> Finding {
        Finding { status: "down", trouble: Some(trouble) }
    }

    fn degraded(trouble: ProbeFailure) -> Finding {
        Finding { status: "degraded", trouble: Some(trouble) }
    }

    fn without_broker(needed: bool, trouble: ProbeFailure) -> Finding {
        if needed { Finding::down(trouble) } else { Finding::degraded(trouble) }
    }

    fn document(&self) -> Value {
        match &self.trouble {
            Some(ProbeFailure { told, .. }) => json!({ "status": self.status, "error": told }),
            None => json!({ "status": self.status }),
        }
    }
}

async fn metrics(
    request: HttpRequest,
    monitored: Data<HealthSources>,
) -> Result<impl Responder, ApiError> {
    if let Some(tokens) = &monitored.metrics_for_operators {
        operators_only(&request, tokens).await?;
    }
    let metrics = &monitored.metrics;
    let pool = monitored.pools.status();
    metrics.pool_size.set(pool.size as i64);
    metrics.pool_limit.set(pool.limit as i64);
    metrics.pool_available.set(pool.available as i64);
    metrics.pool_waiting.set(pool.waiting as i64);
    let backlog =
        async { outbox::backlog(&mut *monitored.pools.shared().connection().await?).await };
    // If the database can't be asked, the last figures remain. A scrape has to be answered within a
    // second too.
    let counting = QueueWatch::refresh(&monitored.queues, &monitored.broker, metrics);
    let (backlog, _) =
        tokio::join!(timeout(PATIENCE / 2, backlog), timeout(PATIENCE / 2, counting));
    if let Ok(Ok(backlog)) = backlog {
        metrics.events_unpublished.set(backlog.unpublished);
        let age = backlog.oldest.map_or(0.0, |oldest| (Utc::now() - oldest).as_seconds_f64());
        metrics.events_unpublished_age.set(age.max(0.0));
    }
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(metrics.render()))
}
