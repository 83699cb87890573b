//! `taskd topology`: the queues on RabbitMQ.

mod print;

use std::process::ExitCode;

use crate::broker::Broker;
use crate::broker::amqp::{self, AmqpBroker};
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
    /// Check the queues on the broker against the wanted ones; exits 1 on a difference
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
            print::as_wanted(&broker.topology()?)?;
        }
        Action::Show { broker, json: false } => output::print(print::table(&broker.topology()?))?,
        Action::Show { broker, json: true } => {
            output::print(serde_json::to_string_pretty(&broker.topology()?)?)?;
        }
        Action::Check { broker, tls, json } => {
            let url = broker.required_url(&tls.load()?)?;
            let topology = broker.topology()?;
            let findings = amqp::check(&url, &topology).await?;
            match json {
                true => output::print(serde_json::to_string_pretty(&findings)?)?,
                false => print::findings(&findings, &topology)?,
            }
            if findings.iter().any(|finding| finding.drift) {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
