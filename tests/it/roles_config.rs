//! Configuration: a bad value names its variable, exits 2, and nothing is started or given away.

use crate::harness::World;

const PASSWORD: &str = "hunter2secret";

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_value_names_its_variable_and_exits_2() {
    let world = World::cut_off();
    for (role, variable, value) in [
        ("serve", "PORT", "70000"),
        ("serve", "PORT", "x"),
        ("serve", "HOST", "nowhere"),
        ("serve", "DATABASE_URL", ""),
        ("serve", "DATABASE_URL", "mysql://u:hunter2secret@h/d"),
        ("serve", "DATABASE_URL", "postgres://u:hunter2secret@h:port/d"),
        ("serve", "DATABASE_POOL_SIZE", "0"),
        ("serve", "RABBITMQ_URL", "http://u:hunter2secret@h"),
        ("serve", "RABBITMQ_URL", "amqp://u:hunter2secret@h/a/b"),
        ("serve", "RABBITMQ_URL", " "),
        ("serve", "RABBITMQ_URL", "hunter2secret"),
        ("serve", "REDIS_URL", "http://u:hunter2secret@h"),
        ("serve", "REDIS_URL", "u:hunter2secret@h"),
        ("serve", "REDIS_URL", ""),
        ("serve", "REDIS_URL", "redis://:hunter2secret@h/first"),
        ("serve", "DATABASE_URL", "postgres://"),
        ("serve", "DATABASE_URL", "postgres://u:hunter2secret@h/d?sslmode=on"),
        ("serve", "DATABASE_URL", "postgres://u:hunter2secret@h/d?sslrootcert=/ca.pem"),
        ("serve", "RABBITMQ_URL", "amqps://u:hunter2secret@h?cacertfile=/ca.pem"),
        ("serve", "REDIS_URL", "rediss://:hunter2secret@h/0#insecure"),
        ("work", "SMTP_URL", "smtps://u:hunter2secret@h?tls=none"),
        ("serve", "REQUEST_TIMEOUT", "0s"),
        ("serve", "MAX_CONNECTIONS", "0"),
        ("serve", "CORS_ORIGINS", ""),
        ("serve", "CORS_ORIGINS", "app.example.com"),
        ("serve", "CORS_ORIGINS", "https://app.example.com/"),
        ("serve", "NO_DECLARE", "maybe"),
        ("serve", "NO_DECLARE", ""),
        ("serve", "CACHE_TTL", "soon"),
        ("serve", "QUEUE_NAME", ""),
        ("serve", "QUEUE_NAME", "amq.x"),
        ("serve", "RETRY_DELAYS", "1s,,2s"),
        ("serve", "RETRY_DELAYS", "0s"),
        ("serve", "DRAIN_TIMEOUT", "-1s"),
        ("serve", "IDEMPOTENCY_RETENTION", "0s"),
        ("serve", "RATE_LIMIT_READS", "600"),
        ("serve", "RATE_LIMIT_READS", ""),
        ("serve", "RATE_LIMIT_WRITES", "0/1m"),
        ("serve", "TOKEN_MAX_LIFETIME", "0s"),
        ("work", "MAIL_LIMIT", "60"),
        ("serve", "RATE_LIMIT_SIGN_IN", "10/0s"),
        ("serve", "TRUSTED_PROXIES", "proxy.example"),
        ("serve", "TRUSTED_PROXIES", "10.0.0.0/33"),
        ("serve", "LOG_FORMAT", "xml"),
        ("serve", "LOG", "info,=="),
        ("work", "SMTP_URL", "http://u:hunter2secret@h"),
        ("work", "SMTP_URL", "smtp://"),
        ("work", "SMTP_URL", "hunter2secret"),
        ("work", "MAIL_FROM", "nobody"),
        ("work", "CONCURRENCY", "0"),
        ("work", "CONCURRENCY", "many"),
        ("work", "METRICS_ADDR", "9464"),
        ("migrate", "DATABASE_URL", "hunter2secret"),
        ("migrate", "DATABASE_URL", ""),
    ] {
        let refused = world.run_with(&[role], &[(variable, value)]).await.exited(2);
        assert!(refused.stderr.contains(variable), "{variable}={value}: {}", refused.stderr);
        assert!(!refused.output().contains(PASSWORD), "{variable}={value}: {}", refused.output());
    }
    let dlq = world.queue.clone();
    let refused = world.run_with(&["topology", "show"], &[("DLQ", &dlq)]).await.exited(2);
    assert!(refused.stderr.contains("DLQ"), "{refused:?}");
    let queue = format!("{}.100ms", world.retry_prefix());
    let refused = world.run_with(&["topology", "show"], &[("QUEUE_NAME", &queue)]).await.exited(2);
    assert!(refused.stderr.contains("RETRY_QUEUE"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_url_is_asked_for_by_its_name() {
    let world = World::cut_off();
    for (role, variable) in [
        (&["serve"] as &[&str], "DATABASE_URL"),
        (&["work"], "DATABASE_URL"),
        (&["purge", "--once"], "DATABASE_URL"),
        (&["migrate"], "DATABASE_URL"),
        (&["topology", "declare"], "RABBITMQ_URL"),
        (&["topology", "check"], "RABBITMQ_URL"),
        (&["dlq", "list"], "RABBITMQ_URL"),
    ] {
        // Without RabbitMQ the dead letters would be in the database.
        let absent = if role[0] == "dlq" { "DATABASE_URL" } else { variable };
        let refused = world.run_without(role, &[variable, absent]).await.exited(2);
        assert!(refused.stderr.contains(variable), "{}", refused.stderr);
        assert!(refused.stderr.contains("taskd up"), "{}", refused.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn urls_are_logged_without_their_password() {
    let world = World::new().await;
    // The local services let anybody in, whatever the password.
    let with_password = |url: &str| {
        let mut url = url::Url::parse(url).unwrap();
        url.set_password(Some(PASSWORD)).unwrap();
        url.to_string()
    };
    let database = with_password(world.database_url());
    let more = [
        ("DATABASE_URL", database.as_str()),
        ("SMTP_URL", "smtp://u:hunter2secret@127.0.0.1:1"),
        ("LOG", "debug"),
    ];
    let serve = world.serve_with(&more).await;
    let work = world.work("w", &more).await;
    serve.api().task("t", Some(1)).await;
    work.log("the failure", |line| line["outcome"] == "retried").await;
    for process in [&serve, &work] {
        assert!(process.text().contains("***"), "{}", process.text());
        assert!(!process.text().contains(PASSWORD), "{}", process.text());
    }
    let rabbit = format!("amqp://guest:{PASSWORD}@127.0.0.1:1/%2f");
    for arguments in [&["topology", "check"][..], &["dlq", "list"]] {
        let failed = world.run_with(arguments, &[("RABBITMQ_URL", &rabbit)]).await.exited(1);
        assert!(!failed.output().contains(PASSWORD), "{failed:?}");
    }
    let nowhere = format!("postgres://u:{PASSWORD}@127.0.0.1:1/d");
    let failed = world.run_with(&["migrate"], &[("DATABASE_URL", &nowhere)]).await.exited(1);
    assert!(!failed.output().contains(PASSWORD), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_dot_env_is_read_where_the_environment_says_nothing() {
    let world = World::cut_off();
    std::fs::write(world.directory.join(".env"), "RETRY_DELAYS=7s\nDLQ=from-the-file\n").unwrap();
    let mut command = world.command(&["topology", "show"], &[]);
    command.env_remove("RETRY_DELAYS");
    let output = tokio::process::Command::from(command).output().await.unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(&format!("{}.7s", world.retry_prefix())), "{shown}");
    assert!(
        shown.contains(&world.dlq) && !shown.contains("from-the-file"),
        "the environment goes first: {shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_dot_env_that_cannot_be_read_is_not_repeated() {
    let world = World::cut_off();
    for line in ["DATABASE_URL=postgres://u:hunter2secret @h/d", "hunter2secret"] {
        std::fs::write(world.directory.join(".env"), format!("DLQ=d\n{line}\n")).unwrap();
        let refused = world.run(&["topology", "show"]).await.exited(2);
        assert!(refused.stderr.contains("NAME=value"), "{line}: {}", refused.stderr);
        assert!(!refused.output().contains(PASSWORD), "{line}: {}", refused.output());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_port_in_use_is_named() {
    let world = World::new().await;
    let serve = world.serve().await;
    let port = serve.api().base.rsplit(':').next().unwrap().to_owned();
    let refused = world.run_with(&["serve"], &[("PORT", &port)]).await.exited(1);
    assert!(refused.stderr.contains("PORT") && refused.stderr.contains(&port), "{refused:?}");
}
