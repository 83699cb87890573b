//! The doctor and the configuration over HTTP: of the process that answers, without secrets.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::access::{House, TOKENS};
use taskd_testing::{World, eventually};

fn variable<'a>(variables: &'a Value, name: &str) -> &'a Value {
    let found = variables.as_array().unwrap().iter().find(|variable| variable["name"] == name);
    found.unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn each_variable_of_the_process_has_its_source_and_a_line() {
    let world = World::new().await;
    std::fs::write(world.directory.join(".env"), "SESSION_LIFETIME=3h\n").unwrap();
    let secret = [("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2"), ("ACCESS_LOG", "errors")];
    let mut serve = world.start(&["serve", "--cache-ttl", "30s"], &secret);
    serve.wait_for_address("serving").await;
    let found = serve.api().get("/configuration").await.expect(200);
    assert!(!found.to_string().contains("hunter2"), "{found}");
    assert_eq!(
        (&found["role"], &found["version"]),
        (&json!("serve"), &json!(env!("CARGO_PKG_VERSION")))
    );
    let variables = &found["data"];
    for (name, source, value) in [
        ("ACCESS_LOG", "environment", json!("errors")),
        ("CACHE_TTL", "flag", json!("30s")),
        ("SESSION_LIFETIME", ".env", json!("3h")),
        ("TOKEN_MAX_LIFETIME", "default", json!("365d")),
        ("DRAIN_TIMEOUT", "default", json!("20s")),
        ("CORS_ORIGINS", "unset", Value::Null),
        ("DATABASE_URL", "environment", Value::Null),
        ("OTEL_EXPORTER_OTLP_HEADERS", "environment", Value::Null),
        ("LOG_FORMAT", "environment", json!("json")),
    ] {
        let found = variable(variables, name);
        assert_eq!((&found["source"], &found["value"]), (&json!(source), &value), "{name}");
        assert!(found["description"].as_str().is_some_and(|line| !line.is_empty()), "{name}");
    }
    // What other roles read is not its own.
    assert_eq!(variable(variables, "CONCURRENCY"), &Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn up_has_variables_of_its_own_and_examines_what_is_inside_it() {
    let house = House::embedded().await;
    let found = house.admin.get("/configuration").await.expect(200);
    assert_eq!(found["role"], "up");
    let drain = variable(&found["data"], "DRAIN_TIMEOUT");
    assert_eq!((&drain["value"], &drain["source"]), (&json!("4s"), &json!("default")));
    assert_eq!(variable(&found["data"], "CONCURRENCY")["value"], "128");
    let auth = variable(&found["data"], "TASKD_AUTH");
    assert_eq!((&auth["value"], &auth["source"]), (&json!(TOKENS[0].1), &json!("environment")));

    // The process notes its presence a moment after it serves.
    let report = eventually("all is well", || async {
        let report = house.admin.get("/doctor").await.expect(200);
        (report["ok"] == json!(true)).then_some(report)
    })
    .await;
    let checks: BTreeSet<&str> =
        report["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    for check in ["configuration", "retention", "schema", "processes", "broker", "cache", "mail"] {
        assert!(checks.contains(check), "{check}: {checks:?}");
    }
    assert_eq!(report["canary"], Value::Null);
    for path in ["/doctor", "/configuration"] {
        assert_eq!(house.member.get(path).await.code(403), "forbidden");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_report_over_http_is_that_of_the_command() {
    let world = World::new().await;
    let (serve, _work) = (world.serve().await, world.work("w", &[]).await);
    let db = world.db().await;
    eventually("both are there", || async { (db.count("processes").await == 2).then_some(()) })
        .await;
    let over_http = serve.api().get("/doctor").await.expect(200);
    let of_command = world.run(&["doctor", "--json"]).await.succeeded().json();
    let names = |report: &Value| -> Vec<(String, String)> {
        let checks = report["checks"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        checks.map(|check| (text(&check["name"]), text(&check["state"]))).collect()
    };
    assert_eq!(names(&over_http), names(&of_command));
    assert_eq!(over_http["variables"], of_command["variables"]);
    assert_eq!(over_http["ok"], true);
    let mail =
        over_http["checks"].as_array().unwrap().iter().find(|c| c["name"] == "mail").unwrap();
    assert!(mail["found"].as_str().unwrap().starts_with("not checked"), "{mail}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn many_who_ask_at_once_get_one_examination() {
    const ASKERS: usize = 20;
    let world = World::new().await;
    let serve = world.serve().await;
    let (api, db) = (serve.api(), world.db().await);
    let connected = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
    api.get("/doctor").await.expect(200);
    let before = db.number(connected).await;
    let asking = (0..ASKERS).map(|_| api.get("/doctor"));
    let answers = futures_util::future::join_all(asking).await;
    // Latencies are measured, so two examinations differ.
    let reports: BTreeSet<String> =
        answers.into_iter().map(|answer| answer.expect(200)["checks"].to_string()).collect();
    assert!(reports.len() < ASKERS / 2, "{}", reports.len());
    // It uses the connections of the process, and makes no others.
    assert!(db.number(connected).await <= before + 6, "{before}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_away_is_told_in_time() {
    let world = World::cut_off();
    let serve = world.serve().await;
    let began = std::time::Instant::now();
    let report = serve.api().get("/doctor").await.expect(200);
    // What is away has 5 s, all at once; one after the other it would be four times that.
    assert!(began.elapsed() < std::time::Duration::from_secs(18));
    assert_eq!(report["ok"], false);
    let failed = |check: &str| {
        let checks = report["checks"].as_array().unwrap().iter();
        checks.filter(|found| found["name"] == check).any(|found| found["state"] == "fail")
    };
    for check in ["database", "broker", "cache"] {
        assert!(failed(check), "{check}: {report}");
    }
}
