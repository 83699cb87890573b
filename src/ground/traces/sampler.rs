//! Which traces are kept (`OTEL_TRACES_SAMPLER`).

use clap::ValueEnum;
use opentelemetry::trace::{Link, SpanKind, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// The samplers that <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>
/// names, as far as they need nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum SamplingKind {
    /// Every span.
    AlwaysOn,
    /// No span.
    AlwaysOff,
    /// A part of the traces, whatever others have decided.
    #[value(name = "traceidratio")]
    Ratio,
    /// What others have decided; every trace that begins here.
    #[value(name = "parentbased_always_on")]
    ParentOrOn,
    /// What others have decided; no trace that begins here.
    #[value(name = "parentbased_always_off")]
    ParentOrOff,
    /// What others have decided; a part of the traces that begin here.
    #[value(name = "parentbased_traceidratio")]
    ParentOrRatio,
}

/// A sampler and its ratio, from 0 to 1, which counts for those that keep a part.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    /// Which sampler.
    pub kind: SamplingKind,
    /// The part that is kept.
    pub ratio: f64,
}

impl Sampling {
    /// Whether a span whose parent is not kept is not kept either.
    pub(super) fn parent_decides(self) -> bool {
        use SamplingKind::{ParentOrOff, ParentOrOn, ParentOrRatio};
        matches!(self.kind, ParentOrOn | ParentOrOff | ParentOrRatio)
    }

    pub(super) fn sampler(self) -> Sampler {
        let root = match self.kind {
            SamplingKind::AlwaysOn | SamplingKind::ParentOrOn => Sampler::AlwaysOn,
            SamplingKind::AlwaysOff | SamplingKind::ParentOrOff => Sampler::AlwaysOff,
            SamplingKind::Ratio | SamplingKind::ParentOrRatio => {
                Sampler::TraceIdRatioBased(self.ratio)
            }
        };
        match self.parent_decides() {
            true => Sampler::ParentBased(Box::new(LinksDecide(root))),
            false => root,
        }
    }
}

/// For spans without a parent. A retry or a batch begins a trace of its own, with links to the
/// traces that it belongs to: it is kept if one of those is, or it would be missing there.
#[derive(Debug, Clone)]
struct LinksDecide(Sampler);

impl ShouldSample for LinksDecide {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        if links.is_empty() {
            return self.0.should_sample(parent, trace, name, kind, attributes, links);
        }
        let decision = match links.iter().any(|link| link.span_context.is_sampled()) {
            true => SamplingDecision::RecordAndSample,
            false => SamplingDecision::Drop,
        };
        SamplingResult { decision, attributes: Vec::new(), trace_state: TraceState::NONE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::traces::parse;

    fn kept(sampling: Sampling, parent: Option<&str>, link: Option<&str>) -> bool {
        use opentelemetry::trace::TraceContextExt;
        let context = parent.map_or_else(Context::new, |parent| {
            Context::new().with_remote_span_context(parse(parent).unwrap())
        });
        let links: Vec<Link> =
            link.map(|link| Link::with_context(parse(link).unwrap())).into_iter().collect();
        let trace = TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").unwrap();
        let sampler = sampling.sampler();
        let decided =
            sampler.should_sample(Some(&context), trace, "x", &SpanKind::Internal, &[], &links);
        decided.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn what_others_have_decided_counts_also_where_there_is_only_a_link() {
        const KEPT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        const DROPPED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let none = Sampling { kind: SamplingKind::ParentOrRatio, ratio: 0.0 };
        let all = Sampling { kind: SamplingKind::ParentOrOn, ratio: 1.0 };
        for (sampling, by_itself) in [(none, false), (all, true)] {
            assert_eq!(kept(sampling, None, None), by_itself);
            for (other, expected) in [(KEPT, true), (DROPPED, false)] {
                assert_eq!(kept(sampling, Some(other), None), expected);
                assert_eq!(kept(sampling, None, Some(other)), expected);
            }
        }
        let always = Sampling { kind: SamplingKind::AlwaysOn, ratio: 1.0 };
        assert!(kept(always, Some(DROPPED), None) && kept(always, None, Some(DROPPED)));
    }
}
