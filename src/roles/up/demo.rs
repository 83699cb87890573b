//! `taskd up --demo`: where it may run, and how it is put together.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::super::parts::RoleContext;
use super::super::worker::{self, Outlets, Worker, WorkerSettings};
use super::Args;
use crate::broker::Broker;
use crate::config::{ConfigError, DEFAULT_MAIL_DIR};
use crate::demo::{Demo, DemoWorker, KEPT, PURGES};
use crate::domain::presence::Role;
use crate::domain::rate::Limit;
use crate::ground::data_dir::DataDir;
use crate::ground::shutdown::Shutdown;
use crate::ground::telemetry::Load;
use crate::ground::tls::Tls;
use crate::operate::presence::Presence;
use crate::retention::Retention;
use crate::store::Store;

/// The data directory of a demo, if nothing else is said.
pub(super) const DEMO_DATA_DIR: &str = ".taskd-demo";
/// How many workers it has: one that freezes, and one that takes over.
const WORKERS: usize = 2;

/// Refuses a demo where it would touch something real, and sets what is different in one. Returns
/// how long it keeps things.
pub(super) fn prepare(args: &mut Args, tls: &Tls) -> Result<Retention, ConfigError> {
    let refused = |problem: String| Err(ConfigError::new("--demo", problem));
    if args.simulation.is_production() {
        return refused("is refused with TASKD_ENV=production: it breaks things on purpose".into());
    }
    let real = [
        ("DATABASE_URL", args.database.url(tls)?.is_some()),
        ("RABBITMQ_URL", args.broker.url(tls)?.is_some()),
        ("REDIS_URL", args.cache.url(tls)?.is_some()),
        ("SMTP_URL", args.mail.url(tls)?.is_some()),
        ("MAIL_DIR", args.mail.mail_dir.as_os_str() != DEFAULT_MAIL_DIR),
    ];
    if let Some((variable, _)) = real.iter().find(|(_, is_set)| *is_set) {
        return refused(format!(
            "breaks things on purpose, so it uses only what it brings along, and {variable} is set: unset it"
        ));
    }
    let host = args.api.http.address().ip();
    if !host.is_loopback() {
        return refused(format!(
            "is for this machine alone, and TASKD_HOST is {host}, which others can reach: unset it"
        ));
    }
    if args.broker.retry.retry_delays.longest_path() > KEPT.processed {
        return refused(
            "keeps everything for a day, and RETRY_DELAYS are longer: unset them".into(),
        );
    }
    args.cron = PURGES.parse().map_err(|problem: String| ConfigError::new("--demo", problem))?;
    // Each of a handful of people gets hundreds of mails an hour.
    args.mail.mail_limit = Limit(None);
    Ok(KEPT)
}

/// Keeps the data of a demo apart from everybody's else, since its people change and delete tasks:
/// marks a new directory, and refuses one that has the other sort of data.
pub(super) fn keep_apart(is_demo: bool, directory: &DataDir) -> anyhow::Result<()> {
    let path = directory.path().display();
    match (is_demo, directory.is_of_demo()) {
        (true, true) | (false, false) => Ok(()),
        (true, false) if directory.has_data() => {
            let problem = format!(
                "changes and deletes tasks, and {path} has data that is not a demo's: name another directory with --data-dir"
            );
            Err(ConfigError::new("--demo", problem).into())
        }
        (true, false) => Ok(directory.mark_as_of_demo()?),
        (false, true) => {
            let problem = format!(
                "{path} is a demo's, in which made-up people change and delete tasks: start it with --demo, or name another directory"
            );
            Err(ConfigError::new("DATA_DIR", problem).into())
        }
    }
}

/// What the panel says of a demo.
pub(super) fn panel(address: SocketAddr, data: &Path) -> String {
    format!(
        "\n  This is a demo: made-up people change tasks, and all of it is in {data}.\n\
         \x20 Other commands find it there: taskd events list --data-dir {data}\n\
         \x20 break it       http://{address}/console/demo, or curl -X POST http://{address}/demo/worker/stop\n\
         \x20 see it hold    curl http://{address}/demo\n\
         \x20 mend it        curl -X POST http://{address}/demo/mend\n",
        data = data.display(),
    )
}

