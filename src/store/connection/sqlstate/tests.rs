use super::*;
use tokio::io::AsyncReadExt;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], length.as_slice(), body].concat()
}

fn error(code: &str, column: &str) -> Vec<u8> {
    message(b'E', format!("SFEHLER\0VERROR\0C{code}\0MPlatte voll\0{column}\0").as_bytes())
}

struct Steps<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl AsyncRead for Steps<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let step = self.step.min(self.bytes.len()).min(buffer.remaining());
        let (now, later) = self.bytes.split_at(step);
        buffer.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

/// Reads the bytes in steps of this length, as a network delivers them.
async fn through(bytes: &[u8], step: usize) -> (Vec<u8>, ReadOnlySince) {
    let read_only = ReadOnlySince::default();
    let mut stream = WithCodes::new(Steps { bytes, step }, read_only.clone());
    let mut out = Vec::new();
    stream.read_to_end(&mut out).await.unwrap();
    (out, read_only)
}

#[tokio::test]
async fn the_code_of_each_error_is_repeated_however_the_bytes_arrive() {
    let row = message(b'D', b"E, which is data\0C53100\0");
    let bytes = [message(b'Z', b"I"), error("53100", ""), row.clone(), error("57P01", "cname\0")];
    let wanted =
        [message(b'Z', b"I"), error("53100", "c53100\0"), row, error("57P01", "cname\0c57P01\0")];
    for step in 1..70 {
        let (out, read_only) = through(&bytes.concat(), step).await;
        assert_eq!(out, wanted.concat(), "in steps of {step}");
        assert!(!read_only.retires(Instant::now()));
    }
}

#[tokio::test]
async fn what_is_no_error_of_the_protocol_passes_as_it_is() {
    for bytes in [
        // Cut off in the middle, without a code, of an impossible length, and none at all.
        b"E\0\0\0\x20SERROR".to_vec(),
        message(b'E', b"SERROR\0\0"),
        b"E\0\0\0\0".to_vec(),
        b"E\xff\xff\xff\xffabc".to_vec(),
        Vec::new(),
    ] {
        assert_eq!(through(&bytes, 3).await.0, bytes, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_refusal_to_write_retires_the_connections_there_are() {
    let before = Instant::now();
    let (_, read_only) = through(&error("25006", ""), 7).await;
    assert!(read_only.retires(before));
    assert!(!read_only.retires(Instant::now() + std::time::Duration::from_secs(1)));
}
