//! The app with its middleware, and its start and its shutdown on a listener.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::App;
use actix_web::dev::Server;
use actix_web::middleware::{Condition, from_fn};
use actix_web::web::Data;
use paperclip::actix::OpenApiExt;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::ground::shutdown::Shutdown;
use crate::http::console::{self, Api, InDemo, Turns, front};
use crate::http::middleware::admission::{enforce, identify};
use crate::http::middleware::connection::minded;
use crate::http::middleware::cors;
use crate::http::middleware::headers::secured;
use crate::http::middleware::hosts::guard;
use crate::http::middleware::limits::{Limits, with_body};
use crate::http::middleware::observe::{Stopping, observe};
use crate::http::middleware::rate_limits::limit;
use crate::http::routes::docs;
use crate::http::routes::health::{self, HealthSources, LastReport};
use crate::http::server::builder::{Bounds, ConnectionSettings, connections, server};
use crate::http::server::last_connections::LastConnections;
use crate::http::{ProcessState, asyncapi, nothing_here, openapi, routes};
use crate::operate::doctor::Setting;

/// How long a server that stops still accepts connections and keeps open those it has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Farewell {
    /// At least this long, for those that don't know yet that it stops.
    pub shortest: Duration,
    /// Until its clients have closed the connections it had, and at most this long.
    pub longest: Duration,
}

/// At shutdown, how long the serving threads may take to end before the listener is closed anyway.
/// A slow request continues after that, but no new connections are accepted beside it.
const LAST_ACCEPT: Duration = Duration::from_secs(1);

