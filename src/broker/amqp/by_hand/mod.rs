//! The steps of the protocol that are taken by hand, where the AMQP client can't take them: it
//! can't say why a broker refuses a connection, and loses its connection over headers that it can't
//! read.
//!
//! Header, `Start`, `StartOk`, `Tune`, `TuneOk`, `Open`
//! (<https://www.rabbitmq.com/amqp-0-9-1-reference#connection>). RabbitMQ tells a client why it
//! can't sign in only if the client has announced `authentication_failure_close`
//! (<https://www.rabbitmq.com/docs/auth-notification>), which this one does.

pub(super) mod letters;
pub(super) mod probe;
mod properties;
pub(super) mod refusal;

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::url::AmqpUrl;

/// The protocol header of AMQP 0-9-1.
const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
/// The types of frames, and the byte that ends each.
const METHOD_FRAME: u8 = 1;
const HEADER_FRAME: u8 = 2;
const BODY_FRAME: u8 = 3;
const FRAME_END: u8 = 0xCE;
/// Longer than any frame that RabbitMQ proposes by itself (128 KiB).
const LONGEST_FRAME: u32 = 1024 * 1024;

/// The methods of the connection class, by class and method number.
const START: [u8; 4] = [0, 10, 0, 10];
const START_OK: [u8; 4] = [0, 10, 0, 11];
const TUNE: [u8; 4] = [0, 10, 0, 30];
const TUNE_OK: [u8; 4] = [0, 10, 0, 31];
const OPEN: [u8; 4] = [0, 10, 0, 40];
const OPEN_OK: [u8; 4] = [0, 10, 0, 41];
const CLOSE: [u8; 4] = [0, 10, 0, 50];
/// And of the channel class.
const CHANNEL_OPEN: [u8; 4] = [0, 20, 0, 10];
const CHANNEL_OPEN_OK: [u8; 4] = [0, 20, 0, 11];
const CHANNEL_CLOSE: [u8; 4] = [0, 20, 0, 40];

/// A stream to a broker, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The code and the text with which a broker closes a connection.
type Closed = (u16, String);

struct Frame {
    kind: u8,
    channel: u16,
    payload: Vec<u8>,
}

async fn connect(url: &AmqpUrl) -> io::Result<Box<dyn Stream>> {
    let socket = TcpStream::connect(url.place()).await?;
    match &url.tls {
        None => Ok(Box::new(socket)),
        Some(tls) => {
            let name = ServerName::try_from(tls.name.clone()).map_err(io::Error::other)?;
            Ok(Box::new(tls.connector.connect(name, socket).await?))
        }
    }
}

/// Opens a connection without heartbeats, as far as the broker goes along. Returns how it closes
/// it, or `None` if it is open.
async fn open<S: Stream>(stream: &mut S, url: &AmqpUrl) -> io::Result<Option<Closed>> {
    stream.write_all(HEADER).await?;
    loop {
        let method = read_method(stream).await?;
        let (name, arguments) = method.split_at_checked(4).ok_or_else(broken)?;
        let answer = match <[u8; 4]>::try_from(name).map_err(|_| broken())? {
            START => start_ok(url),
            // Accept what the broker proposes for channels, and frames up to our limit.
            TUNE => {
                let (channels, rest) = arguments.split_first_chunk::<2>().ok_or_else(broken)?;
                let longest = rest.first_chunk::<4>().ok_or_else(broken)?;
                // Zero is no limit.
                let longest = match u32::from_be_bytes(*longest) {
                    0 => LONGEST_FRAME,
                    longest => longest.min(LONGEST_FRAME),
                };
                [&TUNE_OK[..], channels, &longest.to_be_bytes(), &[0, 0]].concat()
            }
            OPEN_OK => return Ok(None),
            CLOSE => return closed(arguments).map(Some),
            _ => return Err(broken()),
        };
        let tuned = answer.starts_with(&TUNE_OK);
        write_method(stream, 0, &answer).await?;
        if tuned {
            let open = [&OPEN[..], &short(&url.virtual_host), &[0, 0]].concat();
            write_method(stream, 0, &open).await?;
        }
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a frame of AMQP 0-9-1 that is expected here")
}

fn start_ok(url: &AmqpUrl) -> Vec<u8> {
    let able = |name: &str| [&short(name)[..], b"t\x01"].concat();
    let able = [able("authentication_failure_close"), able("connection.blocked")].concat();
    let capabilities = [&short("capabilities")[..], b"F", &long(&able)].concat();
    let response = format!("\0{}\0{}", url.user, url.password);
    [
        &START_OK[..],
        &long(&capabilities),
        &short("PLAIN"),
        &long(response.as_bytes()),
        &short("en_US"),
    ]
    .concat()
}

/// A short string. `AmqpUrl::parse` and `Topology` keep names within the limit of one.
fn short(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[length], text.as_bytes().get(..length.into()).unwrap_or_default()].concat()
}

/// A long string, or a table.
fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

/// The reply code and the reply text of a `Close`.
fn closed(arguments: &[u8]) -> io::Result<Closed> {
    let (code, rest) = arguments.split_first_chunk::<2>().ok_or_else(broken)?;
    let (length, rest) = rest.split_first().ok_or_else(broken)?;
    let text = rest.get(..usize::from(*length)).ok_or_else(broken)?;
    Ok((u16::from_be_bytes(*code), String::from_utf8_lossy(text).into_owned()))
}

async fn read_frame<S: Stream>(stream: &mut S) -> io::Result<Frame> {
    let kind = stream.read_u8().await?;
    let channel = stream.read_u16().await?;
    let length = stream.read_u32().await?;
    // Beyond these types, of which 8 is a heartbeat, it is no frame, and what follows is no length.
    if !(METHOD_FRAME..=8).contains(&kind) || length > LONGEST_FRAME {
        return Err(broken());
    }
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await?;
    match stream.read_u8().await? {
        FRAME_END => Ok(Frame { kind, channel, payload }),
        _ => Err(broken()),
    }
}

async fn read_method<S: Stream>(stream: &mut S) -> io::Result<Vec<u8>> {
    match read_frame(stream).await? {
        Frame { kind: METHOD_FRAME, payload, .. } => Ok(payload),
        _ => Err(broken()),
    }
}

async fn write_method<S: Stream>(stream: &mut S, channel: u16, payload: &[u8]) -> io::Result<()> {
    write_frame(stream, METHOD_FRAME, channel, payload).await
}

async fn write_frame<S: Stream>(
    stream: &mut S,
    kind: u8,
    channel: u16,
    payload: &[u8],
) -> io::Result<()> {
    let [high, low] = channel.to_be_bytes();
    let frame = [&[kind, high, low][..], &long(payload), &[FRAME_END]].concat();
    stream.write_all(&frame).await?;
    stream.flush().await
}
