//! Accepts the last connections of a process that stops.
//!
//! When a listener is closed, the kernel resets the connections that still wait to be accepted. A
//! proxy may already have sent a request on one of them that it must not repeat. The framework's
//! server closes its listener between two polls, when connections may be waiting. So during
//! shutdown a second thread accepts from the same socket, and closes it right after an accept that
//! found nobody waiting.

use std::net::TcpListener;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_service::{Service, ServiceFactory};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::http::server::builder::Connections;

/// How long to wait after an accept fails, as it does while the process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections and serves one request on each, until it is closed.
pub(in crate::http) struct LastConnections {
    close: CancellationToken,
    thread: JoinHandle<()>,
}

impl LastConnections {
    /// Starts to accept, in a thread of its own.
    ///
    /// # Errors
    /// The listener can't be used.
    pub(in crate::http) fn start(
        listener: TcpListener,
        service: impl FnOnce() -> Connections + Send + 'static,
    ) -> std::io::Result<LastConnections> {
        listener.set_nonblocking(true)?;
        let close = CancellationToken::new();
        let closed = close.clone();
        let thread = std::thread::Builder::new().name("last connections".to_owned());
        let thread = thread.spawn(move || {
            // The service is made inside the runtime, because it spawns tasks.
            let accepting = async { accept(listener, service(), closed).await };
            if let Err(error) = actix_web::rt::System::new().block_on(accepting) {
                tracing::warn!(%error, "the last connections could not be served");
            }
        })?;
        Ok(LastConnections { close, thread })
    }

    /// Closes the listener at a moment when nobody waits, and returns when every request is
    /// answered.
    pub(in crate::http) async fn close(self) {
        self.close.cancel();
        // A thread that panicked has logged it already.
        let _ = tokio::task::spawn_blocking(|| self.thread.join()).await;
    }
}

async fn accept(
    listener: TcpListener,
    service: Connections,
    closed: CancellationToken,
) -> std::io::Result<()> {
    let service = service.new_service(()).await;
    let service = Rc::new(service.map_err(|()| std::io::Error::other("the app can't be made"))?);
    let mut serving = JoinSet::new();
    let mut serve = |stream: TcpStream| {
        let service = Rc::clone(&service);
        serving.spawn_local(async move {
            // A client that breaks off is not our error.
            let _ = service.call(stream).await;
        });
    };
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        tokio::select! {
            () = closed.cancelled() => break,
            accepted = listener.accept() => {
                match accepted {
                    Ok((stream, _)) => serve(stream),
                    Err(error) if of_one_connection(&error) => {}
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                }
            }
        }
    }
    // Ask the kernel instead of the runtime, which may not know of the latest connections yet.
    let listener = listener.into_std()?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                serve(TcpStream::from_std(stream)?);
            }
            Err(error) if of_one_connection(&error) => {}
            // Nobody waits any more, or accepting has failed.
            Err(_) => break,
        }
    }
    drop(listener);
    while serving.join_next().await.is_some() {}
    Ok(())
}

/// Whether accepting failed only because the client to be accepted has already gone.
fn of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
