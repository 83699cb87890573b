//! The HTTP server: its threads, connections and limits. It is built from the parts of the
//! framework's own `HttpServer`, which can't take a connection type of ours.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Protocol, Request, Response};
use actix_server::GracefulShutdownSignal;
use actix_service::boxed::BoxServiceFactory;
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, boxed, fn_service, map_config,
};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Server};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::http::middleware::connection::connected;
use crate::http::server::wire::{StallLimits, Wire};

/// How long a client may take to send the headers of its first request.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept open.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a connection may take to close after its last response.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);

/// The settings under which one connection is served.
#[derive(Clone)]
pub(in crate::http) struct ConnectionSettings {
    /// The address it came in on.
    pub(in crate::http) address: SocketAddr,
    /// How long it may make no progress.
    pub(in crate::http) limits: StallLimits,
    /// Whether it is kept open for further requests.
    pub(in crate::http) keep_alive: KeepAlive,
    /// Tells idle connections that the server stops.
    pub(in crate::http) stopping: GracefulShutdownSignal,
    /// Holds a token of each open connection.
    pub(in crate::http) open: TaskTracker,
}

impl ConnectionSettings {
    /// Serves one request on each connection, without keep-alive.
    ///
    /// # Errors
    /// The listener has no address.
    pub(in crate::http) fn once(
        listener: &TcpListener,
        request: Duration,
    ) -> std::io::Result<ConnectionSettings> {
        Ok(ConnectionSettings {
            address: listener.local_addr()?,
            limits: StallLimits::new(Duration::ZERO, request),
            keep_alive: KeepAlive::Disabled,
            stopping: actix_server::ServerBuilder::new().graceful_shutdown_signal(),
            open: TaskTracker::new(),
        })
    }
}

/// The server's limits: its threads, the connections of each thread, the time for one request, and
/// the time for all requests to end when the server stops.
pub(in crate::http) struct Bounds {
    pub(in crate::http) threads: usize,
    pub(in crate::http) connections: usize,
    pub(in crate::http) request_timeout: Duration,
    pub(in crate::http) shutdown_seconds: u64,
}

/// Starts the server; each thread calls `connections` for a service of its own. It is stopped by
/// its handle. Signals are left to the caller. `open` holds a token of each connection while it is
/// open.
///
/// # Errors
/// The listener can't be used.
pub(in crate::http) fn server(
    listener: TcpListener,
    connections: impl Fn(ConnectionSettings) -> Connections + Send + Clone + 'static,
    bounds: Bounds,
    open: TaskTracker,
) -> std::io::Result<Server> {
    let address = listener.local_addr()?;
    let builder = actix_server::ServerBuilder::new()
        .workers(bounds.threads)
        .max_concurrent_connections(bounds.connections)
        .shutdown_timeout(bounds.shutdown_seconds)
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let serving = ConnectionSettings {
        address,
        limits: StallLimits::new(KEEP_ALIVE, bounds.request_timeout),
        keep_alive: KEEP_ALIVE.into(),
        stopping,
        open,
    };
    let serve = move || connections(serving.clone());
    Ok(builder.listen(format!("http on {address}"), listener, serve)?.run())
}

/// A service that serves connections.
pub(in crate::http) type Connections = BoxServiceFactory<(), TcpStream, (), DispatchError, ()>;

/// Makes a service that serves connections with an app.
pub(in crate::http) fn connections<F, I, S, B>(app: F, serving: ConnectionSettings) -> Connections
where
    F: FnOnce() -> I,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: std::fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let ConnectionSettings { address, limits, keep_alive, stopping, open } = serving;
    let app = app().into_factory().map_err(|error| error.into().error_response());
    let http = HttpService::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .keep_alive(keep_alive)
        .client_request_timeout(HEADERS_TIMEOUT)
        .client_disconnect_timeout(CLOSING_TIMEOUT)
        .local_addr(address)
        .on_connect_ext(move |_: &Wire, data: &mut actix_http::Extensions| {
            data.insert(open.token());
            connected(data);
        })
        .finish(map_config(app, |()| AppConfig::default()));
    let wired = fn_service(move |stream: TcpStream| async move {
        let peer = stream.peer_addr().ok();
        Ok((Wire::new(stream, limits), Protocol::Http1, peer))
    });
    boxed::factory(wired.and_then(http))
}
