//! Finds out why a broker refuses us, in its own words.
//!
//! RabbitMQ tells a client why it can't sign in only if the client has announced
//! `authentication_failure_close` (<https://www.rabbitmq.com/docs/auth-notification>). The AMQP
//! client doesn't announce it, and sees a connection that is reset. So when connecting fails, this
//! module takes the first steps of the protocol once more, by hand: header, `Start`, `StartOk`,
//! `Tune`, `TuneOk`, `Open` (<https://www.rabbitmq.com/amqp-0-9-1-reference#connection>).

mod probe;

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use probe::{Probe, probe};

use super::CALL_TIMEOUT;
use super::url::AmqpUrl;

/// The protocol header of AMQP 0-9-1.
const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
/// The type of a method frame, and the byte that ends each frame.
const METHOD_FRAME: u8 = 1;
const FRAME_END: u8 = 0xCE;
/// Far longer than any method that opens a connection.
const LONGEST_FRAME: u32 = 64 * 1024;

/// The methods of the connection class, by class and method number.
const START: [u8; 4] = [0, 10, 0, 10];
const START_OK: [u8; 4] = [0, 10, 0, 11];
const TUNE: [u8; 4] = [0, 10, 0, 30];
const TUNE_OK: [u8; 4] = [0, 10, 0, 31];
const OPEN: [u8; 4] = [0, 10, 0, 40];
const OPEN_OK: [u8; 4] = [0, 10, 0, 41];
const CLOSE: [u8; 4] = [0, 10, 0, 50];

/// `ACCESS_REFUSED` and `NOT_ALLOWED` (<https://www.rabbitmq.com/amqp-0-9-1-reference#constants>).
pub(super) const ACCESS_REFUSED: u16 = 403;
const NOT_ALLOWED: u16 = 530;

/// Asks the broker why it refuses us; `None` if it does not refuse, or can't be asked.
pub(super) async fn of(url: &AmqpUrl) -> Option<String> {
    let asking = async {
        let socket = TcpStream::connect(url.place()).await?;
        match &url.tls {
            None => closed_with(socket, url).await,
            Some(tls) => {
                let name = ServerName::try_from(tls.name.clone()).map_err(io::Error::other)?;
                closed_with(tls.connector.connect(name, socket).await?, url).await
            }
        }
    };
    let (code, text) = timeout(CALL_TIMEOUT, asking).await.ok()?.ok()??;
    refused(url, code, &text)
}

/// Why the broker refuses us if it closes a connection with this code and this text; `None` if that
/// is no refusal, or passes.
fn refused(url: &AmqpUrl, code: u16, text: &str) -> Option<String> {
    match code {
        ACCESS_REFUSED => Some(format!(
            "the broker refuses the user {:?}: the name or the password is wrong, or it may not \
             sign in from here ({text})",
            url.user
        )),
        // A limit on connections is temporary.
        NOT_ALLOWED if !text.contains("limit") => Some(format!(
            "the virtual host {:?} does not exist, or the user {:?} may not use it ({text})",
            url.virtual_host, url.user
        )),
        _ => None,
    }
}

/// Opens a connection as far as the broker goes along. Returns the code and the text with which the
/// broker closes it; `None` if the broker opens it.
async fn closed_with<S>(mut stream: S, url: &AmqpUrl) -> io::Result<Option<(u16, String)>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(HEADER).await?;
    loop {
        let method = read_method(&mut stream).await?;
        let (name, arguments) = method.split_at_checked(4).ok_or_else(broken)?;
        let answer = match <[u8; 4]>::try_from(name).map_err(|_| broken())? {
            START => start_ok(url),
            // Accept what the broker proposes.
            TUNE => [&TUNE_OK, arguments].concat(),
            OPEN_OK => return Ok(None),
            CLOSE => return closed(arguments).map(Some),
            _ => return Err(broken()),
        };
        let tuned = answer.starts_with(&TUNE_OK);
        write_method(&mut stream, &answer).await?;
        if tuned {
            let open = [&OPEN[..], &short(&url.virtual_host), &[0, 0]].concat();
            write_method(&mut stream, &open).await?;
        }
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a method of AMQP 0-9-1")
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

/// A short string. `AmqpUrl::parse` keeps names within the limit of one.
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
fn closed(arguments: &[u8]) -> io::Result<(u16, String)> {
    let (code, rest) = arguments.split_first_chunk::<2>().ok_or_else(broken)?;
    let (length, rest) = rest.split_first().ok_or_else(broken)?;
    let text = rest.get(..usize::from(*length)).ok_or_else(broken)?;
    Ok((u16::from_be_bytes(*code), String::from_utf8_lossy(text).into_owned()))
}

async fn read_method<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    match read_frame(stream).await? {
        (METHOD_FRAME, payload) => Ok(payload),
        _ => Err(broken()),
    }
}

/// The type of a frame, and what is in it.
async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await?;
    let _channel = stream.read_u16().await?;
    let length = stream.read_u32().await?;
    // Beyond these types it is no frame, and what follows is no length.
    if !(1..=8).contains(&kind) || length > LONGEST_FRAME {
        return Err(broken());
    }
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await?;
    match stream.read_u8().await? {
        FRAME_END => Ok((kind, payload)),
        _ => Err(broken()),
    }
}

async fn write_method<S: AsyncWrite + Unpin>(stream: &mut S, payload: &[u8]) -> io::Result<()> {
    write_frame(stream, METHOD_FRAME, 0, payload).await
}

async fn write_frame<S: AsyncWrite + Unpin>(
    stream: &mut S,
    kind: u8,
    channel: u8,
    payload: &[u8],
) -> io::Result<()> {
    let frame = [&[kind, 0, channel][..], &long(payload), &[FRAME_END]].concat();
    stream.write_all(&frame).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::tls::Tls;

    fn frame(payload: &[u8]) -> Vec<u8> {
        [&[METHOD_FRAME, 0, 0][..], &long(payload), &[FRAME_END]].concat()
    }

    /// How the answers of a broker that says this are read.
    async fn of_broker(says: &[&[u8]]) -> io::Result<Option<(u16, String)>> {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(&says.concat()).await.unwrap();
        let url = AmqpUrl::parse("amqp://u:p@h/v", &Tls::default()).unwrap();
        let asking = tokio::spawn(async move { closed_with(ours, &url).await });
        theirs.shutdown().await.unwrap();
        let answer = asking.await.unwrap();
        drop(theirs);
        answer
    }

    #[tokio::test]
    async fn the_reply_of_a_close_is_read_at_any_step_and_nothing_else_is_believed() {
        let close = frame(&[&CLOSE[..], &403u16.to_be_bytes(), &short("no"), &[0; 4]].concat());
        let (start, tune) = (frame(&START), frame(&[&TUNE[..], &[0; 8]].concat()));
        let refused = Some((403, "no".to_owned()));
        assert_eq!(of_broker(&[&start, &close]).await.unwrap(), refused);
        assert_eq!(of_broker(&[&start, &tune, &close]).await.unwrap(), refused);
        assert_eq!(of_broker(&[&start, &tune, &frame(&OPEN_OK)]).await.unwrap(), None);
        for nonsense in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            HEADER,
            b"",
            &frame(b"abc"),
            &frame(&CLOSE),
            &frame(&[&CLOSE[..], &[1, 147, 200, 0]].concat()),
            &[METHOD_FRAME, 0, 0, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(of_broker(&[nonsense]).await.is_err(), "{nonsense:?}");
        }
    }
}
