//! The dead-letter queue, read by hand: also letters with headers that the AMQP client can't read.
//! It cuts its connection over one, and everything behind that letter would wait for ever.
//!
//! `channel.open`, `queue.declare`, `basic.get` and `basic.ack`
//! (<https://www.rabbitmq.com/amqp-0-9-1-reference>).

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::{
    BODY_FRAME, CHANNEL_CLOSE, CHANNEL_OPEN, CHANNEL_OPEN_OK, CLOSE, Frame, HEADER_FRAME,
    METHOD_FRAME, Stream, broken, closed, connect, open, properties, read_frame, short,
    write_method,
};
use crate::broker::amqp::url::AmqpUrl;
use crate::broker::{BrokerError, DeadLetterQueue, Delivery, Message, Tag};

const CHANNEL: u16 = 1;
const DECLARE: [u8; 4] = [0, 50, 0, 10];
const DECLARE_OK: [u8; 4] = [0, 50, 0, 11];
const GET: [u8; 4] = [0, 60, 0, 70];
const GET_OK: [u8; 4] = [0, 60, 0, 71];
const GET_EMPTY: [u8; 4] = [0, 60, 0, 72];
const ACK: [u8; 4] = [0, 60, 0, 80];
/// The bit `passive` of `queue.declare`.
const PASSIVE: u8 = 1;
/// `connection.close` with the code 200, no text, and no method at fault.
const GOODBYE: [u8; 7] = [0, 200, 0, 0, 0, 0, 0];

/// How long one step may take. A letter may be long.
const STEP: Duration = Duration::from_secs(20);

/// Opens the queue on a connection of its own.
pub(in crate::broker::amqp) async fn open_letters(
    url: &AmqpUrl,
    queue: &str,
) -> Result<Letters, BrokerError> {
    in_time("connecting by hand", async {
        let mut stream = connect(url).await?;
        if let Some((_, why)) = open(&mut stream, url).await? {
            return Err(io::Error::other(why));
        }
        let mut letters = Letters { stream, queue: queue.to_owned() };
        letters.ask(&[&CHANNEL_OPEN[..], &[0]].concat(), CHANNEL_OPEN_OK).await?;
        Ok(letters)
    })
    .await
}

/// The open queue.
pub(in crate::broker::amqp) struct Letters {
    stream: Box<dyn Stream>,
    queue: String,
}

async fn in_time<T>(
    what: &str,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, BrokerError> {
    let why = match timeout(STEP, step).await {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", STEP.as_secs()),
    };
    Err(BrokerError::Unavailable(format!("{what}: {why}")))
}

impl Letters {
    /// The next method of the broker: its number and its arguments.
    async fn method(&mut self) -> io::Result<([u8; 4], Vec<u8>)> {
        let Frame { kind: METHOD_FRAME, channel, payload } = read_frame(&mut self.stream).await?
        else {
            return Err(broken());
        };
        let (name, arguments) = payload.split_first_chunk::<4>().ok_or_else(broken)?;
        match (channel, *name) {
            (CHANNEL, CHANNEL_CLOSE) | (0, CLOSE) => Err(io::Error::other(closed(arguments)?.1)),
            (CHANNEL, name) => Ok((name, arguments.to_vec())),
            _ => Err(broken()),
        }
    }

    async fn ask(&mut self, question: &[u8], answer: [u8; 4]) -> io::Result<Vec<u8>> {
        write_method(&mut self.stream, CHANNEL, question).await?;
        match self.method().await? {
            (name, arguments) if name == answer => Ok(arguments),
            _ => Err(broken()),
        }
    }

    async fn count(&mut self) -> io::Result<u64> {
        let name = short(&self.queue);
        // A reserved number before the name; the bits and an empty table after it.
        let question = [&DECLARE[..], &[0, 0], &name, &[PASSIVE], &[0; 4]].concat();
        let answer = self.ask(&question, DECLARE_OK).await?;
        // The name, and then the number of messages.
        let count = answer.get(name.len()..name.len() + 4).ok_or_else(broken)?;
        Ok(u32::from_be_bytes(count.try_into().map_err(|_| broken())?).into())
    }

    async fn get(&mut self) -> io::Result<Option<Delivery>> {
        let question = [&GET[..], &[0, 0], &short(&self.queue), &[0]].concat();
        write_method(&mut self.stream, CHANNEL, &question).await?;
        let (tag, redelivered) = match self.method().await? {
            (GET_EMPTY, _) => return Ok(None),
            (GET_OK, arguments) => {
                let (tag, rest) = arguments.split_first_chunk::<8>().ok_or_else(broken)?;
                (Tag::from_be_bytes(*tag), rest.first() == Some(&1))
            }
            _ => return Err(broken()),
        };
        let header = read_frame(&mut self.stream).await?;
        if header.kind != HEADER_FRAME {
            return Err(broken());
        }
        let (message, length) = properties::read(&header.payload).ok_or_else(broken)?;
        let mut body = Vec::new();
        while (body.len() as u64) < length {
            match read_frame(&mut self.stream).await? {
                Frame { kind: BODY_FRAME, payload, .. } if !payload.is_empty() => {
                    body.extend(payload);
                }
                _ => return Err(broken()),
            }
        }
        Ok(Some(Delivery { tag, redelivered, message: Message { body, ..message } }))
    }
}

#[async_trait]
impl DeadLetterQueue for Letters {
    async fn waiting(&mut self) -> Result<u64, BrokerError> {
        in_time("counting", self.count()).await
    }

    async fn next(&mut self) -> Result<Option<Delivery>, BrokerError> {
        in_time("reading", self.get()).await
    }

    async fn remove(&mut self, tag: Tag) -> Result<(), BrokerError> {
        let ack = [&ACK[..], &tag.to_be_bytes(), &[0]].concat();
        in_time("removing", write_method(&mut self.stream, CHANNEL, &ack)).await
    }

    async fn close(mut self: Box<Self>) {
        // The broker deals with what came before, then answers and hangs up: letters that were
        // removed are gone, and held ones are back, before anybody looks again.
        let _ = in_time("closing", async {
            write_method(&mut self.stream, 0, &[&CLOSE[..], &GOODBYE].concat()).await?;
            read_frame(&mut self.stream).await?;
            self.stream.shutdown().await
        })
        .await;
    }
}
