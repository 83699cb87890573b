//! Effects that taskd doesn't know: defined here, with taskd as a library.

mod announce;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use announce::Announce;
use serde_json::{Value, json};
use taskd::authenticity::Authenticity;
use taskd::broker::Broker;
use taskd::broker::amqp::{AmqpBroker, AmqpUrl};
use taskd::broker::topology::Topology;
use taskd::consumer::{Consumer, WorkerContext};
use taskd::dead_letters::{Mover, Replayer};
use taskd::domain::catalog;
use taskd::domain::event::EventTypes;
use taskd::domain::processing::retry::RetryPolicy;
use taskd::domain::rate::Limit;
use taskd::effects::{self, EffectContext, Effects, Simulation};
use taskd::ground::shutdown::Shutdown;
use taskd::ground::telemetry::Metrics;
use taskd::ground::tls::Tls;
use taskd::idempotency::Idempotency;
use taskd::mail::{Mailer, SmtpMailer, SmtpManners, SmtpUrl};
use taskd::retry_router::RetryRouter;
use taskd::store::{PostgresUrl, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use taskd_testing::{Api, Smtp, Verdict, World, eventually, rabbitmq_url};

const DELAYS: &str = "100ms,200ms";

/// A chat with rooms: keeps what is posted, unless the room is to refuse it.
#[derive(Clone)]
struct Chat {
    url: String,
    state: Arc<Mutex<ChatState>>,
}

#[derive(Default)]
struct ChatState {
    /// What a room answers to so many posts; the others are taken.
    refusing: BTreeMap<String, (u16, usize)>,
    /// The rooms and texts of those that were taken.
    posts: Vec<(String, String)>,
}

impl Chat {
    async fn open() -> Chat {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let chat = Chat { url, state: Arc::default() };
        let answering = chat.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that breaks off has posted nothing.
                let _ = answering.answer(stream).await;
            }
        });
        chat
    }

    /// Refuses so many posts to a room.
    fn refuse(&self, room: &str, status: u16, times: usize) {
        self.state.lock().unwrap().refusing.insert(room.to_owned(), (status, times));
    }

    fn posts(&self, room: &str) -> usize {
        self.state.lock().unwrap().posts.iter().filter(|(posted, _)| posted == room).count()
    }

    async fn answer(&self, mut stream: TcpStream) -> Option<()> {
        let mut request = String::new();
        let mut buffer = [0; 4096];
        // Each body here ends with the only closing brace of its request.
        while !request.ends_with('}') {
            let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
            request.push_str(std::str::from_utf8(&buffer[..read]).ok()?);
        }
        let room = request.split(' ').nth(1)?.trim_start_matches('/').to_owned();
        let body = request.split("\r\n\r\n").nth(1)?.to_owned();
        let status = {
            let mut state = self.state.lock().unwrap();
            match state.refusing.get_mut(&room) {
                Some((status, left)) if *left > 0 => {
                    *left -= 1;
                    *status
                }
                _ => {
                    state.posts.push((room, body));
                    200
                }
            }
        };
        let answer =
            format!("HTTP/1.1 {status} -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.ok()
    }
}

/// A worker in this process.
pub(crate) struct Worker {
    metrics: Metrics,
    shutdown: Shutdown,
    running: JoinHandle<()>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) store: Store,
}

impl Worker {
    fn start(world: &World, smtp: &Smtp, effects: Effects) -> Worker {
        Worker::knowing(world, smtp, catalog::built_in(), effects)
    }

