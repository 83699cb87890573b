//! Opens connections to a mail server, from the first packet until the server is ready for mail.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

use super::smtp_url::{Encryption, SmtpUrl};
use super::starttls::NoReadAhead;

/// How long connecting may take, and how long a mail waits for a connection; below the time that an
/// effect may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept that nobody waited for any more when it was ready.
const KEPT: Duration = Duration::from_secs(60);

/// How a machine names itself to a mail server: by a full name, or an address in brackets.
#[derive(Debug, Clone)]
pub struct EhloName(ClientId);

impl FromStr for EhloName {
    type Err = String;

    fn from_str(text: &str) -> Result<EhloName, String> {
        let wrong = || {
            "must be a full name such as mail.example.com, or an address in brackets such as [192.0.2.1]"
                .to_owned()
        };
        if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            let address = address.strip_prefix("IPv6:").unwrap_or(address);
            return match address.parse().map_err(|_| wrong())? {
                IpAddr::V4(address) => Ok(EhloName(ClientId::Ipv4(address))),
                IpAddr::V6(address) => Ok(EhloName(ClientId::Ipv6(address))),
            };
        }
        let label = |label: &str| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            (1..=63).contains(&label.len())
                && label.bytes().all(fits)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let is_name = text.len() <= 253 && text.contains('.') && text.split('.').all(label);
        // An address without brackets would be a name that nobody has.
        if !is_name || text.parse::<IpAddr>().is_ok() {
            return Err(wrong());
        }
        Ok(EhloName(ClientId::Domain(text.to_owned())))
    }
}

/// How to talk to the server, besides its URL.
#[derive(Debug, Clone)]
pub struct SmtpManners {
    /// How long the server may take to greet, and for each answer until it is ready for mail. RFC
    /// 5321, section 4.5.3.2, gives it five minutes.
    pub patience: Duration,
    /// How this machine names itself; if `None`, by its full name, or else by its address.
    pub hello: Option<EhloName>,
}

/// A connection on which mail can be sent.
pub(super) struct Line {
    pub(super) connection: AsyncSmtpConnection,
    pub(super) last_used: Instant,
}

/// Opens connections, each in a task of its own. A mail that waits for one gives up after a while,
/// and the connection is there for the next mail.
pub(super) struct Greetings {
    url: SmtpUrl,
    manners: SmtpManners,
    /// One permit for each connection that may be opened at the same time.
    places: Arc<Semaphore>,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    waiting: VecDeque<oneshot::Sender<anyhow::Result<Line>>>,
    ready: Vec<Line>,
}

impl Greetings {
    /// Opens at most `connections` at the same time.
    pub(super) fn new(url: SmtpUrl, manners: SmtpManners, connections: usize) -> Arc<Greetings> {
        let places = Arc::new(Semaphore::new(connections));
        Arc::new(Greetings { url, manners, places, book: Mutex::default() })
    }

