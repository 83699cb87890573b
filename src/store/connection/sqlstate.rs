//! Carries the SQLSTATE of each error past diesel, which passes on an error's texts and not its code
//! (<https://github.com/diesel-rs/diesel/pull/5232>). What an error means is decided by the code alone:
//! the texts are in whatever language the server speaks.
//!
//! A stream between the socket and the client reads the server's messages as they pass and repeats the
//! code of each error in the error's field for a column, which diesel passes on and nobody here reads
//! otherwise. The format is
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>: a byte for the type, four for
//! the length without the type, and in an error fields of a byte and a text that ends with a zero.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

/// The type of a message that is an error.
const ERROR_RESPONSE: u8 = b'E';
/// An error's field for its SQLSTATE, and the one for a column.
const CODE_FIELD: u8 = b'C';
const COLUMN_FIELD: u8 = b'c';
/// The type and the length.
const HEADER_BYTES: usize = 5;
/// PostgreSQL's errors are far below; what claims to be longer is passed on as it is.
const LONGEST_ERROR: usize = 64 * 1024;
/// `read_only_sql_transaction`: the server takes no writes, as a primary after a failover.
const READ_ONLY: &str = "25006";

/// When a server last refused a write because it can only be read. Shared by a pool and its connections:
/// those that are older than this are of no more use, since they may lead to the same server.
#[derive(Clone, Default)]
pub(in crate::store) struct ReadOnlySince(Arc<Mutex<Option<Instant>>>);

impl ReadOnlySince {
    /// Whether a connection of this age is to be replaced.
    pub(in crate::store) fn retires(&self, created: Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| created <= at)
    }

    /// A server that is connected to now can only be read.
    pub(in crate::store) fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// A stream from a server, with the code of each error in two of its fields.
pub(in crate::store) struct WithCodes<S> {
    inner: S,
    read_only: ReadOnlySince,
    scanner: Scanner,
    /// What is to be passed on before more is read, and how much of it has been.
    pending: Vec<u8>,
    passed: usize,
}

impl<S> WithCodes<S> {
    pub(in crate::store) fn new(inner: S, read_only: ReadOnlySince) -> WithCodes<S> {
        let scanner = Scanner::default();
        WithCodes { inner, read_only, scanner, pending: Vec::new(), passed: 0 }
    }

    /// Passes on what is pending, if anything is.
    fn pass_on(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let left = self.pending.get(self.passed..).unwrap_or_default();
        let step = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..step]);
        self.passed += step;
        if self.passed == self.pending.len() {
            self.pending.clear();
            self.passed = 0;
        }
        step > 0
    }
}

/// Where a stream is between two reads.
#[derive(Default)]
struct Scanner {
    /// The header of a message, as far as it has come.
    header: Vec<u8>,
    /// How many bytes of a message's body are still to come.
    body: usize,
    /// An error from its type on, as far as it has come. None of it has been passed on.
    error: Vec<u8>,
}

impl Scanner {
    /// How many of these bytes come before the next error; that many have been looked at.
    fn before_error(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while self.error.is_empty() && at < bytes.len() {
            if self.body > 0 {
                let step = self.body.min(bytes.len() - at);
                self.body -= step;
                at += step;
            } else if self.header.is_empty() && bytes[at] == ERROR_RESPONSE {
                break;
            } else {
                self.header.push(bytes[at]);
                at += 1;
                if let Some(length) = body_length(&self.header) {
                    self.body = length;
                    self.header.clear();
                }
            }
        }
        at
    }

    /// Adds these bytes to what is to be passed on, once each error among them is complete.
    fn rewrite(&mut self, mut bytes: &[u8], read_only: &ReadOnlySince, out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let clean = self.before_error(bytes);
            out.extend_from_slice(&bytes[..clean]);
            bytes = &bytes[clean..];
            let wanted = HEADER_BYTES + body_length(&self.error).unwrap_or_default();
            let step = (wanted - self.error.len()).min(bytes.len());
            self.error.extend_from_slice(&bytes[..step]);
            bytes = &bytes[step..];
            match body_length(&self.error) {
                Some(length) if length > LONGEST_ERROR => {
                    self.body = length;
                    out.append(&mut self.error);
                }
                Some(length) if self.error.len() == HEADER_BYTES + length => {
                    repeat_code(&mut self.error, read_only);
                    out.append(&mut self.error);
                }
                _ => {}
            }
        }
    }
}

/// The length of a message's body, once its header is complete.
fn body_length(message: &[u8]) -> Option<usize> {
    let length: [u8; 4] = message.get(1..HEADER_BYTES)?.try_into().ok()?;
    Some((u32::from_be_bytes(length) as usize).saturating_sub(4))
}

/// Adds the field for a column, with the code in it. The client takes the last field of a kind.
fn repeat_code(error: &mut Vec<u8>, read_only: &ReadOnlySince) {
    let fields = error.get(HEADER_BYTES..).unwrap_or_default().split(|byte| *byte == 0);
    let code =
        fields.filter_map(|field| field.split_first()).find(|(kind, _)| **kind == CODE_FIELD);
    let Some((_, code)) = code else { return };
    if code == READ_ONLY.as_bytes() {
        read_only.note();
    }
    let field = [&[COLUMN_FIELD], code, &[0]].concat();
    // Before the zero that ends the list.
    error.splice(error.len() - 1..error.len() - 1, field);
    let length = u32::try_from(error.len() - 1).unwrap_or(u32::MAX).to_be_bytes();
    error.splice(1..HEADER_BYTES, length);
}

impl<S: AsyncRead + Unpin> AsyncRead for WithCodes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.pass_on(buffer) {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
            let new = &buffer.filled()[before..];
            if new.is_empty() {
                // The stream has ended, or in the middle of an error.
                this.pending.append(&mut this.scanner.error);
                this.pass_on(buffer);
                return Poll::Ready(Ok(()));
            }
            let clean = this.scanner.before_error(new);
            if clean < new.len() {
                this.scanner.rewrite(&new[clean..], &this.read_only, &mut this.pending);
                buffer.set_filled(before + clean);
            }
            if clean > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WithCodes<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

impl<S: TlsStream + Unpin> TlsStream for WithCodes<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

#[cfg(test)]
mod tests;
