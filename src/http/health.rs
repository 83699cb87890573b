//! `/healthz`, `/readyz`, `/metrics`: for what watches a process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{self, Data};
use actix_web::{HttpResponse, Responder};
use chrono::Utc;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::broker::Broker;
use crate::read_cache::ReadCache;
use crate::store::{Service, Store, outbox};
use crate::telemetry::Metrics;

/// How long a dependency may take. Whoever probes a process gives it a second, whatever is frozen.
const PATIENCE: Duration = Duration::from_millis(700);

/// What a process depends on, and what it counts.
pub struct Monitored {
    /// The database.
    pub store: Store,
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// Whether the process is of use without the broker: one that only writes to the outbox is.
    pub needs_broker: bool,
    /// The cache.
    pub cache: ReadCache,
    /// The counts.
    pub metrics: Metrics,
    /// What was found last.
    pub last: LastReport,
}

/// What `/readyz` found last, and when. Probes that come while one is under way share its answer: any number
/// of them is one question to each dependency at a time.
#[derive(Default)]
pub struct LastReport(Mutex<Option<(Instant, Report)>>);

/// The answer to `/readyz`.
#[derive(Clone)]
struct Report {
    of_use: bool,
    document: Value,
}

/// Adds the three routes; they answer from a [`Monitored`] in the app's data.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(super::only_get("/healthz", web::get().to(healthz)))
        .service(super::only_get("/readyz", web::get().to(readyz)))
        .service(super::only_get("/metrics", web::get().to(metrics)));
}

async fn healthz() -> impl Responder {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(json!({ "status": "ok" }))
}

async fn readyz(monitored: Data<Monitored>) -> impl Responder {
    let asked = Instant::now();
    let mut last = monitored.last.0.lock().await;
    let report = match &*last {
        Some((found, report)) if *found > asked => report.clone(),
        _ => {
            let report = monitored.report().await;
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

impl Monitored {
    /// Asks every dependency. Without the database nothing works: unready. Without the cache everything
    /// works, slower; without the broker an instance still takes writes, whose events wait: degraded, and
    /// still of use. So is one whose database can only be read, where its URL permits that.
    async fn report(&self) -> Report {
        let (database, broker, cache) = tokio::join!(
            timeout(PATIENCE, self.store.ping()),
            timeout(PATIENCE, self.broker.ping()),
            timeout(PATIENCE, self.cache.ping()),
        );
        let silent = || format!("no answer within {} ms", PATIENCE.as_millis());
        let database = match database {
            Err(_) => down(silent()),
            Ok(Err(error)) => down(error.to_string()),
            Ok(Ok(Service::ReadOnly)) => degraded("it can only be read".to_owned()),
            Ok(Ok(Service::Full)) => up(),
        };
        let broker = match broker.map_or_else(|_| Err(silent()), |asked| asked.map_err(text)) {
            Ok(()) => up(),
            Err(error) if self.needs_broker => down(error),
            Err(error) => degraded(error),
        };
        let cache = match cache.map_or_else(|_| Some(Err(silent())), |c| c.map(|c| c.map_err(text)))
        {
            None => json!({ "status": "off" }),
            Some(Ok(())) => up(),
            Some(Err(error)) => degraded(error),
        };
        let has = |state: &str| [&database, &broker, &cache].iter().any(|d| d["status"] == state);
        let status = match (has("down"), has("degraded")) {
            (true, _) => "unavailable",
            (false, true) => "degraded",
            (false, false) => "ok",
        };
        let dependencies = json!({ "database": database, "broker": broker, "cache": cache });
        let document = json!({ "status": status, "dependencies": dependencies });
        Report { of_use: status != "unavailable", document }
    }
}

fn up() -> Value {
    json!({ "status": "up" })
}

fn degraded(error: String) -> Value {
    json!({ "status": "degraded", "error": error })
}

fn down(error: String) -> Value {
    json!({ "status": "down", "error": error })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn metrics(monitored: Data<Monitored>) -> impl Responder {
    let metrics = &monitored.metrics;
    let pool = monitored.store.status();
    metrics.pool_size.set(pool.size as i64);
    metrics.pool_available.set(pool.available as i64);
    metrics.pool_waiting.set(pool.waiting as i64);
    let backlog = async { outbox::backlog(&mut *monitored.store.connection().await?).await };
    // Without the database the last figures stand; a scrape is given a second as well.
    if let Ok(Ok(backlog)) = timeout(PATIENCE, backlog).await {
        metrics.events_unpublished.set(backlog.unpublished);
        let age = backlog.oldest.map_or(0.0, |oldest| (Utc::now() - oldest).as_seconds_f64());
        metrics.events_unpublished_age.set(age.max(0.0));
    }
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(metrics.render())
}
