//! The spans of publishing, by the conventions for messaging
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/>).
//!
//! Each event has a span in its own trace, from the publish to the confirm, whose context goes with
//! the message. Where several events are published together, that span is called *create*, and a
//! span *send*, in a trace of its own, is linked to all of them.

use super::message::Publishable;
use crate::broker::message::TRACEPARENT;
use crate::broker::{Broker, BrokerError};
use crate::ground::traces::{self, Span, SpanContext, SpanKind, names};

/// The spans of a batch that is published.
#[derive(Default)]
pub(super) struct SendSpans {
    /// A span for each event, in their order; empty if nothing is traced.
    events: Vec<Span>,
    batch: Span,
}

/// Begins the spans of a batch, and puts the context of each into its message.
pub(super) fn sending(events: &mut [Publishable], broker: &dyn Broker) -> SendSpans {
    if !traces::on() {
        return SendSpans::default();
    }
    let (count, queue) = (events.len(), broker.main_queue());
    let operation = if count == 1 { "send" } else { "create" };
    let spans: Vec<Span> = events
        .iter_mut()
        .map(|Publishable { id, message }| {
            let Some(parent) = message.text(TRACEPARENT).and_then(traces::parse) else {
                return Span::NONE;
            };
            let mut span = Span::below(&parent, SpanKind::Producer, format!("{operation} {queue}"));
            if let Some(own) = span.traceparent() {
                describe(&mut span, operation, broker);
                span.set(names::MESSAGING_MESSAGE_ID, id.to_string());
                message.set_text(TRACEPARENT, own);
            }
            span
        })
        .collect();
    let mut batch = Span::NONE;
    let created: Vec<SpanContext> = spans.iter().filter_map(Span::context).cloned().collect();
    if count > 1 && !created.is_empty() {
        batch = Span::linked(created, SpanKind::Client, format!("send {queue}"));
        describe(&mut batch, "send", broker);
        batch.set(names::MESSAGING_BATCH_MESSAGE_COUNT, count as i64);
    }
    SendSpans { events: spans, batch }
}

fn describe(span: &mut Span, operation: &'static str, broker: &dyn Broker) {
    span.set(names::MESSAGING_SYSTEM, broker.system());
    span.set(names::MESSAGING_DESTINATION_NAME, broker.main_queue().to_owned());
    span.set(names::MESSAGING_OPERATION_NAME, operation);
    span.set(names::MESSAGING_OPERATION_TYPE, operation);
}

impl SendSpans {
    /// Ends them with the broker's answers, one for each event.
    pub(super) fn end(mut self, answers: &[Result<(), BrokerError>]) {
        for (span, answer) in self.events.iter_mut().zip(answers) {
            fail(span, answer);
        }
        if let Some(failed) = answers.iter().find(|answer| answer.is_err()) {
            fail(&mut self.batch, failed);
        }
    }
}

fn fail(span: &mut Span, answer: &Result<(), BrokerError>) {
    let Err(error) = answer else { return };
    let kind = match error {
        BrokerError::ConfirmTimeout(_) => "timeout",
        BrokerError::Nacked => "nacked",
        BrokerError::Returned(_) => "returned",
        _ => "unavailable",
    };
    span.fail(kind, error.to_string());
}
