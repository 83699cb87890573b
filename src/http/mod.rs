//! The HTTP API.

pub mod admission;
mod answer;
pub mod caller;
mod categories;
pub mod cors;
pub mod cursor;
mod docs;
pub mod dto;
pub mod error;
mod events;
mod fields;
mod headers;
pub mod hosts;
pub mod health;
mod idempotency_key;
pub mod limits;
mod observe;
pub mod openapi;
pub mod operator;
pub mod operator_socket;
mod paging;
mod preconditions;
pub mod rate_limits;
mod sessions;
mod tasks;
mod tokens;
mod users;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::dev::{HttpServiceFactory, Server};
use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, HttpServer, Route};
use paperclip::actix::{OpenApiExt, web};

use crate::access::{Passwords, Tokens};
use crate::broker::Broker;
use crate::cache::Scope;
use crate::dead_letters::DeadLetters;
use crate::http::admission::{Policy, enforce, identify};
use crate::http::error::ApiError;
use crate::http::headers::secured;
use crate::http::health::{LastReport, Monitored};
use crate::http::hosts::guard;
use crate::http::limits::{Limits, with_body, within_limits};
use crate::http::observe::{RequestId, observe};
use crate::http::rate_limits::{RateLimits, limit};
use crate::publisher::Handover;
use crate::read_cache::ReadCache;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::task_reader::TaskReader;
use crate::task_writer::TaskWriter;
use crate::telemetry::Metrics;

/// What the handlers work with.
#[derive(Clone)]
pub struct State {
    /// The database.
    pub store: Store,
    /// Writes new tasks.
    pub new_tasks: TaskWriter,
    /// Reads pages of tasks.
    pub task_pages: TaskReader,
    /// Cached reads.
    pub cache: ReadCache,
    /// Takes new events.
    pub publisher: Handover,
    /// What is counted.
    pub metrics: Metrics,
    /// How many requests a client may send.
    pub rates: Arc<RateLimits>,
    /// How long the answer to a POST with an `Idempotency-Key` is kept.
    pub idempotency_retention: Duration,
    /// Who holds which token.
    pub tokens: Tokens,
    /// Hashes and verifies.
    pub passwords: Arc<Passwords>,
    /// How long somebody is signed in.
    pub session_lifetime: Duration,
    /// How strict this instance is.
    pub policy: Policy,
}

impl State {
    /// For one of the threads that serve. Each has a runtime of its own, and with it its own connections to
    /// the cache and, where there are enough, to the database: what goes on in one thread wakes no other.
    fn apart(&self, thread: usize) -> State {
        let state = State { cache: self.cache.apart(), ..self.clone() };
        let Some(store) = self.store.share(thread) else { return state };
        State {
            new_tasks: TaskWriter::new(store.clone(), self.publisher.clone()),
            task_pages: TaskReader::new(store.clone()),
            tokens: self.tokens.by(store.clone()),
            store,
            ..state
        }
    }

