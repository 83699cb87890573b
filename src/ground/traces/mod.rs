//! Traces by OpenTelemetry: spans, and their way to a collector by OTLP.
//!
//! A span is made with its parent at hand, as a `traceparent` or another span: requests, events and
//! messages carry theirs along, since the parts of a change run in other tasks, other processes and
//! minutes later. So there is no layer under the log and no context that follows by itself, except
//! from an effect to what it calls ([`Span::within`]).
//!
//! Until [`start`] is called, every span is [`Span::NONE`]: making one costs the look at a static,
//! and nothing is allocated.

mod client;
mod context;
mod export;
mod sampler;
mod span;

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider};
use opentelemetry_semantic_conventions::SCHEMA_URL;

pub use context::{is_traceparent, parse, text};
pub use export::{Endpoint, Headers, ResourceAttributes};
pub use opentelemetry::trace::{SpanContext, SpanKind};
pub use opentelemetry_semantic_conventions::attribute as names;
pub use sampler::{Sampling, SamplingKind};
pub use span::Span;

use crate::ground::tls::Tls;

/// What is traced, and where the spans go.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The collector.
    pub endpoint: Endpoint,
    /// What each request to it brings, such as a token.
    pub headers: Headers,
    /// What this program is called among others.
    pub service: String,
    /// What else is said of this process.
    pub attributes: ResourceAttributes,
    /// Which traces are kept.
    pub sampling: Sampling,
}

/// How long the end of the process may be put off by spans that are not sent yet.
const LAST_SPANS: Duration = Duration::from_secs(2);

struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// Whether a span whose parent is not kept is not kept either.
    parent_decides: bool,
}

static TRACING: OnceLock<Tracing> = OnceLock::new();

/// Whether traces are on, so that a caller can leave out what a span would need.
pub fn on() -> bool {
    TRACING.get().is_some()
}

/// Begins to trace. Call it once, in the runtime in which the spans are to be sent.
///
/// # Errors
/// The client of HTTP or the exporter can't be made: a sentence that says why.
pub fn start(settings: &Settings, tls: &Tls) -> Result<(), String> {
    let exporter = export::exporter(&settings.endpoint, &settings.headers, tls)?;
    let provider = SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter).build())
        .with_sampler(settings.sampling.sampler())
        .with_resource(export::resource(&settings.service, &settings.attributes))
        .build();
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(SCHEMA_URL)
        .build();
    let tracer = provider.tracer_with_scope(scope);
    let parent_decides = settings.sampling.parent_decides();
    // A second call, as in tests, leaves the first in place.
    let _ = TRACING.set(Tracing { provider, tracer, parent_decides });
    Ok(())
}

/// Sends what is left, for at most two seconds. No span can be made afterwards.
pub async fn finish() {
    let Some(tracing) = TRACING.get() else { return };
    let provider = tracing.provider.clone();
    let sending = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_SPANS));
    // What can't be sent by then is lost, and the exporter has said why.
    let _ = tokio::time::timeout(LAST_SPANS, sending).await;
}
