//! Endpoints of webhooks that do as little as possible: they answer, and note which events came.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What an endpoint is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It answers 200 at once.
    Healthy,
    /// It answers 200 after so long.
    Slow(Duration),
    /// It answers 500 every other second.
    Flapping,
}

/// What came to an endpoint, by event: how often it was answered 200.
pub type Came = HashMap<u128, u32>;

pub struct Endpoint {
    pub url: String,
    came: Arc<Mutex<Came>>,
}

impl Endpoint {
    pub async fn start(manner: Manner) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let came: Arc<Mutex<Came>> = Arc::default();
        let noted = Arc::clone(&came);
        let began = Instant::now();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let came = Arc::clone(&noted);
                // A client that hangs up ends its connection, and nothing else.
                tokio::spawn(async move { drop(serve(stream, manner, began, &came).await) });
            }
        });
        Endpoint { url: format!("http://{address}/hook"), came }
    }

    /// An address at which nobody is.
    pub fn dead() -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/hook", listener.local_addr().unwrap())
    }

    /// How many different events have come.
    pub fn distinct(&self) -> usize {
        self.came.lock().unwrap().len()
    }

    /// How often an event has come that had come before.
    pub fn repeats(&self) -> u32 {
        self.came.lock().unwrap().values().map(|times| times - 1).sum()
    }
}

async fn serve(
    mut stream: TcpStream,
    manner: Manner,
    began: Instant,
    came: &Mutex<Came>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut filled) = (vec![0; 64 * 1024], 0);
    loop {
        let (head, length, id) = loop {
            if let Some(request) = request(&buffer[..filled]) {
                break request;
            }
            let read = stream.read(&mut buffer[filled..]).await?;
            if read == 0 {
                return Ok(());
            }
            filled += read;
        };
        while filled < head + length {
            let read = stream.read(&mut buffer[filled..]).await?;
            if read == 0 {
                return Ok(());
            }
            filled += read;
        }
        buffer.copy_within(head + length..filled, 0);
        filled -= head + length;
        if let Manner::Slow(wait) = manner {
            tokio::time::sleep(wait).await;
        }
        if manner == Manner::Flapping && began.elapsed().as_secs() % 2 == 1 {
            stream.write_all(b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n").await?;
            continue;
        }
        *came.lock().unwrap().entry(id).or_default() += 1;
        stream.write_all(b"HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n").await?;
    }
}

/// The length of a request's head, that of its body, and its event, once all of the head is there.
fn request(bytes: &[u8]) -> Option<(usize, usize, u128)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let value = |name: &str| {
        head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let length = value("content-length").map_or(0, |text| text.parse().unwrap());
    let id = value("webhook-id").and_then(|text| uuid::Uuid::parse_str(text).ok());
    Some((end + 4, length, id.map_or(0, |id| id.as_u128())))
}
