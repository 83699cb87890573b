//! The worker of a process, and what it does besides for dead letters and gates.

use std::sync::Arc;
use std::time::Duration;

use super::parts::{self, RoleContext};
use crate::authenticity::Authenticity;
use crate::broker::Broker;
use crate::broker::amqp::ExchangePublisher;
use crate::broker::watched::Watched;
use crate::config::{BrokerArgs, ConfigError, MailArgs, WebhookSender};
use crate::consumer::{Consumer, WorkerContext};
use crate::dead_letters::{Mover, Replayer};
use crate::domain::catalog;
use crate::domain::processing::retry::RetryPolicy;
use crate::domain::rate::Limit;
use crate::effects::{self, EffectContext, Simulation};
use crate::gates::{EffectLimits, Gates, Keeper};
use crate::ground::shutdown::Shutdown;
use crate::ground::tls::Tls;
use crate::idempotency::Idempotency;
use crate::mail::Mailer;
use crate::retry_router::RetryRouter;
use crate::webhooks::{Dispatcher, FanOut};

/// How a worker works.
#[derive(Clone)]
pub(super) struct WorkerSettings {
    /// Its name.
    pub(super) name: String,
    /// How many deliveries it has in hand at most.
    pub(super) concurrency: u16,
    pub(super) retries: RetryPolicy,
    pub(super) simulation: Simulation,
    pub(super) limits: EffectLimits,
}

/// Where the effects of a worker reach outside.
#[derive(Clone)]
pub(super) struct Outlets {
    pub(super) mailer: Arc<dyn Mailer>,
    pub(super) mail_limit: Limit,
    /// Where events are published for others, if anywhere.
    pub(super) exchange: Option<Arc<ExchangePublisher>>,
    /// Sends webhooks.
    pub(super) webhooks: WebhookSender,
}

impl Outlets {
    /// None is connected yet. `name` is how this process appears in the broker's lists.
    pub(super) fn new(
        mail: &MailArgs,
        broker: &BrokerArgs,
        tls: &Tls,
        name: &str,
        webhooks: WebhookSender,
    ) -> anyhow::Result<Outlets> {
        let (mailer, mail_limit) = parts::mailer(mail, tls)?;
        let exchange = match (broker.url(tls)?, broker.exchange()) {
            (Some(url), Some(exchange)) => {
                Some(ExchangePublisher::new(url, &exchange, name).into())
            }
            _ => None,
        };
        Ok(Outlets { mailer, mail_limit, exchange, webhooks })
    }
}

/// A worker, the gates of its effects, and what sends webhooks.
pub(super) struct Worker {
    consumer: Consumer,
    gates: Gates,
    fan_out: FanOut,
    dispatcher: Dispatcher,
}

/// Makes a worker.
pub(super) fn worker(
    context: &RoleContext,
    outlets: Outlets,
    settings: WorkerSettings,
) -> anyhow::Result<Worker> {
    let RoleContext { store, broker, metrics, .. } = context.clone();
    let WorkerSettings { name: worker, concurrency, retries, simulation, limits } = settings;
    let authenticity = Authenticity::new(store.clone());
    let Outlets { mailer, mail_limit, exchange, webhooks } = outlets;
    let effect_context = EffectContext { store: store.clone(), mailer, mail_limit, exchange };
    let effects = effects::of_worker(&worker).start(&effect_context);
    limits.check(&effects).map_err(|(variable, problem)| ConfigError::new(variable, problem))?;
    let gates = Gates::new(store.clone(), &worker, limits);
    let WebhookSender { client, keyring } = webhooks;
    let dispatcher = Dispatcher::new(store.clone(), client, keyring, metrics.clone(), &worker);
    let fan_out = FanOut::new(store.clone(), dispatcher.wake());
    let tools = WorkerContext {
        idempotency: Idempotency::new(store.clone(), &worker),
        router: RetryRouter::new(broker.clone(), authenticity.clone(), retries, &worker),
        authenticity,
        event_types: catalog::of_workers(),
        effects: effects.into(),
        simulation,
        metrics,
        worker,
        store,
    };
    let watched = Watched::new(broker, tools.metrics.in_hand.clone());
    let broker: Arc<dyn Broker> = Arc::new(watched);
    #[cfg(feature = "defects")]
    let (tools, broker) = crate::defects::worker(tools, broker);
    let consumer = Consumer::new(tools, broker, concurrency).with_gates(gates.clone());
    Ok(Worker { consumer, gates, fan_out, dispatcher })
}

/// Runs the worker, and what it does for dead letters, until it is told to stop. It runs in a task
/// of its own: on the main thread, each delivery would cost a wake-up across threads, by the
/// threads that serve the connections.
pub(super) async fn work(
    context: &RoleContext,
    worker: Worker,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let RoleContext { store, broker, metrics, .. } = context.clone();
    let Worker { consumer, gates, fan_out, dispatcher } = worker;
    let names = effects::built_in().names().collect();
    let keeper = Keeper::new(gates, names, broker.clone(), metrics);
    // What is paused must not run before that is known.
    while let Err(error) = keeper.read().await {
        tracing::warn!(%error, "can't read which effects are paused; retrying");
        if !shutdown.sleep(Duration::from_secs(1)).await {
            return Ok(());
        }
    }
    tokio::spawn(keeper.run(shutdown.clone()));
    let mover = Mover::new(broker.clone(), store.clone(), catalog::built_in());
    tokio::spawn(mover.run(shutdown.clone()));
    tokio::spawn(Replayer::new(broker, store).run(shutdown.clone()));
    tokio::spawn(fan_out.run(shutdown.clone()));
    let sending = tokio::spawn(dispatcher.run(shutdown.clone()));
    let ended = tokio::spawn(consumer.run(shutdown.clone())).await;
    // A worker that has panicked stops the whole process.
    shutdown.stop();
    sending.await?;
    Ok(ended?)
}
