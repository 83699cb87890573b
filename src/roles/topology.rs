//! `taskd topology`: the queues on RabbitMQ.

use std::fmt::Write;
use std::process::ExitCode;

use crate::broker::Broker;
use crate::broker::amqp::{self, AmqpBroker};
use crate::broker::topology::Topology;
use crate::config::{BrokerArgs, TlsArgs};
use crate::ground::output;

/// Options of `taskd topology`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make the queues; harmless when they are there
    Declare {
        #[command(flatten)]
        broker: BrokerArgs,
        #[command(flatten)]
        tls: TlsArgs,
    },
    /// Print the queues as they are wanted
    Show {
        #[command(flatten)]
        broker: BrokerArgs,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Hold what is wanted against what the broker has; exits 1 on a difference
    Check {
        #[command(flatten)]
        broker: BrokerArgs,
        #[command(flatten)]
        tls: TlsArgs,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Declares, shows or checks.
///
/// # Errors
/// The configuration is wrong, the broker fails, or one of its queues differs from ours.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Declare { broker, tls } => {
            let url = broker.required_url(&tls.load()?)?;
            AmqpBroker::new(url, broker.topology()?, "taskd topology").declare().await?;
            output::print(format_args!(
                "{} queues are as wanted",
                broker.topology()?.queues.len()
            ))?;
        }
        Action::Show { broker, json: false } => output::print(table(&broker.topology()?))?,
        Action::Show { broker, json: true } => {
            output::print(serde_json::to_string_pretty(&broker.topology()?)?)?;
        }
        Action::Check { broker, tls, json } => {
            let url = broker.required_url(&tls.load()?)?;
            let findings = amqp::check(&url, &broker.topology()?).await?;
            let drift = findings.iter().any(|finding| finding.drift);
            if json {
                output::print(serde_json::to_string_pretty(&findings)?)?;
            } else {
                for finding in &findings {
                    let kind = if finding.drift { "DRIFT" } else { "note " };
                    output::print(format_args!("{kind}  {}: {}", finding.queue, finding.problem))?;
                }
                if !drift {
                    output::print(format_args!(
                        "{} queues are as wanted",
                        broker.topology()?.queues.len()
                    ))?;
                }
            }
            if drift {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(topology: &Topology) -> String {
    let width = topology.queues.iter().map(|q| q.name.chars().count()).max().unwrap_or_default();
    let mut text = format!("{:width$}  {:26}  ARGUMENTS", "QUEUE", "PURPOSE");
    for queue in &topology.queues {
        let arguments: Vec<String> =
            queue.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
        // Writing to a `String` can't fail.
        let _ =
            write!(text, "\n{:width$}  {:26}  {}", queue.name, queue.purpose, arguments.join(" "));
    }
    text
}
