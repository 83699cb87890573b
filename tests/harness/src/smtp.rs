//! A mail server (RFC 5321) that keeps what it gets, and can be told to misbehave.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{Identity, eventually, eventually_within};

/// A mail as it arrived.
#[derive(Debug, Clone)]
pub struct Mail {
    pub message_id: String,
    pub to: String,
    pub subject: String,
    pub raw: String,
    pub at: DateTime<Utc>,
}

/// What the server does with a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    /// 550 to a recipient with this address; others are accepted.
    RefuseRecipient(String),
    /// 550 to every recipient.
    RefuseAll,
    /// Hangs up on whoever connects, or is connected and says anything.
    Unreachable,
    /// 451 to so many mails, then they are accepted.
    DeferFirst(usize),
    /// Keeps so many mails, but closes the connection instead of saying so; then it says so.
    DropAfterDot(usize),
    /// Never answers once it has the mail, which it throws away.
    Hang,
    /// Answers only once it is told something else.
    Hold,
    /// Greets only once it is told something else.
    HoldGreeting,
    /// 504 to every recipient, as of a client with a wrong name.
    RefuseHello,
}

#[derive(Default)]
struct State {
    mails: Vec<Mail>,
    verdict: Option<Verdict>,
    hanging: usize,
    /// What its clients called themselves.
    hellos: Vec<String>,
    connections: usize,
    /// How long it takes to say that a mail is taken.
    pause: Duration,
}

/// The server. It stops with the test's runtime.
#[derive(Clone)]
pub struct Smtp {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// Whether the server speaks TLS.
#[derive(Clone)]
enum Encryption {
    Never,
    /// Once it is asked to; before that it takes no mail.
    OnRequest(TlsAcceptor),
    Always(TlsAcceptor),
}

impl Smtp {
    pub async fn start() -> Smtp {
        Smtp::start_with(Encryption::Never).await
    }

    /// One that speaks TLS from the first byte.
    pub async fn start_encrypted(identity: &Identity) -> Smtp {
        Smtp::start_with(Encryption::Always(identity.acceptor())).await
    }

    /// One that offers STARTTLS, and takes no mail without.
    pub async fn start_upgradable(identity: &Identity) -> Smtp {
        Smtp::start_with(Encryption::OnRequest(identity.acceptor())).await
    }

    async fn start_with(encryption: Encryption) -> Smtp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let smtp = Smtp { address: listener.local_addr().unwrap(), state: Arc::default() };
        let state = Arc::clone(&smtp.state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, encryption) = (Arc::clone(&state), encryption.clone());
                // A client that hangs up ends its dialogue, and nothing else.
                tokio::spawn(async move { drop(serve(stream, &state, encryption).await) });
            }
        });
        smtp
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What to do from now on.
    pub fn set(&self, verdict: Verdict) {
        self.state.lock().unwrap().verdict = Some(verdict);
    }

    /// How long it takes from now on to say that a mail is taken.
    pub fn set_pause(&self, pause: Duration) {
        self.state.lock().unwrap().pause = pause;
    }

    /// The mails taken so far.
    pub fn mails(&self) -> Vec<Mail> {
        self.state.lock().unwrap().mails.clone()
    }

    pub fn distinct_ids(&self) -> BTreeSet<String> {
        self.mails().into_iter().map(|mail| mail.message_id).collect()
    }

    /// The mails, once there are so many with different ids.
    pub async fn wait_for(&self, count: usize) -> Vec<Mail> {
        eventually(&format!("{count} mails"), || async {
            (self.distinct_ids().len() >= count).then(|| self.mails())
        })
        .await
    }

    /// What its clients called themselves.
    pub fn hellos(&self) -> Vec<String> {
        self.state.lock().unwrap().hellos.clone()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// How many mails hang now.
    pub fn hanging(&self) -> usize {
        self.state.lock().unwrap().hanging
    }

    /// Waits until a client hangs in the middle of its mail. After failures the next mail may wait for its
    /// breaker.
    pub async fn wait_for_hanging(&self) {
        eventually_within(Duration::from_secs(120), "a mail hangs", || async {
            (self.state.lock().unwrap().hanging > 0).then_some(())
        })
        .await;
    }
}

async fn serve(
    mut stream: TcpStream,
    state: &Mutex<State>,
    encryption: Encryption,
) -> std::io::Result<()> {
    const GREETING: &[u8] = b"220 sink\r\n";
    state.lock().unwrap().connections += 1;
    eventually("it greets", || async {
        (state.lock().unwrap().verdict != Some(Verdict::HoldGreeting)).then_some(())
    })
    .await;
    match encryption {
        Encryption::Never => {
            stream.write_all(GREETING).await?;
            dialogue(stream, state, false).await.map(drop)
        }
        Encryption::Always(acceptor) => {
            let mut stream = acceptor.accept(stream).await?;
            stream.write_all(GREETING).await?;
            dialogue(stream, state, false).await.map(drop)
        }
        Encryption::OnRequest(acceptor) => {
            stream.write_all(GREETING).await?;
            let Some(stream) = dialogue(stream, state, true).await? else { return Ok(()) };
            dialogue(acceptor.accept(stream).await?, state, false).await.map(drop)
        }
    }
}

