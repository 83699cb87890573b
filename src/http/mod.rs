//! The HTTP API.

pub mod server;
pub(in crate::http) mod console;
pub mod openapi;
mod asyncapi;
pub mod routes;
pub mod middleware;
pub mod dto;
pub mod extract;
mod response;
pub(in crate::http) mod describe;
pub mod route;
pub mod error;
mod fault;
pub mod request_id;

use std::sync::Arc;
use std::time::Duration;

use actix_web::Route;
use actix_web::dev::HttpServiceFactory;

pub use server::{Farewell, serve, serve_monitor};

use crate::access::{Passwords, Tokens};
use crate::cache::Scope;
use crate::demo::Demo;
use crate::domain::event::EventTypes;
use crate::feed::Feed;
use crate::ground::keyed_semaphore::KeyedSemaphore;
use crate::ground::telemetry::Metrics;
use crate::http::error::ApiError;
use crate::http::middleware::admission::Policy;
use crate::http::middleware::rate_limits::RateLimits;
use crate::http::request_id::RequestId;
use crate::operate::doctor::Examination;
use crate::operate::pulse::Pulse;
use crate::publisher::Handover;
use crate::read_cache::{ReadCache, SharedCache};
use crate::store::{Pools, Store};
use crate::task_reader::TaskReader;
use crate::task_writer::TaskWriter;
use crate::webhooks::orders::Webhooks;

/// What a process serves with. No handler can use it: each serving thread makes an [`AppState`] of
/// it.
#[derive(Clone)]
pub struct ProcessState {
    /// The database.
    pub pools: Pools,
    /// Cached reads.
    pub cache: SharedCache,
    /// Authenticates tokens.
    pub tokens: Tokens,
    /// What is the same on all threads.
    pub common: Arc<SharedState>,
    /// Inserts new tasks and reads pages for threads without connections of their own, all
    /// together.
    together: Option<(TaskWriter, TaskReader)>,
}

/// What is the same on all threads of a process.
pub struct SharedState {
    /// The types of events there are.
    pub event_types: EventTypes,
    /// Publishes the events of writes.
    pub publisher: Handover,
    /// The counters of this process.
    pub metrics: Metrics,
    /// How many requests a client may send.
    pub rates: RateLimits,
    /// How long the answer to a POST with an `Idempotency-Key` is kept.
    pub idempotency_retention: Duration,
    /// Hashes and verifies passwords.
    pub passwords: Passwords,
    /// Limits how many writes of each user run at a time.
    pub writes: KeyedSemaphore<i64>,
    /// How long a session lasts.
    pub session_lifetime: Duration,
    /// How long an API token is valid at most.
    pub token_lifetime: Duration,
    /// How strict this instance is.
    pub policy: Policy,
    /// Whether the database is embedded, and all is in this one process.
    pub embedded: bool,
    /// Examines this process.
    pub examination: Arc<Examination>,
    /// Tells live pages that something has changed.
    pub pulse: Pulse,
    /// Tells those who follow the change feed.
    pub feed: Feed,
    /// The pages for people at `/console`, if there are any.
    pub console: Option<ConsoleSettings>,
    /// What is asked of webhooks.
    pub webhooks: Webhooks,
    /// What it breaks on purpose, of a demo.
    pub demo: Option<Demo>,
}

/// What the console is told by the configuration.
#[derive(Debug, Clone, Default)]
pub struct ConsoleSettings {
    /// Where a trace can be looked at: an address with `{traceId}` in it.
    pub trace_url: Option<String>,
}

/// What the handlers of one thread use. The thread has a runtime of its own, and with it its own
/// connection to the cache and, where the pool is large enough, its own connections to the
/// database. So there are no cross-thread wake-ups.
#[derive(Clone)]
pub struct AppState {
    /// The database.
    pub store: Store,
    /// Inserts new tasks, in batches.
    pub new_tasks: TaskWriter,
    /// Reads pages of the task list, in batches.
    pub task_pages: TaskReader,
    /// Cached reads, and the invalidation of what they cache.
    pub cache: ReadCache,
    /// Authenticates tokens.
    pub tokens: Tokens,
    /// What is the same on all threads.
    pub common: Arc<SharedState>,
}

/// The limiter for [`SharedState::writes`].
pub fn writes() -> KeyedSemaphore<i64> {
    KeyedSemaphore::new(WRITES_OF_A_USER)
}

impl ProcessState {
    /// What a process serves with, on the runtime that outlives its serving threads.
    pub fn new(pools: Pools, cache: SharedCache, common: SharedState) -> ProcessState {
        let store = pools.shared();
        let together = pools.of_thread(0).is_none().then(|| {
            let publisher = common.publisher.clone();
            let writer = TaskWriter::new(store.clone(), publisher, cache.on_thread());
            (writer, TaskReader::new(store.clone()))
        });
        let tokens = Tokens::new(store.clone());
        ProcessState { cache, tokens, common: Arc::new(common), together, pools }
    }

    /// The state for a serving thread, counted from zero; call it on that thread.
    fn on_thread(&self, thread: usize) -> AppState {
        let store = self.pools.of_thread(thread).unwrap_or(self.pools.shared()).clone();
        let cache = self.cache.on_thread();
        let (new_tasks, task_pages) = self.together.clone().unwrap_or_else(|| {
            let publisher = self.common.publisher.clone();
            let writer = TaskWriter::new(store.clone(), publisher, cache.clone());
            (writer, TaskReader::new(store.clone()))
        });
        let (tokens, common) = (self.tokens.by(store.clone()), Arc::clone(&self.common));
        AppState { store, new_tasks, task_pages, cache, tokens, common }
    }
}

impl AppState {
    /// Call this after a committed write that has left so many events in the outbox, and before its
    /// answer.
    async fn written(&self, events: usize, scopes: Vec<Scope>) {
        self.common.publisher.written(events);
        self.cache.invalidate(scopes).await;
    }
}

/// How many writes of one user run at a time in this process. This is more than a client sends side
/// by side. It bounds the writes that a client leaves behind if it hangs up again and again.
const WRITES_OF_A_USER: usize = 32;

/// Runs a write in a task of its own. The framework drops a handler whose client hangs up, but a
/// write that has begun must be finished, or a committed write would leave the cache stale.
///
/// A user's writes wait for a permit here, in the handler, so a write whose client hangs up while
/// waiting costs nothing. Without authentication, callers can't be told apart and don't wait.
async fn to_the_end<T, F>(state: &AppState, user: Option<i64>, write: F) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    let permit = match user {
        Some(user) => state.common.writes.take(user).await,
        None => None,
    };
    let write = async move {
        let _permit = permit;
        write.await
    };
    tokio::spawn(RequestId::within(RequestId::context(), write)).await.unwrap_or_else(|error| {
        tracing::error!(%error, "the task that carried out a write has panicked");
        Err(ApiError::Internal)
    })
}

/// The route for all other paths.
fn nothing_here() -> Route {
    actix_web::web::route().to(|| async { Err::<&str, _>(ApiError::RouteNotFound) })
}

/// A path that can only be read and is not part of the OpenAPI routes. It refuses other methods by
/// itself, since it is also used in an app without the admission table.
fn only_get(path: &str, get: Route) -> impl HttpServiceFactory + use<> {
    let refuse = || async { Err::<&str, _>(ApiError::MethodNotAllowed("GET, HEAD".to_owned())) };
    let other = actix_web::web::route().to(refuse);
    actix_web::web::resource(path).route(get).default_service(other)
}
