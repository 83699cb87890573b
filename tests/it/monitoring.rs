//! What is shipped for Prometheus and Grafana is about metrics that exist, and each alert has its
//! section in the runbook. And the metrics of queues are what the broker says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use regex::Regex;
use serde_json::Value;

use taskd::ground::telemetry::Metrics;
use taskd_testing::{Amqp, Api, Raw, Smtp, Verdict, World, eventually};

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus/taskd.rules.yml");

fn file(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// What an alert says, by its field. Expressions that are folded over lines are one line here.
fn alerts() -> Vec<BTreeMap<String, String>> {
    let text = file("deploy/prometheus/taskd.rules.yml");
    let mut alerts: Vec<BTreeMap<String, String>> = Vec::new();
    let mut folding: Option<String> = None;
    let form = r"^(alert|expr|for|labels|annotations|summary|runbook_url): ?(.*)$";
    let form = Regex::new(form).unwrap();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let content = line.trim_start().trim_start_matches("- ");
        let field = form.captures(content);
        match (field, &folding) {
            (Some(field), _) => {
                let (name, value) = (field[1].to_owned(), field[2].trim_matches('"').to_owned());
                if name == "alert" {
                    alerts.push(BTreeMap::new());
                }
                folding = (value == ">-").then(|| name.clone());
                let value = if value == ">-" { String::new() } else { value };
                assert!(alerts.last_mut().unwrap().insert(name, value).is_none(), "{line}");
            }
            (None, Some(name)) => {
                let folded = alerts.last_mut().unwrap().get_mut(name).unwrap();
                folded.push_str(content.trim_end());
                folded.push(' ');
            }
            (None, None) => {}
        }
    }
    alerts
}

