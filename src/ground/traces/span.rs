//! One step of a trace.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer,
};
use opentelemetry::{Context, KeyValue, Value};

use super::{TRACING, context, names};

tokio::task_local! {
    static CURRENT: SpanContext;
}

/// One step of a trace, from when it is made until it is dropped. Where nothing is traced, or the
/// trace is not kept, it is [`Span::NONE`], and does nothing.
#[derive(Debug, Default)]
pub struct Span(Option<Box<opentelemetry_sdk::trace::Span>>);

impl Span {
    /// No step of any trace.
    pub const NONE: Span = Span(None);

    /// The first step in this process: it continues the trace that its caller names, or begins one.
    /// If the trace is not kept, the span has nothing but a context, to be passed on.
    pub fn first(kind: SpanKind, name: impl Into<Cow<'static, str>>, parent: Option<&str>) -> Span {
        let parent = parent.and_then(context::parse);
        Span::begin(SpanBuilder::from_name(name).with_kind(kind), parent)
    }

    /// A step below this one. None if that is not kept.
    pub fn below(parent: &SpanContext, kind: SpanKind, name: impl Into<Cow<'static, str>>) -> Span {
        Span::below_since(parent, kind, name, None)
    }

    /// The same, begun at this time.
    pub fn below_since(
        parent: &SpanContext,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        begun: Option<SystemTime>,
    ) -> Span {
        let Some(tracing) = TRACING.get() else { return Span::NONE };
        if tracing.parent_decides && !parent.is_sampled() {
            return Span::NONE;
        }
        let mut builder = SpanBuilder::from_name(name).with_kind(kind);
        builder.start_time = begun;
        Span::begin(builder, Some(parent.clone())).if_kept()
    }

    /// A step below the one within which this is called ([`Span::within`]).
    pub fn below_current(kind: SpanKind, name: &'static str) -> Span {
        CURRENT.try_with(|parent| Span::below(parent, kind, name)).unwrap_or(Span::NONE)
    }

    /// The first step of a trace of its own, which belongs to these others. None if none of them is
    /// kept.
    pub fn linked(
        links: impl IntoIterator<Item = SpanContext>,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
    ) -> Span {
        let links = links.into_iter().map(Link::with_context).collect();
        Span::begin(SpanBuilder::from_name(name).with_kind(kind).with_links(links), None).if_kept()
    }

    fn begin(builder: SpanBuilder, parent: Option<SpanContext>) -> Span {
        let Some(tracing) = TRACING.get() else { return Span::NONE };
        let context = Context::new();
        let context = match parent {
            Some(parent) => context.with_remote_span_context(parent),
            None => context,
        };
        Span(Some(Box::new(tracing.tracer.build_with_context(builder, &context))))
    }

    fn if_kept(self) -> Span {
        if self.is_kept() { self } else { Span::NONE }
    }

    /// Whether anything that is said of it will be seen.
    pub fn is_kept(&self) -> bool {
        self.0.as_ref().is_some_and(|span| span.is_recording())
    }

    /// What others need to know to continue from here.
    pub fn context(&self) -> Option<&SpanContext> {
        self.0.as_ref().map(|span| span.span_context()).filter(|context| context.is_valid())
    }

    /// The same as a `traceparent`.
    pub fn traceparent(&self) -> Option<String> {
        self.context().map(context::text)
    }

    /// Says something of this step.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// Gives it another name.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.0 {
            span.update_name(name);
        }
    }

    /// Says that it has failed: with the kind of error, of which there are few, and in words.
    pub fn fail(&mut self, kind: impl Into<Value>, why: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(names::ERROR_TYPE, kind));
            span.set_status(Status::error(why));
        }
    }

    /// Runs a future within this step: what it calls can be a step below.
    pub async fn within<F: Future>(&self, future: F) -> F::Output {
        match self.context() {
            Some(context) => CURRENT.scope(context.clone(), future).await,
            None => future.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_traces_no_span_has_anything() {
        const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = context::parse(PARENT).unwrap();
        for mut span in [
            Span::first(SpanKind::Server, "GET", Some(PARENT)),
            Span::below(&parent, SpanKind::Client, "x"),
            Span::linked([parent.clone()], SpanKind::Client, "x"),
            Span::below_current(SpanKind::Client, "x"),
        ] {
            span.set("a", 1);
            span.fail("b", "c");
            assert!(span.0.is_none() && span.traceparent().is_none());
            assert!(span.within(async { CURRENT.try_with(|_| ()).is_err() }).await);
        }
    }
}
