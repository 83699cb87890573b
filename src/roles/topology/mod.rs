//! `taskd topology`: the queues and the exchange on RabbitMQ.

mod print;

use std::process::ExitCode;

use crate::broker::Broker;
use crate::broker::amqp::AmqpBroker;
use crate::broker::management::Rabbit;
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
    /// Make the queues and the exchange; harmless when they are there
    Declare {
        #[command(flatten)]
        broker: BrokerArgs,
        #[command(flatten)]
        tls: TlsArgs,
    },
    /// Print the queues and the exchange as they are wanted
    Show {
        #[command(flatten)]
        broker: BrokerArgs,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Check what is on the broker against what is wanted; exits 1 on a difference
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
            let Rabbit { url, topology, .. } = broker.required_rabbit(&tls.load()?)?;
            AmqpBroker::new(url, topology.clone(), "taskd topology").declare().await?;
            print::as_wanted(&topology)?;
        }
        Action::Show { broker, json: false } => output::print(print::table(&broker.topology()?))?,
        Action::Show { broker, json: true } => {
            output::print(serde_json::to_string_pretty(&broker.topology()?)?)?;
        }
        Action::Check { broker, tls, json } => {
            let rabbit = broker.required_rabbit(&tls.load()?)?;
            let findings = rabbit.check().await?;
            match json {
                true => output::print(serde_json::to_string_pretty(&findings)?)?,
                false => print::findings(&findings, &rabbit.topology)?,
            }
            if findings.iter().any(|finding| finding.drift) {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
