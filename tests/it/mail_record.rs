//! What is sent is noted, whatever else goes wrong just then.

use taskd_testing::{Proxy, Smtp, Verdict, Weather, World, eventually, rabbitmq_url};

/// The mail is taken while the database is away, and then the broker's connection is lost: its message
/// comes again, and only the note of the first delivery can keep the mail from being sent again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_mail_is_noted_though_its_delivery_is_lost() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let (database, through_database) = Proxy::before(world.database_url(), 5432).await;
    let (broker, through_broker) = Proxy::before(&rabbitmq_url(), 5672).await;
    let serve = world.serve().await;
    smtp.set(Verdict::Hold);
    let smtp_url = smtp.url();
    let variables = [
        ("SMTP_URL", smtp_url.as_str()),
        ("DATABASE_URL", &through_database),
        ("RABBITMQ_URL", &through_broker),
    ];
    let work = world.work("one", &variables).await;
    serve.api().task("t", Some(1)).await;
    smtp.wait_for_hanging().await;

    database.set(Weather::Refusing);
    database.cut();
    smtp.set(Verdict::Accept);
    work.log("it can't note that", |line| {
        line["message"].as_str().is_some_and(|m| m.starts_with("holding deliveries"))
    })
    .await;
    broker.cut();
    work.log("its message comes again", |line| {
        line["message"].as_str().is_some_and(|m| m.starts_with("the consumer was cut off"))
    })
    .await;
    database.set(Weather::Fair);

    let db = world.db().await;
    eventually("the mail is on record, and no claim runs out", || async {
        let done = "processed_messages WHERE effect = 'email' AND state = 'done'";
        (db.count(done).await == 1).then_some(())
    })
    .await;
    let amqp = world.amqp().await;
    eventually("the message is settled", || async {
        (work.api().metric("taskd_deliveries_total", "").await >= 1.0
            && amqp.count(&world.queue).await == Some(0))
        .then_some(())
    })
    .await;
    amqp.close().await;
    assert_eq!(smtp.mails().len(), 1, "it was sent once");
}
