//! What every broker must do. The same tests run against RabbitMQ, and against the tables of a
//! PostgreSQL server and of the embedded one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use taskd::broker::amqp::{AmqpBroker, AmqpUrl};
use taskd::broker::message::{self, Message};
use taskd::broker::tables::TableBroker;
use taskd::broker::topology::Topology;
use taskd::broker::{Broker, Consumption, Delivery, Destination, Outgoing};
use taskd::dead_letters::{DeadLetters, Mover, ReplayOrder, Replayer};
use taskd::domain::catalog;
use taskd::domain::processing::retry::DeadReason;
use taskd::ground::shutdown::Shutdown;
use taskd::ground::tls::Tls;
use taskd::operate::Operator;
use taskd::store::letters::LetterFilter;
use taskd::store::{PostgresUrl, Store};

use taskd_testing::{World, rabbitmq_url};

const DELAY: Duration = Duration::from_millis(300);
/// Longer than any message takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker of its own for a test, and another connection to the same.
struct Rig {
    // Before the database, which ends when its last connection has.
    store: Store,
    broker: Arc<dyn Broker>,
    other: Arc<dyn Broker>,
    /// Ends after those who are connected to it.
    #[cfg(feature = "embedded")]
    _database: Option<taskd::store::connection::embedded::Embedded>,
    _world: World,
}

impl Rig {
    async fn rabbitmq() -> Rig {
        let world = World::new().await;
        let topology = Topology::new(&world.queue, world.retry_prefix(), &world.dlq, &[DELAY]);
        world.expect_queue(topology.queues.iter().map(|queue| queue.name.clone()));
        let connect = || {
            let url = AmqpUrl::parse(&rabbitmq_url(), &Tls::default()).unwrap();
            Arc::new(AmqpBroker::new(url, topology.clone(), "contract"))
        };
        let rig = Rig::of(connect(), connect(), store_of(&world), world);
        rig.broker.declare().await.unwrap();
        rig
    }

    async fn tables() -> Rig {
        let world = World::new().await;
        let connect = || Arc::new(TableBroker::new(store_of(&world), &world.queue, &world.dlq));
        Rig::of(connect(), connect(), store_of(&world), world)
    }

    /// On the one connection that an embedded database has.
    #[cfg(feature = "embedded")]
    async fn embedded() -> Rig {
        let world = World::alone();
        let (database, store) = embedded_database(&world).await;
        let connect = || Arc::new(TableBroker::new(store.clone(), &world.queue, &world.dlq));
        Rig { _database: Some(database), ..Rig::of(connect(), connect(), store, world) }
    }

    fn of(broker: Arc<dyn Broker>, other: Arc<dyn Broker>, store: Store, world: World) -> Rig {
        Rig {
            broker,
            other,
            #[cfg(feature = "embedded")]
            _database: None,
            _world: world,
            store,
        }
    }

    /// Moves dead letters into the database.
    fn mover(&self) -> Mover {
        Mover::new(self.other.clone(), self.store.clone(), catalog::built_in())
    }

    async fn publish(&self, to: Destination, messages: impl IntoIterator<Item = Message>) {
        let batch = messages.into_iter().map(|message| Outgoing { to, message }).collect();
        for answer in self.broker.publish(batch).await {
            answer.unwrap();
        }
    }
}

fn store_of(world: &World) -> Store {
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    Store::new(&url, 4).unwrap()
}

/// An embedded database in a world's directory, and its one connection.
#[cfg(feature = "embedded")]
pub(crate) async fn embedded_database(
    world: &World,
) -> (taskd::store::connection::embedded::Embedded, Store) {
    use taskd::ground::data_dir::DataDir;
    use taskd::store::connection::embedded::Embedded;
    use taskd::store::migrations::Migrator;
    let directory = world.directory.join("data");
    let starting = tokio::task::spawn_blocking(move || Embedded::start(DataDir::take(&directory)?));
    let database = starting.await.unwrap().unwrap();
    Migrator::connect(database.url()).await.unwrap().up().unwrap();
    let store = Store::new(database.url(), 1).unwrap();
    (database, store)
}

