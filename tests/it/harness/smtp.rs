//! A mail server (RFC 5321) that keeps what it gets, and can be told to misbehave.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::eventually;

/// A mail as it arrived.
#[derive(Debug, Clone)]
pub struct Mail {
    pub message_id: String,
    pub to: String,
    pub subject: String,
    pub raw: String,
}

/// What the server does with a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    /// 550 to a recipient with this address; others are accepted.
    RefuseRecipient(String),
    /// 451 to so many mails, then they are accepted.
    DeferFirst(usize),
    /// Keeps so many mails, but closes the connection instead of saying so; then it says so.
    DropAfterDot(usize),
    /// Never answers once it has the mail, which it throws away.
    Hang,
    /// Answers only once it is told something else.
    Hold,
}

#[derive(Default)]
struct State {
    mails: Vec<Mail>,
    verdict: Option<Verdict>,
    hanging: usize,
}

/// The server. It stops with the test's runtime.
#[derive(Clone)]
pub struct Smtp {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Smtp {
    pub async fn start() -> Smtp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let smtp = Smtp { address: listener.local_addr().unwrap(), state: Arc::default() };
        let state = Arc::clone(&smtp.state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                // A client that hangs up ends its dialogue, and nothing else.
                tokio::spawn(async move { drop(dialogue(stream, &state).await) });
            }
        });
        smtp
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// What to do from now on.
    pub fn set(&self, verdict: Verdict) {
        self.state.lock().unwrap().verdict = Some(verdict);
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

    /// Waits until a client hangs in the middle of its mail.
    pub async fn wait_for_hanging(&self) {
        eventually("a mail hangs", || async {
            (self.state.lock().unwrap().hanging > 0).then_some(())
        })
        .await;
    }
}

async fn dialogue(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 sink\r\n").await?;
    let mut recipient = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.split([' ', '\r']).next().unwrap_or_default().to_ascii_uppercase();
        let answer: &[u8] = match verb.as_str() {
            "EHLO" => b"250-sink\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
            "HELO" | "MAIL" | "RSET" | "NOOP" => b"250 ok\r\n",
            "RCPT" => {
                recipient = between(&line, '<', '>');
                match &state.lock().unwrap().verdict {
                    Some(Verdict::RefuseRecipient(address)) if *address == recipient => {
                        b"550 no such mailbox\r\n"
                    }
                    _ => b"250 ok\r\n",
                }
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let raw = read_data(&mut stream).await?;
                hold(state).await;
                match take(state, &recipient, raw) {
                    Some(answer) => answer,
                    None => return Ok(()),
                }
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => b"502 unknown\r\n",
        };
        stream.write_all(answer).await?;
    }
}

/// The lines up to the lone dot, with the doubled dots of RFC 5321, section 4.5.2, made single.
async fn read_data(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
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

/// Waits while no answer is to be given.
async fn hold(state: &Mutex<State>) {
    let verdict = || state.lock().unwrap().verdict.clone();
    if !matches!(verdict(), Some(Verdict::Hang | Verdict::Hold)) {
        return;
    }
    state.lock().unwrap().hanging += 1;
    if verdict() == Some(Verdict::Hang) {
        std::future::pending::<()>().await;
    }
    eventually("the mail is answered", || async {
        (verdict() != Some(Verdict::Hold)).then_some(())
    })
    .await;
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
