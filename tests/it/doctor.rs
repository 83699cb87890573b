//! `taskd doctor`: a system that is well, each fault with what it is about and what mends it, and
//! the canary, which leaves nothing behind.

use std::collections::BTreeMap;

use amqprs::{FieldTable, FieldValue};
use serde_json::{Value, json};

use taskd_testing::{Db, Private, Process, Smtp, World, eventually, rabbitmq_url, redis_url};

/// What the doctor finds in this environment, and its exit code.
async fn examined(world: &World, more: &[(&str, &str)]) -> (Value, i32) {
    let examined = world.run_with(&["doctor", "--json"], more).await;
    assert!(!examined.output().contains("hunter2"), "{examined:?}");
    let report = examined.json();
    let code = examined.code.unwrap();
    assert_eq!(report["ok"], code == 0, "{report}");
    (report, code)
}

/// The findings of a check.
fn of<'a>(report: &'a Value, check: &str) -> Vec<&'a Value> {
    let checks = report["checks"].as_array().unwrap().iter();
    checks.filter(|found| found["name"] == check).collect()
}

/// The fault that a check has found about something, whose text and whose command have these in
/// them.
#[track_caller]
fn has(report: &Value, check: &str, state: &str, about: &str, found: &str, mend: &str) {
    let like = |fault: &&Value| {
        let text = |field: &str| fault[field].as_str().unwrap_or_default().to_owned();
        text("state") == state
            && text("about") == about
            && text("found").contains(found)
            && text("mend").contains(mend)
    };
    let faults = of(report, check);
    assert!(faults.iter().any(like), "{check}, {about}: {faults:#?}");
}

/// That a check has nothing to complain of.
#[track_caller]
fn is_well(report: &Value, check: &str) {
    let found = of(report, check);
    assert!(!found.is_empty() && found.iter().all(|found| found["state"] == "ok"), "{found:#?}");
}

