//! A TCP proxy before a service, which can be a bad network.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// How the network treats what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// Each piece takes so long.
    Slow(Duration),
    /// So many bytes a second, each way, on each connection.
    Throttled(u32),
    /// Whoever connects is hung up on.
    Refusing,
}

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<u16>,
    weather: Mutex<Weather>,
    connections: Mutex<Vec<Connection>>,
}

/// A connection that passes through.
struct Connection {
    cut: CancellationToken,
    swallowed: Arc<AtomicBool>,
}

impl Proxy {
    /// A proxy before a port of this machine.
    pub async fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            weather: Mutex::new(Weather::Fair),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&accepting);
                tokio::spawn(async move { shared.pass(client).await });
            }
        });
        Proxy { port, shared }
    }

    /// A proxy before where this URL leads on this machine, and the URL that leads through it.
    pub async fn before(url: &str, usual_port: u16) -> (Proxy, String) {
        let mut url = url::Url::parse(url).unwrap();
        let proxy = Proxy::start(url.port().unwrap_or(usual_port)).await;
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(proxy.port())).unwrap();
        (proxy, url.into())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap() = weather;
    }

    /// Leads new connections to another port; those there are stay where they are.
    pub fn lead_to(&self, target: u16) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// Resets every connection there is.
    pub fn cut(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            connection.cut.cancel();
        }
    }

    /// Swallows whatever the connections there are still send, and closes none: neither side learns
    /// that the other is gone. New connections pass.
    pub fn half_open(&self) {
        for connection in self.shared.connections.lock().unwrap().iter() {
            connection.swallowed.store(true, Ordering::Release);
        }
    }
}

impl Shared {
    fn weather(&self) -> Weather {
        *self.weather.lock().unwrap()
    }

    async fn pass(&self, mut client: TcpStream) {
        if self.weather() == Weather::Refusing {
            let _ = client.set_zero_linger();
            return;
        }
        let target = *self.target.lock().unwrap();
        let Ok(mut service) = TcpStream::connect(("127.0.0.1", target)).await else { return };
        let _ = (client.set_nodelay(true), service.set_nodelay(true));
        let (cut, swallowed) = (CancellationToken::new(), Arc::<AtomicBool>::default());
        {
            let mut connections = self.connections.lock().unwrap();
            // Those that have ended are cancelled by their guards.
            connections.retain(|connection| !connection.cut.is_cancelled());
            connections.push(Connection { cut: cut.clone(), swallowed: Arc::clone(&swallowed) });
        }
        let _ended = cut.clone().drop_guard();
        let (from_client, to_client) = client.split();
        let (from_service, to_service) = service.split();
        let reset = tokio::select! {
            _ = self.pump(from_client, to_service, &swallowed) => false,
            _ = self.pump(from_service, to_client, &swallowed) => false,
            () = cut.cancelled() => true,
        };
        if reset {
            let _ = (client.set_zero_linger(), service.set_zero_linger());
        }
    }

    /// Passes on what one side says to the other, until it ends.
    async fn pump(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        swallowed: &AtomicBool,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = from.read(&mut buffer).await?;
            if swallowed.load(Ordering::Acquire) {
                // Neither passed on nor answered, not even the end.
                return std::future::pending().await;
            }
            if count == 0 {
                return Ok(());
            }
            match self.weather() {
                Weather::Slow(pause) => tokio::time::sleep(pause).await,
                Weather::Throttled(rate) => {
                    let seconds = count as f64 / f64::from(rate);
                    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                }
                Weather::Fair | Weather::Refusing => {}
            }
            to.write_all(&buffer[..count]).await?;
        }
    }
}
