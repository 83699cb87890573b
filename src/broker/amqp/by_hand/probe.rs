//! What a broker is, and whether it takes messages; for `taskd doctor`.
//!
//! A broker that runs out of memory or disk takes no messages, and tells only those clients that
//! have announced `connection.blocked` (<https://www.rabbitmq.com/docs/connection-blocked>), once
//! they have published something. The AMQP client doesn't announce it. So this goes through the
//! protocol by hand, and publishes a message without a body to a queue that doesn't exist, with
//! `mandatory`: a broker that is well returns it.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::refusal::{ACCESS_REFUSED, refused};
use super::{
    CHANNEL_CLOSE, CHANNEL_OPEN, CHANNEL_OPEN_OK, CLOSE, Closed, Frame, HEADER, HEADER_FRAME,
    METHOD_FRAME, OPEN, OPEN_OK, START, Stream, TUNE, TUNE_OK, broken, closed, connect, read_frame,
    short, start_ok, write_frame, write_method,
};
use crate::broker::BrokerError;
use crate::broker::amqp::CALL_TIMEOUT;
use crate::broker::amqp::url::AmqpUrl;

/// Of the basic and connection classes.
const BASIC_PUBLISH: [u8; 4] = [0, 60, 0, 40];
const BASIC_RETURN: [u8; 4] = [0, 60, 0, 50];
const BLOCKED: [u8; 4] = [0, 10, 0, 60];
/// What the header frame of a message has: class 60, no weight, no bytes, no properties.
const EMPTY: [u8; 14] = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// A queue that nobody has: a client can't declare one whose name begins like this.
const NO_QUEUE: &str = "amq.taskd.doctor";
/// How long after the message came back it may still be said that the connection is blocked.
const AFTERTHOUGHT: Duration = Duration::from_millis(250);

/// What a broker says of itself.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Its name and version.
    pub version: String,
    /// How long connecting and signing in took.
    pub latency: Duration,
    /// Why it blocks those who publish: an alarm.
    pub blocked: Option<String>,
    /// Why our user may not publish.
    pub may_not_publish: Option<String>,
}

/// Connects, signs in and publishes a message that no queue takes.
///
/// # Errors
/// The broker can't be reached, or refuses the connection.
pub async fn probe(url: &AmqpUrl) -> Result<Probe, BrokerError> {
    let asking = async {
        let began = Instant::now();
        let mut stream = connect(url).await?;
        ask(&mut stream, url, began).await
    };
    let away = |why: String| BrokerError::Unavailable(format!("{}: {why}", url.place()));
    match timeout(CALL_TIMEOUT, asking).await {
        Ok(Ok(Ok(probe))) => Ok(probe),
        Ok(Ok(Err((code, text)))) => Err(match refused(url, code, &text) {
            Some(why) => BrokerError::Refused(why),
            None => away(text),
        }),
        Ok(Err(error)) => Err(away(crate::ground::tls::with_advice(error))),
        Err(_) => Err(away(format!("no answer within {} s", CALL_TIMEOUT.as_secs()))),
    }
}

/// The probe, or the code and the text with which the broker closed the connection.
async fn ask<S: Stream>(
    stream: &mut S,
    url: &AmqpUrl,
    began: Instant,
) -> io::Result<Result<Probe, Closed>> {
    stream.write_all(HEADER).await?;
    let mut probe = Probe {
        version: "a broker of an unknown version".to_owned(),
        latency: Duration::ZERO,
        blocked: None,
        may_not_publish: None,
    };
    let mut deadline: Option<tokio::time::Instant> = None;
    loop {
        let reading = read_frame(stream);
        let frame = match deadline {
            None => reading.await?,
            Some(deadline) => match tokio::time::timeout_at(deadline, reading).await {
                Ok(frame) => frame?,
                Err(_) => break,
            },
        };
        let Frame { kind, payload: method, .. } = frame;
        // Headers and bodies of what comes back, and heartbeats.
        if kind != METHOD_FRAME {
            continue;
        }
        let (name, arguments) = method.split_at_checked(4).ok_or_else(broken)?;
        match <[u8; 4]>::try_from(name).map_err(|_| broken())? {
            START => {
                probe.version = version(arguments).unwrap_or(probe.version);
                write_method(stream, 0, &start_ok(url)).await?;
            }
            TUNE => {
                write_method(stream, 0, &[&TUNE_OK, arguments].concat()).await?;
                let open = [&OPEN[..], &short(&url.virtual_host), &[0, 0]].concat();
                write_method(stream, 0, &open).await?;
            }
            OPEN_OK => {
                probe.latency = began.elapsed();
                let open = [&CHANNEL_OPEN[..], &[0]].concat();
                write_method(stream, 1, &open).await?;
            }
            CHANNEL_OPEN_OK => {
                // Reserved, the default exchange, the routing key, and `mandatory`.
                let publish =
                    [&BASIC_PUBLISH[..], &[0, 0], &short(""), &short(NO_QUEUE), &[1]].concat();
                write_method(stream, 1, &publish).await?;
                write_frame(stream, HEADER_FRAME, 1, &EMPTY).await?;
            }
            BASIC_RETURN => deadline = Some(tokio::time::Instant::now() + AFTERTHOUGHT),
            BLOCKED => {
                let why = arguments.split_first().map(|(_, text)| String::from_utf8_lossy(text));
                probe.blocked = Some(why.unwrap_or_default().into_owned());
                break;
            }
            CHANNEL_CLOSE => {
                let (code, text) = closed(arguments)?;
                if code != ACCESS_REFUSED {
                    return Ok(Err((code, text)));
                }
                probe.may_not_publish = Some(text);
                break;
            }
            CLOSE => return closed(arguments).map(Err),
            _ => {}
        }
    }
    // Code 200, no text, and no method that were to blame. The broker would log a connection that
    // is only dropped.
    let goodbye = [&CLOSE[..], &200u16.to_be_bytes(), &short(""), &[0; 4]].concat();
    let _ = write_method(stream, 0, &goodbye).await;
    let _ = timeout(AFTERTHOUGHT, read_frame(stream)).await;
    Ok(Ok(probe))
}

/// The product and the version in the properties of a broker that starts a connection.
fn version(arguments: &[u8]) -> Option<String> {
    // The version of the protocol and the length of the table come first.
    let table = arguments.get(6..)?;
    let text = |name: &str| {
        // Each is a short string, `S`, and a long string; no other property has such a name in it.
        let marker = [&short(name)[..], b"S"].concat();
        let at = table.windows(marker.len()).position(|window| window == marker)? + marker.len();
        let (length, rest) = table.get(at..)?.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        Some(String::from_utf8_lossy(rest.get(..length)?).into_owned())
    };
    Some(format!("{} {}", text("product")?, text("version")?))
}

#[cfg(test)]
mod tests {
    use super::super::long;
    use super::*;

    #[test]
    fn the_version_is_found_among_the_properties() {
        let text =
            |name: &str, value: &str| [&short(name)[..], b"S", &long(value.as_bytes())].concat();
        let table = [text("copyright", "x"), text("product", "RabbitMQ"), text("version", "4.1.0")];
        let arguments = [&[0, 9][..], &long(&table.concat())].concat();
        assert_eq!(version(&arguments).unwrap(), "RabbitMQ 4.1.0");
        assert_eq!(version(&arguments[..20]), None);
        assert_eq!(version(b""), None);
    }
}
