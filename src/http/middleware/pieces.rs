//! Long answers, given to the HTTP library in pieces. It copies what it gets into the connection's
//! buffer, so an answer in one piece would be copied whole for each client that doesn't read it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Bytes;

/// The longest piece, in bytes. The library asks for another while it has less than 32 kB to write.
const PIECE: usize = 16 * 1024;

/// The same body; a long one is passed on in pieces.
pub(super) fn in_pieces(body: BoxBody) -> BoxBody {
    match body.size() {
        BodySize::Sized(length) if length > PIECE as u64 => {
            BoxBody::new(Pieces { body, left: Bytes::new() })
        }
        _ => body,
    }
}

struct Pieces {
    body: BoxBody,
    /// What has come of the body and was not passed on yet.
    left: Bytes,
}

impl MessageBody for Pieces {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        while self.left.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_next(context)) {
                Some(Ok(bytes)) => self.left = bytes,
                end => return Poll::Ready(end),
            }
        }
        let length = self.left.len().min(PIECE);
        Poll::Ready(Some(Ok(self.left.split_to(length))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_long_answer_comes_in_pieces_and_is_the_same() {
        let text: Vec<u8> = (0..5 * PIECE + 7).map(|at| at as u8).collect();
        let mut body = in_pieces(BoxBody::new(text.clone()));
        assert_eq!(body.size(), BodySize::Sized(text.len() as u64));
        let mut come = Vec::new();
        while let Some(piece) =
            std::future::poll_fn(|context| Pin::new(&mut body).poll_next(context)).await
        {
            let piece = piece.unwrap();
            assert!((1..=PIECE).contains(&piece.len()), "{}", piece.len());
            come.extend_from_slice(&piece);
        }
        assert!(come == text);
    }
}