/// Every expression of the dashboard.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("expr").map(|expr| expr.as_str().unwrap().to_owned()));
            members.values().for_each(|member| expressions(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

/// What is wrong with an expression: a metric that there is not, or a label that its metrics lack.
fn fault(expression: &str, metrics: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    const OF_PROMETHEUS: [&str; 3] = ["job", "instance", "le"];
    let selector = Regex::new(r"\b((?:taskd|process)_[a-z0-9_]+|up\b)(?:\{([^}]*)\})?").unwrap();
    let label_of = Regex::new(r#"([a-z_]+) ?[=!]~?""#).unwrap();
    let mut labels: BTreeSet<&str> = BTreeSet::from(OF_PROMETHEUS);
    let mut count = 0;
    for found in selector.captures_iter(expression) {
        count += 1;
        let name = &found[1];
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
        let known =
            metrics.get(name).or_else(|| metrics.get(base?).filter(|_| !name.contains("_total")));
        let Some(own) = known else { return Some(format!("no metric {name}")) };
        labels.extend(own.iter().map(String::as_str));
        let named = found.get(2).map_or("", |named| named.as_str());
        for label in label_of.captures_iter(named).map(|label| label.extract::<1>().1[0]) {
            if !own.contains(label) && !OF_PROMETHEUS.contains(&label) {
                return Some(format!("{name} has no label {label}"));
            }
        }
    }
    if count == 0 {
        return Some("no metric at all".to_owned());
    }
    let groups = Regex::new(r"\b(?:by|on|without|ignoring) ?\(([^)]*)\)").unwrap();
    let grouped = groups.captures_iter(expression).collect::<Vec<_>>();
    let mut grouped = grouped.iter().flat_map(|group| group.get(1).unwrap().as_str().split(','));
    let unknown = grouped.find(|label| !labels.contains(label.trim()));
    unknown.map(|label| format!("no metric here has the label {label}"))
}

fn metrics() -> BTreeMap<String, BTreeSet<String>> {
    let metrics = Metrics::new().unwrap();
    let named =
        metrics.names().map(|(name, labels)| (name.to_owned(), labels.iter().cloned().collect()));
    named.chain([("up".to_owned(), BTreeSet::new())]).collect()
}

#[test]
fn each_expression_is_about_metrics_and_labels_that_there_are() {
    let metrics = metrics();
    for wrong in [
        "rate(taskd_nothing_total[5m])",
        "taskd_retries_total{reason=\"x\"}",
        "sum by (reason) (taskd_retries_total)",
        "taskd_retries_total_bucket",
        "1 > 0",
    ] {
        assert!(fault(wrong, &metrics).is_some(), "{wrong}");
    }
    let mut all: Vec<String> = alerts().iter().map(|alert| alert["expr"].clone()).collect();
    assert!(all.len() > 10, "{all:?}");
    let dashboard: Value = serde_json::from_str(&file("deploy/grafana/taskd.json")).unwrap();
    expressions(&dashboard, &mut all);
    for expression in &all {
        assert_eq!(fault(expression, &metrics), None, "{expression}");
    }
    // And what is measured is shown.
    let shown = all.join("\n");
    for name in metrics.keys() {
        assert!(
            shown.contains(name.as_str()),
            "{name} is neither in the dashboard nor in an alert"
        );
    }
    let ids: Vec<&Value> =
        dashboard["panels"].as_array().unwrap().iter().map(|p| &p["id"]).collect();
    assert_eq!(ids.iter().map(|id| id.to_string()).collect::<BTreeSet<_>>().len(), ids.len());
}

#[test]
fn each_alert_has_a_section_in_the_runbook_and_each_section_an_alert() {
    let runbook = file("docs/runbook.md");
    let sections: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut names = Vec::new();
    for alert in alerts() {
        let name = &alert["alert"];
        let address = format!("docs/runbook.md#{}", name.to_lowercase());
        assert_eq!(alert["runbook_url"], address, "{name}");
        assert!(!alert["summary"].is_empty() && alert["labels"].contains("severity: "), "{name}");
        names.push(name.clone());
    }
    assert_eq!(
        names.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        sections.iter().copied().collect()
    );
    for section in runbook.split("\n## ").skip(1) {
        let parts = ["**Symptom.**", "**Look.**", "**Do.**"].map(|part| section.find(part));
        assert!(parts.iter().all(Option::is_some) && parts.is_sorted(), "{section}");
    }
    // The anchors of its own links.
    for link in Regex::new(r"\]\(#([a-z]+)\)").unwrap().captures_iter(&runbook) {
        assert!(sections.iter().any(|section| section.to_lowercase() == link[1]), "{}", &link[1]);
    }
}

#[test]
fn prometheus_reads_the_rules() {
    match std::process::Command::new("promtool").args(["check", "rules", RULES]).output() {
        Ok(checked) => assert!(checked.status.success(), "{checked:?}"),
        // Without it, at least nothing is left open.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            for alert in alerts() {
                let expr = &alert["expr"];
                for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
                    assert_eq!(expr.matches(open).count(), expr.matches(close).count(), "{expr}");
                }
            }
        }
        Err(error) => panic!("{error}"),
    }
}

