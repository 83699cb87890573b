//! The interface to whatever delivers mail.

mod encode;
mod files;
mod greetings;
mod smtp;
mod smtp_url;
mod spans;
mod starttls;

use async_trait::async_trait;
use encode::message;
use lettre::message::Mailbox;

use crate::domain::processing::failure::Failure;

pub use files::FileMailer;
pub use greetings::{EhloName, SmtpManners};
pub use smtp::SmtpMailer;
pub use smtp_url::SmtpUrl;

/// Delivers mail, or passes it to a server that will.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends a mail. `Ok` means that the other side has taken responsibility.
    ///
    /// # Errors
    /// Transient: it may work later, and the mail may even have arrived. Permanent: the mailbox was
    /// refused, or the address is invalid.
    async fn send(&self, mail: &Mail) -> Result<(), Failure>;
}

/// A mail, as text and as HTML.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The `Message-ID` (RFC 5322) without its angle brackets: the same for each repetition.
    pub message_id: String,
    /// The receiver's address.
    pub to: String,
    /// The receiver's name.
    pub to_name: Option<String>,
    /// The subject, one line.
    pub subject: String,
    /// The body, as plain text.
    pub text: String,
    /// The same body, as HTML.
    pub html: String,
}

/// Whether mail can be written to this address.
pub fn is_address(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok_and(|to| to.name.is_none() && to.email.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::processing::failure::Class;

    fn mail(to: &str, subject: &str) -> Mail {
        Mail {
            message_id: "1.email@taskd".into(),
            to: to.into(),
            to_name: Some("Ada\r\nBcc: eve@example.com".into()),
            subject: subject.into(),
            text: "text".into(),
            html: "<p>text</p>".into(),
        }
    }

    #[test]
    fn no_text_can_add_a_header() {
        let from: Mailbox = "taskd <taskd@localhost>".parse().unwrap();
        let message =
            message(&from, &mail("ada@example.com", "x\r\nBcc: eve@example.com\u{0}")).unwrap();
        let wire = String::from_utf8(message.formatted()).unwrap();
        let headers = wire.split("\r\n\r\n").next().unwrap();
        assert!(!headers.lines().any(|l| l.to_ascii_lowercase().starts_with("bcc:")), "{headers}");
        assert!(headers.contains("Message-ID: <1.email@taskd>"), "{headers}");
        assert!(headers.contains("multipart/alternative"), "{headers}");
        assert_eq!(message.envelope().to().len(), 1);
    }

    #[test]
    fn an_impossible_address_is_a_permanent_error() {
        let from: Mailbox = "taskd@localhost".parse().unwrap();
        for text in ["nobody", ".a@b.c", "a..b@c.d", "a.@b.c", "a@[127.0.0.1]", "Ada <a@b.c>"] {
            assert!(!is_address(text), "{text}");
            assert!(matches!(
                message(&from, &mail(text, "x")),
                Err(Failure { class: Class::Permanent, .. })
            ));
        }
        for text in ["a@b", "A.B+c@d-e.f", "!#$%&'*+/=?^_`{|}~-@b.c"] {
            assert!(is_address(text), "{text}");
            assert!(message(&from, &mail(text, "x")).is_ok(), "{text}");
        }
    }
}