/// What the process is made of, with a demo around it if it is to be one.
pub(super) async fn context(
    args: &Args,
    store: &Store,
    broker: &Arc<dyn Broker>,
) -> anyhow::Result<RoleContext> {
    let context = RoleContext::new(store.clone(), Arc::clone(broker))?;
    if !args.demo {
        return Ok(context);
    }
    let mail_dir = args.mail.mail_dir.clone();
    let demo = Demo::new(store.clone(), Arc::clone(broker), mail_dir).await?;
    Ok(RoleContext { broker: demo.broker(), demo: Some(demo), ..context })
}

/// The worker of an `up`, or those of a demo.
pub(super) enum Workers {
    /// One, which works until the end.
    One(Box<Worker>),
    /// Several, which can be stopped and frozen.
    OfDemo(Demo, Box<Outlets>, WorkerSettings),
}

impl Workers {
    /// Makes them.
    pub(super) fn new(
        context: &RoleContext,
        outlets: Outlets,
        settings: WorkerSettings,
    ) -> anyhow::Result<Workers> {
        Ok(match &context.demo {
            None => Workers::One(Box::new(worker::worker(context, outlets, settings)?)),
            Some(demo) => Workers::OfDemo(demo.clone(), Box::new(outlets), settings),
        })
    }

    /// The role that the process is noted in. The workers of a demo are noted by themselves.
    pub(super) fn role(&self) -> Role {
        match self {
            Workers::One(_) => Role::Up,
            Workers::OfDemo(..) => Role::Serve,
        }
    }

    /// Runs them until they are told to stop, and the story of a demo at this address.
    pub(super) async fn run(
        self,
        context: &RoleContext,
        address: SocketAddr,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let (demo, outlets, settings) = match self {
            Workers::One(worker) => return worker::work(context, *worker, shutdown).await,
            Workers::OfDemo(demo, outlets, settings) => (demo, *outlets, settings),
        };
        tokio::spawn(demo.clone().tell(address, shutdown.clone()));
        tokio::spawn(demo.clone().sweep(shutdown.clone()));
        let working = (1..=WORKERS).map(|number| {
            let worker = demo.worker(number);
            let settings = WorkerSettings { name: worker.name(), ..settings.clone() };
            work(worker, context, outlets.clone(), settings, shutdown)
        });
        futures_util::future::try_join_all(working).await.map(drop)
    }
}

/// Runs one worker of a demo whenever it is to work, until the process is told to stop.
async fn work(
    demo_worker: DemoWorker,
    context: &RoleContext,
    outlets: Outlets,
    settings: WorkerSettings,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let mut context = RoleContext { broker: demo_worker.broker(), ..context.clone() };
    context.metrics.in_hand = Load::default();
    let mailer = demo_worker.mailer(outlets.mailer.clone(), shutdown);
    let outlets = Outlets { mailer, ..outlets };
    loop {
        tokio::select! {
            () = shutdown.requested() => return Ok(()),
            () = demo_worker.wanted() => {}
        }
        // It stops by itself, and then has its own time for draining.
        let own = Shutdown::new(shutdown.drain_timeout());
        let worker = worker::worker(&context, outlets.clone(), settings.clone())?;
        let RoleContext { store, metrics, .. } = &context;
        let presence = Presence::start(store.clone(), Role::Work, &settings.name, metrics);
        let stopping = async {
            tokio::select! {
                () = shutdown.requested() => {}
                () = demo_worker.unwanted() => {}
                () = own.requested() => {}
            }
            own.stop();
        };
        let (worked, ()) = tokio::join!(worker::work(&context, worker, &own), stopping);
        presence.leave().await;
        if worked.is_err() {
            // A worker that has panicked stops the whole process.
            shutdown.stop();
            return worked;
        }
    }
}
