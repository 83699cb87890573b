//! `/healthz`, `/readyz`, `/metrics`: for what watches a process.

use std::sync::Arc;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{self, Data};
use actix_web::{HttpResponse, Responder};
use chrono::Utc;
use serde_json::{Value, json};

use crate::broker::Broker;
use crate::read_cache::ReadCache;
use crate::store::{Store, outbox};
use crate::telemetry::Metrics;

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

/// Without the database nothing works: unready. Without the cache everything works, slower; without
/// the broker an instance still takes writes, whose events wait: degraded, and still of use.
async fn readyz(monitored: Data<Monitored>) -> impl Responder {
    let (database, broker, cache) =
        tokio::join!(monitored.store.ping(), monitored.broker.ping(), monitored.cache.ping());
    let state = |up: bool, needed: bool| match (up, needed) {
        (true, _) => "up",
        (false, true) => "down",
        (false, false) => "degraded",
    };
    let mut dependencies = json!({
        "database": describe(state(database.is_ok(), true), database.err()),
        "broker": describe(state(broker.is_ok(), monitored.needs_broker), broker.err()),
    });
    dependencies["cache"] = match cache {
        None => json!({ "status": "off" }),
        Some(answer) => describe(state(answer.is_ok(), false), answer.err()),
    };
    let worst = |name: &str| {
        dependencies.as_object().is_some_and(|d| d.values().any(|v| v["status"] == name))
    };
    let (mut response, status) = if worst("down") {
        (HttpResponse::ServiceUnavailable(), "unavailable")
    } else if worst("degraded") {
        (HttpResponse::Ok(), "degraded")
    } else {
        (HttpResponse::Ok(), "ok")
    };
    response
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({ "status": status, "dependencies": dependencies }))
}

fn describe(status: &str, error: Option<impl std::fmt::Display>) -> Value {
    match error {
        Some(error) => json!({ "status": status, "error": error.to_string() }),
        None => json!({ "status": status }),
    }
}

async fn metrics(monitored: Data<Monitored>) -> impl Responder {
    let metrics = &monitored.metrics;
    let pool = monitored.store.status();
    metrics.pool_size.set(pool.size as i64);
    metrics.pool_available.set(pool.available as i64);
    metrics.pool_waiting.set(pool.waiting as i64);
    let backlog = async { outbox::backlog(&mut *monitored.store.connection().await?).await };
    // Without the database the last figures stand.
    if let Ok(backlog) = backlog.await {
        metrics.events_unpublished.set(backlog.unpublished);
        let age = backlog.oldest.map_or(0.0, |oldest| (Utc::now() - oldest).as_seconds_f64());
        metrics.events_unpublished_age.set(age.max(0.0));
    }
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(metrics.render())
}
