//! The last connections of a process that stops.
//!
//! A connection that waits to be accepted when its listener is closed is reset, and with it a request that
//! a proxy may already have sent, and must not send again. The server closes its listener somewhere between
//! two looks at it. So for the time of its end another accepts from the same listener: one that closes it
//! right after nothing more waits.

use std::net::TcpListener;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_service::{Service, ServiceFactory};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::http::server::builder::Connections;

/// How long to wait after the listener has failed, as it does while the process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections and answers one request on each, until it is closed.
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
            // The service is made inside the runtime: what it holds spawns tasks of its own.
            let accepting = async { accept(listener, service(), closed).await };
            if let Err(error) = actix_web::rt::System::new().block_on(accepting) {
                tracing::warn!(%error, "the last connections could not be served");
            }
        })?;
        Ok(LastConnections { close, thread })
    }

    /// Closes the listener at a moment when nobody waits, and returns when every request is answered.
    pub(in crate::http) async fn close(self) {
        self.close.cancel();
        // A thread that has panicked has said so.
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
            // A client that breaks off is none of ours.
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
    // Asked of the system, not of the runtime, which may not know yet of who came just now.
    let listener = listener.into_std()?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                serve(TcpStream::from_std(stream)?);
            }
            Err(error) if of_one_connection(&error) => {}
            // Nobody waits any more, or nobody can be accepted.
            Err(_) => break,
        }
    }
    drop(listener);
    while serving.join_next().await.is_some() {}
    Ok(())
}

/// Whether accepting failed because of the one that would have been accepted, which has gone again.
fn of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
