//! An endpoint for webhooks, which behaves as it is told and keeps what it gets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::eventually;

/// What an endpoint does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It answers with this status.
    Status(u16),
    /// It answers 503 and asks to be left alone for so many seconds.
    Busy(u32),
    /// It answers 200 after so long.
    Slow(Duration),
    /// It takes the request and says nothing.
    Hang,
    /// It breaks off once it has the body.
    BreakOff,
    /// It says that its answer, a 200, is longer than it is, and breaks off.
    LieAboutLength,
    /// It answers 307 to another place.
    Redirect,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    pub at: Instant,
    pub time: DateTime<Utc>,
    /// What was done with it.
    pub manner: Manner,
}

impl Received {
    /// The `webhook-id`.
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// Its body.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Default)]
struct State {
    manners: HashMap<String, Manner>,
    received: Vec<Received>,
    /// Whether nobody is connected to.
    refuses: bool,
    /// How many requests are being handled, and how many were at most.
    under_way: usize,
    most_under_way: usize,
    /// What is said with a status, where it is not `okay`.
    answers: HashMap<String, String>,
}

/// The endpoint, one for each path. It stops with the test's runtime.
#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    pub async fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Receiver { address: listener.local_addr().unwrap(), state: Arc::default() };
        tokio::spawn(listen(listener, receiver.clone()));
        receiver
    }

    /// Whether connections are refused from now on, those that there are with their next request.
    pub fn refuse(&self, refuses: bool) {
        self.state.lock().unwrap().refuses = refuses;
    }

    fn refuses(&self) -> bool {
        self.state.lock().unwrap().refuses
    }

    /// What came to every endpoint.
    pub fn all(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }

    /// The address of one endpoint; the path begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the endpoint does from now on, if it is not to answer 200.
    pub fn set(&self, path: &str, manner: Manner) {
        self.state.lock().unwrap().manners.insert(path.to_owned(), manner);
    }

    /// What the endpoint says with a status from now on.
    pub fn say(&self, path: &str, text: &str) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), text.to_owned());
    }

    /// What came to an endpoint.
    pub fn received(&self, path: &str) -> Vec<Received> {
        let state = self.state.lock().unwrap();
        state.received.iter().filter(|one| one.path == path).cloned().collect()
    }

    /// What came to an endpoint, once that are so many.
    pub async fn wait_for(&self, path: &str, count: usize) -> Vec<Received> {
        eventually(&format!("{count} deliveries to {path}"), || async {
            let received = self.received(path);
            (received.len() >= count).then_some(received)
        })
        .await
    }

    /// How many requests were being handled at the same time, at most.
    pub fn most_under_way(&self) -> usize {
        self.state.lock().unwrap().most_under_way
    }
}

/// Accepts connections, unless they are refused.
async fn listen(listener: TcpListener, receiver: Receiver) {
    let mut listener = Some(listener);
    loop {
        match (&listener, receiver.refuses()) {
            (Some(_), true) => listener = None,
            (None, false) => listener = TcpListener::bind(receiver.address).await.ok(),
            (Some(open), false) => {
                let accepted = tokio::time::timeout(LOOK, open.accept()).await;
                if let Ok(Ok((stream, _))) = accepted {
                    // A client that hangs up ends its request, and nothing else.
                    tokio::spawn(serve(stream, Arc::clone(&receiver.state)));
                }
            }
            (None, true) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// How often to look whether connections are refused.
const LOOK: Duration = Duration::from_millis(50);

/// The path in the first line of a request.
fn path_of(line: &str) -> &str {
    line.split(' ').nth(1).unwrap_or("/")
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if state.lock().unwrap().refuses {
            return Ok(());
        }
        let path = path_of(&line).to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let manner = {
            let mut state = state.lock().unwrap();
            let manner = state.manners.get(&path).copied().unwrap_or(Manner::Status(200));
            state.received.push(Received {
                path,
                headers,
                body,
                at: Instant::now(),
                time: Utc::now(),
                manner,
            });
            state.under_way += 1;
            state.most_under_way = state.most_under_way.max(state.under_way);
            manner
        };
        let text = state.lock().unwrap().answers.get(path_of(&line)).cloned();
        let answered = answer(&mut stream, manner, text.as_deref().unwrap_or("okay")).await;
        state.lock().unwrap().under_way -= 1;
        if !answered? {
            return Ok(());
        }
    }
}

/// Answers, with this text if it is with a status; returns whether the connection stays.
async fn answer(
    stream: &mut BufReader<TcpStream>,
    manner: Manner,
    text: &str,
) -> std::io::Result<bool> {
    let (head, body) = match manner {
        Manner::Status(status) => {
            (format!("{status} x\r\nContent-Length: {}\r\n", text.len()), text)
        }
        Manner::Busy(seconds) => {
            (format!("503 x\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n"), "")
        }
        Manner::Slow(wait) => {
            tokio::time::sleep(wait).await;
            ("200 x\r\nContent-Length: 0\r\n".to_owned(), "")
        }
        Manner::Hang => {
            // Until the client gives up.
            let mut rest = [0; 1];
            let _ = stream.read(&mut rest).await;
            return Ok(false);
        }
        Manner::BreakOff => return Ok(false),
        Manner::LieAboutLength => ("200 x\r\nContent-Length: 4000\r\n".to_owned(), "but"),
        Manner::Redirect => {
            ("307 x\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n".to_owned(), "")
        }
    };
    stream.write_all(format!("HTTP/1.1 {head}\r\n{body}").as_bytes()).await?;
    Ok(manner != Manner::LieAboutLength)
}
