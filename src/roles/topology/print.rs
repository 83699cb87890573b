//! Prints queues on a terminal.

use std::fmt::Write;

use crate::broker::amqp::Finding;
use crate::broker::topology::Topology;
use crate::ground::output::{self, OutputError};

pub(super) fn as_wanted(topology: &Topology) -> Result<(), OutputError> {
    output::print(topology.as_wanted())
}

/// How the broker differs from the topology.
pub(super) fn findings(findings: &[Finding], topology: &Topology) -> Result<(), OutputError> {
    for finding in findings {
        let kind = if finding.drift { "DRIFT" } else { "note " };
        output::print(format_args!("{kind}  {}: {}", finding.about.name(), finding.problem))?;
    }
    if findings.iter().any(|finding| finding.drift) { Ok(()) } else { as_wanted(topology) }
}

/// A line for each queue.
pub(super) fn table(topology: &Topology) -> String {
    let width = topology.queues.iter().map(|q| q.name.chars().count()).max().unwrap_or_default();
    let mut text = format!("{:width$}  {:26}  ARGUMENTS", "QUEUE", "PURPOSE");
    for queue in &topology.queues {
        let arguments: Vec<String> =
            queue.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
        // Writing to a `String` can't fail.
        let _ =
            write!(text, "\n{:width$}  {:26}  {}", queue.name, queue.purpose, arguments.join(" "));
    }
    if let Some(exchange) = &topology.exchange {
        let _ = write!(text, "\n\nEXCHANGE  {}  type={} durable", exchange.name, exchange.r#type);
    }
    text
}
