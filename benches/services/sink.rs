//! A mail server that takes every mail at once and keeps none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

pub struct Sink {
    pub url: String,
    taken: Arc<AtomicUsize>,
}

impl Sink {
    pub async fn start() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let taken: Arc<AtomicUsize> = Arc::default();
        let sink = Sink { url, taken: Arc::clone(&taken) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let taken = Arc::clone(&taken);
                // A client that hangs up ends its dialogue, and nothing else.
                tokio::spawn(async move { drop(dialogue(stream, &taken).await) });
            }
        });
        sink
    }

    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

async fn dialogue(stream: TcpStream, taken: &AtomicUsize) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 sink\r\n").await?;
    let mut line = Vec::new();
    let mut in_mail = false;
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let answer: &[u8] = match (in_mail, line.get(..4).unwrap_or(&line)) {
            (true, b".\r\n") => {
                in_mail = false;
                taken.fetch_add(1, Ordering::Relaxed);
                b"250 taken\r\n"
            }
            (true, _) => continue,
            (false, b"DATA") => {
                in_mail = true;
                b"354 go on\r\n"
            }
            (false, b"EHLO") => b"250-sink\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
            (false, b"QUIT") => b"221 bye\r\n",
            (false, _) => b"250 ok\r\n",
        };
        stream.write_all(answer).await?;
    }
}
