//! Ten thousand messages that nobody meant, among a hundred that somebody did.

use std::collections::HashSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use taskd::domain::catalog::built_in;

use taskd_testing::{Raw, World, eventually, eventually_within};

const HOSTILE: usize = 10_000;
const GOOD: usize = 100;
const SEED: u64 = 20_261_124;
/// Longer than ten thousand dead letters take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(240);

/// Bytes from nowhere.
fn noise(random: &mut StdRng) -> Vec<u8> {
    (0..random.random_range(0..400)).map(|_| random.random()).collect()
}

/// A good message with some of its bytes changed, cut out, or said twice.
fn mutated(body: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut body = body.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..body.len());
        match random.random_range(0..4) {
            0 => body[at] ^= 1 << random.random_range(0..8),
            1 => body[at] = random.random(),
            2 => drop(body.drain(at..(at + random.random_range(1..30)).min(body.len()))),
            _ => {
                let piece = body[at..(at + 20).min(body.len())].to_vec();
                body.splice(at..at, piece);
            }
        }
        if body.is_empty() {
            break;
        }
    }
    body
}

/// A message that is no event: its body is not one, or does not belong to its properties.
fn hostile(good: &Raw, random: &mut StdRng) -> Raw {
    loop {
        let body =
            if random.random_bool(0.3) { noise(random) } else { mutated(&good.body, random) };
        let message_id = match random.random_range(0..10) {
            0 => None,
            1 => Some(format!("{:x}", random.random::<u64>())),
            _ => good.message_id.clone(),
        };
        let message_type = random.random_bool(0.5).then(|| "TASK_CREATED".to_owned());
        if built_in().decode(&body, message_id.as_deref(), message_type.as_deref()).is_err() {
            return Raw { body, message_id, message_type, ..Raw::default() };
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn ten_thousand_hostile_messages_are_dead_letters_and_hold_nothing_up() {
    let world = World::new().await;
    world.take_unsigned().await;
    let serve = world.serve().await;
    let amqp = world.amqp().await;
    for number in 0..GOOD {
        serve.api().task(&format!("good {number}"), Some(1)).await;
    }
    let good = amqp.take_all(&world.queue, GOOD).await;
    let work = world.work("w", &[]).await;
    let mut random = StdRng::seed_from_u64(SEED);
    for number in 0..HOSTILE {
        if number % (HOSTILE / GOOD) == 0 {
            amqp.publish(&world.queue, good[number * GOOD / HOSTILE].clone()).await;
        }
        let model = &good[random.random_range(0..GOOD)];
        amqp.publish(&world.queue, hostile(model, &mut random)).await;
    }
    let counting = world.db().await;
    eventually_within(DEADLINE, "every hostile message is a dead letter", || async {
        (counting.count("dead_letters").await as usize >= HOSTILE).then_some(())
    })
    .await;
    let db = world.db().await;
    eventually("the good ones are processed", || async {
        let done = "processed_messages WHERE effect = 'email' AND state = 'done'";
        (db.count(done).await == GOOD as i64).then_some(())
    })
    .await;
    assert_eq!(db.count("task_activity").await, GOOD as i64);

    let listed = world.run(&["dlq", "list", "--json", "--limit", "20000"]).await.succeeded().json();
    let letters = listed.as_array().unwrap();
    assert_eq!(letters.len(), HOSTILE);
    for letter in letters {
        assert_eq!(letter["reason"], json!("malformed"), "{letter}");
        assert!(!letter["error"].as_str().unwrap().is_empty(), "{letter}");
    }
    let reasons: HashSet<&str> = letters.iter().filter_map(|l| l["error"].as_str()).collect();
    println!("{} different errors", reasons.len());
    assert!(!work.text().contains("cut off"), "the consumer lost its connection");
    assert_eq!(work.api().get("/healthz").await.status, 200);
}
