//! The HTTP API.

pub mod server;
pub mod openapi;
pub mod routes;
pub mod middleware;
pub mod dto;
pub mod extract;
mod answer;
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
    /// The writes of each user that go on.
    pub writes: Arc<Turns<i64>>,
    /// How long somebody is signed in.
    pub session_lifetime: Duration,
    /// How long an API token is good at most.
    pub token_lifetime: Duration,
    /// How strict this instance is.
    pub policy: Policy,
}

/// For [`State::writes`].
pub fn writes() -> Arc<Turns<i64>> {
    Arc::new(Turns::new(WRITES_OF_A_USER))
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
        self.publisher.written();
        self.cache.invalidate(scopes).await;
    }
}

/// How many writes of a user go on at a time in one process. More than a client sends side by side;
/// of one that hangs up again and again no more than these go on.
const WRITES_OF_A_USER: usize = 32;

/// Runs a write in a task of its own. The framework drops a handler whose client hangs up; what
/// has begun must be finished all the same, or a committed write would leave the cache stale.
///
/// A user's writes wait for their turn here, in the handler, so that hanging up costs the server
/// nothing. Where nobody says who they are, nobody is told apart.
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
