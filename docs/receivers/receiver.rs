// serve(&TcpListener::bind("127.0.0.1:8080")?, "whsec_…"), with the crates standardwebhooks and http
use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{TcpListener, TcpStream};

pub fn serve(listener: &TcpListener, secret: &str) {
    let verifier = standardwebhooks::Webhook::new(secret).expect("a secret such as whsec_…");
    let mut done = std::collections::HashSet::new(); // keep it where the work is done
    for stream in listener.incoming().flatten() {
        let Ok((headers, body)) = read(&stream) else { continue };
        // It tries each signature, and takes no timestamp that is five minutes away.
        let genuine = verifier.verify(&body, &headers).is_ok();
        if genuine && done.insert(headers["webhook-id"].clone()) {
            println!("{}", String::from_utf8_lossy(&body));
        }
        let status = if genuine { "200 OK" } else { "401 Unauthorized" };
        let _ = write!(&stream, "HTTP/1.1 {status}\r\nConnection: close\r\n\r\n");
    }
}

fn read(stream: &TcpStream) -> Result<(http::HeaderMap, Vec<u8>)> {
    let (mut reader, mut head, mut body) = (BufReader::new(stream), String::new(), Vec::new());
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let parsed = |(name, value): (&str, &str)| Some((name.parse().ok()?, value.parse().ok()?));
    let headers: http::HeaderMap = fields.filter_map(parsed).collect();
    let length = headers.get("content-length").and_then(|text| text.to_str().ok()?.parse().ok());
    reader.take(length.unwrap_or(0)).read_to_end(&mut body)?;
    Ok((headers, body))
}