    /// What follows a committed write whose events are left in the outbox, before its answer.
    async fn written(&self, scopes: Vec<Scope>) {
        self.publisher.wake();
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

/// The API's routes. Each has its rule in [`admission::RULES`], where a method that a path doesn't
/// have is refused too. They are tried in this order, so what is asked for most stands first.
fn api(config: &mut web::ServiceConfig<'_>) {
    config
        .service(
            web::resource("/tasks")
                .wrap(from_fn(within_limits))
                .route(web::get().to(tasks::list))
                .route(web::post().to(tasks::create)),
        )
        .service(
            web::resource("/tasks/{id}")
                .wrap(from_fn(within_limits))
                .route(web::get().to(tasks::get))
                .route(web::put().to(tasks::replace))
                .route(web::patch().to(tasks::patch))
                .route(web::delete().to(tasks::delete)),
        )
        .service(
            web::resource("/tasks/{id}/activity")
                .wrap(from_fn(within_limits))
                .route(web::get().to(tasks::list_activity)),
        )
        .service(
            web::resource("/sessions")
                .wrap(from_fn(within_limits))
                .route(web::post().to(sessions::create)),
        )
        .service(
            web::resource("/sessions/current")
                .wrap(from_fn(within_limits))
                .route(web::delete().to(sessions::delete_current)),
        )
        .service(
            web::resource("/tokens")
                .wrap(from_fn(within_limits))
                .route(web::get().to(tokens::list))
                .route(web::post().to(tokens::create)),
        )
        .service(
            web::resource("/tokens/{id}")
                .wrap(from_fn(within_limits))
                .route(web::delete().to(tokens::delete)),
        )
        .service(
            web::resource("/users")
                .wrap(from_fn(within_limits))
                .route(web::get().to(users::list))
                .route(web::post().to(users::create)),
        )
        .service(
            web::resource("/users/{id}")
                .wrap(from_fn(within_limits))
                .route(web::get().to(users::get))
                .route(web::patch().to(users::patch))
                .route(web::delete().to(users::delete)),
        )
        .service(
            web::resource("/categories")
                .wrap(from_fn(within_limits))
                .route(web::get().to(categories::list))
                .route(web::post().to(categories::create)),
        )
        .service(
            web::resource("/categories/{id}")
                .wrap(from_fn(within_limits))
                .route(web::get().to(categories::get))
                .route(web::patch().to(categories::patch))
                .route(web::delete().to(categories::delete)),
        )
        .service(
            web::resource("/events")
                .wrap(from_fn(within_limits))
                .route(web::get().to(events::list)),
        )
        .service(
            web::resource("/events/{eventId}")
                .wrap(from_fn(within_limits))
                .route(web::get().to(events::get)),
        );
}

/// What every other path answers.
fn nothing_here() -> Route {
    actix_web::web::route().to(|| async { Err::<&str, _>(ApiError::RouteNotFound) })
}

/// A path that can only be read and is not part of the API's description; also for an app without the
/// table, which would refuse other methods.
fn only_get(path: &str, get: Route) -> impl HttpServiceFactory + use<> {
    let refuse = || async { Err::<&str, _>(ApiError::MethodNotAllowed("GET, HEAD".to_owned())) };
    let other = actix_web::web::route().to(refuse);
    actix_web::web::resource(path).route(get).default_service(other)
}

/// How long a client may take to send its headers, and how long an idle connection is kept.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The API on a listener. It is stopped by its handle; signals are the caller's.
///
/// # Errors
/// The listener can't be used.
pub fn serve(
    listener: TcpListener,
    state: State,
    broker: Arc<dyn Broker>,
    limits: Limits,
    shutdown: &Shutdown,
) -> std::io::Result<Server> {
    let letters = actix_web::web::Data::new(DeadLetters::new(broker.clone()));
    let monitored = Monitored {
        store: state.store.clone(),
        broker,
        needs_broker: false,
        cache: state.cache.clone(),
        metrics: state.metrics.clone(),
        last: LastReport::default(),
    };
    let monitored = actix_web::web::Data::new(monitored);
    let document = actix_web::web::Data::new(docs::Document(openapi::document().to_string()));
    let (threads, connections) = limits.threads();
    let serving = Arc::new(AtomicUsize::new(0));
    let limits = actix_web::web::Data::new(limits);
    let server = HttpServer::new(move || {
        let origins = limits.origins.as_ref();
        let state = state.apart(serving.fetch_add(1, Ordering::Relaxed) % threads);
        App::new()
            // The last one is the outermost.
            .wrap(from_fn(enforce))
            .wrap(from_fn(limit))
            .wrap(from_fn(identify))
            .wrap(Condition::new(origins.is_some(), cors::cors(origins)))
            .wrap(from_fn(guard))
            .wrap(from_fn(observe))
            .wrap(from_fn(secured))
            .wrap(from_fn(with_body))
            .app_data(limits.clone())
            .app_data(actix_web::web::Data::new(state))
            .app_data(monitored.clone())
            .app_data(document.clone())
            .app_data(letters.clone())
            // Paths are tried in this order, and again for each question about one.
            .wrap_api()
            .configure(api)
            .build()
            .configure(health::routes)
            .configure(docs::routes)
            .configure(operator::routes)
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