    /// A connection that is ready for mail, or why there is none.
    pub(super) async fn connection(self: &Arc<Self>) -> anyhow::Result<Line> {
        let (sender, outcome) = oneshot::channel();
        {
            let mut book = self.book();
            book.ready
                .retain(|line| line.last_used.elapsed() < KEPT && !line.connection.has_broken());
            if let Some(line) = book.ready.pop() {
                return Ok(line);
            }
            book.waiting.push_back(sender);
        }
        // Without a permit, so many connections are being opened that each caller that waits gets
        // one.
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            let greetings = Arc::clone(self);
            tokio::spawn(async move {
                let patience = greetings.manners.patience;
                let outcome = tokio::time::timeout(patience, greetings.connect()).await;
                let outcome = outcome.unwrap_or_else(|_| {
                    let waited = humantime::format_duration(patience);
                    Err(anyhow::anyhow!("the server was not ready within {waited} (SMTP_TIMEOUT)"))
                });
                drop(place);
                greetings.deliver(outcome);
            });
        }
        outcome.await?
    }

    /// Gives a connection to the first caller that still waits. If nobody does, a connection is
    /// kept, and an error is dropped.
    fn deliver(&self, mut outcome: anyhow::Result<Line>) {
        let mut book = self.book();
        while let Some(waiting) = book.waiting.pop_front() {
            match waiting.send(outcome) {
                Ok(()) => return,
                Err(returned) => outcome = returned,
            }
        }
        book.ready.extend(outcome.ok());
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> anyhow::Result<Line> {
        let mut connection = self.open().await?;
        if let Some(credentials) = &self.url.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(Line { connection, last_used: Instant::now() })
    }

    /// Opens a connection, encrypted if it has to be.
    async fn open(&self) -> anyhow::Result<AsyncSmtpConnection> {
        let SmtpUrl { host, port, encryption, .. } = &self.url;
        let address = (host.as_str(), *port);
        let hello = self.hello().await;
        if let Encryption::Always(tls) = encryption {
            let tls = Some(tls.clone());
            let timeout = Some(CONNECT_TIMEOUT);
            return Ok(
                AsyncSmtpConnection::connect_tokio1(address, timeout, &hello, tls, None).await?
            );
        }
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
        let stream = connecting.await.map_err(|_| {
            anyhow::anyhow!("{host}:{port} can't be reached within {} s", CONNECT_TIMEOUT.as_secs())
        })??;
        stream.set_nodelay(true)?;
        let stream: Box<dyn AsyncTokioStream> = match encryption {
            Encryption::None => Box::new(stream),
            _ => Box::new(NoReadAhead::new(stream)),
        };
        let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &hello).await?;
        match encryption {
            Encryption::Required(tls) => connection.starttls(tls.clone(), &hello).await?,
            Encryption::Offered(tls) if connection.can_starttls() => {
                connection.starttls(tls.clone(), &hello).await?;
            }
            _ => {}
        }
        Ok(connection)
    }

    /// How this machine names itself (RFC 5321, section 4.1.1.1): by a full name, or by the address
    /// from which it reaches the server. Many servers refuse a bare host name.
    async fn hello(&self) -> ClientId {
        match &self.manners.hello {
            Some(hello) => hello.0.clone(),
            None => match gethostname::gethostname()
                .to_str()
                .and_then(|name| name.parse::<EhloName>().ok())
            {
                Some(hello) => hello.0,
                None => self.own_address().await,
            },
        }
    }

    async fn own_address(&self) -> ClientId {
        let asked = async {
            let mut found =
                tokio::net::lookup_host((self.url.host.as_str(), self.url.port)).await?;
            let server = found.next().ok_or_else(|| std::io::Error::other("no address"))?;
            let any: IpAddr = match server {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            // Nothing is sent: the kernel says from which address it would be.
            let socket = tokio::net::UdpSocket::bind((any, 0)).await?;
            socket.connect(server).await?;
            socket.local_addr()
        };
        match asked.await.map(|address| address.ip()) {
            Ok(IpAddr::V4(address)) => ClientId::Ipv4(address),
            Ok(IpAddr::V6(address)) => ClientId::Ipv6(address),
            Err(_) => ClientId::Ipv4(Ipv4Addr::LOCALHOST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_full_name_or_an_address_in_brackets() {
        for (text, said) in [
            ("mail.example.com", "mail.example.com"),
            ("[192.0.2.1]", "[192.0.2.1]"),
            ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        ] {
            assert_eq!(text.parse::<EhloName>().unwrap().0.to_string(), said);
        }
        for bad in
            ["", "laptop", "192.0.2.1", "[laptop]", "a..b", "-a.b", "a.b\r\nMAIL", "a b.c", "."]
        {
            assert!(bad.parse::<EhloName>().unwrap_err().contains("mail.example.com"), "{bad:?}");
        }
    }
}
