//! Carries the SQLSTATE of each error past diesel, which passes on an error's texts but not its
//! code (<https://github.com/diesel-rs/diesel/pull/5232>). taskd decides by the code alone what an
//! error means: the texts are in the server's language.
//!
//! A stream between the socket and the client reads the server's messages as they pass. It copies
//! the code of each error into the error's column field, which diesel passes on and which nothing
//! here needs otherwise. The format is
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>: one byte for the type,
//! four for the length (the type not included), and in an error a list of fields, each a byte and a
//! zero-terminated text.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

/// The type byte of an ErrorResponse.
const ERROR_RESPONSE: u8 = b'E';
/// The fields of an error for its SQLSTATE and for a column name.
const CODE_FIELD: u8 = b'C';
const COLUMN_FIELD: u8 = b'c';
/// The type and the length of a message.
const HEADER_BYTES: usize = 5;
/// PostgreSQL's errors are far shorter; a message that claims to be longer is passed on unchanged.
const LONGEST_ERROR: usize = 64 * 1024;
/// `read_only_sql_transaction`: the server takes no writes, like a former primary after a failover.
const READ_ONLY: &str = "25006";

/// When a server last refused a write because it is read-only. A pool and its connections share
/// this: older connections are retired, since they may lead to the same server.
#[derive(Clone, Default)]
pub(in crate::store) struct ReadOnlySince {
    noted: Arc<Mutex<Option<Instant>>>,
    refused: Arc<Mutex<Option<Instant>>>,
}

impl ReadOnlySince {
    /// Whether a connection opened at `created` must be replaced.
    pub(in crate::store) fn retires(&self, created: Instant) -> bool {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| created <= at)
    }

    /// Notes that the server we are connected to now is read-only.
    pub(in crate::store) fn note(&self) {
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Notes that no new connection is opened, since no server takes writes.
    pub(in crate::store) fn refuse(&self) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection was not opened for that reason since then.
    pub(in crate::store) fn refused_since(&self, then: Instant) -> bool {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| then <= at)
    }
}

/// A stream from a server in which each error carries its code in two fields.
pub(in crate::store) struct WithCodes<S> {
    inner: S,
    read_only: ReadOnlySince,
    scanner: Scanner,
    /// Bytes to pass on before more are read, and how many of them have been passed on.
    pending: Vec<u8>,
    passed: usize,
}

impl<S> WithCodes<S> {
    pub(in crate::store) fn new(inner: S, read_only: ReadOnlySince) -> WithCodes<S> {
        let scanner = Scanner::default();
        WithCodes { inner, read_only, scanner, pending: Vec::new(), passed: 0 }
    }

    /// Passes on pending bytes. Returns whether there were any.
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

/// The state of the scan between two reads.
#[derive(Default)]
struct Scanner {
    /// The header of a message, as far as it has arrived.
    header: Vec<u8>,
    /// How many bytes of a message's body are still to come.
    body: usize,
    /// An error from its type byte on, as far as it has arrived. None of it has been passed on.
    error: Vec<u8>,
}

impl Scanner {
    /// Scans up to the next error, and returns how many bytes come before it.
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

    /// Appends these bytes to `out`, each error among them once it is complete.
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

/// Adds a column field that holds the code. The client takes the last field of a kind.
fn repeat_code(error: &mut Vec<u8>, read_only: &ReadOnlySince) {
    let fields = error.get(HEADER_BYTES..).unwrap_or_default().split(|byte| *byte == 0);
    let code =
        fields.filter_map(|field| field.split_first()).find(|(kind, _)| **kind == CODE_FIELD);
    let Some((_, code)) = code else { return };
    if code == READ_ONLY.as_bytes() {
        read_only.note();
    }
    let field = [&[COLUMN_FIELD], code, &[0]].concat();
    // Before the zero that ends the list of fields.
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
                // The stream has ended, possibly in the middle of an error.
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