    /// A worker that knows these types of events.
    pub(crate) fn knowing(
        world: &World,
        smtp: &Smtp,
        event_types: EventTypes,
        effects: Effects,
    ) -> Worker {
        let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
        let store = Store::new(&url, 4).unwrap();
        let retries: RetryPolicy = DELAYS.parse().unwrap();
        let delays = retries.distinct_delays();
        let topology = Topology::new(&world.queue, world.retry_prefix(), &world.dlq, &delays);
        let url = AmqpUrl::parse(&rabbitmq_url(), &Tls::default()).unwrap();
        let broker: Arc<dyn Broker> = Arc::new(AmqpBroker::new(url, topology, "extended"));
        let url = SmtpUrl::parse(&smtp.url(), &Tls::default()).unwrap();
        let from = "taskd@localhost".parse().unwrap();
        let manners = SmtpManners { patience: Duration::from_secs(10), hello: None };
        let mailer: Arc<dyn Mailer> = Arc::new(SmtpMailer::new(&url, from, 4, manners).unwrap());
        let context =
            EffectContext { store: store.clone(), mailer, mail_limit: Limit(None), exchange: None };
        let (metrics, authenticity) = (Metrics::new().unwrap(), Authenticity::new(store.clone()));
        let tools = WorkerContext {
            event_types,
            effects: effects.start(&context).into(),
            idempotency: Idempotency::new(store.clone(), "extended"),
            router: RetryRouter::new(broker.clone(), authenticity.clone(), retries, "extended"),
            authenticity,
            simulation: Simulation::default(),
            metrics: metrics.clone(),
            worker: "extended".to_owned(),
            store: store.clone(),
        };
        let shutdown = Shutdown::new(Duration::from_secs(20));
        let consumer = Consumer::new(tools, broker.clone(), 8);
        let running = tokio::spawn(consumer.run(shutdown.clone()));
        let mover = Mover::new(broker.clone(), store.clone(), catalog::built_in());
        tokio::spawn(mover.run(shutdown.clone()));
        tokio::spawn(Replayer::new(broker.clone(), store.clone()).run(shutdown.clone()));
        Worker { metrics, shutdown, running, broker, store }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.stop();
        self.running.await.unwrap();
        self.broker.close().await;
    }

    /// The value of a series, by its line up to the space.
    fn metric(&self, series: &str) -> Option<f64> {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.parse().ok()
    }
}

fn with_announcements(chat: &Chat) -> Effects {
    let announce =
        Announce { client: taskd_testing::http().build().unwrap(), chat: chat.url.clone() };
    effects::built_in().with(announce).ok().unwrap()
}

/// Makes a task that is finished, and so announced. The id of its event.
async fn finished_task(world: &World, api: &Api, title: &str, category: &Value) -> String {
    let task =
        json!({ "title": title, "status": "completed", "userId": 1, "categoryId": category });
    let id = api.post("/tasks", task).await.expect(201)["id"].clone();
    let event = format!("SELECT id::text FROM events WHERE task_id = {id}");
    world.db().await.rows(&event).await[0]["id"].as_str().unwrap().to_owned()
}

/// The states of an event's effects, as the API tells them.
pub(crate) async fn states(api: &Api, event: &str) -> Vec<(String, Option<String>, String)> {
    let found = api.get(&format!("/events/{event}")).await.expect(200);
    let text = |effect: &Value, name: &str| effect[name].as_str().map(str::to_owned);
    let effects = found["effects"].as_array().unwrap().iter();
    effects
        .map(|e| (text(e, "effect").unwrap(), text(e, "target"), text(e, "state").unwrap()))
        .collect()
}

