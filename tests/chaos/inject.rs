//! How each fault is injected, and taken away again.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use amqprs::{BasicProperties, FieldValue};
use chrono::Utc;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use taskd::broker::message::RECORDED;

use super::faults::Service::{self, Postgres, Rabbitmq, Redis};
use super::faults::{Fault, Injected, Kind, RECORDED_WITHIN};
use super::system::{Role, SETTLED, System};
use taskd_testing::{Proxy, Raw, Signer, Verdict, Weather, eventually_within};

/// What the weather is like when it is bad: a fifth of a second each way, or 30 kB/s.
const SLOW: Weather = Weather::Slow(Duration::from_millis(200));
const THROTTLED: Weather = Weather::Throttled(30_000);
/// Longer than the lease of a claim (25 s).
const PAST_THE_LEASE: Duration = Duration::from_secs(28);
/// For how long queues must look empty: the broker counts a quorum queue's messages every 5 s, and a
/// request that was under way when the clients were paused is answered within 10 s.
const EMPTY_FOR: Duration = Duration::from_secs(11);
/// How long the mail server is away: a breaker opens, and several probes go in vain.
const OUTAGE: Duration = Duration::from_secs(12);
/// How many copies are published on purpose at a time, and how old their events may be: younger
/// than the records of what is done are kept.
const COPIES: i64 = 300;
const COPIED_WITHIN: &str = "20 s";

impl Fault {
    /// Injects it, and takes it away again.
    pub async fn inject(self, system: &System, random: &mut StdRng) -> Injected {
        let from = Utc::now();
        let some_seconds = Duration::from_millis(random.random_range(2_000..4_000));
        let which = random.random_range(0..3);
        match self.kind {
            Kind::Kill(Role::Purge) => system.kill(Role::Purge, 0),
            Kind::Kill(role) => system.kill(role, which),
            Kind::Freeze(role) => {
                let which = if role == Role::Purge { 0 } else { which };
                system.signal(role, which, "STOP");
                tokio::time::sleep(some_seconds).await;
                system.signal(role, which, "CONT");
            }
            Kind::LeaseRunsOut => {
                // In mid-effect for sure: no mail is answered until a worker with a claim is frozen.
                system.smtp.set(Verdict::Hold);
                system.smtp.wait_for_hanging().await;
                let which = claimant(system).await;
                system.signal(Role::Work, which, "STOP");
                system.smtp.set(Verdict::Accept);
                tokio::time::sleep(PAST_THE_LEASE).await;
                system.signal(Role::Work, which, "CONT");
                tokio::time::sleep(RECORDED_WITHIN).await;
            }
            Kind::Restart(service) => {
                system.stop(service);
                tokio::time::sleep(some_seconds).await;
                system.start_again(service);
            }
            Kind::Crash(service) => {
                system.crash(service);
                tokio::time::sleep(some_seconds).await;
                system.start_again(service);
            }
            Kind::Stall => {
                system.private.signal_redis("STOP");
                tokio::time::sleep(some_seconds).await;
                system.private.signal_redis("CONT");
            }
            Kind::Cut(service) => {
                let proxy = system.proxy(service);
                proxy.set(Weather::Refusing);
                proxy.cut();
                tokio::time::sleep(some_seconds).await;
                proxy.set(Weather::Fair);
            }
            Kind::HalfOpen(service) => system.proxy(service).half_open(),
            Kind::Slow(service) => weather(system.proxy(service), SLOW, some_seconds).await,
            Kind::Throttled(service) => {
                weather(system.proxy(service), THROTTLED, some_seconds).await;
            }
            Kind::Mail(what) => {
                system.smtp.set(match what {
                    "refuses" => Verdict::Unreachable,
                    "hangs" => Verdict::Hang,
                    "4xx" => Verdict::DeferFirst(usize::MAX),
                    "5xx" => Verdict::RefuseAll,
                    _ => Verdict::DropAfterDot(usize::MAX),
                });
                tokio::time::sleep(some_seconds).await;
                system.smtp.set(Verdict::Accept);
            }
            Kind::Receivers(what) => system.receivers.misbehave(what, some_seconds).await,
            Kind::Outage => {
                system.smtp.set(Verdict::Unreachable);
                tokio::time::sleep(OUTAGE / 2).await;
                system.kill(Role::Work, which);
                tokio::time::sleep(OUTAGE / 2).await;
                system.smtp.set(Verdict::Accept);
            }
            Kind::Pause => {
                system.command(&["effects", "pause", "email"]).await;
                tokio::time::sleep(some_seconds).await;
                system.kill(Role::Work, which);
                tokio::time::sleep(some_seconds).await;
                system.command(&["effects", "resume", "email"]).await;
            }
            Kind::OthersFull => {
                system.fill_others(true);
                tokio::time::sleep(some_seconds).await;
                system.fill_others(false);
            }
            Kind::Duplicates => copy(system, random, 1).await,
            Kind::CopiesInHand => {
                // No mail is answered until the copies are there.
                system.smtp.set(Verdict::Hold);
                system.smtp.wait_for_hanging().await;
                copy(system, random, 1).await;
                tokio::time::sleep(some_seconds).await;
                system.smtp.set(Verdict::Accept);
                tokio::time::sleep(RECORDED_WITHIN).await;
            }
            Kind::Disorder => copy(system, random, 2).await,
            Kind::Forged => forge(system).await,
            Kind::TopologyDeleted => delete_topology(system).await,
            Kind::BrokerDiskFull => {
                system.private.set_disk_alarm(true);
                tokio::time::sleep(some_seconds).await;
                system.private.set_disk_alarm(false);
            }
            Kind::DatabaseDiskFull => {
                let db = system.db().await;
                db.run(DISK_FULL).await;
                tokio::time::sleep(some_seconds).await;
                db.run("DROP FUNCTION chaos_disk_full() CASCADE").await;
            }
            Kind::ReadOnly => {
                let db = system.db().await;
                db.run("ALTER SYSTEM SET default_transaction_read_only = on").await;
                db.run("SELECT pg_reload_conf()").await;
                tokio::time::sleep(some_seconds).await;
                db.run("ALTER SYSTEM RESET default_transaction_read_only").await;
                db.run("SELECT pg_reload_conf()").await;
            }
        }
        Injected { fault: self, from, until: Utc::now() }
    }
}

