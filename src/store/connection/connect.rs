//! Opens a connection to the first of a URL's hosts that takes writes.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::ground::tls;
use crate::store::connection::sqlstate::{ReadOnlySince, WithCodes};
use crate::store::{PostgresUrl, StoreError};

/// How long a database may take to accept a starting process: an embedded one has only just been
/// started itself.
pub(in crate::store) const PATIENCE: Duration = Duration::from_secs(15);
/// A peer that acknowledges nothing for this long is gone, even if it never reset the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// How the server notices that this process is gone without having said so, and releases our locks:
/// by an idle transaction, or a peer that acknowledges nothing
/// (<https://www.postgresql.org/docs/current/runtime-config-client.html>).
const IF_WE_ARE_GONE: &str = "SET idle_in_transaction_session_timeout = '15s'; \
     SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// Why no connection could be opened.
#[derive(Debug, Clone)]
pub(in crate::store) struct ConnectError {
    why: String,
    /// Whether the server is up and will keep refusing: wrong credentials, no such database.
    refused: bool,
    /// Whether the server is up and can only be read.
    read_only: bool,
}

impl From<ConnectError> for StoreError {
    fn from(error: ConnectError) -> StoreError {
        match error.refused {
            true => StoreError::Refused(error.why),
            false => StoreError::Unavailable(error.why),
        }
    }
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl ConnectError {
    fn away(why: impl ToString) -> ConnectError {
        ConnectError { why: why.to_string(), refused: false, read_only: false }
    }
}

/// The server's message with its SQLSTATE, or the client's error with its cause. Class 28 is about
/// the user's credentials, 3D000 about a database that doesn't exist
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
impl From<tokio_postgres::Error> for ConnectError {
    fn from(error: tokio_postgres::Error) -> ConnectError {
        match (error.as_db_error(), std::error::Error::source(&error)) {
            (Some(of_server), _) => {
                let code = of_server.code().code();
                ConnectError {
                    why: format!("{} (SQLSTATE {code})", of_server.message()),
                    refused: code.starts_with("28") || code == "3D000",
                    read_only: false,
                }
            }
            (None, Some(cause)) => {
                ConnectError::away(tls::with_advice(format_args!("{error}: {cause}")))
            }
            (None, None) => ConnectError::away(error),
        }
    }
}

/// Opens a connection, and takes at most `within` over all hosts. `statement_timeout` is
/// PostgreSQL's setting; `0` means none. The host that served last is tried first. A read-only
/// server is passed over, unless the URL says otherwise.
pub(in crate::store) async fn connect(
    url: &PostgresUrl,
    within: Duration,
    statement_timeout: &str,
    read_only: &ReadOnlySince,
) -> Result<AsyncPgConnection, ConnectError> {
    let client = client(url, within, statement_timeout, read_only).await?;
    AsyncPgConnection::try_from(client).await.map_err(ConnectError::away)
}

/// Like `connect`, for callers that need only the client under it.
pub(in crate::store) async fn client(
    url: &PostgresUrl,
    within: Duration,
    statement_timeout: &str,
    read_only: &ReadOnlySince,
) -> Result<Client, ConnectError> {
    let count = url.hosts.len();
    let first = url.serving.load(Ordering::Relaxed);
    let patience = within / u32::try_from(count).unwrap_or(1);
    let settings = format!(
        "SET TIME ZONE 'UTC'; SET statement_timeout = '{statement_timeout}'; {IF_WE_ARE_GONE}; \
         SHOW transaction_read_only"
    );
    let mut errors: Vec<ConnectError> = Vec::new();
    for index in (0..count).map(|step| (first + step) % count) {
        let opening = open(&url.hosts[index], url, read_only, &settings);
        let opened = tokio::time::timeout(patience, opening).await.unwrap_or_else(|_| {
            Err(ConnectError::away(format!("no answer within {} ms", patience.as_millis())))
        });
        match opened {
            Ok(client) => {
                url.serving.store(index, Ordering::Relaxed);
                return Ok(client);
            }
            Err(mut error) => {
                if count > 1 {
                    error.why = format!("{}: {}", url.host_name(index), error.why);
                }
                errors.push(error);
            }
        }
    }
    let refused = errors.iter().all(|error| error.refused);
    let is_read_only = errors.iter().any(|error| error.read_only);
    if is_read_only {
        read_only.refuse();
    }
    let why: Vec<String> = errors.into_iter().map(|error| error.why).collect();
    Err(ConnectError { why: why.join("; "), refused, read_only: is_read_only })
}

/// Opens a connection to one host and applies `settings`. Refuses a read-only server if writes are
/// needed.
async fn open(
    host: &Config,
    url: &PostgresUrl,
    read_only: &ReadOnlySince,
    settings: &str,
) -> Result<Client, ConnectError> {
    let client = start(host, url.tls.as_ref(), read_only).await?;
    let answers = client.simple_query(settings).await?;
    let is_read_only = answers
        .iter()
        .any(|answer| matches!(answer, SimpleQueryMessage::Row(row) if row.get(0) == Some("on")));
    if is_read_only && url.must_take_writes {
        let why =
            "this server can only be read: it is a standby, or was the primary before a failover";
        return Err(ConnectError { read_only: true, ..ConnectError::away(why) });
    }
    Ok(client)
}

async fn start(
    host: &Config,
    tls: Option<&MakeRustlsConnect>,
    read_only: &ReadOnlySince,
) -> Result<Client, ConnectError> {
    let port = host.get_ports().first().copied().unwrap_or(5432);
    let name = match host.get_hosts().first() {
        Some(Host::Unix(directory)) => {
            let path = directory.join(format!(".s.PGSQL.{port}"));
            let socket = UnixStream::connect(&path).await;
            let socket = socket.map_err(|e| ConnectError::away(at(&path, &e)))?;
            return plain(socket, host, read_only).await;
        }
        Some(Host::Tcp(name)) => name.as_str(),
        None => "localhost",
    };
    let address = host.get_hostaddrs().first();
    let Some(tls) = tls else {
        return plain(socket(name, address, port).await?, host, read_only).await;
    };
    // Whether a TLS handshake began: this tells a server without TLS from one that can't be
    // trusted.
    let spoken = Arc::new(AtomicBool::new(false));
    let handshake = Handshake {
        connect: MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls.clone(), name)
            .map_err(ConnectError::away)?,
        spoken: Arc::clone(&spoken),
        read_only: read_only.clone(),
    };
    let mut required = host.clone();
    required.ssl_mode(SslMode::Require);
    match sign_in(&required, socket(name, address, port).await?, handshake).await {
        Err(_) if host.get_ssl_mode() == SslMode::Prefer && !spoken.load(Ordering::Relaxed) => {
            plain(socket(name, address, port).await?, host, read_only).await
        }
        signed_in => signed_in,
    }
}

fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// A TCP socket to `address`, or else to one of the addresses of `name`.
async fn socket(
    name: &str,
    address: Option<&IpAddr>,
    port: u16,
) -> Result<TcpStream, ConnectError> {
    let opening = async {
        match address {
            Some(address) => TcpStream::connect((*address, port)).await,
            None => TcpStream::connect((name, port)).await,
        }
    };
    let failed = |error| ConnectError::away(format!("error connecting to server: {error}"));
    let socket = opening.await.map_err(failed)?;
    let options = SockRef::from(&socket);
    let keepalive = TcpKeepalive::new().with_time(UNACKNOWLEDGED);
    options
        .set_tcp_nodelay(true)
        .and_then(|()| options.set_tcp_user_timeout(Some(UNACKNOWLEDGED)))
        .and_then(|()| options.set_tcp_keepalive(&keepalive))
        .map_err(failed)?;
    Ok(socket)
}

/// Signs in without encryption.
async fn plain<S>(
    socket: S,
    host: &Config,
    read_only: &ReadOnlySince,
) -> Result<Client, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut host = host.clone();
    host.ssl_mode(SslMode::Disable);
    sign_in(&host, WithCodes::new(socket, read_only.clone()), NoTls).await
}

/// Signs in. A task serves the connection until it ends; statements under way report why it ended.
async fn sign_in<S, T>(host: &Config, socket: S, tls: T) -> Result<Client, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: TlsConnect<S>,
    T::Stream: Send + 'static,
{
    let (client, connection) = host.connect_raw(socket, tls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the database has ended");
        }
    });
    Ok(client)
}

/// A TLS handshake, after which the decrypted messages are read for their error codes.
struct Handshake<C> {
    connect: C,
    spoken: Arc<AtomicBool>,
    read_only: ReadOnlySince,
}

impl<C> TlsConnect<TcpStream> for Handshake<C>
where
    C: TlsConnect<TcpStream>,
    C::Future: Send + 'static,
{
    type Stream = WithCodes<C::Stream>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, C::Error>> + Send>>;

    fn connect(self, socket: TcpStream) -> Self::Future {
        self.spoken.store(true, Ordering::Relaxed);
        let (shaking, read_only) = (self.connect.connect(socket), self.read_only);
        Box::pin(async move { Ok(WithCodes::new(shaking.await?, read_only)) })
    }
}
