//! The HTTP API.

mod answer;
mod categories;
pub mod cors;
mod docs;
pub mod dto;
pub mod error;
mod fields;
mod headers;
pub mod health;
pub mod limits;
mod observe;
pub mod openapi;
pub mod operator;
mod paging;
mod tasks;
mod users;

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::{HttpServiceFactory, Server};
use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, HttpServer, Route};
use paperclip::actix::{OpenApiExt, web};
use tokio::sync::Semaphore;

use crate::broker::Broker;
use crate::cache::Scope;
use crate::http::error::ApiError;
use crate::http::headers::secured;
use crate::http::health::Monitored;
use crate::http::limits::{Limits, with_body, within_limits};
use crate::http::observe::{RequestId, observe};
use crate::publisher::Nudge;
use crate::read_cache::ReadCache;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::telemetry::Metrics;

/// What the handlers work with.
#[derive(Clone)]
pub struct State {
    /// The database.
    pub store: Store,
    /// Cached reads.
    pub cache: ReadCache,
    /// Wakes the publisher.
    pub nudge: Nudge,
    /// What is counted.
    pub metrics: Metrics,
    /// How many passwords may be hashed at a time.
    pub hashing: Arc<Semaphore>,
}

impl State {
    /// What follows every committed write, before its answer.
    async fn written(&self, scopes: Vec<Scope>) {
        self.nudge.wake();
        self.cache.invalidate(scopes).await;
    }
}

/// Runs a write in a task of its own. The framework drops a handler whose client hangs up; what
/// has begun must be finished all the same, or a committed write would leave the cache stale.
async fn to_the_end<T, F>(write: F) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    let id = RequestId::current();
    tokio::spawn(RequestId::within(id, write)).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a write failed to end");
        Err(ApiError::Internal)
    })
}

/// The API's routes. The framework would answer 404 to a method that a path doesn't have.
fn api(config: &mut web::ServiceConfig<'_>) {
    config
        .service(
            web::resource("/users")
                .wrap(from_fn(within_limits))
                .route(web::get().to(users::list))
                .route(web::post().to(users::create))
                .default_service(refuse("GET, HEAD, POST")),
        )
        .service(
            web::resource("/users/{id}")
                .wrap(from_fn(within_limits))
                .route(web::get().to(users::get))
                .route(web::patch().to(users::patch))
                .route(web::delete().to(users::delete))
                .default_service(refuse("GET, HEAD, PATCH, DELETE")),
        )
        .service(
            web::resource("/categories")
                .wrap(from_fn(within_limits))
                .route(web::get().to(categories::list))
                .route(web::post().to(categories::create))
                .default_service(refuse("GET, HEAD, POST")),
        )
        .service(
            web::resource("/categories/{id}")
                .wrap(from_fn(within_limits))
                .route(web::get().to(categories::get))
                .route(web::patch().to(categories::patch))
                .route(web::delete().to(categories::delete))
                .default_service(refuse("GET, HEAD, PATCH, DELETE")),
        )
        .service(
            web::resource("/tasks")
                .wrap(from_fn(within_limits))
                .route(web::get().to(tasks::list))
                .route(web::post().to(tasks::create))
                .default_service(refuse("GET, HEAD, POST")),
        )
        .service(
            web::resource("/tasks/{id}")
                .wrap(from_fn(within_limits))
                .route(web::get().to(tasks::get))
                .route(web::put().to(tasks::replace))
                .route(web::patch().to(tasks::patch))
                .route(web::delete().to(tasks::delete))
                .default_service(refuse("GET, HEAD, PUT, PATCH, DELETE")),
        )
        .service(
            web::resource("/tasks/{id}/activity")
                .wrap(from_fn(within_limits))
                .route(web::get().to(tasks::list_activity))
                .default_service(refuse("GET, HEAD")),
        );
}

fn refuse(allow: &'static str) -> Route {
    actix_web::web::route()
        .to(move || async move { Err::<&str, _>(ApiError::MethodNotAllowed(allow)) })
}

/// What every other path answers.
fn nothing_here() -> Route {
    actix_web::web::route().to(|| async { Err::<&str, _>(ApiError::RouteNotFound) })
}

/// A path that can only be read and is not part of the API's description.
fn only_get(path: &str, get: Route) -> impl HttpServiceFactory + use<> {
    actix_web::web::resource(path).route(get).default_service(refuse("GET, HEAD"))
}

/// How long a client may take to send its headers, and how long an idle connection is kept.
const HEADERS_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(75);

/// The API on a listener, with the operator's routes or without. It is stopped by its handle; signals
/// are the caller's.
///
/// # Errors
/// The listener can't be used.
pub fn serve(
    listener: TcpListener,
    state: State,
    broker: Arc<dyn Broker>,
    operator: bool,
    limits: Limits,
    shutdown: &Shutdown,
) -> std::io::Result<Server> {
    let operated = operator.then(|| broker.clone());
    let monitored = Monitored {
        store: state.store.clone(),
        broker,
        needs_broker: false,
        cache: state.cache.clone(),
        metrics: state.metrics.clone(),
    };
    let state = actix_web::web::Data::new(state);
    let monitored = actix_web::web::Data::new(monitored);
    let document = actix_web::web::Data::new(docs::Document(openapi::document().to_string()));
    let (threads, connections) = limits.threads();
    let limits = actix_web::web::Data::new(limits);
    let server = HttpServer::new(move || {
        let origins = limits.origins.as_ref();
        App::new()
            // The last one is the outermost.
            .wrap(Condition::new(origins.is_some(), cors::cors(origins)))
            .wrap(from_fn(observe))
            .wrap(from_fn(secured))
            .wrap(from_fn(with_body))
            .app_data(limits.clone())
            .app_data(state.clone())
            .app_data(monitored.clone())
            .app_data(document.clone())
            .configure(health::routes)
            .configure(docs::routes)
            .configure(|config| {
                if let Some(broker) = &operated {
                    operator::routes(config, broker.clone());
                }
            })
            .wrap_api()
            .configure(api)
            .build()
            .default_service(nothing_here())
    });
    Ok(server
        .workers(threads)
        .max_connections(connections)
        .client_request_timeout(HEADERS_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(shutdown.drain_timeout().as_secs())
        .disable_signals()
        .listen(listener)?
        .run())
}

/// Health and metrics alone, for a process that serves nothing else.
///
/// # Errors
/// The listener can't be used.
pub fn serve_monitor(listener: TcpListener, monitored: Monitored) -> std::io::Result<Server> {
    let monitored = actix_web::web::Data::new(monitored);
    let server = HttpServer::new(move || {
        App::new()
            .wrap(from_fn(observe))
            .wrap(from_fn(secured))
            .wrap(from_fn(with_body))
            .app_data(monitored.clone())
            .configure(health::routes)
            .default_service(nothing_here())
    });
    Ok(server.workers(1).shutdown_timeout(1).disable_signals().listen(listener)?.run())
}