/// What PostgreSQL answers when it can't make a file longer (SQLSTATE 53100), to whom it speaks German.
const DISK_FULL: &str = "
    CREATE FUNCTION chaos_disk_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'konnte Datei »base/5/16400« nicht erweitern: auf dem Gerät ist kein Platz mehr'
            USING ERRCODE = 'disk_full', HINT = 'Prüfen Sie den freien Plattenplatz.';
    END $$;
    CREATE TRIGGER chaos BEFORE INSERT ON tasks EXECUTE FUNCTION chaos_disk_full();
    CREATE TRIGGER chaos BEFORE INSERT ON events EXECUTE FUNCTION chaos_disk_full();
    CREATE TRIGGER chaos BEFORE INSERT ON processed_messages EXECUTE FUNCTION chaos_disk_full();
    CREATE TRIGGER chaos BEFORE INSERT ON task_activity EXECUTE FUNCTION chaos_disk_full();
    CREATE TRIGGER chaos BEFORE INSERT ON idempotency_keys EXECUTE FUNCTION chaos_disk_full();";

/// The number of a worker that has claimed an effect.
async fn claimant(system: &System) -> usize {
    let db = system.db().await;
    let claimed = "SELECT substring(claimed_by FROM 'work-([0-9])')::bigint FROM processed_messages
                   WHERE state = 'claimed' AND claimed_until > now() + interval '20 s' LIMIT 1";
    let found = || async {
        let count = db.count(&format!("({claimed}) AS c")).await;
        if count == 0 { None } else { Some(db.number(claimed).await) }
    };
    usize::try_from(eventually_within(SETTLED, "a worker has a claim", found).await).unwrap()
}

async fn weather(proxy: &Proxy, weather: Weather, lasting: Duration) {
    proxy.set(weather);
    tokio::time::sleep(lasting).await;
    proxy.set(Weather::Fair);
}

/// Publishes copies of the latest events' messages, some of which are under way just now: in any
/// order, so often each.
async fn copy(system: &System, random: &mut StdRng, times: usize) {
    let (messages, signer) = latest(system).await;
    let mut copies: Vec<&Raw> = messages.iter().cycle().take(messages.len() * times).collect();
    if times == 1 {
        copies.shuffle(random);
    }
    let amqp = system.amqp().await;
    for message in copies {
        amqp.publish(&system.world.queue, message.clone().signed(&signer)).await;
    }
    amqp.close().await;
}

