//! The spans of a delivery and of its effects, by the conventions for messaging
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/>).
//!
//! A first attempt is a step in the trace of the request. A retry or a replay comes minutes or days
//! later, when that trace has been read: it is a trace of its own, linked to the first one.

use std::time::SystemTime;

use super::job::Progress;
use super::{Abandoned, Session};
use crate::broker::Delivery;
use crate::broker::message::{REPLAY_OF, TRACEPARENT};
use crate::domain::processing::effect::EffectKey;
use crate::domain::processing::failure::{Class, Failure, Failures};
use crate::ground::traces::{self, Span, SpanKind, names};

impl Session {
    /// Begins the span of a delivery.
    pub(super) fn span(&self, delivery: &Delivery) -> Span {
        if !traces::on() {
            return Span::NONE;
        }
        let (system, queue) = self.tools.router.source();
        let (name, message) = (format!("process {queue}"), &delivery.message);
        let origin = message.text(TRACEPARENT).and_then(traces::parse);
        let replayed = message.text(REPLAY_OF);
        let mut span = match origin {
            Some(origin) if message.attempt() == 1 && replayed.is_none() => {
                Span::below(&origin, SpanKind::Consumer, name)
            }
            Some(origin) => Span::linked([origin], SpanKind::Consumer, name),
            None => Span::first(SpanKind::Consumer, name, None),
        };
        if span.is_kept() {
            span.set(names::MESSAGING_SYSTEM, system);
            span.set(names::MESSAGING_DESTINATION_NAME, queue.to_owned());
            span.set(names::MESSAGING_OPERATION_NAME, "process");
            span.set(names::MESSAGING_OPERATION_TYPE, "process");
            if let Some(id) = &message.message_id {
                span.set(names::MESSAGING_MESSAGE_ID, id.clone());
            }
            span.set("taskd.attempt", i64::from(message.attempt()));
            if let Some(letter) = replayed {
                span.set("taskd.replay_of", letter.to_owned());
            }
        }
        span
    }

    /// The span of a delivery that can't be read or isn't believed: it has nothing below it.
    pub(super) fn span_of_refused(&self, delivery: &Delivery, failures: &Failures) -> Span {
        let mut span = self.span(delivery);
        end(&mut span, failures);
        span
    }
}

/// Says of a delivery what stands in the way of its ack. Waiting is no error.
pub(super) fn end(span: &mut Span, failures: &Failures) {
    if let Some(kind) = kind(failures.deciding()) {
        span.fail(kind, failures.to_string());
    }
}

/// Runs an effect within a span below that of its delivery.
pub(super) async fn effect(
    delivery: &Span,
    effect: &EffectKey,
    running: impl Future<Output = Result<Progress, Abandoned>>,
) -> Result<Progress, Abandoned> {
    let mut span = below(delivery, effect, None);
    if !span.is_kept() {
        return running.await;
    }
    let ended = span.within(running).await;
    if let Ok(Progress::Failed(failure)) = &ended {
        fail(&mut span, failure);
    }
    ended
}

/// Notes an effect that ran for many deliveries together, since this time.
pub(super) fn together(
    delivery: &Span,
    effect: &EffectKey,
    begun: SystemTime,
    failed: Option<&Failure>,
) {
    let mut span = below(delivery, effect, Some(begun));
    if let Some(failure) = failed {
        fail(&mut span, failure);
    }
}

fn below(delivery: &Span, effect: &EffectKey, begun: Option<SystemTime>) -> Span {
    let Some(parent) = delivery.context() else { return Span::NONE };
    let name = format!("effect {}", effect.effect);
    let mut span = Span::below_since(parent, SpanKind::Internal, name, begun);
    if span.is_kept() {
        span.set("taskd.effect", effect.to_string());
    }
    span
}

fn fail(span: &mut Span, failure: &Failure) {
    if let Some(kind) = kind(failure.class) {
        span.fail(kind, failure.message.clone());
    }
}

/// The kind of error that a failure is, as traces know it.
fn kind(class: Class) -> Option<&'static str> {
    match class {
        Class::Transient => Some("transient"),
        Class::Permanent => Some("permanent"),
        Class::Malformed => Some("malformed"),
        Class::NotOurs => Some("not_ours"),
        _ => None,
    }
}
