//! Encodes a mail for the wire (RFC 5322, MIME): whatever is in a text, it arrives as that text.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lettre::message::header::{
    ContentTransferEncoding, ContentType, HeaderName, HeaderValue, MessageId,
};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};

use super::Mail;
use crate::domain::processing::failure::Failure;
use crate::domain::text::one_line;

/// Encodes the mail.
pub(super) fn message(from: &Mailbox, mail: &Mail) -> Result<lettre::Message, Failure> {
    let refused = |e: String| Failure::permanent(format!("the mail can't be written: {e}"));
    let address: lettre::Address =
        mail.to.parse().map_err(|_| refused("the address is invalid".into()))?;
    let to = Mailbox::new(mail.to_name.as_deref().map(one_line), address);
    let subject = one_line(&mail.subject);
    let parts = MultiPart::alternative()
        .singlepart(part(ContentType::TEXT_PLAIN, &mail.text))
        .singlepart(part(ContentType::TEXT_HTML, &mail.html));
    let mut message = lettre::Message::builder()
        .from(from.clone())
        .to(to.clone())
        .subject(subject.clone())
        .header(MessageId::from(format!("<{}>", mail.message_id)))
        .date_now()
        .multipart(parts)
        .map_err(|e| refused(e.to_string()))?;
    // The library doesn't encode what looks like an encoded word already (RFC 2047), and a reader
    // would decode it.
    let headers = message.headers_mut();
    let mut replace = |name: &'static str, raw: String, encoded: String| {
        let name = HeaderName::new_from_ascii_str(name);
        headers.insert_raw(HeaderValue::dangerous_new_pre_encoded(name, raw, encoded));
    };
    if looks_encoded(&subject) {
        let encoded = encoded_words(&subject);
        replace("Subject", subject, encoded);
    }
    for (name, mailbox) in [("To", &to), ("From", from)] {
        if let Some(label) = mailbox.name.as_deref().filter(|label| looks_encoded(label)) {
            let encoded = format!("{}\r\n <{}>", encoded_words(label), mailbox.email);
            replace(name, mailbox.to_string(), encoded);
        }
    }
    Ok(message)
}

fn looks_encoded(text: &str) -> bool {
    text.contains("=?")
}

/// How many bytes of text an encoded word has. A line with encoded words may have 76 characters
/// (RFC 2047, section 2). Of these the header's name and what surrounds the word take some, and
/// base64 makes four of each three bytes.
const BYTES_A_WORD: usize = 39;

/// Splits a text into encoded words, each of whole characters.
fn encoded_words(text: &str) -> String {
    let mut words: Vec<String> = vec![String::new()];
    for c in text.chars() {
        match words.last_mut().filter(|word| word.len() + c.len_utf8() <= BYTES_A_WORD) {
            Some(word) => word.push(c),
            None => words.push(c.to_string()),
        }
    }
    let encoded = words.iter().map(|word| format!("=?utf-8?b?{}?=", BASE64_STANDARD.encode(word)));
    encoded.collect::<Vec<_>>().join("\r\n ")
}

/// A part of the body, whose lines end in CRLF. A CR that ends no line, and whatever else a
/// terminal or a server could take for a command, is never sent unencoded.
fn part(kind: ContentType, text: &str) -> SinglePart {
    let lines = text.replace("\r\n", "\n");
    let unusual = |c: char| c.is_control() && c != '\n' && c != '\t';
    let builder = SinglePart::builder().header(kind);
    if !lines.chars().any(unusual) {
        return builder.body(lines);
    }
    let bytes = lines.replace('\n', "\r\n").into_bytes();
    match Body::new_with_encoding(bytes, ContentTransferEncoding::Base64) {
        Ok(body) => builder.body(body),
        // Base64 takes any bytes; if it didn't, this still is no raw text.
        Err(bytes) => builder.body(Body::new(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(subject: &str, text: &str) -> Mail {
        Mail {
            message_id: "1.email@taskd".into(),
            to: "ada@example.com".into(),
            to_name: Some(subject.into()),
            subject: subject.into(),
            text: text.into(),
            html: format!("<p>{text}</p>"),
        }
    }

    fn wire(subject: &str, text: &str) -> String {
        let from: Mailbox = "taskd <taskd@localhost>".parse().unwrap();
        String::from_utf8(message(&from, &mail(subject, text)).unwrap().formatted()).unwrap()
    }

    /// The value of a header, unfolded.
    fn header(wire: &str, name: &str) -> String {
        let head = wire.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ");
        let prefix = format!("{name}: ");
        head.split("\r\n").find_map(|line| line.strip_prefix(&prefix)).unwrap().to_owned()
    }

    #[test]
    fn every_line_ends_in_crlf_and_no_other_control_goes_out_as_it_is() {
        for text in [
            "a\rb",
            "a\r.\r\nQUIT\r\n",
            "\r",
            "a\r\r\nb",
            "\u{0}\u{1b}[2J\u{8}",
            "a\nb\r\nc",
            "\u{85}é\r",
        ] {
            let wire = wire(text, text);
            let rest = wire.replace("\r\n", "");
            let raw: Vec<char> = rest.chars().filter(|c| c.is_control() && *c != '\t').collect();
            assert!(raw.is_empty(), "{text:?}: {raw:?} in {wire:?}");
            assert!(wire.is_ascii(), "{text:?}: {wire:?}");
            assert!(!wire.contains("\r\n.\r\n"), "{wire:?}");
        }
        // The text is encoded with CRLF at the end of each line.
        let wire = wire("t", "a\rb\nc");
        let encoded = BASE64_STANDARD.encode("a\rb\r\nc");
        assert!(wire.contains(&encoded), "{wire}");
    }

    #[test]
    fn a_text_that_looks_like_an_encoded_word_arrives_as_it_is() {
        let text = format!("=?utf-8?q?paid?= {} é", "x".repeat(60));
        let wire = wire(&text, "t");
        for name in ["Subject", "To"] {
            let value = header(&wire, name);
            let words = value.split(' ').filter(|word| word.starts_with("=?utf-8?b?"));
            let decoded: String = words
                .map(|word| {
                    assert!(word.len() <= 75, "{word}");
                    let base64 =
                        word.strip_prefix("=?utf-8?b?").unwrap().strip_suffix("?=").unwrap();
                    String::from_utf8(BASE64_STANDARD.decode(base64).unwrap()).unwrap()
                })
                .collect();
            assert_eq!(decoded, text, "{name}: {value}");
        }
        assert!(header(&wire, "To").ends_with("<ada@example.com>"));
        assert!(wire.lines().all(|line| line.len() <= 78), "{wire}");
    }

    #[test]
    fn a_subject_shows_what_it_is() {
        let wire = wire("pay\u{200b}pal \u{202e}gpj.exe", "t");
        assert_eq!(header(&wire, "Subject"), "paypal gpj.exe");
    }
}
