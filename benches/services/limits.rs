//! What RabbitMQ alone does.

use std::time::{Duration, Instant};

use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicPublishArguments, BasicQosArguments, Channel,
    ConsumerMessage, QueueDeclareArguments,
};
use amqprs::connection::Connection;
use amqprs::{BasicProperties, FieldTable};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep_until;

use crate::drains::fill;
use taskd_testing::{Amqp, Signer, World, rabbitmq_url};

/// Acks go in bunches of this size.
const BUNCH: usize = 64;
/// About how long the event of a short task is.
const EVENT_BYTES: usize = 500;

/// A client that does nothing else, with a quorum queue of its own.
struct Client {
    connection: Connection,
    channel: Channel,
    queue: String,
}

impl Client {
    async fn new(world: &World) -> Client {
        let connection = Amqp::open(&rabbitmq_url()).await;
        let channel = connection.open_channel(None).await.unwrap();

        let queue = format!("{}.limit", world.name);
        world.expect_queue([queue.clone()]);
        let mut table = FieldTable::new();
        table.insert("x-queue-type".try_into().unwrap(), "quorum".into());
        let mut declare = QueueDeclareArguments::new(&queue);
        declare.durable(true).arguments(table);
        channel.queue_declare(declare).await.unwrap();
        channel.basic_qos(BasicQosArguments::new(0, 256, false)).await.unwrap();
        Client { connection, channel, queue }
    }

    async fn consume(&self) -> UnboundedReceiver<ConsumerMessage> {
        let arguments = BasicConsumeArguments::new(&self.queue, "");
        self.channel.basic_consume_rx(arguments).await.unwrap().1
    }

    async fn ack(&self, message: &ConsumerMessage) {
        let tag = message.deliver.as_ref().unwrap().delivery_tag();
        self.channel.basic_ack(BasicAckArguments::new(tag, true)).await.unwrap();
    }

    async fn close(self) {
        let _ = self.channel.close().await;
        let _ = self.connection.close().await;
    }
}

/// Messages a second that are consumed and acked.
pub async fn consume(world: &World, count: usize) -> f64 {
    let client = Client::new(world).await;
    fill(&client.queue, count, None, &Signer::new(b"of the limit")).await;
    let started = Instant::now();
    let mut arriving = client.consume().await;
    for taken in 1..=count {
        let message = arriving.recv().await.expect("the consumer goes on");
        if taken % BUNCH == 0 || taken == count {
            client.ack(&message).await;
        }
    }
    let rate = count as f64 / started.elapsed().as_secs_f64();
    client.close().await;
    rate
}

/// How many milliseconds lie between publishing and receiving a message as long as an event, at a steady rate: for half
/// of them at most, and for 99 of 100.
pub async fn round_trip(world: &World, rate: u32, count: u32) -> (f64, f64) {
    let client = Client::new(world).await;
    let mut arriving = client.consume().await;
    let began = Instant::now();
    let (channel, queue) = (client.channel.clone(), client.queue.clone());
    let publishing = tokio::spawn(async move {
        for number in 0..count {
            sleep_until((began + Duration::from_secs(1) * number / rate).into()).await;
            let mut properties = BasicProperties::default();
            properties.with_delivery_mode(2);
            let mut body = vec![b' '; EVENT_BYTES];
            let now = u64::try_from(began.elapsed().as_micros()).unwrap();
            body[..8].copy_from_slice(&now.to_le_bytes());
            let to = BasicPublishArguments::new("", &queue);
            channel.basic_publish(properties, body, to).await.unwrap();
        }
    });
    let mut roads = Vec::new();
    for _ in 0..count {
        let message = arriving.recv().await.expect("the consumer goes on");
        let sent: [u8; 8] = message.content.as_ref().unwrap()[..8].try_into().unwrap();
        let sent = Duration::from_micros(u64::from_le_bytes(sent));
        roads.push((began.elapsed().saturating_sub(sent)).as_secs_f64() * 1e3);
        client.ack(&message).await;
    }
    publishing.await.unwrap();
    client.close().await;
    // As the measurement beside it, without the first second.
    half_and_nearly_all(roads.split_off((rate as usize).min(roads.len() / 2)))
}

/// What half of these are at most, and 99 of 100.
pub fn half_and_nearly_all(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |part: usize| values[(values.len() * part).div_ceil(100) - 1];
    (at(50), at(99))
}
