//! What live pages are told by: each change is noticed under its topic, and no other.

use std::time::Duration;

use taskd::ground::shutdown::Shutdown;
use taskd::ground::tls::Tls;
use taskd::operate::pulse::{Pulse, Subscription, Topics};
use taskd::store::{PostgresUrl, Store};

use taskd_testing::World;

const NOTHING: Topics = Topics {
    events: false,
    work: false,
    letters: false,
    gates: false,
    processes: false,
    webhooks: false,
};

fn pulse(world: &World, shutdown: &Shutdown) -> Pulse {
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    // As the embedded database has it: one connection.
    Pulse::new(Store::new(&url, 1).unwrap(), shutdown.clone())
}

async fn changed(subscription: &mut Subscription) -> Topics {
    let waiting = tokio::time::timeout(Duration::from_secs(20), subscription.changed());
    waiting.await.expect("a change").expect("a process that goes on")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn each_change_is_told_under_its_topic_alone() {
    let world = World::new().await;
    let db = world.db().await;
    let pulse = pulse(&world, &Shutdown::new(Duration::ZERO));
    let mut watching = pulse.subscribe();
    assert_eq!(changed(&mut watching).await, Topics::ALL, "what was before, nobody knows");
    let event = |seq: i64| {
        format!(
            "INSERT INTO events (id, seq, task_id, task_version, type, payload, occurred_at)
             OVERRIDING SYSTEM VALUE
             VALUES (gen_random_uuid(), {seq}, 1, 1, 'TASK_CREATED', '{{}}', now())"
        )
    };
    let events = Topics { events: true, ..NOTHING };
    let work = Topics { work: true, ..NOTHING };
    let letters = Topics { letters: true, ..NOTHING };
    let gates = Topics { gates: true, ..NOTHING };
    let processes = Topics { processes: true, ..NOTHING };
    let webhooks = Topics { webhooks: true, ..NOTHING };
    for (change, topic) in [
        (&*event(20), events),
        // Its transaction began before, and ends after.
        (&event(10), events),
        ("UPDATE events SET published_at = now() WHERE seq = 10", work),
        (
            "INSERT INTO processed_messages (event_id, effect, state, claimed_by, claimed_until)
             VALUES ('01a20c26-baf3-7396-8c9e-8c32b8533154', 'email', 'claimed', 'w', now())",
            work,
        ),
        ("UPDATE processed_messages SET state = 'done', touched_at = now()", work),
        (
            "INSERT INTO unfinished_events (event_id, state)
             VALUES ('01a20c26-baf3-7396-8c9e-8c32b8533154', 'retrying')",
            work,
        ),
        ("DELETE FROM unfinished_events", work),
        (
            "INSERT INTO event_steps (event_id, kind, attempt, retries, actor, message)
             VALUES ('01a20c26-baf3-7396-8c9e-8c32b8533154', 'failed', 1, 5, 'w', 'm')",
            work,
        ),
        (
            "INSERT INTO dead_letters (id, reason, attempts, died_at, fingerprint, pattern, message, body,
                                       is_ours, recorded)
             VALUES ('l1', 'permanent', 1, now(), 'f', 'p', '{}', '', true, true)",
            letters,
        ),
        ("UPDATE dead_letters SET state = 'discarded'", letters),
        (
            "INSERT INTO replays (created_by, selection, state, canary) VALUES ('ann', '{}', 'done', 0)",
            letters,
        ),
        ("UPDATE replays SET state = 'stopped'", letters),
        ("INSERT INTO effect_gates (effect, paused_at) VALUES ('email', now())", gates),
        ("UPDATE effect_gates SET pause_reason = 'r'", gates),
        (
            "INSERT INTO parked_messages (event_id, effect, due_at, has_turn, message, body)
             VALUES (gen_random_uuid(), 'email', now(), false, '{}', '')",
            gates,
        ),
        ("DELETE FROM parked_messages", gates),
        (
            "INSERT INTO processes (id, role, name, version, host, pid, started_at, in_hand)
             VALUES (gen_random_uuid(), 'work', 'w', '1', 'h', 1, now(), 0)",
            processes,
        ),
        ("UPDATE processes SET in_hand = 1", processes),
        ("UPDATE processes SET seen_at = now() - interval '20 s'", processes),
        ("DELETE FROM processes", processes),
        // A connection counts what it did when it is idle for the next time, or is told to.
        (
            "SELECT pg_stat_force_next_flush();
             INSERT INTO webhooks (url, secret, since_seq) VALUES ('https://example.com', '', 0)",
            webhooks,
        ),
        (
            "SELECT pg_stat_force_next_flush();
             INSERT INTO webhook_deliveries (webhook_id, event_id, state, due_at)
             SELECT id, gen_random_uuid(), 'pending', now() FROM webhooks",
            webhooks,
        ),
        (
            "SELECT pg_stat_force_next_flush(); UPDATE webhook_deliveries SET state = 'done'",
            webhooks,
        ),
    ] {
        db.run(change).await;
        assert_eq!(changed(&mut watching).await, topic, "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_replay_that_is_under_way_changes_all_the_time() {
    let world = World::new().await;
    world
        .db()
        .await
        .run("INSERT INTO replays (created_by, selection, state, canary) VALUES ('a', '{}', 'running', 0)")
        .await;
    let mut watching = pulse(&world, &Shutdown::new(Duration::ZERO)).subscribe();
    assert_eq!(changed(&mut watching).await, Topics::ALL);
    for _ in 0..2 {
        assert_eq!(changed(&mut watching).await, Topics { letters: true, ..NOTHING });
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn it_goes_on_after_its_connection_was_cut_and_ends_with_the_process() {
    let world = World::new().await;
    let db = world.db().await;
    let shutdown = Shutdown::new(Duration::ZERO);
    let pulse = pulse(&world, &shutdown);
    let mut watching = pulse.subscribe();
    assert_eq!(changed(&mut watching).await, Topics::ALL);
    db.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
    db.run("INSERT INTO effect_gates (effect, paused_at) VALUES ('email', now())").await;
    assert_eq!(changed(&mut watching).await, Topics { gates: true, ..NOTHING });
    shutdown.stop();
    assert_eq!(watching.changed().await, None);
}
