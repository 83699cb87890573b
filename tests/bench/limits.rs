//! What RabbitMQ alone does.

use std::time::Instant;

use amqprs::FieldTable;
use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicQosArguments, QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};

use crate::drains::fill;
use crate::harness::{World, rabbitmq_url};

/// Acks go in bunches of this size.
const BUNCH: usize = 64;

/// Messages a second that a client consumes and acks which does nothing else.
pub async fn consume(world: &World, count: usize) -> f64 {
    let url = url::Url::parse(&rabbitmq_url()).unwrap();
    let decode =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let (user, password) = (decode(url.username()), decode(url.password().unwrap_or("guest")));
    let port = url.port().unwrap_or(5672);
    let mut arguments =
        OpenConnectionArguments::new(url.host_str().unwrap(), port, &user, &password);
    let vhost = decode(url.path().trim_start_matches('/'));
    arguments.virtual_host(if vhost.is_empty() { "/" } else { &vhost });
    let connection = Connection::open(&arguments).await.unwrap();
    let channel = connection.open_channel(None).await.unwrap();

    let queue = format!("{}.limit", world.name);
    world.expect_queue([queue.clone()]);
    let mut table = FieldTable::new();
    table.insert("x-queue-type".try_into().unwrap(), "quorum".into());
    let mut declare = QueueDeclareArguments::new(&queue);
    declare.durable(true).arguments(table);
    channel.queue_declare(declare).await.unwrap();
    fill(&queue, count, None).await;

    channel.basic_qos(BasicQosArguments::new(0, 256, false)).await.unwrap();
    let started = Instant::now();
    let (_tag, mut arriving) =
        channel.basic_consume_rx(BasicConsumeArguments::new(&queue, "")).await.unwrap();
    for taken in 1..=count {
        let message = arriving.recv().await.expect("the consumer goes on");
        if taken % BUNCH == 0 || taken == count {
            let tag = message.deliver.unwrap().delivery_tag();
            channel.basic_ack(BasicAckArguments::new(tag, true)).await.unwrap();
        }
    }
    let rate = count as f64 / started.elapsed().as_secs_f64();
    let _ = channel.close().await;
    let _ = connection.close().await;
    rate
}
