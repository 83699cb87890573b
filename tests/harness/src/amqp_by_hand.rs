//! Publishes what the AMQP client can't: a message with a header that it can't read either.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::rabbitmq_url;

/// A method's frame on a channel.
fn frame(kind: u8, channel: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 0, channel][..], &length, payload, &[0xce]].concat()
}

fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// Reads frames until this method comes.
async fn expect(stream: &mut TcpStream, class: u8, method: u8) {
    loop {
        let mut head = [0; 7];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes(head[3..].try_into().unwrap());
        let mut payload = vec![0; length as usize + 1];
        stream.read_exact(&mut payload).await.unwrap();
        let close = [0, 10, 0, 50];
        assert_ne!(payload[..4], close, "{}", String::from_utf8_lossy(&payload));
        if payload[..4] == [0, class, 0, method] {
            return;
        }
    }
}

/// Publishes a message whose header `strange` is text that is no UTF-8, and waits until the broker
/// has it.
pub async fn publish_unreadable(queue: &str, message_id: &str, body: &[u8]) {
    let url = url::Url::parse(&rabbitmq_url()).unwrap();
    let place = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5672));
    let (user, password) = (url.username(), url.password().unwrap_or("guest"));
    let user = if user.is_empty() { "guest" } else { user };
    let vhost = url.path().trim_start_matches('/').replace("%2f", "/").replace("%2F", "/");
    let vhost = if vhost.is_empty() { "/" } else { &vhost };

    let mut stream = TcpStream::connect(place).await.unwrap();
    stream.write_all(b"AMQP\x00\x00\x09\x01").await.unwrap();
    expect(&mut stream, 10, 10).await;
    let response = format!("\0{user}\0{password}");
    let start_ok = [
        &[0, 10, 0, 11][..],
        &long(&[]),
        &short("PLAIN"),
        &long(response.as_bytes()),
        &short("en_US"),
    ];
    stream.write_all(&frame(1, 0, &start_ok.concat())).await.unwrap();
    expect(&mut stream, 10, 30).await;
    // One channel, frames of 128 KiB, no heartbeats.
    let tune_ok = [0, 10, 0, 31, 0, 1, 0, 2, 0, 0, 0, 0];
    stream.write_all(&frame(1, 0, &tune_ok)).await.unwrap();
    let open = [&[0, 10, 0, 40][..], &short(vhost), &[0, 0]].concat();
    stream.write_all(&frame(1, 0, &open)).await.unwrap();
    expect(&mut stream, 10, 41).await;
    stream.write_all(&frame(1, 1, &[0, 20, 0, 10, 0])).await.unwrap();
    expect(&mut stream, 20, 11).await;

    let headers = [&short("strange")[..], b"S", &long(&[0xff, 0xfe])].concat();
    let properties = [&long(&headers)[..], &[2], &short(message_id)].concat();
    let length = (body.len() as u64).to_be_bytes();
    // Headers, delivery mode and message id.
    let header = [&[0, 60, 0, 0][..], &length, &[0x30, 0x80], &properties].concat();
    let publish = [&[0, 60, 0, 40][..], &[0, 0], &short(""), &short(queue), &[0]].concat();
    for frame in [frame(1, 1, &publish), frame(2, 1, &header), frame(3, 1, body)] {
        stream.write_all(&frame).await.unwrap();
    }
    // The answer comes after the message has been dealt with.
    stream.write_all(&frame(1, 1, &[0, 20, 0, 40, 0, 200, 0, 0, 0, 0, 0])).await.unwrap();
    expect(&mut stream, 20, 41).await;
}