/// An API and a worker whose presence is noted.
async fn system(world: &World, more: &[(&str, &str)]) -> (Process, Process) {
    let system = (world.serve_with(more).await, world.work("w1", more).await);
    let db = world.db().await;
    eventually("both are there", || async { (db.count("processes").await == 2).then_some(()) })
        .await;
    system
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_system_that_is_well_is_called_so_and_each_variable_has_its_source() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let url = smtp.url();
    let _system = system(&world, &[("SMTP_URL", &url)]).await;
    std::fs::write(world.directory.join(".env"), "MAIL_LIMIT=7/1h\n").unwrap();
    let more = [("SMTP_URL", url.as_str()), ("EVENT_RETENTION", "40d")];
    let arguments = ["doctor", "--json", "--smtp-timeout", "1m"];
    let report = world.run_with(&arguments, &more).await.succeeded().json();
    assert_eq!((&report["ok"], &report["canary"]), (&json!(true), &Value::Null));
    for check in [
        "configuration",
        "retention",
        "database",
        "schema",
        "clock",
        "processes",
        "outbox",
        "claims",
        "replays",
        "dead letters",
        "broker",
        "topology",
        "cache",
        "mail",
    ] {
        is_well(&report, check);
    }
    let found = |check: &str| of(&report, check)[0]["found"].as_str().unwrap().to_owned();
    assert!(found("database").starts_with("PostgreSQL "), "{report}");
    assert!(found("broker").starts_with("RabbitMQ "), "{report}");
    assert!(found("cache").starts_with("Redis "), "{report}");
    let variables = report["variables"].as_array().unwrap();
    let variable = |name: &str| variables.iter().find(|variable| variable["name"] == name).unwrap();
    // MAIL_LIMIT is set in the environment of each test, which comes before the file.
    for (name, source, value) in [
        ("EVENT_RETENTION", "environment", json!("40d")),
        ("SMTP_TIMEOUT", "flag", json!("1m")),
        ("CONCURRENCY", "default", json!("128")),
        ("METRICS_PUBLIC", "default", json!("true")),
        ("TLS_CA_FILE", "unset", Value::Null),
        ("DATABASE_URL", "environment", Value::Null),
        ("MAIL_LIMIT", "environment", json!("off")),
    ] {
        assert_eq!(variable(name)["source"], source, "{name}");
        assert_eq!(variable(name)["value"], value, "{name}");
    }
    std::fs::write(world.directory.join(".env"), "AUDIT_RETENTION=7d\n").unwrap();
    let text = world.run_with(&["doctor"], &more).await.succeeded().stdout;
    assert!(text.trim_end().ends_with("all is well"), "{text}");
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(lines.contains(&vec!["AUDIT_RETENTION", ".env", "7d"]), "{text}");
    assert!(lines.contains(&vec!["DATABASE_URL", "environment", "(set)"]), "{text}");
    assert!(!text.contains("TLS_CA_FILE"), "{text}");
    let all = world.run_with(&["doctor", "--variables"], &more).await.succeeded().stdout;
    assert!(all.contains("TLS_CA_FILE"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn each_dependency_that_is_away_or_refuses_us_is_named_and_hides_no_other() {
    let world = World::new().await;
    let (_serve, _work) = system(&world, &[]).await;
    let at = |url: &str, change: &dyn Fn(&mut url::Url)| {
        let mut url = url::Url::parse(url).unwrap();
        change(&mut url);
        String::from(url)
    };
    let sign_in = |user: &'static str| {
        move |url: &mut url::Url| {
            url.set_username(user).unwrap();
            url.set_password(Some("hunter2")).unwrap();
        }
    };
    let no_database = at(world.database_url(), &|url| url.set_path("/no_such_database"));
    let no_vhost = at(&rabbitmq_url(), &|url| url.set_path("/no-such-vhost"));
    let wrong_user = at(&rabbitmq_url(), &sign_in("guest"));
    let nobody = at(&redis_url(), &sign_in("nobody"));
    for (variable, url, check, found, mend) in [
        (
            "DATABASE_URL",
            "postgres://127.0.0.1:1/d",
            "database",
            "can't be reached",
            "docker compose up -d postgres",
        ),
        (
            "DATABASE_URL",
            &no_database,
            "database",
            "(SQLSTATE 3D000)",
            "export DATABASE_URL='postgres://",
        ),
        (
            "RABBITMQ_URL",
            "amqp://127.0.0.1:1",
            "broker",
            "can't be reached",
            "docker compose up -d rabbitmq",
        ),
        (
            "RABBITMQ_URL",
            &wrong_user,
            "broker",
            "password is wrong",
            "rabbitmqctl change_password guest",
        ),
        (
            "RABBITMQ_URL",
            &no_vhost,
            "broker",
            "does not exist",
            "rabbitmqctl add_vhost no-such-vhost; rabbitmqctl set_permissions -p no-such-vhost",
        ),
        (
            "REDIS_URL",
            "redis://127.0.0.1:1",
            "cache",
            "can't be used",
            "docker compose up -d redis",
        ),
        ("REDIS_URL", &nobody, "cache", "Redis refuses", "export REDIS_URL='redis://"),
        (
            "SMTP_URL",
            "smtp://127.0.0.1:1",
            "mail",
            "no SMTP connection",
            "docker compose up -d mailpit",
        ),
    ] {
        let (report, code) = examined(&world, &[(variable, url)]).await;
        assert_eq!(code, 1, "{url}");
        has(&report, check, "fail", variable, found, mend);
        for other in ["database", "broker", "cache", "mail"] {
            if other != check {
                is_well(&report, other);
            }
        }
    }
    let everything = [
        ("DATABASE_URL", "nonsense"),
        ("RABBITMQ_URL", "http://broker"),
        ("REDIS_URL", "redis:"),
        ("SMTP_URL", "smtp://"),
        ("TLS_CA_FILE", "/no/such/file"),
    ];
    let (report, _) = examined(&world, &everything).await;
    for (variable, _) in everything {
        has(&report, "configuration", "fail", variable, "", variable);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_configuration_that_can_not_be_meant_is_told_with_the_variable() {
    let world = World::new().await;
    let _system = system(&world, &[]).await;
    let short = [("PROCESSED_RETENTION", "1s"), ("RETRY_DELAYS", "100ms,1m")];
    let (report, code) = examined(&world, &short).await;
    assert_eq!(code, 1);
    let mend = "unset PROCESSED_RETENTION";
    has(&report, "retention", "fail", "PROCESSED_RETENTION", "retry path", mend);
    // Of a role that this command is not.
    for (variable, value) in [("CONCURRENCY", "0"), ("PURGE_CRON", "often"), ("PORT", "x")] {
        let (report, code) = examined(&world, &[(variable, value)]).await;
        assert_eq!(code, 1);
        has(&report, "configuration", "fail", variable, "", &format!("unset {variable}"));
    }
    let odd = [("DATABSE_URL", "x"), ("TASKD_SPEED", "11")];
    let (report, code) = examined(&world, &odd).await;
    assert_eq!(code, 0, "warnings alone are no fault");
    let mend = "export DATABASE_URL=\"$DATABSE_URL\"";
    has(&report, "configuration", "warn", "DATABSE_URL", "DATABASE_URL may be meant", mend);
    has(&report, "configuration", "warn", "TASKD_SPEED", "no variable", "unset TASKD_SPEED");
    let text = world.run_with(&["doctor"], &odd).await.succeeded().stdout;
    assert!(text.contains("warnings above are worth a look"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_schema_that_is_behind_or_ahead_and_missing_rights_are_told() {
    let world = World::unmigrated().await;
    let (report, code) = examined(&world, &[]).await;
    assert_eq!(code, 1);
    has(&report, "schema", "fail", "DATABASE_URL", "000001_tasks", "taskd migrate");
    let outbox = of(&report, "outbox");
    assert_eq!(outbox[0]["found"], "not checked: the schema is behind");
    world.run(&["migrate"]).await.succeeded();
    let db = world.db().await;
    db.run("INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000001')").await;
    let (report, _) = examined(&world, &[]).await;
    has(&report, "schema", "warn", "DATABASE_URL", "20990101000001", "taskd --version");

    let user = format!("{}_reader", world.name);
    db.run(&format!(
        "CREATE ROLE {user} LOGIN PASSWORD 'hunter2'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}"
    ))
    .await;
    let (_, place) = world.database_url().rsplit_once('@').unwrap();
    let url = format!("postgres://{user}:hunter2@{place}");
    let (report, _) = examined(&world, &[("DATABASE_URL", &url)]).await;
    db.run(&format!("DROP OWNED BY {user}; DROP ROLE {user}")).await;
    let mend = format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO \"{user}\""
    );
    has(&report, "database", "fail", "tasks", "DELETE, INSERT, UPDATE", &mend);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_queue_that_is_missing_or_differs_is_named() {
    let world = World::new().await;
    let _system = system(&world, &[]).await;
    let amqp = world.amqp().await;
    let missing = format!("{}.200ms", world.retry_prefix());
    amqp.delete(&missing).await;
    amqp.delete(&world.dlq).await;
    let mut arguments = FieldTable::new();
    for (name, value) in [
        ("x-queue-type", FieldValue::from("quorum".to_owned())),
        ("x-delivery-limit", FieldValue::l(7)),
    ] {
        arguments.insert(name.try_into().unwrap(), value);
    }
    // The worker looks into the queue now and then, and declares nothing as long as it can consume.
    amqp.declare(&world.dlq, arguments).await;
    let (report, code) = examined(&world, &[]).await;
    assert_eq!(code, 1);
    has(&report, "topology", "fail", &missing, "does not exist", "taskd topology declare");
    let mend = format!("--if-empty {} && taskd topology declare", world.dlq);
    has(&report, "topology", "fail", &world.dlq, "x-delivery-limit", &mend);
    is_well(&report, "broker");
}

/// An event of a type that nobody publishes or takes here, written some minutes ago.
async fn event(db: &Db, id: &str, published: bool) {
    let published = if published { "now() - interval '9 min'" } else { "NULL" };
    db.run(&format!(
        "INSERT INTO events (id, task_id, task_version, type, payload, occurred_at, published_at)
         VALUES ('{id}', 1, 1, 'TASK_CREATED', '{{}}', now() - interval '10 min', {published})"
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_waits_for_nobody_is_told_with_the_command_that_goes_on() {
    let world = World::new().await;
    world.declare().await;
    let db = world.db().await;
    let (old, stuck) =
        ("01a20c26-baf3-7396-8c9e-8c32b8533154", "01a20c26-baf3-7396-8c9e-8c32b8533155");
    event(&db, old, false).await;
    event(&db, stuck, true).await;
    db.run(&format!(
        "INSERT INTO unfinished_events (event_id, state) VALUES ('{stuck}', 'queued');
         INSERT INTO processed_messages (event_id, effect, state, claimed_by, claimed_until, effects)
         VALUES ('{stuck}', 'email', 'claimed', 'w/1', now() - interval '8 min', 2);
         INSERT INTO replays (created_at, created_by, selection, state, canary)
         VALUES (now() - interval '5 min', 'ann', '{{}}', 'running', 0);
         INSERT INTO dead_letters (id, reason, attempts, died_at, fingerprint, pattern, message, body, is_ours,
                                   recorded)
         VALUES ('l1', 'permanent', 1, now(), 'f', 'p', '{{}}', '', true, true);
         INSERT INTO parked_messages (event_id, effect, due_at, has_turn, parked_at, message, body)
         SELECT gen_random_uuid(), effect, now(), false, now() - interval '3 h', '{{}}', ''
         FROM unnest(ARRAY['activity', 'sms', 'sms', 'zeppelin']) AS effect"
    ))
    .await;
    let (report, code) = examined(&world, &[]).await;
    for (found, mend) in [
        ("2 messages parked for sms, which this version doesn't have, for up to 3h", "has sms"),
        ("1 message parked for zeppelin", "taskd work  # of a version that has zeppelin"),
    ] {
        has(&report, "effects", "warn", "parked_messages", found, mend);
    }
    assert_eq!(of(&report, "effects").len(), 2, "{report:#?}");
    let listed = world.run(&["effects", "list", "--json"]).await.succeeded().json();
    let unknown: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .filter(|effect| effect["state"] == "unknown")
        .map(|effect| (effect["name"].as_str().unwrap(), effect["parked"].as_i64().unwrap()))
        .collect();
    assert_eq!(unknown, [("sms", 2), ("zeppelin", 1)]);
    let refused = world.run(&["effects", "resume", "sms"]).await.exited(1);
    assert!(refused.stderr.contains("there are: activity, email"), "{refused:?}");
    assert_eq!(code, 1);
    has(&report, "processes", "fail", "processes", "no worker is consuming", "taskd work");
    has(&report, "processes", "fail", "processes", "no serve is running", "taskd serve");
    has(&report, "outbox", "fail", "events", "nobody publishes them", "taskd serve");
    let mend = format!("taskd events show {stuck}");
    has(&report, "claims", "fail", "processed_messages", "1 claim", &mend);
    has(&report, "replays", "fail", "replays", "replay 1", "taskd work");
    let growing = "1 letter of 1 cause open; 1 cause grew in the last five minutes";
    has(&report, "dead letters", "warn", "dead_letters", growing, "taskd dlq groups");
    let text = world.run(&["doctor"]).await.exited(1).stdout;
    assert!(
        text.contains("\n  taskd serve\n") && text.contains("something doesn't work"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn workers_of_two_versions_get_no_canary() {
    let world = World::new().await;
    let _system = system(&world, &[]).await;
    let db = world.db().await;
    db.run(
        "INSERT INTO processes (id, role, name, version, host, pid, started_at, in_hand)
         VALUES (gen_random_uuid(), 'work', 'old', '0.0.9', 'h', 1, now(), 0)",
    )
    .await;
    let report = world.run(&["doctor", "--canary", "--json"]).await.succeeded().json();
    has(&report, "processes", "warn", "processes", "workers of two versions", "taskd ps");
    has(
        &report,
        "canary",
        "warn",
        "processes",
        "not sent: the worker old has version 0.0.9",
        "taskd ps",
    );
}

/// How many rows each table has, but for the one that counts what was done in each minute.
async fn rows(db: &Db) -> BTreeMap<String, i64> {
    let tables = db
        .rows(
            "SELECT table_name::text AS name FROM information_schema.tables
             WHERE table_schema = 'public' AND table_name <> 'activity_minutes' ORDER BY 1",
        )
        .await;
    assert!(tables.len() > 20, "{tables:?}");
    let mut counts = BTreeMap::new();
    for table in tables {
        let name = table["name"].as_str().unwrap();
        counts.insert(name.to_owned(), db.count(name).await);
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_canary_goes_through_everything_and_leaves_nothing_behind() {
    let world = World::new().await;
    let (serve, work) = system(&world, &[]).await;
    let db = world.db().await;
    let api = serve.api();
    api.task("t", None).await;
    work.log("it is processed", |line| line["outcome"] == "processed").await;
    eventually("it is off the list", || async {
        (db.count("unfinished_events").await == 0).then_some(())
    })
    .await;
    let before = rows(&db).await;
    let report = world.run(&["doctor", "--canary", "--json"]).await.succeeded().json();
    assert_eq!(rows(&db).await, before);
    is_well(&report, "canary");
    let canary = &report["canary"];
    assert_eq!((&canary["state"], &canary["worker"]), (&json!("done"), &json!("w1")));
    let steps: Vec<&str> =
        canary["steps"].as_array().unwrap().iter().map(|s| s["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["written", "published", "taken", "done"]);
    assert!(
        canary["steps"].as_array().unwrap().iter().all(|s| s["afterMs"].as_i64().unwrap() >= 0)
    );
    let events = api.get("/events").await.expect(200);
    assert_eq!(events["data"].as_array().unwrap().len(), 1, "{events}");
    let schema = api.get("/schemas/SYSTEM_CANARY").await;
    assert_eq!(schema.status, 404, "nobody is told of it");
    let text = world.run(&["doctor", "--canary"]).await.succeeded().stdout;
    assert!(text.contains("taken by w1 after "), "{text}");
    let letters = world.open_letters().await;
    assert!(letters.is_empty(), "{letters:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_canary_that_gets_stuck_says_where_and_writes_nothing_when_it_arrives_late() {
    let world = World::new().await;
    let (serve, work) = system(&world, &[]).await;
    let db = world.db().await;
    let before = rows(&db).await;
    let sent = async |timeout: &str| {
        let arguments = ["doctor", "--canary", "--canary-timeout", timeout, "--json"];
        world.run(&arguments).await.exited(1).json()
    };
    work.signal("STOP");
    let report = sent("2s").await;
    assert_eq!(report["canary"]["state"], "stuck");
    has(&report, "canary", "fail", "QUEUE_NAME", "no worker has taken it within 2s", "taskd ps");
    assert_eq!(rows(&db).await, before);
    work.signal("CONT");
    work.log("it arrives", |line| line["event_type"] == "SYSTEM_CANARY").await;
    assert_eq!(rows(&db).await, before);

    serve.signal("TERM");
    assert!(serve.exit().await.success());
    let report = sent("1s").await;
    has(&report, "canary", "fail", "events", "nobody publishes events", "taskd serve");
    work.signal("TERM");
    assert!(work.exit().await.success());
    let report = sent("1s").await;
    assert_eq!(report["canary"], json!({ "state": "not sent", "worker": null, "steps": [] }));
    has(&report, "canary", "fail", "processes", "not sent: no worker is consuming", "taskd work");
    let after: BTreeMap<String, i64> = before
        .into_iter()
        .map(|(table, n)| (table.clone(), if table == "processes" { 0 } else { n }))
        .collect();
    assert_eq!(rows(&db).await, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_examines_an_up_that_runs_or_has_run() {
    let world = World::embedded();
    let (report, code) = examined(&world, &[]).await;
    assert_eq!(code, 1);
    has(&report, "database", "fail", "DATABASE_URL", "no `taskd up` has run", "taskd up");
    let up = world.serve().await;
    let report = eventually("it is there", || async {
        let examined = world.run(&["doctor", "--canary", "--json"]).await;
        (examined.code == Some(0)).then(|| examined.json())
    })
    .await;
    assert_eq!(report["canary"]["state"], "done");
    for check in
        ["database", "schema", "clock", "processes", "outbox", "claims", "broker", "cache", "mail"]
    {
        is_well(&report, check);
    }
    assert_eq!(up.api().get("/events").await.expect(200)["data"], json!([]));
    up.signal("TERM");
    assert!(up.exit().await.success());
    let (report, code) = examined(&world, &[]).await;
    assert_eq!(code, 1);
    has(&report, "processes", "fail", "processes", "no worker is consuming", "taskd up");
    is_well(&report, "database");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_alarm_of_the_broker_and_a_user_who_may_not_publish_are_told() {
    let world = World::new().await;
    let private = Private::start();
    let url =
        private.environment().into_iter().find(|(name, _)| *name == "RABBITMQ_URL").unwrap().1;
    let (report, _) = examined(&world, &[("RABBITMQ_URL", &url)]).await;
    is_well(&report, "broker");
    private.add_reader("reader", "hunter2");
    let mut as_reader = url::Url::parse(&url).unwrap();
    as_reader.set_username("reader").unwrap();
    as_reader.set_password(Some("hunter2")).unwrap();
    let (report, _) = examined(&world, &[("RABBITMQ_URL", as_reader.as_str())]).await;
    let mend = "rabbitmqctl set_permissions -p / reader '.*' '.*' '.*'";
    has(&report, "broker", "fail", "RABBITMQ_URL", "may not publish", mend);
    private.set_disk_alarm(true);
    let report = eventually("the alarm is told", || async {
        let (report, _) = examined(&world, &[("RABBITMQ_URL", &url)]).await;
        (of(&report, "broker")[0]["state"] == "fail").then_some(report)
    })
    .await;
    has(&report, "broker", "fail", "RABBITMQ_URL", "disk", "rabbitmq-diagnostics alarms");
    private.set_disk_alarm(false);
    eventually("the alarm has passed", || async {
        let (report, _) = examined(&world, &[("RABBITMQ_URL", &url)]).await;
        (of(&report, "broker")[0]["state"] == "ok").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gives_no_answer_is_told_in_time_and_hides_nothing() {
    let world = World::alone();
    // It takes connections, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let of_scheme = |scheme: &str| format!("{scheme}://{at}");
    let (broker, cache, mail) = (of_scheme("amqp"), of_scheme("redis"), of_scheme("smtp"));
    let database = format!("postgres://{at}/d");
    let dependencies = [
        ("database", "DATABASE_URL", database.as_str()),
        ("broker", "RABBITMQ_URL", &broker),
        ("cache", "REDIS_URL", &cache),
        ("mail", "SMTP_URL", &mail),
    ];
    let began = std::time::Instant::now();
    let (report, code) = examined(&world, &dependencies.map(|(_, name, url)| (name, url))).await;
    assert_eq!(code, 1);
    // Each has five seconds, all at the same time; one after the other it would be 20 s.
    assert!(began.elapsed().as_secs() < 18, "{:?}", began.elapsed());
    for (check, variable, _) in dependencies {
        has(&report, check, "fail", variable, "", "docker compose up -d");
    }
    is_well(&report, "retention");
    assert_eq!(of(&report, "outbox")[0]["found"], "not checked: the database can't be used");
}