macro_rules! every_broker {
    ($($test:ident),* $(,)?) => {
        mod rabbitmq {
            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs services: scripts/test"]
            async fn $test() { super::$test(super::Rig::rabbitmq().await).await; })*
        }
        mod tables {
            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs services: scripts/test"]
            async fn $test() { super::$test(super::Rig::tables().await).await; })*
        }
        #[cfg(feature = "embedded")]
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(super::Rig::embedded().await).await; })*
        }
    };
}

every_broker!(
    what_is_published_arrives_in_order_and_whole,
    an_acked_message_is_gone_and_an_unacked_one_comes_back,
    a_released_message_comes_again,
    a_delayed_message_comes_when_its_time_has_come,
    no_more_than_the_prefetch_are_in_hand,
    two_consumers_share,
    a_consumer_that_stops_leaves_the_rest_to_the_next,
    dead_letters_wait_in_order_and_are_back_after_a_look,
    a_letter_is_moved_once_and_replayed_as_a_first_attempt_with_its_history,
    what_comes_back_too_often_is_set_aside,
    a_sign_of_life_is_given,
    what_another_runtime_asked_for_first_outlives_it,
);

fn numbered(number: usize) -> Message {
    let mut message = Message {
        body: format!("{{\"number\":{number}}}").into_bytes(),
        message_id: Some(format!("id-{number}")),
        message_type: Some("TASK_CREATED".into()),
        content_type: Some("application/json".into()),
        timestamp: Some(1_700_000_000),
        ..Message::default()
    };
    message.set_attempt(3);
    message
}

async fn next(consumption: &mut Consumption) -> Delivery {
    let waiting = consumption.deliveries.next();
    tokio::time::timeout(PATIENCE, waiting).await.expect("a message").expect("the consumer goes on")
}

fn id(delivery: &Delivery) -> String {
    delivery.message.message_id.clone().unwrap()
}

async fn what_is_published_arrives_in_order_and_whole(rig: Rig) {
    let mut large = numbered(0);
    large.body = (0..100_000_u32).map(|byte| (byte % 251) as u8).collect();
    large.headers.insert("nested".into(), json!({ "list": [1, null, "é"], "flag": true }));
    let messages: Vec<Message> = std::iter::once(large).chain((1..50).map(numbered)).collect();
    rig.publish(Destination::Main, messages.clone()).await;
    let mut consumption = rig.other.consume(100).await.unwrap();
    for expected in messages {
        let delivery = next(&mut consumption).await;
        assert_eq!(delivery.message, expected);
        assert!(!delivery.redelivered);
    }
}

async fn an_acked_message_is_gone_and_an_unacked_one_comes_back(rig: Rig) {
    rig.publish(Destination::Main, (0..4).map(numbered)).await;
    let mut consumption = rig.broker.consume(10).await.unwrap();
    let mut deliveries = Vec::new();
    for _ in 0..4 {
        deliveries.push(next(&mut consumption).await);
    }
    consumption.settlement.ack(&[deliveries[0].tag, deliveries[2].tag]).await.unwrap();
    // A second time is no harm.
    consumption.settlement.ack(&[deliveries[0].tag]).await.unwrap();
    // The consumer dies.
    drop(consumption);
    let mut consumption = rig.other.consume(10).await.unwrap();
    let mut again = BTreeSet::new();
    for _ in 0..2 {
        let delivery = next(&mut consumption).await;
        assert!(delivery.redelivered);
        again.insert(id(&delivery));
        consumption.settlement.ack(&[delivery.tag]).await.unwrap();
    }
    assert_eq!(again, BTreeSet::from(["id-1".to_owned(), "id-3".to_owned()]));
    assert!(consumption.deliveries.try_next().is_none());
}

async fn a_released_message_comes_again(rig: Rig) {
    rig.publish(Destination::Main, [numbered(1)]).await;
    let mut consumption = rig.broker.consume(10).await.unwrap();
    let delivery = next(&mut consumption).await;
    consumption.settlement.release(&[delivery.tag]).await.unwrap();
    let again = next(&mut consumption).await;
    assert!(again.redelivered);
    assert_eq!(again.message.body, delivery.message.body);
}

