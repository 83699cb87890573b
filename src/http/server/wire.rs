//! What is below HTTP: a connection that can be stalled by its client for so long and no longer,
//! and on which an offer to speak another protocol is not heard.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// For how long a client may take nothing of an answer. The HTTP library waits for ever.
const STALLED_FOR: Duration = Duration::from_secs(30);
/// How much the kernel takes from us that the client hasn't taken; it doubles this.
const SEND_BUFFER: usize = 64 * 1024;

/// A connection of a client.
pub(in crate::http) struct Wire {
    stream: TcpStream,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    patience: Patience,
    /// When something was answered last, and the timer that looks at it.
    answered: Instant,
    quiet: Pin<Box<Sleep>>,
    /// Whether anything has come.
    opened: bool,
}

/// How long a connection may do nothing.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Patience {
    stalled: Duration,
    quiet: Duration,
}

impl Patience {
    /// Where an idle connection is closed and a request answered after these times, one on which
    /// nothing has been answered for longer is kept by a client that sends a request byte by byte:
    /// the HTTP library has a limit for the first alone.
    pub(in crate::http) fn new(idle: Duration, request: Duration) -> Patience {
        Patience { stalled: STALLED_FOR, quiet: idle + request + STALLED_FOR }
    }
}

impl Wire {
    pub(in crate::http) fn new(stream: TcpStream, patience: Patience) -> Wire {
        let socket = SockRef::from(&stream);
        // What the kernel has taken and can't send is memory too, also after the connection is
        // closed here. Where this can't be set, that is more, or held for as long as the kernel
        // likes.
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        let _ = socket.set_tcp_user_timeout(Some(patience.stalled));
        let _ = socket.set_send_buffer_size(SEND_BUFFER);
        let quiet = Box::pin(tokio::time::sleep(patience.quiet));
        Wire { stream, stalled: None, patience, answered: Instant::now(), quiet, opened: false }
    }

    /// Gives a stalled write up in time.
    fn in_time(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<Result<usize>>,
    ) -> Poll<Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            self.answered = Instant::now();
            return written;
        }
        let patience = self.patience.stalled;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(self.give_up("the client takes nothing")))
    }

    /// Whether nothing has been answered for too long.
    fn is_quiet(&mut self, context: &mut Context<'_>) -> bool {
        while self.quiet.as_mut().poll(context).is_ready() {
            let until = self.answered + self.patience.quiet;
            if until <= Instant::now() {
                return true;
            }
            self.quiet.as_mut().reset(until);
        }
        false
    }

    fn give_up(&self, why: &'static str) -> Error {
        // Closing it resets it: nothing that is still to be sent is kept.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        Error::new(ErrorKind::TimedOut, why)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        if self.is_quiet(context) {
            return Poll::Ready(Err(self.give_up("nothing has been asked for in time")));
        }
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if !self.opened
            && let Some(came) = buffer.filled_mut().get_mut(before..)
        {
            self.opened |= !came.is_empty();
            ignore_offer(came);
        }
        Poll::Ready(read)
    }
}

/// The connection option by which a client offers another protocol, and one that means nothing.
const OFFER: &[u8] = b"upgrade";
const NOTHING: &[u8] = b"ignored";

/// Takes the offer out of the head of a connection's first request, which is where clients that
/// speak HTTP/2 as well make it (RFC 9110, section 7.8: it may be ignored). The HTTP library would
/// end the connection after the answer without a word. Later requests are bodies and heads mixed,
/// and are left alone: see [`connection`](crate::http::middleware::connection).
fn ignore_offer(first: &mut [u8]) {
    let Some(end) = first.windows(4).position(|four| four == b"\r\n\r\n") else { return };
    let Some(head) = first.get_mut(..end) else { return };
    for line in head.split_mut(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at_mut(colon);
        if !name.eq_ignore_ascii_case(b"connection") {
            continue;
        }
        for option in value.split_mut(|byte| b":, \t\r".contains(byte)) {
            if option.eq_ignore_ascii_case(OFFER) {
                option.copy_from_slice(NOTHING);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A connection as the server has it, and as its client has it.
    async fn pair(stalled: Duration, quiet: Duration) -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (Wire::new(server, Patience { stalled, quiet }), client)
    }

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_client_that_takes_nothing_ends_the_answer() {
        let (mut wire, client) = pair(SHORT, LONG).await;
        let answer = vec![0; 64 << 20];
        let error = wire.write_all(&answer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop((wire, client));
        // One that takes what there is gets it all.
        let (mut wire, mut client) = pair(LONG, LONG).await;
        let reading = tokio::spawn(async move {
            let mut taken = Vec::new();
            client.read_to_end(&mut taken).await.map(|_| taken.len())
        });
        wire.write_all(&answer).await.unwrap();
        wire.shutdown().await.unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), answer.len());
    }

    #[tokio::test]
    async fn a_client_that_never_comes_to_its_request_is_hung_up_on() {
        let (mut wire, mut client) = pair(LONG, SHORT).await;
        let dripping = tokio::spawn(async move { while client.write_all(b"x").await.is_ok() {} });
        let mut bytes = [0; 64];
        let error = loop {
            match wire.read(&mut bytes).await {
                Ok(read) => assert_ne!(read, 0),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(wire);
        dripping.await.unwrap();
    }

    #[test]
    fn an_offer_is_taken_out_of_the_first_head_and_out_of_nothing_else() {
        let read = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            ignore_offer(&mut bytes);
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(
            read(
                "GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\nupgrade"
            ),
            "GET / HTTP/1.1\r\nConnection: ignored, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\nupgrade"
        );
        assert_eq!(
            read("GET / HTTP/1.1\r\na: b\r\ncONNECTION:UPGRADE,close\r\n\r\n"),
            "GET / HTTP/1.1\r\na: b\r\ncONNECTION:ignored,close\r\n\r\n"
        );
        for text in [
            "",
            "\r\n\r\n",
            "GET /?Connection:upgrade HTTP/1.1\r\nHost: upgrade\r\n\r\n",
            "GET / HTTP/1.1\r\nConnection: upgraded, keep-alive\r\n\r\nConnection: upgrade\r\n\r\n",
            "GET / HTTP/1.1\r\nConnection: upgrade\r\n",
            "GET / HTTP/1.1\r\nX-Connection: upgrade\r\n\r\n",
        ] {
            assert_eq!(read(text), text);
        }
    }
}
