//! The HTTP API.

pub mod server;
pub mod openapi;
pub mod routes;
pub mod middleware;
pub mod dto;
pub mod extract;
mod answer;
pub(in crate::http) mod describe;
pub mod route;
pub mod error;
mod fault;
pub mod request_id;

use std::sync::Arc;
use std::time::Duration;

use actix_web::Route;
use actix_web::dev::HttpServiceFactory;

pub use server::{serve, serve_monitor};

use crate::access::{Passwords, Tokens};
use crate::cache::Scope;
use crate::domain::event::EventTypes;
use crate::ground::telemetry::Metrics;
use crate::ground::turns::Turns;
use crate::http::error::ApiError;
use crate::http::middleware::admission::Policy;
use crate::http::middleware::rate_limits::RateLimits;
use crate::http::request_id::RequestId;
use crate::publisher::Handover;
use crate::read_cache::ReadCache;
use crate::store::Store;
use crate::task_reader::TaskReader;
use crate::task_writer::TaskWriter;

/// What all handlers share. Each serving thread has a clone.
#[derive(Clone)]
pub struct State {
    /// The types of events there are.
    pub event_types: EventTypes,
    /// The database.
    pub store: Store,
    /// Inserts new tasks, in batches.
    pub new_tasks: TaskWriter,
    /// Reads pages of the task list, in batches.
    pub task_pages: TaskReader,
    /// Cached reads, and the invalidation of what they cache.
    pub cache: ReadCache,
    /// Publishes the events of writes.
    pub publisher: Handover,
    /// The counters of this process.
    pub metrics: Metrics,
    /// How many requests a client may send.
    pub rates: Arc<RateLimits>,
    /// How long the answer to a POST with an `Idempotency-Key` is kept.
    pub idempotency_retention: Duration,
    /// Authenticates tokens.
    pub tokens: Tokens,
    /// Hashes and verifies passwords.
    pub passwords: Arc<Passwords>,
    /// Limits how many writes of each user run at a time.
    pub writes: Arc<Turns<i64>>,
    /// How long a session lasts.
    pub session_lifetime: Duration,
    /// How long an API token is valid at most.
    pub token_lifetime: Duration,
    /// How strict this instance is.
    pub policy: Policy,
}

/// The limiter for [`State::writes`].
pub fn writes() -> Arc<Turns<i64>> {
    Arc::new(Turns::new(WRITES_OF_A_USER))
}

impl State {
    /// The state for one of the serving threads. Each thread has a runtime of its own, and with it
    /// its own connection to the cache and, where the pool is large enough, its own share of the
    /// database connections. So there are no cross-thread wake-ups.
    fn apart(&self, thread: usize) -> State {
        let state = State { cache: self.cache.apart(), ..self.clone() };
        let Some(store) = self.store.share(thread) else { return state };
        State {
            new_tasks: TaskWriter::new(store.clone(), self.publisher.clone(), state.cache.clone()),
            task_pages: TaskReader::new(store.clone()),
            tokens: self.tokens.by(store.clone()),
            store,
            ..state
        }
    }

    /// Call this after a committed write whose events are left in the outbox, and before its
    /// answer.
    async fn written(&self, scopes: Vec<Scope>) {
        self.publisher.written();
        self.cache.invalidate(scopes).await;
    }
}

/// How many writes of one user run at a time in this process. This is more than a client sends side
/// by side. It bounds the writes that a client leaves behind if it hangs up again and again.
const WRITES_OF_A_USER: usize = 32;

/// Runs a write in a task of its own. The framework drops a handler whose client hangs up, but a
/// write that has begun must be finished, or a committed write would leave the cache stale.
///
/// A user's writes wait for their turn here, in the handler, so a write whose client hangs up while
/// waiting costs nothing. Without authentication, callers can't be told apart and don't wait.
async fn to_the_end<T, F>(state: &State, user: Option<i64>, write: F) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    let turn = match user {
        Some(user) => state.writes.take(user).await,
        None => None,
    };
    let write = async move {
        let _turn = turn;
        write.await
    };
    let id = RequestId::current();
    tokio::spawn(RequestId::within(id, write)).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a write failed to end");
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