/// Publishes what somebody else could make of the latest events' messages.
async fn forge(system: &System) {
    let (messages, signer) = latest(system).await;
    let amqp = system.amqp().await;
    for (number, message) in messages.into_iter().enumerate() {
        let forged = match number % 3 {
            0 => message,
            1 => {
                let mut changed = message.signed(&signer);
                changed.body.push(b' ');
                changed
            }
            _ => {
                let mut changed = message.signed(&signer);
                let mut headers = changed.properties.headers().cloned().unwrap_or_default();
                headers.insert(RECORDED.try_into().unwrap(), FieldValue::t(true));
                changed.properties.with_headers(headers);
                changed
            }
        };
        amqp.publish(&system.world.queue, forged).await;
    }
    amqp.close().await;
}

/// The messages of the latest events, not signed yet, and what signs them.
async fn latest(system: &System) -> (Vec<Raw>, Signer) {
    let db = system.db().await;
    let events = db
        .rows(&format!(
            "SELECT id, type, payload, occurred_at FROM events
             WHERE occurred_at > now() - interval '{COPIED_WITHIN}' ORDER BY seq DESC LIMIT {COPIES}"
        ))
        .await;
    let message = |event: &Value| {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        let body = json!({
            "type": text("type"),
            "payload": event["payload"],
            "metadata": { "eventId": text("id"), "timestamp": text("occurred_at"),
                          "source": "taskd", "schemaVersion": 1 },
        });
        Raw {
            body: body.to_string().into_bytes(),
            message_id: Some(text("id")),
            message_type: Some(text("type")),
            properties: BasicProperties::default(),
        }
    };
    (events.iter().map(message).collect(), db.signer().await)
}

/// Deletes the queues at a moment when nothing is in them or in a worker's hand: what a queue holds
/// goes with it, and no client of a broker can prevent that. So the clients pause until then.
async fn delete_topology(system: &System) {
    system.paused.store(true, Ordering::Relaxed);
    let started = Instant::now();
    let (db, queues) = (system.db().await, system.queues().await);
    let mut empty_since = None;
    loop {
        let unpublished = db.count("events WHERE published_at IS NULL").await;
        if unpublished > 0 || system.private.messages(&queues) != Some(0) {
            empty_since = None;
        }
        let since = *empty_since.get_or_insert_with(Instant::now);
        if since.elapsed() > EMPTY_FOR {
            break;
        }
        assert!(started.elapsed() < SETTLED, "the queues did not become empty");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let amqp = system.amqp().await;
    for queue in &queues {
        amqp.delete(queue).await;
    }
    amqp.close().await;
    system.paused.store(false, Ordering::Relaxed);
}

impl System {
    fn proxy(&self, service: Service) -> &Proxy {
        match service {
            Postgres => &self.postgres,
            Rabbitmq => &self.rabbitmq,
            Redis => &self.redis,
        }
    }

    fn stop(&self, service: Service) {
        match service {
            Postgres => self.private.stop_postgres("fast"),
            Rabbitmq => self.private.stop_rabbitmq(),
            Redis => self.private.stop_redis(),
        }
    }

    fn crash(&self, service: Service) {
        match service {
            Postgres => self.private.stop_postgres("immediate"),
            Rabbitmq => self.private.kill_rabbitmq(),
            Redis => self.private.signal_redis("KILL"),
        }
    }

    fn start_again(&self, service: Service) {
        match service {
            Postgres => self.private.start_postgres(),
            Rabbitmq => self.private.start_rabbitmq(),
            Redis => self.private.start_redis(),
        }
    }

    /// Every queue but that of the dead letters.
    pub async fn queues(&self) -> Vec<String> {
        let shown: Value =
            serde_json::from_str(&self.command(&["topology", "show", "--json"]).await).unwrap();
        let queues = shown["queues"].as_array().unwrap();
        let names = queues.iter().map(|queue| queue["name"].as_str().unwrap().to_owned());
        names.filter(|name| *name != self.world.dlq).collect()
    }
}
