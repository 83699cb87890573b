//! A small client of HTTP for the exporter: one connection a batch, by the TLS of all other clients
//! here, and with bounds on time and size.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;

use super::export::{Endpoint, Headers};
use crate::ground::tls::Tls;

/// How long a collector may take for a batch, from the connection to the end of its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Far longer than any answer of a collector.
const ANSWER_BYTES: usize = 64 * 1024;

/// Sends the exporter's requests. The exporter has a thread of its own, without a runtime.
pub(super) struct Client {
    runtime: Handle,
    target: Arc<Target>,
    lost: Lost,
}

/// Why the last request got no answer. The exporter only passes on that it did not.
#[derive(Clone, Default)]
pub(super) struct Lost(Arc<Mutex<Option<String>>>);

impl Lost {
    /// The reason, which this forgets.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, error: &HttpError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }
}

impl fmt::Debug for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lost").finish_non_exhaustive()
    }
}

struct Target {
    host: String,
    port: u16,
    /// What the request says of the host.
    authority: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    headers: Headers,
}

impl Client {
    /// A client that sends in the runtime in which this is called.
    ///
    /// # Errors
    /// The endpoint names no host that TLS could check: a sentence that says so.
    pub(super) fn new(
        endpoint: &Endpoint,
        headers: Headers,
        tls: &Tls,
        lost: Lost,
    ) -> Result<Client, String> {
        let (host, port) = endpoint.place();
        // Reading the system's authorities takes a moment, and plain HTTP needs none.
        let tls = match endpoint.is_encrypted() {
            true => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| format!("{host} is not a name that a certificate could have"))?;
                Some((TlsConnector::from(Arc::new(tls.client_config()?)), name))
            }
            false => None,
        };
        let authority = HeaderValue::from_str(&endpoint.authority())
            .map_err(|_| format!("{host} can't be the name of a host"))?;
        let target = Target { host, port, authority, tls, headers };
        Ok(Client { runtime: Handle::current(), target: Arc::new(target), lost })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.target.host).finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let target = Arc::clone(&self.target);
        let sending = async move { tokio::time::timeout(PATIENCE, target.send(request)).await };
        let answer = match self.runtime.spawn(sending).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(format!("no answer within {} s", PATIENCE.as_secs()).into()),
            Err(ended) => Err(ended.into()),
        };
        answer.inspect_err(|error| self.lost.note(error))
    }
}

impl Target {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let stream = TcpStream::connect((self.host.trim_matches(['[', ']']), self.port)).await?;
        match &self.tls {
            None => self.speak(stream, request).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await?;
                self.speak(stream, request).await
            }
        }
    }

    async fn speak<S>(
        &self,
        stream: S,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, HttpError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the sender; what goes wrong on it shows in the answer.
        tokio::spawn(async move { drop(connection.await) });
        let (mut parts, body) = request.into_parts();
        parts.uri = parts.uri.path().parse()?;
        self.headers.add_to(&mut parts.headers);
        parts.headers.insert(HOST, self.authority.clone());
        let response = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }
}