/// The value of a series in the text format, by its name with labels.
async fn value(api: &Api, series: &str) -> Option<f64> {
    let text = api.get("/metrics").await.text;
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

async fn becomes(api: &Api, series: &str, expected: f64) {
    eventually(&format!("{series} {expected}"), || async {
        (value(api, series).await == Some(expected)).then_some(())
    })
    .await;
}

fn message() -> Raw {
    Raw {
        body: b"{}".to_vec(),
        message_id: None,
        message_type: None,
        properties: Default::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn queues_and_consumers_are_what_rabbitmq_says() {
    let world = World::new().await;
    let serve = world.serve().await;
    let series = |name: &str, queue: &str, role: &str| {
        format!("taskd_{name}{{queue=\"{queue}\",role=\"{role}\"}}")
    };
    let main = |name: &str| series(name, &world.queue, "main");
    let amqp: Amqp = world.amqp().await;
    let waiting = format!("{}.100ms", world.retry_prefix());
    becomes(&serve.api(), &main("queue_consumers"), 0.0).await;
    becomes(&serve.api(), "taskd_broker_up", 1.0).await;
    for _ in 0..3 {
        amqp.publish(&world.queue, message()).await;
    }
    amqp.publish(&world.dlq, message()).await;
    becomes(&serve.api(), &main("queue_messages"), 3.0).await;
    becomes(&serve.api(), &series("queue_messages", &world.dlq, "dead"), 1.0).await;
    becomes(&serve.api(), &series("queue_messages", &waiting, "delay"), 0.0).await;
    let work = world.work("w", &[]).await;
    becomes(&work.api(), &main("queue_consumers"), 1.0).await;
    becomes(&serve.api(), &main("queue_messages"), 0.0).await;
    let text = work.api().get("/metrics").await.text;
    for line in [
        "taskd_effect_breaker_open{effect=\"email\"} 0",
        "taskd_effect_paused{effect=\"activity\"} 0",
        "taskd_events_parked{effect=\"email\"} 0",
        "taskd_database_pool_limit 6",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_deliveries_and_requests_is_counted() {
    let world = World::embedded();
    let smtp = Smtp::start().await;
    smtp.set(Verdict::RefuseAll);
    let url = smtp.url();
    let more = [("SMTP_URL", url.as_str()), ("RATE_LIMIT_WRITES", "2/1h")];
    let up = world.serve_with(&more).await;
    let api = up.api();
    api.task("t", Some(1)).await;
    api.post("/tasks", serde_json::json!({})).await.expect(400);
    api.post("/tasks", serde_json::json!({})).await.expect(429);
    for (series, expected) in [
        ("taskd_http_requests_total{class=\"2xx\",route=\"/tasks\"}", 1.0),
        ("taskd_http_requests_total{class=\"4xx\",route=\"/tasks\"}", 1.0),
        ("taskd_http_requests_total{class=\"429\",route=\"/tasks\"}", 1.0),
        ("taskd_effect_dead_total{effect=\"email\"}", 1.0),
        ("taskd_dead_letters_total{reason=\"permanent-failure\"}", 1.0),
        ("taskd_retries_total{effect=\"email\"}", 0.0),
    ] {
        becomes(&api, series, expected).await;
    }
    let main = format!("taskd_queue_messages{{queue=\"{}\",role=\"main\"}}", world.queue);
    becomes(&api, &main, 0.0).await;
    assert!(value(&api, "process_resident_memory_bytes").await.unwrap() > 1e7);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_away_no_old_figure_is_shown() {
    let world = World::cut_off();
    let work = world.work_in_vain().await;
    becomes(&work.api(), "taskd_broker_up", 0.0).await;
    let text = work.api().get("/metrics").await.text;
    assert!(!text.contains("taskd_queue_messages{"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_was_parked_or_is_replayed_is_not_measured_from_its_commit() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    let api = serve.api();
    world.run(&["effects", "pause", "email"]).await.succeeded();
    let work = world.work_mailing("w", &smtp).await;
    let measured = || async { work.api().metric("taskd_commit_to_effect_seconds_count", "").await };
    assert_eq!(measured().await, 0.0);
    api.task("parked", Some(1)).await;
    eventually("it is parked", || async {
        (api.get("/effects").await.expect(200)["data"][1]["parked"] == 1).then_some(())
    })
    .await;
    assert_eq!(measured().await, 1.0, "its first delivery is like any other's");
    world.run(&["effects", "resume", "email"]).await.succeeded();
    smtp.wait_for(1).await;
    assert_eq!(measured().await, 1.0, "it has come back");

    smtp.set(Verdict::RefuseAll);
    api.task("dead", Some(1)).await;
    world.dead_letters(1).await;
    assert_eq!(measured().await, 2.0);
    smtp.set(Verdict::Accept);
    world.run(&["dlq", "replay", "--all"]).await.succeeded();
    smtp.wait_for(2).await;
    assert_eq!(measured().await, 2.0, "it is replayed");
}
