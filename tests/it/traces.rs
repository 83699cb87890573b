//! Traces, as a collector gets them.

use std::time::{Duration, Instant};

use serde_json::json;

use taskd_testing::{Authority, Collector, Process, Seen, Smtp, Verdict, World, eventually};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

fn variables<'a>(url: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", url), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
    all.extend(more);
    all
}

/// Makes a task as part of the client's trace.
async fn create(serve: &Process, title: &str, flags: &str) {
    let request = serve.api().request("POST", "/tasks");
    let traceparent = format!("00-{TRACE}-{CLIENT}-{flags}");
    let body = json!({ "title": title, "userId": 1 });
    let answer = request.header("traceparent", traceparent).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 201);
}

/// The span of this name in the client's trace.
async fn step(collector: &Collector, name: &str) -> Seen {
    collector.span(name, |span| span.trace == TRACE && span.name == name).await
}

fn has(span: &Seen, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        let found = span.attributes.get(*name).map(String::as_str);
        assert_eq!(found, Some(*value), "{name} of {span:#?}");
    }
}

/// One trace from the request to the mail: parents, kinds and attributes.
async fn assert_whole(collector: &Collector, system: &str, queue: &str, smtp: &Smtp) {
    let request = step(collector, "POST /tasks").await;
    assert_eq!((request.kind, request.parent.as_str()), ("SERVER", CLIENT));
    has(
        &request,
        &[
            ("http.request.method", "POST"),
            ("http.route", "/tasks"),
            ("http.response.status_code", "201"),
            ("url.path", "/tasks"),
            ("url.scheme", "http"),
        ],
    );
    let statement = step(collector, "INSERT tasks").await;
    assert_eq!((statement.kind, &statement.parent), ("CLIENT", &request.id));
    has(
        &statement,
        &[
            ("db.system.name", "postgresql"),
            ("db.operation.name", "INSERT"),
            ("db.collection.name", "tasks"),
            ("db.query.summary", "INSERT tasks"),
        ],
    );
    let publish = step(collector, &format!("send {queue}")).await;
    assert_eq!((publish.kind, &publish.parent), ("PRODUCER", &request.id));
    let process = step(collector, &format!("process {queue}")).await;
    assert_eq!((process.kind, &process.parent), ("CONSUMER", &publish.id));
    for (span, operation) in [(&publish, "send"), (&process, "process")] {
        has(
            span,
            &[
                ("messaging.system", system),
                ("messaging.destination.name", queue),
                ("messaging.operation.name", operation),
                ("messaging.operation.type", operation),
            ],
        );
    }
    let id = &process.attributes["messaging.message.id"];
    assert_eq!(&publish.attributes["messaging.message.id"], id);
    let activity = step(collector, "effect activity").await;
    let email = step(collector, "effect email").await;
    for effect in [&activity, &email] {
        assert_eq!((effect.kind, &effect.parent), ("INTERNAL", &process.id));
    }
    let mail = step(collector, "send mail").await;
    assert_eq!((mail.kind, &mail.parent), ("CLIENT", &email.id));
    let port = smtp.port().to_string();
    has(
        &mail,
        &[
            ("network.protocol.name", "smtp"),
            ("server.address", "127.0.0.1"),
            ("server.port", &port),
            ("taskd.mail.message_id", &format!("{id}.email@taskd")),
        ],
    );
    let spans = collector.spans();
    let of_trace: Vec<&Seen> = spans.iter().filter(|span| span.trace == TRACE).collect();
    assert_eq!(of_trace.len(), 7, "{}", collector.text(TRACE));
    assert!(of_trace.iter().all(|span| !span.failed && span.links.is_empty()));
    let said = format!("{spans:?}");
    assert!(!said.contains("a secret title") && !said.contains("user1@example.com"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn one_trace_goes_from_the_request_to_the_mail_through_rabbitmq() {
    let world = World::new().await;
    let (collector, smtp) = (Collector::start().await, Smtp::start().await);
    let (url, mail) = (collector.url(), smtp.url());
    let secret = ("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=hunter2");
    let named = [("OTEL_SERVICE_NAME", "api"), ("OTEL_RESOURCE_ATTRIBUTES", "team=a%20b"), secret];
    let serve = world.serve_with(&variables(&url, &named)).await;
    let work = world.work("w", &variables(&url, &[("SMTP_URL", &mail), secret])).await;
    create(&serve, "a secret title", "01").await;
    assert_whole(&collector, "rabbitmq", &world.queue, &smtp).await;

    let request = step(&collector, "POST /tasks").await;
    assert_eq!(
        (&request.resource["service.name"][..], &request.resource["team"][..]),
        ("api", "a b")
    );
    let version = Some(env!("CARGO_PKG_VERSION"));
    assert_eq!(request.resource.get("service.version").map(String::as_str), version);
    let heads = collector.heads();
    assert!(heads.iter().all(|head| head.starts_with("POST /v1/traces HTTP/1.1\r\n")), "{heads:?}");
    assert!(heads.iter().all(|head| head.contains("x-api-key: hunter2")), "{heads:?}");
    for process in [&serve, &work] {
        assert!(!process.text().contains("hunter2"), "{}", process.text());
    }
    // What the event row has kept is the request's own span.
    let kept = world.db().await.rows("SELECT traceparent FROM events").await;
    assert_eq!(kept[0]["traceparent"], format!("00-{TRACE}-{}-01", request.id));
    if let Some(path) = std::env::var_os("TRACE_TEXT") {
        std::fs::write(path, collector.text(TRACE)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_from_the_request_to_the_mail_within_one_process() {
    let world = World::embedded();
    let (collector, smtp) = (Collector::start().await, Smtp::start().await);
    let (url, mail) = (collector.url(), smtp.url());
    let up = world.serve_with(&variables(&url, &[("SMTP_URL", &mail)])).await;
    create(&up, "a secret title", "01").await;
    assert_whole(&collector, "postgresql", &world.queue, &smtp).await;
    // The stop sends what is left.
    up.api().get("/tasks/1").await.expect(200);
    up.signal("TERM");
    up.exit().await;
    let read = collector.spans().into_iter().find(|span| span.name == "GET /tasks/{id}").unwrap();
    assert!(read.parent.is_empty() && read.trace != TRACE, "{read:?}");
    assert!(!collector.spans().iter().any(|span| span.name.contains("healthz")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_and_a_replay_are_traces_of_their_own_with_links() {
    let world = World::embedded();
    let (collector, smtp) = (Collector::start().await, Smtp::start().await);
    let (url, mail) = (collector.url(), smtp.url());
    smtp.set(Verdict::DeferFirst(3));
    let up = world.serve_with(&variables(&url, &[("SMTP_URL", &mail)])).await;
    create(&up, "t", "01").await;
    let process = format!("process {}", world.queue);
    let first = step(&collector, &process).await;
    assert!(first.failed && first.attributes["error.type"] == "transient", "{first:#?}");
    let failed = step(&collector, "send mail").await;
    assert!(failed.failed && failed.attributes["error.type"] == "transient", "{failed:#?}");
    let publish = step(&collector, &format!("send {}", world.queue)).await;
    world.dead_letters(1).await;
    world.run(&["dlq", "replay", "--all"]).await.succeeded();
    smtp.wait_for(1).await;
    for (attempt, replayed) in [("2", false), ("3", false), ("1", true)] {
        let again = collector
            .span("a later attempt", |span| {
                span.name == process
                    && span.attributes["taskd.attempt"] == attempt
                    && span.attributes.contains_key("taskd.replay_of") == replayed
            })
            .await;
        assert!(again.trace != TRACE && again.parent.is_empty(), "{again:#?}");
        assert_eq!(again.links.len(), 1, "{again:#?}");
        assert_eq!((&again.links[0].trace[..], &again.links[0].id), (TRACE, &publish.id));
        assert_eq!(again.failed, !replayed);
        collector
            .span("its mail", |span| span.trace == again.trace && span.name == "send mail")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_linked_to_each_of_its_events() {
    const EVENTS: usize = 40;
    let world = World::embedded();
    let collector = Collector::start().await;
    let url = collector.url();
    let up = world.serve_with(&variables(&url, &[])).await;
    let (batch, create) = (format!("send {}", world.queue), format!("create {}", world.queue));
    let found = eventually("a batch", || async {
        let api = up.api();
        let tasks = (0..EVENTS).map(|_| api.post("/tasks", json!({ "title": "t" })));
        futures_util::future::join_all(tasks).await;
        let spans = collector.spans();
        spans.into_iter().find(|span| span.name == batch && span.kind == "CLIENT")
    })
    .await;
    let count = found.attributes["messaging.batch.message_count"].parse::<usize>().unwrap();
    assert!(found.parent.is_empty() && count > 1 && found.links.len() == count, "{found:#?}");
    for link in &found.links {
        let created = collector.span("its event", |span| span.id == link.id).await;
        assert_eq!((&created.name, created.kind), (&create, "PRODUCER"));
        let request = collector.span("its request", |span| span.id == created.parent).await;
        assert_eq!(request.name, "POST /tasks");
        collector
            .span("its statement", |span| span.name == "INSERT tasks" && span.parent == request.id)
            .await;
        collector
            .span("its delivery", |span| {
                span.name.starts_with("process ") && span.parent == created.id
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_is_not_kept_by_others_or_by_the_sampler_is_nowhere() {
    let world = World::embedded();
    let collector = Collector::start().await;
    let url = collector.url();
    let none =
        [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")];
    let up = world.serve_with(&variables(&url, &none)).await;
    create(&up, "not kept", "00").await;
    up.api().post("/tasks", json!({ "title": "nor this" })).await.expect(201);
    // One that is kept comes last, and brings nothing of the others.
    create(&up, "kept", "01").await;
    step(&collector, "effect activity").await;
    up.signal("TERM");
    up.exit().await;
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:#?}");
    assert_eq!(spans.iter().filter(|span| span.name == "POST /tasks").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_refuses_costs_a_warning_and_nothing_else() {
    const REQUESTS: usize = 50;
    let world = World::embedded();
    let collector = Collector::start().await;
    collector.refuse(true);
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = format!("http://{}", hanging.local_addr().unwrap());
    for url in ["http://127.0.0.1:1".to_owned(), collector.url(), hanging.clone()] {
        let up = world.serve_with(&variables(&url, &[])).await;
        for _ in 0..REQUESTS {
            up.api().post("/tasks", json!({ "title": "t" })).await.expect(201);
        }
        if url != hanging {
            let about = |line: &serde_json::Value| {
                let text = line["message"].as_str().unwrap_or_default();
                line["level"] == "WARN" && text.contains("OTEL_EXPORTER_OTLP_ENDPOINT")
            };
            up.log("a warning", about).await;
            assert_eq!(up.logs().iter().filter(|line| about(line)).count(), 1);
        }
        let stopping = Instant::now();
        up.signal("TERM");
        assert!(up.exit().await.success());
        // The last spans have two seconds; DRAIN_TIMEOUT is 30 s.
        assert!(stopping.elapsed() < Duration::from_secs(20), "{url}: {:?}", stopping.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_with_tls_is_trusted_like_any_other_server() {
    let world = World::embedded();
    let authority = Authority::new(&world.directory, "ca");
    let collector = Collector::start_encrypted(&authority.issue("localhost")).await;
    let url = format!("https://localhost:{}", collector.port());
    let up = world.serve_with(&variables(&url, &[])).await;
    create(&up, "t", "01").await;
    let refused = |line: &serde_json::Value| {
        line["error"].as_str().is_some_and(|error| error.contains("TLS_CA_FILE"))
    };
    up.log("advice", refused).await;
    up.signal("TERM");
    up.exit().await;
    assert!(collector.heads().is_empty(), "{:?}", collector.heads());
    let up = world.serve_with(&variables(&url, &[("TLS_CA_FILE", authority.path())])).await;
    create(&up, "t", "01").await;
    step(&collector, "POST /tasks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_changes_many_tasks_has_one_statement() {
    let world = World::embedded();
    let collector = Collector::start().await;
    let url = collector.url();
    let up = world.serve_with(&variables(&url, &[])).await;
    for _ in 0..3 {
        up.api().task("t", Some(1)).await;
    }
    up.api().request("DELETE", "/users/1").send().await.unwrap();
    let request = collector.span("the request", |span| span.name == "DELETE /users/{id}").await;
    let below = |span: &Seen| span.parent == request.id;
    let statement =
        collector.span("its statement", |span| below(span) && span.name == "UPDATE tasks").await;
    has(&statement, &[("db.operation.batch.size", "3")]);
    let sent = format!("create {}", world.queue);
    eventually("its events", || async {
        let spans = collector.spans();
        (spans.iter().filter(|span| below(span) && span.name == sent).count() == 3).then_some(())
    })
    .await;
    assert_eq!(collector.spans().iter().filter(|s| below(s) && s.kind == "CLIENT").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_the_clients_context_is_passed_on_as_it_is() {
    let world = World::embedded();
    let up = world.serve().await;
    create(&up, "t", "01").await;
    let id = up.log("the delivery", |line| line["message"] == "delivery").await["event_id"].clone();
    let story = up.api().get(&format!("/events/{}", id.as_str().unwrap())).await.expect(200);
    assert!(story.to_string().contains(TRACE), "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_variable_can_not_be_is_said_before_anything_starts() {
    let world = World::cut_off();
    for (variable, value, told) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "http://localhost:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:hunter2@h", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2", "api-key=secret"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5", "from 0 to 1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team", "deployment.environment.name=production"),
    ] {
        for role in ["serve", "work", "up"] {
            let refused = world.run_with(&[role], &[(variable, value)]).await.exited(2);
            let said = refused.output();
            assert!(said.contains(variable) && said.contains(told), "{variable}={value}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