pub(crate) fn state(
    effect: &str,
    target: Option<&str>,
    state: &str,
) -> (String, Option<String>, String) {
    (effect.to_owned(), target.map(str::to_owned), state.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_effect_from_outside_runs_fails_is_retried_dies_and_is_replayed() {
    let world = World::new().await;
    let (smtp, chat) = tokio::join!(Smtp::start(), Chat::open());
    let worker = Worker::start(&world, &smtp, with_announcements(&chat));
    let serve = world.serve().await;
    let api = serve.api();
    let category =
        api.post("/categories", json!({ "name": "ops" })).await.expect(201)["id"].clone();
    let room = format!("category-{category}");
    let all_done = async |event: &str| {
        eventually("all is done", || async {
            let states = states(&api, event).await;
            (states.len() == 4 && states.iter().all(|(_, _, state)| state == "done")).then_some(())
        })
        .await;
    };

    // It runs, once for each target, for the events that it applies to.
    api.task("open", Some(1)).await;
    let first = finished_task(&world, &api, "one", &category).await;
    all_done(&first).await;
    let done = [
        state("activity", None, "done"),
        state("announce", Some("all"), "done"),
        state("announce", Some(&room), "done"),
        state("email", None, "done"),
    ];
    assert_eq!(states(&api, &first).await, done);
    let text = chat.state.lock().unwrap().posts[0].1.clone();
    assert!(text.contains("Finished: one"), "{text}");
    let records = format!("processed_messages WHERE event_id = '{first}' AND effects = 4");
    assert_eq!(world.db().await.count(&records).await, 4);

    // One target fails and is tried again, without the others.
    chat.refuse(&room, 503, 1);
    let second = finished_task(&world, &api, "two", &category).await;
    all_done(&second).await;
    assert_eq!((chat.posts(&room), chat.posts("all")), (2, 2));
    let retries = "taskd_retries_total{effect=\"announce\"}";
    eventually("the retry is counted", || async { (worker.metric(retries)? == 1.0).then_some(()) })
        .await;

    // One that is refused for good dies, and the others have happened.
    chat.refuse(&room, 410, 1);
    let third = finished_task(&world, &api, "three", &category).await;
    let letter = world.dead_letters(1).await.remove(0);
    assert_eq!(letter["eventId"], third.as_str());
    assert_eq!(letter["reason"], "permanent-failure");
    let key = format!("announce/{room}");
    assert_eq!(letter["history"][0]["effect"], key);
    let error = letter["error"].as_str().unwrap();
    assert!(error.starts_with(&format!("{key}: the room said 410")), "{error}");
    assert!(states(&api, &third).await.contains(&state("announce", Some(&room), "open")));
    assert_eq!((chat.posts(&room), chat.posts("all")), (2, 3));

    // Replayed, it alone happens.
    world.run(&["dlq", "replay", "--all"]).await.succeeded();
    all_done(&third).await;
    assert_eq!((chat.posts(&room), chat.posts("all"), smtp.mails().len()), (3, 3, 4));

    let runs = |outcome| {
        let name = "taskd_effect_duration_seconds_count";
        worker.metric(&format!("{name}{{effect=\"announce\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!((runs("done"), runs("permanent")), (Some(6.0), Some(1.0)));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_effect_that_is_added_later_is_run_for_what_is_taken_from_then_on() {
    let world = World::new().await;
    let (smtp, chat) = tokio::join!(Smtp::start(), Chat::open());
    let serve = world.serve().await;
    let api = serve.api();
    // Its mail is deferred, so it is under way when the effect is added.
    smtp.set(Verdict::DeferFirst(usize::MAX));
    let before = Worker::start(&world, &smtp, effects::built_in());
    let old = finished_task(&world, &api, "old", &Value::Null).await;
    world.dead_letters(1).await;
    before.stop().await;
    let waiting = finished_task(&world, &api, "waiting", &Value::Null).await;

    smtp.set(Verdict::Accept);
    let after = Worker::start(&world, &smtp, with_announcements(&chat));
    world.run(&["dlq", "replay", "--all"]).await.succeeded();
    smtp.wait_for(2).await;
    let finished = async |event: &str, effects: &[&str]| {
        eventually("the event is finished", || async {
            let states = states(&api, event).await;
            let done = states.iter().all(|(_, _, state)| state == "done");
            let names: Vec<&str> = states.iter().map(|(effect, _, _)| effect.as_str()).collect();
            (done && names == effects).then_some(())
        })
        .await;
    };
    finished(&old, &["activity", "email"]).await;
    finished(&waiting, &["activity", "announce", "email"]).await;
    let posts = chat.state.lock().unwrap().posts.clone();
    assert!(posts.len() == 1 && posts[0].1.contains("waiting"), "{posts:?}");
    // Nothing of either is left over that would be remembered for ever.
    let db = world.db().await;
    let counted = "(SELECT 1 FROM processed_messages GROUP BY event_id
                    HAVING count(*) < max(effects)) AS unfinished";
    assert_eq!(db.count(counted).await, 0);
    after.stop().await;
}

#[test]
fn the_guide_shows_the_effect_that_is_tested() {
    let guide = include_str!("../../docs/extending.md");
    let code = include_str!("extending/announce.rs").trim_end();
    assert!(guide.contains(&format!("```rust\n{code}\n```")));
}