async fn a_delayed_message_comes_when_its_time_has_come(rig: Rig) {
    let mut consumption = rig.broker.consume(10).await.unwrap();
    let published = Instant::now();
    rig.publish(Destination::Delay(DELAY), [numbered(1)]).await;
    rig.publish(Destination::Main, [numbered(2)]).await;
    assert_eq!(id(&next(&mut consumption).await), "id-2");
    let delayed = next(&mut consumption).await;
    assert_eq!(id(&delayed), "id-1");
    assert_eq!(delayed.message.attempt(), 3);
    // Not a speed: a delay that is cut short is wrong.
    assert!(published.elapsed() >= DELAY - Duration::from_millis(20), "{:?}", published.elapsed());
}

async fn no_more_than_the_prefetch_are_in_hand(rig: Rig) {
    rig.publish(Destination::Main, (0..10).map(numbered)).await;
    let mut consumption = rig.broker.consume(3).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(next(&mut consumption).await.tag);
    }
    // A second consumer gets the others, so they are with nobody.
    let mut second = rig.other.consume(10).await.unwrap();
    let mut others = BTreeSet::new();
    for _ in 0..7 {
        others.insert(id(&next(&mut second).await));
    }
    assert_eq!(others, (3..10).map(|number| format!("id-{number}")).collect());
    assert!(consumption.deliveries.try_next().is_none());
    consumption.settlement.ack(&taken).await.unwrap();
}

async fn two_consumers_share(rig: Rig) {
    const MESSAGES: usize = 200;
    let mut one = rig.broker.consume(5).await.unwrap();
    let mut two = rig.other.consume(5).await.unwrap();
    rig.publish(Destination::Main, (0..MESSAGES).map(numbered)).await;
    // Neither can have more than five in hand, so both get some, whoever is faster.
    let (first, second) = (next(&mut one).await, next(&mut two).await);
    let mut seen = BTreeSet::from([id(&first), id(&second)]);
    assert_eq!(seen.len(), 2);
    one.settlement.ack(&[first.tag]).await.unwrap();
    two.settlement.ack(&[second.tag]).await.unwrap();
    while seen.len() < MESSAGES {
        let (consumption, delivery) = tokio::select! {
            delivery = next(&mut one) => (&one, delivery),
            delivery = next(&mut two) => (&two, delivery),
        };
        assert!(seen.insert(id(&delivery)), "{} twice", id(&delivery));
        consumption.settlement.ack(&[delivery.tag]).await.unwrap();
    }
}

async fn a_consumer_that_stops_leaves_the_rest_to_the_next(rig: Rig) {
    const MESSAGES: usize = 100;
    rig.publish(Destination::Main, (0..MESSAGES).map(numbered)).await;
    let mut consumption = rig.broker.consume(20).await.unwrap();
    let first = next(&mut consumption).await;
    consumption.deliveries.cancel().await;
    // What has arrived before is in hand all the same.
    let mut done = BTreeSet::from([id(&first)]);
    let mut tags = vec![first.tag];
    while let Some(delivery) = consumption.deliveries.try_next() {
        done.insert(id(&delivery));
        tags.push(delivery.tag);
    }
    consumption.settlement.ack(&tags).await.unwrap();
    drop(consumption);
    let mut consumption = rig.other.consume(20).await.unwrap();
    while done.len() < MESSAGES {
        let delivery = next(&mut consumption).await;
        assert!(done.insert(id(&delivery)), "{} twice", id(&delivery));
        consumption.settlement.ack(&[delivery.tag]).await.unwrap();
    }
}

async fn dead_letters_wait_in_order_and_are_back_after_a_look(rig: Rig) {
    rig.publish(Destination::DeadLetter, (0..5).map(numbered)).await;
    let mut look = rig.other.dead_letters().await.unwrap();
    assert_eq!(look.waiting().await.unwrap(), 5);
    let mut removed = None;
    for number in 0..5 {
        let letter = look.next().await.unwrap().unwrap();
        assert_eq!(id(&letter), format!("id-{number}"));
        removed = (number == 1).then_some(letter.tag).or(removed);
    }
    assert!(look.next().await.unwrap().is_none(), "all are held");
    look.remove(removed.unwrap()).await.unwrap();
    look.close().await;
    let started = Instant::now();
    let mut look = rig.other.dead_letters().await.unwrap();
    while look.waiting().await.unwrap() < 4 {
        assert!(started.elapsed() < PATIENCE, "they are not back");
    }
    let mut left = BTreeSet::new();
    while let Some(letter) = look.next().await.unwrap() {
        left.insert(id(&letter));
    }
    assert_eq!(left.into_iter().collect::<Vec<_>>().join(" "), "id-0 id-2 id-3 id-4");
    look.close().await;
}

