//! Sends mail by SMTP (RFC 5321), over connections that are kept open between mails.
//!
//! The pool is our own because of one case: a send that is given up half-way leaves its connection
//! in the middle of a dialogue. Such a connection is dropped here and never used again: the next
//! mail would take the late answer to this one for its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult};
use lettre::message::Mailbox;
use lettre::transport::smtp::Error;

use super::greetings::{CONNECT_TIMEOUT, Greetings, Line, SmtpManners};
use super::smtp_url::SmtpUrl;
use super::{Mail, Mailer, message, spans};
use crate::domain::processing::failure::Failure;
use crate::ground::tls;

/// How long a connection may be idle before it is checked. Servers close connections that idle for
/// minutes (RFC 5321, section 4.5.3.2).
const TRUSTED_IDLE: Duration = Duration::from_secs(5);

/// Sends mail through an SMTP server.
pub struct SmtpMailer {
    pool: Pool<Server>,
    from: Mailbox,
    /// Host and port, for traces.
    server: (String, u16),
}

impl SmtpMailer {
    /// A mailer that connects when first needed, with at most `connections` at a time.
    ///
    /// # Errors
    /// Never for a number above zero.
    pub fn new(
        url: &SmtpUrl,
        from: Mailbox,
        connections: usize,
        manners: SmtpManners,
    ) -> anyhow::Result<SmtpMailer> {
        let pool = Pool::builder(Server(Greetings::new(url.clone(), manners, connections)))
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .build()?;
        Ok(SmtpMailer { pool, from, server: (url.host.clone(), url.port) })
    }

    /// Makes sure that the server is ready for mail. Returns what it calls itself.
    ///
    /// # Errors
    /// It can't be reached, or refuses us.
    pub async fn probe(&self) -> Result<String, Failure> {
        let line = self.pool.get().await.map_err(|e| Failure::transient(no_connection(&e)))?;
        Ok(line.connection.server_info().name().to_owned())
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<(), Failure> {
        let sending = async {
            let message = message(&self.from, mail)?;
            let connection =
                self.pool.get().await.map_err(|e| Failure::transient(no_connection(&e)))?;
            let mut dialogue = Dialogue { connection: Some(connection) };
            dialogue.send(&message).await.map_err(classify)
        };
        spans::sending((&self.server.0, self.server.1), mail, sending).await
    }
}

/// A connection in use. If this is dropped before the dialogue has ended, it takes the connection
/// out of the pool.
struct Dialogue {
    connection: Option<Object<Server>>,
}

impl Dialogue {
    #[expect(clippy::expect_used, reason = "only the end of a dialogue takes its connection")]
    async fn send(&mut self, message: &lettre::Message) -> Result<(), Error> {
        let line = self.connection.as_mut().expect("the dialogue has not ended");
        let sent = line.connection.send(message.envelope(), &message.formatted()).await;
        if !line.connection.has_broken() {
            line.last_used = Instant::now();
            // The dialogue is complete: the connection goes back into the pool.
            drop(self.connection.take());
        }
        sent.map(drop)
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}

struct Server(Arc<Greetings>);

impl Manager for Server {
    type Type = Line;
    type Error = anyhow::Error;

    async fn create(&self) -> anyhow::Result<Line> {
        self.0.connection().await
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

/// Tells whether the mail is refused for good, or worth another try (RFC 5321, section 4.2.1). The
/// codes of a failed sign-in (RFC 4954, section 6) say nothing about the mail.
fn classify(error: Error) -> Failure {
    const SIGN_IN: [u16; 4] = [530, 534, 535, 538];
    // The server refuses how this machine names itself, which many do only with the first
    // recipient.
    const HELLO: u16 = 504;
    let text = match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    let code = error.status().map(u16::from);
    if code == Some(HELLO) {
        return Failure::transient(format!(
            "{text} (SMTP_HELO_NAME is what the server is told that this machine is called)"
        ));
    }
    let sign_in = code.is_some_and(|code| SIGN_IN.contains(&code));
    // A "client" error is caused by the mail itself, such as an address that this server can't
    // take.
    if (error.is_permanent() && !sign_in) || error.is_client() {
        Failure::permanent(text)
    } else {
        Failure::transient(text)
    }
}
