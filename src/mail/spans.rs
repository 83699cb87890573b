//! The span of a mail, below the effect that sends it.

use super::Mail;
use crate::domain::processing::failure::{Class, Failure};
use crate::ground::traces::{Span, SpanKind, names};

/// Runs a send to this server within a span. It has the mail's id, and neither who gets it nor what
/// it says.
pub(super) async fn sending(
    (host, port): (&str, u16),
    mail: &Mail,
    send: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let mut span = Span::below_current(SpanKind::Client, "send mail");
    if !span.is_kept() {
        return send.await;
    }
    span.set(names::NETWORK_PROTOCOL_NAME, "smtp");
    span.set(names::SERVER_ADDRESS, host.to_owned());
    span.set(names::SERVER_PORT, i64::from(port));
    ended(span, mail, send).await
}

/// The same for a mail that is written to a file.
pub(super) async fn writing(
    mail: &Mail,
    write: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    match Span::below_current(SpanKind::Internal, "write mail") {
        span if span.is_kept() => ended(span, mail, write).await,
        _ => write.await,
    }
}

async fn ended(
    mut span: Span,
    mail: &Mail,
    run: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    span.set("taskd.mail.message_id", mail.message_id.clone());
    let outcome = run.await;
    if let Err(failure) = &outcome {
        let kind = if failure.class == Class::Permanent { "permanent" } else { "transient" };
        span.fail(kind, failure.message.clone());
    }
    outcome
}