/// Serves the API on a listener until shutdown is requested and all requests received are answered.
///
/// After the stop signal, connections are still accepted for a while, and every response closes its
/// connection. So a proxy that keeps connections open gives them up before the server closes them,
/// and none of its requests is lost on a closing connection. See [`Farewell`].
///
/// # Errors
/// The listener can't be used.
pub async fn serve(
    listener: TcpListener,
    shared: ProcessState,
    broker: Arc<dyn Broker>,
    limits: Limits,
    shutdown: &Shutdown,
    farewell: Farewell,
) -> std::io::Result<()> {
    let monitored = HealthSources {
        pools: shared.pools.clone(),
        broker,
        needs_broker: false,
        cache: shared.cache.on_thread(),
        metrics: shared.common.metrics.clone(),
        // The admission table has a rule for the metrics.
        metrics_for_operators: None,
        last: LastReport::default(),
        queues: Arc::default(),
    };
    let monitored = Data::new(monitored);
    let document = Data::new(docs::Document(openapi::document().to_string().into()));
    let topology = match &shared.common.examination.configuration().dependencies.broker {
        Setting::Set(rabbit) => Some(&rabbit.topology),
        Setting::Absent | Setting::Wrong => None,
    };
    let events = asyncapi::document(&shared.common.event_types, topology);
    let events = Data::new(docs::AsyncDocument::new(events));
    let (threads, most_connections) = limits.threads();
    let serving = Arc::new(AtomicUsize::new(0));
    let access_log = Data::new(limits.access_log);
    let request_timeout = limits.request_timeout;
    let allowed = Data::new(limits.allowed.clone());
    let limits = Data::new(limits);
    let stopping = Data::new(Stopping(shutdown.clone()));
    let turns = Data::new(Turns::default());
    let app = move || {
        let origins = limits.allowed.origins.as_ref();
        let state = shared.on_thread(serving.fetch_add(1, Ordering::Relaxed) % threads);
        let data = state.clone();
        let api = App::new()
            // The last wrap is the outermost.
            .wrap(from_fn(enforce))
            .wrap(from_fn(limit))
            .wrap(from_fn(identify))
            .wrap(Condition::new(origins.is_some(), cors::cors(origins)))
            .wrap(from_fn(guard))
            .wrap(from_fn(observe))
            .wrap(from_fn(secured))
            .wrap(from_fn(with_body))
            .wrap(from_fn(minded))
            .app_data(routes::all())
            .app_data(limits.clone())
            .app_data(allowed.clone())
            .app_data(access_log.clone())
            .app_data(stopping.clone())
            .app_data(Data::new(state))
            .app_data(monitored.clone())
            .app_data(document.clone())
            .app_data(events.clone())
            // Routes are matched in this order, and again for each question about a path.
            .wrap_api()
            .configure(routes::described)
            .build()
            .configure(routes::plain(routes::all().iter()))
            .default_service(nothing_here());
        let (access_log, stopping, allowed) =
            (access_log.clone(), stopping.clone(), allowed.clone());
        let turns = turns.clone();
        let settings = data.common.console.clone();
        let console = settings.map(|settings| {
            move |api: Api| {
                App::new()
                    .wrap(from_fn(guard))
                    .wrap(from_fn(observe))
                    .wrap(from_fn(secured))
                    .wrap(from_fn(with_body))
                    .wrap(from_fn(minded))
                    .app_data(allowed.clone())
                    .app_data(access_log.clone())
                    .app_data(stopping.clone())
                    .app_data(turns.clone())
                    .app_data(Data::new(data.common.pulse.clone()))
                    .app_data(Data::new(data.clone()))
                    .app_data(InDemo(data.common.demo.is_some()))
                    .app_data(Data::new(settings.clone()))
                    .app_data(api)
                    .configure(console::routes)
            }
        });
        front(api, console)
    };
    let app = move |serving| connections(&app, serving);
    let same_listener = listener.try_clone()?;
    let bounds = Bounds {
        threads,
        connections: most_connections,
        request_timeout,
        // In whole seconds, so it is longer than the drain deadline, which is the one that counts.
        shutdown_seconds: shutdown.drain_timeout().as_secs().saturating_add(1),
    };
    let open = TaskTracker::new();
    let server = server(listener, app.clone(), bounds, open.clone())?;
    let handle = server.handle();
    let serving = tokio::spawn(server);

    shutdown.requested().await;
    let once = ConnectionSettings::once(&same_listener, request_timeout)?;
    let last = LastConnections::start(same_listener, move || app(once))?;
    let ending = async {
        handle.pause().await;
        open.close();
        // A request that a proxy sends on an idle connection in the moment the server closes it is
        // lost, and no proxy may send a POST again by itself. So wait for the proxy to close it.
        let given_up = timeout(farewell.longest, open.wait());
        let _ = tokio::join!(sleep(farewell.shortest), given_up);
        let stopped = tokio::spawn(async move { handle.stop(true).await });
        // Wait for the server to give its listener up first: it would reset connections that come
        // in between.
        let _ = timeout(LAST_ACCEPT, stopped).await;
        last.close().await;
        serving.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    };
    tokio::select! {
        ended = ending => ended,
        () = shutdown.deadline() => {
            tracing::warn!("DRAIN_TIMEOUT is over; aborting open requests");
            Ok(())
        }
    }
}

/// Serves health and metrics alone, for a process without an API.
///
/// # Errors
/// The listener can't be used.
pub fn serve_monitor(listener: TcpListener, monitored: HealthSources) -> std::io::Result<Server> {
    let monitored = Data::new(monitored);
    let app = move || {
        App::new()
            .wrap(from_fn(observe))
            .wrap(from_fn(secured))
            .wrap(from_fn(with_body))
            .wrap(from_fn(minded))
            .app_data(monitored.clone())
            .configure(routes::plain(health::ROUTES.iter()))
            .default_service(nothing_here())
    };
    let bounds = Bounds {
        threads: 1,
        connections: MONITORING_CONNECTIONS,
        // Probes are answered within a second.
        request_timeout: Duration::from_secs(1),
        shutdown_seconds: 1,
    };
    server(listener, move |serving| connections(&app, serving), bounds, TaskTracker::new())
}

/// How many connections the monitoring listener accepts.
const MONITORING_CONNECTIONS: usize = 1_000;