/// Speaks until the client ends it, or asks for TLS: then the stream is given back.
async fn dialogue<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    state: &Mutex<State>,
    upgradable: bool,
) -> std::io::Result<Option<S>> {
    let mut stream = BufReader::new(stream);
    let mut recipient = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        if state.lock().unwrap().verdict == Some(Verdict::Unreachable) {
            return Ok(None);
        }
        let verb = line.split([' ', '\r']).next().unwrap_or_default().to_ascii_uppercase();
        if verb == "EHLO" {
            let hello = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
            state.lock().unwrap().hellos.push(hello);
        }
        let answer: &[u8] = match verb.as_str() {
            "EHLO" if upgradable => b"250-sink\r\n250 STARTTLS\r\n",
            "STARTTLS" if upgradable => {
                stream.write_all(b"220 go on\r\n").await?;
                return Ok(Some(stream.into_inner()));
            }
            "AUTH" | "MAIL" if upgradable => b"530 STARTTLS first\r\n",
            "EHLO" => b"250-sink\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
            "HELO" | "MAIL" | "RSET" | "NOOP" => b"250 ok\r\n",
            "RCPT" => {
                recipient = between(&line, '<', '>');
                match &state.lock().unwrap().verdict {
                    Some(Verdict::RefuseRecipient(address)) if *address == recipient => {
                        b"550 no such mailbox\r\n"
                    }
                    Some(Verdict::RefuseAll) => b"550 not here\r\n",
                    Some(Verdict::RefuseHello) => b"504 5.5.2 Helo command rejected\r\n",
                    _ => b"250 ok\r\n",
                }
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let raw = read_data(&mut stream).await?;
                if hold(state).await && has_gone(&mut stream).await {
                    return Ok(None);
                }
                let answer = take(state, &recipient, raw);
                let pause = state.lock().unwrap().pause;
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                let Some(answer) = answer else { return Ok(None) };
                answer
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(None);
            }
            _ => b"502 unknown\r\n",
        };
        stream.write_all(answer).await?;
    }
}

/// The lines up to the lone dot, with the doubled dots of RFC 5321, section 4.5.2, made single.
async fn read_data(stream: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<String> {
    let mut raw = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == ".\r\n" {
            return Ok(raw);
        }
        raw.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}

/// Whether the client has hung up, or broken off.
async fn has_gone(stream: &mut (impl AsyncBufReadExt + Unpin)) -> bool {
    let read = tokio::time::timeout(Duration::ZERO, stream.fill_buf()).await;
    read.is_ok_and(|read| read.map_or(true, <[u8]>::is_empty))
}

/// Waits while no answer is to be given. Whether it had to.
async fn hold(state: &Mutex<State>) -> bool {
    let verdict = || state.lock().unwrap().verdict.clone();
    if !matches!(verdict(), Some(Verdict::Hang | Verdict::Hold)) {
        return false;
    }
    state.lock().unwrap().hanging += 1;
    if verdict() == Some(Verdict::Hang) {
        // It counts as hanging until something else is wanted; its client gives up by itself.
        eventually_within(Duration::MAX, "never", || async {
            (verdict() != Some(Verdict::Hang)).then_some(())
        })
        .await;
        state.lock().unwrap().hanging -= 1;
        std::future::pending::<()>().await;
    }
    eventually("the mail is answered", || async {
        (verdict() != Some(Verdict::Hold)).then_some(())
    })
    .await;
    state.lock().unwrap().hanging -= 1;
    true
}

/// Decides about a mail; `None` for no answer at all.
fn take(state: &Mutex<State>, recipient: &str, raw: String) -> Option<&'static [u8]> {
    let mut state = state.lock().unwrap();
    let header = |name: &str| {
        let line = raw.lines().find(|l| l.to_ascii_lowercase().starts_with(&format!("{name}: ")));
        line.map_or(String::new(), |l| l[name.len() + 2..].to_owned())
    };
    let mail = Mail {
        message_id: between(&header("message-id"), '<', '>'),
        to: recipient.to_owned(),
        subject: header("subject"),
        raw: raw.clone(),
        at: Utc::now(),
    };
    match state.verdict.clone() {
        Some(Verdict::DeferFirst(left)) if left > 0 => {
            state.verdict = Some(Verdict::DeferFirst(left - 1));
            Some(b"451 try later\r\n")
        }
        Some(Verdict::DropAfterDot(left)) if left > 0 => {
            state.verdict = Some(Verdict::DropAfterDot(left - 1));
            state.mails.push(mail);
            None
        }
        _ => {
            state.mails.push(mail);
            Some(b"250 taken\r\n")
        }
    }
}

fn between(text: &str, from: char, to: char) -> String {
    let inner = text.split_once(from).and_then(|(_, rest)| rest.split_once(to));
    inner.map_or(String::new(), |(inner, _)| inner.to_owned())
}
