use super::*;
use crate::domain::presence::{Process, findings};
use crate::domain::processing::gate::{Outage, Pause};
use crate::ground::telemetry::Activity;
use crate::ground::tls::Tls;
use crate::store::operation::inspect::{OpenLetters, Outbox};
use crate::store::{PostgresUrl, Store};

fn patient() -> Patient {
    let nowhere = PostgresUrl::parse("postgres://127.0.0.1:1/d", &Tls::default()).unwrap();
    Patient { store: Store::new(&nowhere, 1).unwrap(), embedded: false }
}

fn process(role: Role, name: &str, version: &str) -> Seen {
    let now = Utc::now();
    Seen {
        process: Process {
            id: uuid::Uuid::nil(),
            role,
            name: name.to_owned(),
            version: version.to_owned(),
            host: "h".to_owned(),
            pid: 7,
        },
        started_at: now - TimeDelta::hours(1),
        seen_at: now,
        read_at: now,
        in_hand: 0,
        busy_since: None,
        last_progress_at: None,
    }
}

/// A system that is well.
fn well() -> Told {
    with(vec![process(Role::Serve, "s", "1"), process(Role::Work, "w", "1")])
}

fn with(processes: Vec<Seen>) -> Told {
    Told {
        outbox: Outbox { unpublished: 0, oldest_seconds: None },
        gates: vec![("email".to_owned(), Gate::default(), 0)],
        letters: OpenLetters { letters: 0, causes: 0, growing: 0 },
        groups: Vec::new(),
        findings: findings(&processes, None, Utc::now()),
        processes,
        history: Vec::new(),
    }
}

fn minute(done: Activity) -> Minute {
    Minute { minute: Utc::now(), done }
}

fn kinds(told: &Result<Told, String>, queues: Option<&QueueReport>) -> Vec<&'static str> {
    let known = Snapshot { told, queues, broker: "rabbitmq" };
    find(&patient(), &known).iter().map(|problem| problem.kind).collect()
}

fn queues(consumers: Option<u32>) -> QueueReport {
    let main = QueueState {
        name: "task_events".to_owned(),
        role: QueueRole::Main,
        messages: 3,
        consumers,
    };
    QueueReport { queues: vec![main], away: None }
}

#[tokio::test]
async fn a_system_that_is_well_has_no_problem_and_says_who_is_there() {
    let told = Ok(well());
    assert!(kinds(&told, Some(&queues(Some(1)))).is_empty());
    assert!(kinds(&told, Some(&queues(None))).is_empty(), "tables know no consumers");
    assert!(kinds(&told, None).is_empty(), "nobody has looked");
    let line = summary(true, &[], told.as_ref().ok());
    assert_eq!(line, "working: 1 worker and 1 server are there, and nothing needs you");
}

