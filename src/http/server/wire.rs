//! The layer below HTTP: a connection on which a client can stall only for a limited time, and on
//! which an offer to switch to another protocol is ignored.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// How long a client may read nothing of a response. The HTTP library itself waits forever.
const STALLED_FOR: Duration = Duration::from_secs(30);
/// The kernel's send buffer, in bytes: data it takes before the client has read it. The kernel
/// doubles this value.
const SEND_BUFFER: usize = 64 * 1024;
/// The most bytes of one read. The HTTP library parses all requests it has read before it looks how
/// many wait, and each takes kilobytes then, however few bytes it was sent in.
const MOST_READ: usize = 4 * 1024;

/// A client's connection.
pub(in crate::http) struct Wire {
    stream: TcpStream,
    /// Runs while the client reads nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    limits: StallLimits,
    /// When a response was last written, and the timer that checks it.
    answered: Instant,
    quiet: Pin<Box<Sleep>>,
    /// Whether any bytes have been received.
    opened: bool,
    /// Whether the last read took as much as one may.
    filled: bool,
}

/// How long a connection may make no progress.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct StallLimits {
    stalled: Duration,
    quiet: Duration,
}

impl StallLimits {
    /// `idle` is the time after which an idle connection is closed, `request` the time within which
    /// a request is answered. If nothing was written for longer than both together, the client is
    /// sending a request byte by byte. The HTTP library has a limit for a connection's first
    /// request alone.
    pub(in crate::http) fn new(idle: Duration, request: Duration) -> StallLimits {
        StallLimits { stalled: STALLED_FOR, quiet: idle + request + STALLED_FOR }
    }
}

impl Wire {
    pub(in crate::http) fn new(stream: TcpStream, limits: StallLimits) -> Wire {
        let socket = SockRef::from(&stream);
        // Data that the kernel has taken and can't send occupies memory, also after we have closed
        // the connection. Where these options can't be set, the buffer is larger, or kept for as
        // long as the kernel likes.
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        let _ = socket.set_tcp_user_timeout(Some(limits.stalled));
        let _ = socket.set_send_buffer_size(SEND_BUFFER);
        let quiet = Box::pin(tokio::time::sleep(limits.quiet));
        Wire {
            stream,
            stalled: None,
            limits,
            answered: Instant::now(),
            quiet,
            opened: false,
            filled: false,
        }
    }

    /// Ends a write that has stalled for too long.
    fn in_time(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<Result<usize>>,
    ) -> Poll<Result<usize>> {
        if written.is_ready() {
            if self.stalled.take().is_some() {
                // Reading goes on.
                context.waker().wake_by_ref();
            }
            self.answered = Instant::now();
            return written;
        }
        let longest = self.limits.stalled;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(longest)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(self.give_up("the client takes nothing")))
    }

    /// Whether nothing has been written for too long.
    fn is_quiet(&mut self, context: &mut Context<'_>) -> bool {
        while self.quiet.as_mut().poll(context).is_ready() {
            let until = self.answered + self.limits.quiet;
            if until <= Instant::now() {
                return true;
            }
            self.quiet.as_mut().reset(until);
        }
        false
    }

    fn give_up(&self, why: &'static str) -> Error {
        // A close without linger resets the connection: the kernel drops what it hasn't sent.
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
        // No more requests from a client that takes no answers. `in_time` wakes the task.
        if self.stalled.is_some() {
            return Poll::Pending;
        }
        // What came is parsed before more is read.
        if std::mem::take(&mut self.filled) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = buffer.remaining().min(MOST_READ);
        let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(most));
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece));
        let length = piece.filled().len();
        buffer.advance(length);
        self.filled = length == MOST_READ;
        if !self.opened
            && let Some(came) = buffer.filled_mut().get_mut(before..)
        {
            self.opened |= !came.is_empty();
            ignore_offer(came);
        }
        Poll::Ready(read)
    }
}

/// The connection option with which a client offers another protocol, and its meaningless
/// replacement.
const OFFER: &[u8] = b"upgrade";
const NOTHING: &[u8] = b"ignored";

/// Removes the offer from the head of a connection's first request, which is where clients that
/// also speak HTTP/2 make it (RFC 9110, section 7.8: it may be ignored). The HTTP library would
/// otherwise close the connection after the response without saying so. Later reads mix bodies and
/// heads, and are left alone: see [`connection`](crate::http::middleware::connection).
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
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// The server's end of a connection, and the client's.
    async fn pair(stalled: Duration, quiet: Duration) -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (Wire::new(server, StallLimits { stalled, quiet }), client)
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
        // A client that keeps reading gets everything.
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

    #[tokio::test]
    async fn a_client_is_read_from_in_pieces_and_not_while_it_takes_nothing() {
        let (mut wire, mut client) = pair(LONG, LONG).await;
        client.write_all(&[b'x'; 3 * MOST_READ]).await.unwrap();
        let mut bytes = [0; 3 * MOST_READ];
        assert_eq!(wire.read(&mut bytes).await.unwrap(), MOST_READ);
        assert!(wire.read(&mut bytes).now_or_never().is_none());
        assert_eq!(wire.read(&mut bytes).await.unwrap(), MOST_READ);
        let answer = vec![0; 64 << 20];
        let mut writing = Box::pin(wire.write_all(&answer));
        assert!(tokio::time::timeout(SHORT, &mut writing).await.is_err());
        drop(writing);
        let reading = tokio::time::timeout(SHORT, wire.read(&mut bytes)).await;
        assert!(reading.is_err(), "it is not read from");
        let taking = tokio::spawn(async move {
            let mut taken = vec![0; 64 << 10];
            while client.read(&mut taken).await.is_ok_and(|read| read > 0) {}
        });
        wire.write_all(b"x").await.unwrap();
        assert_eq!(wire.read(&mut bytes).await.unwrap(), MOST_READ);
        drop(wire);
        taking.await.unwrap();
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
