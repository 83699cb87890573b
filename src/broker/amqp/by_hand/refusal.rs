//! Finds out why a broker refuses us, in its own words. The AMQP client sees a connection that is
//! reset, so when connecting fails, the first steps are taken once more by hand.

use tokio::time::timeout;

use super::{connect, open};
use crate::broker::amqp::CALL_TIMEOUT;
use crate::broker::amqp::url::AmqpUrl;

/// `ACCESS_REFUSED` and `NOT_ALLOWED` (<https://www.rabbitmq.com/amqp-0-9-1-reference#constants>).
pub(in crate::broker::amqp) const ACCESS_REFUSED: u16 = 403;
const NOT_ALLOWED: u16 = 530;

/// Asks the broker why it refuses us; `None` if it does not refuse, or can't be asked.
pub(in crate::broker::amqp) async fn of(url: &AmqpUrl) -> Option<String> {
    let asking = async { open(&mut connect(url).await?, url).await };
    let (code, text) = timeout(CALL_TIMEOUT, asking).await.ok()?.ok()??;
    refused(url, code, &text)
}

/// Why the broker refuses us if it closes a connection with this code and this text; `None` if that
/// is no refusal, or passes.
pub(super) fn refused(url: &AmqpUrl, code: u16, text: &str) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::io::AsyncWriteExt;

    use super::super::FRAME_END;
    use super::super::{CLOSE, HEADER, METHOD_FRAME, OPEN_OK, START, TUNE, long, open, short};
    use super::*;
    use crate::ground::tls::Tls;

    fn frame(payload: &[u8]) -> Vec<u8> {
        [&[METHOD_FRAME, 0, 0][..], &long(payload), &[FRAME_END]].concat()
    }

    /// How the answers of a broker that says this are read.
    async fn of_broker(says: &[&[u8]]) -> io::Result<Option<(u16, String)>> {
        let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(&says.concat()).await.unwrap();
        let url = AmqpUrl::parse("amqp://u:p@h/v", &Tls::default()).unwrap();
        let asking = tokio::spawn(async move { open(&mut ours, &url).await });
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