#[tokio::test]
async fn what_stops_everything_comes_first_and_a_pause_last() {
    let mut told = with(vec![process(Role::Serve, "s", "1")]);
    told.outbox = Outbox { unpublished: 9, oldest_seconds: Some(40.0) };
    told.history =
        vec![minute(Activity { created: 9, dead: 6, processed: 2, ..Activity::default() })];
    let since = Utc::now() - TimeDelta::minutes(5);
    let outage = Outage { since, error: "451 later".to_owned(), probe_at: None };
    let pause = Pause { by: "ann".to_owned(), since, reason: None };
    let broken = Gate { outage: Some(outage), pause: None };
    let paused = Gate { outage: None, pause: Some(pause) };
    told.gates = vec![("email".to_owned(), broken, 4), ("activity".to_owned(), paused, 2)];
    told.groups = vec![GroupRow {
        fingerprint: "f".to_owned(),
        effect: Some("email".to_owned()),
        event_type: None,
        reason: "permanent".to_owned(),
        pattern: "550 no such user".to_owned(),
        open: 12,
        first_at: since,
        last_at: since,
        growing: true,
        sample: "l1".to_owned(),
    }];
    let away = QueueReport { queues: Vec::new(), away: Some(("refused".to_owned(), since)) };
    let told = Ok(told);
    let known = Snapshot { told: &told, queues: Some(&away), broker: "rabbitmq" };
    let found = find(&patient(), &known);
    let kinds: Vec<&str> = found.iter().map(|problem| problem.kind).collect();
    assert_eq!(
        kinds,
        [
            "broker_away",
            "no_worker",
            "outbox_waits",
            "most_die",
            "breaker_open",
            "dead_letters",
            "paused"
        ]
    );
    let failing = found.iter().filter(|problem| problem.state == State::Fail).count();
    assert_eq!(failing, 5, "dead letters and pauses are for somebody to look at");
    let [broker, worker, outbox, _, breaker, letters, pause] = &found[..] else { panic!() };
    assert_eq!((broker.since, broker.about.sort), (Some(since), "broker"));
    assert_eq!((worker.about.sort, &*worker.press), ("process", "start a worker: taskd work"));
    assert_eq!((outbox.count, outbox.growing), (Some(9), Some(true)));
    assert_eq!((breaker.count, breaker.about.name.as_str()), (Some(4), "email"));
    assert_eq!(
        (letters.count, letters.growing, letters.since),
        (Some(12), Some(true), Some(since))
    );
    assert_eq!(letters.what, "12 dead letters of email: 550 no such user");
    assert!(letters.press.ends_with("taskd dlq show l1; taskd dlq replay --group f"));
    assert!(pause.press.ends_with("taskd effects resume activity"));
    let line = summary(false, &found, told.as_ref().ok());
    assert!(line.starts_with("not working: refused") && line.ends_with("(and 6 more)"), "{line}");
}

#[tokio::test]
async fn without_the_database_nothing_else_is_known_but_the_broker() {
    let told: Result<Told, String> = Err("no route".to_owned());
    assert_eq!(kinds(&told, None), ["database_away"]);
    let away = QueueReport { queues: Vec::new(), away: Some(("no".to_owned(), Utc::now())) };
    assert_eq!(kinds(&told, Some(&away)), ["database_away", "broker_away"]);
    let in_tables = Snapshot { told: &told, queues: Some(&away), broker: "postgresql" };
    assert_eq!(find(&patient(), &in_tables).len(), 1, "it is told once");
}

#[tokio::test]
async fn workers_that_consume_nothing_or_differ_are_told() {
    assert_eq!(kinds(&Ok(well()), Some(&queues(Some(0)))), ["no_consumer"]);
    let nobody = Ok(with(vec![process(Role::Serve, "s", "1")]));
    assert_eq!(kinds(&nobody, Some(&queues(Some(0)))), ["no_worker"], "it is told once");
    let two = with(vec![process(Role::Work, "a", "1"), process(Role::Work, "b", "2")]);
    let found = find(&patient(), &Snapshot { told: &Ok(two), queues: None, broker: "rabbitmq" });
    assert_eq!((found[0].kind, found[0].state), ("two_versions", State::Warn));
    let line = summary(true, &found, None);
    assert!(line.starts_with("working, but workers of two versions are running"), "{line}");
}

#[tokio::test]
async fn a_few_dead_letters_are_no_failure_of_everything() {
    let mut told = well();
    told.history = vec![minute(Activity { dead: 4, ..Activity::default() })];
    assert!(kinds(&Ok(told), None).is_empty());
    let mut told = well();
    told.history = vec![minute(Activity { dead: 40, processed: 41, ..Activity::default() })];
    assert!(kinds(&Ok(told), None).is_empty());
    // What is long ago counts no more.
    let mut told = well();
    told.history = vec![minute(Activity { dead: 40, ..Activity::default() })];
    told.history.extend((0..5).map(|_| minute(Activity::default())));
    assert!(kinds(&Ok(told), None).is_empty());
}
