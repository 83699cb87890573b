//! Mail by SMTP (RFC 5321), over connections that are kept open between mails.
//!
//! The pool is ours because of one case: a send that is given up half-way leaves its connection in
//! the middle of a dialogue. Such a connection is dropped here, never used again: the next mail
//! would take the late answer to this one for its own.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult};
use lettre::message::Mailbox;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use tokio::net::TcpStream;

use super::smtp_url::{Encryption, SmtpUrl};
use super::starttls::Unhurried;
use super::{Mail, MailError, Mailer, message};
use crate::tls;

/// How long a connection may rest before it is asked whether it still lives. Servers close
/// connections that idle for minutes (RFC 5321, section 4.5.3.2).
const TRUSTED_IDLE: Duration = Duration::from_secs(5);
/// How long connecting may take, and waiting for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An SMTP server.
pub struct SmtpMailer {
    pool: Pool<Server>,
    from: Mailbox,
}

impl SmtpMailer {
    /// A mailer that connects when first needed, with at most `connections` at a time.
    ///
    /// # Errors
    /// Never for a number above zero.
    pub fn new(url: &SmtpUrl, from: Mailbox, connections: usize) -> anyhow::Result<SmtpMailer> {
        // RFC 5321, section 4.1.1.1: the name of this machine, as far as it is known.
        let hello = ClientId::Domain(gethostname::gethostname().to_string_lossy().into_owned());
        let server = Server { url: url.clone(), hello };
        let pool = Pool::builder(server)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .build()?;
        Ok(SmtpMailer { pool, from })
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let message = message(&self.from, mail)?;
        let connection =
            self.pool.get().await.map_err(|e| MailError::Transient(no_connection(&e)))?;
        let mut connection = Dialogue(Some(connection));
        let Some(line) = connection.0.as_mut() else { return Ok(()) };
        let sent = line.connection.send(message.envelope(), &message.formatted()).await;
        if line.connection.has_broken() {
            // Dropped out of the pool, as after a send that was given up.
            return sent.map(|_| ()).map_err(classify);
        }
        line.last_used = Instant::now();
        // The dialogue is complete: back into the pool.
        drop(connection.0.take());
        sent.map(|_| ()).map_err(classify)
    }
}

/// A connection in use. Dropped while it still has one, it takes it out of the pool.
struct Dialogue(Option<Object<Server>>);

impl Drop for Dialogue {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}

struct Server {
    url: SmtpUrl,
    hello: ClientId,
}

struct Line {
    connection: AsyncSmtpConnection,
    last_used: Instant,
}

impl Server {
    /// A connection that is encrypted if it is to be.
    async fn connect(&self) -> anyhow::Result<AsyncSmtpConnection> {
        let SmtpUrl { host, port, encryption, .. } = &self.url;
        let address = (host.as_str(), *port);
        if let Encryption::Always(tls) = encryption {
            let tls = Some(tls.clone());
            let timeout = Some(CONNECT_TIMEOUT);
            return Ok(AsyncSmtpConnection::connect_tokio1(
                address,
                timeout,
                &self.hello,
                tls,
                None,
            )
            .await?);
        }
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn AsyncTokioStream> = match encryption {
            Encryption::None => Box::new(stream),
            _ => Box::new(Unhurried::new(stream)),
        };
        let mut connection =
            AsyncSmtpConnection::connect_with_transport(stream, &self.hello).await?;
        match encryption {
            Encryption::Required(tls) => connection.starttls(tls.clone(), &self.hello).await?,
            Encryption::Offered(tls) if connection.can_starttls() => {
                connection.starttls(tls.clone(), &self.hello).await?;
            }
            _ => {}
        }
        Ok(connection)
    }
}

impl Manager for Server {
    type Type = Line;
    type Error = anyhow::Error;

    async fn create(&self) -> anyhow::Result<Line> {
        let mut connection = self.connect().await?;
        if let Some(credentials) = &self.url.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(Line { connection, last_used: Instant::now() })
    }

    async fn recycle(&self, line: &mut Line, _: &Metrics) -> RecycleResult<anyhow::Error> {
        let alive =
            line.last_used.elapsed() < TRUSTED_IDLE || line.connection.test_connected().await;
        if alive && !line.connection.has_broken() {
            Ok(())
        } else {
            Err(RecycleError::message("the server has closed the connection"))
        }
    }
}

/// The error with its causes, which the client's own text leaves out.
fn no_connection(error: &PoolError<anyhow::Error>) -> String {
    match error {
        PoolError::Backend(error) => {
            tls::with_advice(format_args!("no SMTP connection: {error:#}"))
        }
        other => format!("no SMTP connection: {other}"),
    }
}

/// Refused for good, or worth another try (RFC 5321, section 4.2.1; RFC 4954, section 6 for the
/// codes of a failed sign-in, which say nothing about the mail).
fn classify(error: Error) -> MailError {
    const SIGN_IN: [u16; 4] = [530, 534, 535, 538];
    let text = match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    let sign_in = error.status().is_some_and(|code| SIGN_IN.contains(&code.into()));
    // A "client" error is one the mail itself brings about, such as an address this server can't take.
    if (error.is_permanent() && !sign_in) || error.is_client() {
        MailError::Permanent(text)
    } else {
        MailError::Transient(text)
    }
}