async fn a_letter_is_moved_once_and_replayed_as_a_first_attempt_with_its_history(rig: Rig) {
    let mut letter = numbered(1);
    letter.set_text(message::HISTORY, "[]");
    letter.set_text(message::DEAD_REASON, DeadReason::Exhausted.as_str());
    rig.publish(Destination::DeadLetter, [letter.clone(), letter]).await;
    let (mover, letters) = (rig.mover(), DeadLetters::new(rig.store.clone()));
    assert_eq!(mover.move_waiting().await.unwrap().added, 2, "equal letters are two");
    assert_eq!(mover.move_waiting().await.unwrap().added, 0);
    let page = letters.list("open", &LetterFilter::default(), None, 9).await.unwrap();
    assert_eq!((page.letters.len(), page.total), (2, 2));
    let one =
        LetterFilter { ids: Some(vec![page.letters[0].id.clone()]), ..LetterFilter::default() };
    let order =
        ReplayOrder { selection: one, dry_run: false, canary: 0, rate: None, max_failures: None };
    let replay =
        letters.replay(&order, &Operator::of_command_line()).await.unwrap().replay.unwrap();
    assert_eq!((replay.state.as_str(), replay.total), ("running", 1));
    let shutdown = Shutdown::new(Duration::from_secs(1));
    let replayer = Replayer::new(Arc::clone(&rig.broker), rig.store.clone());
    let replaying = tokio::spawn(replayer.run(shutdown.clone()));
    let mut consumption = rig.broker.consume(10).await.unwrap();
    let again = next(&mut consumption).await.message;
    assert_eq!(again.attempt(), 1);
    assert_eq!(again.text(message::HISTORY), Some("[]"));
    assert_eq!(again.text(message::DEAD_REASON), None);
    assert_eq!(again.text(message::REPLAY_OF), Some(page.letters[0].id.as_str()));
    shutdown.stop();
    replaying.await.unwrap();
    let page = letters.list("open", &LetterFilter::default(), None, 9).await.unwrap();
    assert_eq!(page.total, 1);
}

async fn what_comes_back_too_often_is_set_aside(rig: Rig) {
    rig.publish(Destination::Main, [numbered(1)]).await;
    let mut consumption = rig.broker.consume(1).await.unwrap();
    let (mover, letters) = (rig.mover(), DeadLetters::new(rig.store.clone()));
    let started = Instant::now();
    let letter = loop {
        mover.move_waiting().await.unwrap();
        let page = letters.list("open", &LetterFilter::default(), None, 1).await.unwrap();
        if let Some(letter) = page.letters.into_iter().next() {
            break letter;
        }
        assert!(started.elapsed() < PATIENCE, "the message is never set aside");
        let waiting = consumption.deliveries.next();
        if let Ok(Some(delivery)) = tokio::time::timeout(Duration::from_millis(100), waiting).await
        {
            consumption.settlement.release(&[delivery.tag]).await.unwrap();
        }
    };
    assert_eq!(
        (letter.event_id.as_deref(), letter.reason.as_str()),
        (Some("id-1"), DeadReason::DeliveryLimit.as_str())
    );
}

async fn a_sign_of_life_is_given(rig: Rig) {
    rig.broker.ping().await.unwrap();
    rig.broker.declare().await.unwrap();
    rig.broker.close().await;
}

/// A thread that serves has a runtime of its own, and may be the first to ask.
async fn what_another_runtime_asked_for_first_outlives_it(rig: Rig) {
    let broker = Arc::clone(&rig.broker);
    let asking = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { broker.ping().await.unwrap() });
    });
    asking.await.unwrap();
    rig.publish(Destination::Main, [numbered(1)]).await;
}
