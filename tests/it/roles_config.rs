//! Configuration: a bad value names its variable, exits 2, and nothing is started or given away.

use taskd_testing::World;

const PASSWORD: &str = "hunter2secret";

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_value_names_its_variable_and_exits_2() {
    let world = World::cut_off();
    for (role, variable, value) in [
        ("serve", "PORT", "70000"),
        ("serve", "PORT", "x"),
        ("serve", "TASKD_HOST", "nowhere.invalid"),
        ("serve", "TASKD_AUTH", "maybe"),
        ("serve", "DATABASE_URL", "postgres://u:hunter2secret@h/d?schema=public"),
        ("serve", "DATABASE_URL", "postgres://u:12/hunter2secret@h/d"),
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
        ("serve", "TASKD_LOG", "info,=="),
        ("serve", "TASKD_LOG", "verbose"),
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

/// What each variable of the README's table can't be, and the part of the complaint that says what it takes.
const WRONG: &[(&str, &str, &str, &str)] = &[
    ("DATABASE_URL", "serve", "h/d", "postgres://user:password@host:5432/database"),
    ("DATABASE_POOL_SIZE", "serve", "many", "from 1 to 1000"),
    ("RABBITMQ_URL", "serve", "h", "amqp://user:password@host:5672/vhost"),
    ("REDIS_URL", "serve", "redis://h/first", "number of a database"),
    ("REDIS_URL", "serve", "redis://h?protocol=resp9", "not \"resp9\""),
    ("DATA_DIR", "up", "/proc/nope", "/proc/nope"),
    ("SMTP_URL", "work", "h:25", "smtp://user:password@host:25"),
    ("SMTP_TIMEOUT", "work", "soon", "90s or 30d"),
    ("SMTP_HELO_NAME", "work", "laptop", "mail.example.com"),
    ("TLS_CA_FILE", "serve", "/proc/nope", "/proc/nope"),
    ("QUEUE_NAME", "serve", "amq.x", "amq."),
    ("RETRY_QUEUE", "serve", "", "1 to 200 bytes"),
    ("DLQ", "serve", "", "1 to 200 bytes"),
    ("RETRY_DELAYS", "serve", "soon", "500ms, 5s or 2m"),
    ("EVENTS_EXCHANGE", "work", "amq.topic", "amq."),
    ("RABBITMQ_MANAGEMENT_URL", "topology check", "mq:15672", "http://user:password@host:15672"),
    ("TASKD_HOST", "serve", "nowhere.invalid", "127.0.0.1"),
    ("PORT", "serve", "x", "from 0 to 65535"),
    ("TASKD_AUTH", "serve", "maybe", "tokens, none"),
    ("SESSION_LIFETIME", "serve", "long", "90s or 30d"),
    ("TOKEN_MAX_LIFETIME", "serve", "long", "90s or 30d"),
    ("MAIL_LIMIT", "work", "60", "600/1m"),
    ("ACCESS_LOG", "serve", "some", "all, errors, off"),
    ("CONSOLE", "serve", "maybe", "on, off"),
    ("TRACE_URL", "serve", "https://traces.example.com/", "{traceId}"),
    ("METRICS_PUBLIC", "serve", "maybe", "true, false"),
    ("IDEMPOTENCY_RETENTION", "serve", "366d", "365d at most"),
    ("RATE_LIMIT_READS", "serve", "600", "600/1m"),
    ("RATE_LIMIT_WRITES", "serve", "x/1m", "600/1m"),
    ("RATE_LIMIT_SIGN_IN", "serve", "ten", "600/1m"),
    ("TRUSTED_PROXIES", "serve", "proxy", "10.0.0.0/8"),
    ("REQUEST_TIMEOUT", "serve", "0s", "longer than zero"),
    ("MAX_CONNECTIONS", "serve", "0", "from 1 to"),
    ("CORS_ORIGINS", "serve", "app", "https://app.example.com"),
    ("ALLOWED_HOSTS", "serve", "https://a", "tasks.example.com"),
    ("CONCURRENCY", "work", "0", "from 1 to 2000"),
    ("WORKER_NAME", "work", "", "1 to 200 bytes"),
    ("METRICS_ADDR", "work", "9464", "127.0.0.1:9464"),
    ("MAIL_DIR", "work", "/proc/nope", "/proc/nope"),
    ("MAIL_FROM", "work", "nobody", "taskd@example.com"),
    ("EFFECT_BREAKER", "work", "0", "or off"),
    ("EFFECT_RATE", "up", "email=100", "600/1m"),
    ("EFFECT_CONCURRENCY", "work", "email=many", "from 1 to 10000"),
    ("CACHE_PREFIX", "serve", "", "1 to 200 bytes"),
    ("CACHE_TTL", "serve", "soon", "90s or 30d"),
    ("PURGE_CRON", "purge", "daily", "minute, hour"),
    ("PURGE_CRON", "up", "99 * * * *", "the minute is \"99\": it must be from 0 to 59"),
    ("PROCESSED_RETENTION", "up", "1ms", "RETRY_DELAYS"),
    ("EVENT_RETENTION", "up", "", "90s or 30d"),
    ("ACTIVITY_RETENTION", "up", "999999y", "at most"),
    ("DEAD_LETTER_RETENTION", "up", "0s", "longer than zero"),
    ("AUDIT_RETENTION", "up", "soon", "such as"),
    ("ATTEMPT_RETENTION", "up", "0s", "longer than zero"),
    ("HISTORY_RETENTION", "up", "soon", "90s or 30d"),
    ("SECRET_KEY", "serve", "short", "openssl rand -hex 32"),
    ("WEBHOOK_ALLOW", "work", "intranet", "10.0.0.0/8"),
    ("DRAIN_TIMEOUT", "serve", "-1s", "90s or 30d"),
    ("TASKD_LOG", "serve", "verbose", "error, warn, info, debug or trace"),
    ("LOG_FORMAT", "serve", "xml", "text, json"),
    ("NO_DECLARE", "serve", "maybe", "true or false"),
    ("TASKD_ENV", "work", "staging", "development, production"),
    ("TASKD_ENV", "up", "staging", "development, production"),
    ("RATE_LIMIT_READS", "up", "0/1m", "whole number from 1"),
    ("MAIL_DIR", "work", "/proc", "/proc"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "serve", "h:4318", "http://localhost:4318"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "work", "secret", "api-key=secret"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "up", "grpc", "http/protobuf"),
    ("OTEL_SERVICE_NAME", "serve", " ", "1 to 200 bytes"),
    ("OTEL_RESOURCE_ATTRIBUTES", "serve", "x", "deployment.environment.name=production"),
    ("OTEL_TRACES_SAMPLER", "work", "some", "parentbased_traceidratio"),
    ("OTEL_TRACES_SAMPLER_ARG", "serve", "2", "from 0 to 1"),
];

/// The variables in the first column of the README's table.
fn documented() -> Vec<String> {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let table = readme.split("| variable | default | meaning |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let names = rows.flat_map(|row| {
        let first = row.split('|').nth(1).unwrap();
        first.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
    });
    names.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_variable_of_the_table_is_refused_by_name_with_what_it_takes() {
    let documented = documented();
    assert!(documented.len() > 40, "{documented:?}");
    for variable in &documented {
        let wrong = WRONG.iter().filter(|(name, ..)| name == variable);
        assert!(wrong.count() > 0, "{variable} has no wrong value: add one");
    }
    let world = World::cut_off();
    for &(variable, role, value, takes) in WRONG {
        assert!(documented.iter().any(|name| name == variable), "{variable} is not in the README");
        let role: Vec<&str> = role.split(' ').collect();
        let mut command = world.command(&role, &[(variable, value)]);
        if variable == "DATA_DIR" {
            command.env_remove("DATABASE_URL").env_remove("RABBITMQ_URL");
        }
        let refused = taskd_testing::run(command).await.exited(2);
        let said = &refused.stderr;
        assert!(said.contains(variable) && said.contains(takes), "{variable}={value}: {said}");
        for raw in [
            "without a base",
            "digit found",
            "InvalidClientConfig",
            "Invalid input",
            "expected number",
            "os error 2)\n\n",
        ] {
            assert!(!said.contains(raw), "{variable}={value}: {said}");
        }
        // No value at all, and one that no text is.
        for (value, rest) in [("\u{1}", ""), ("\u{1}x", "x")] {
            let mut command = world.command(&role, &[(variable, value)]);
            if rest == "x" {
                use std::os::unix::ffi::OsStrExt;
                command.env(variable, std::ffi::OsStr::from_bytes(b"\xff"));
            }
            let refused = taskd_testing::run(command).await.exited(2);
            assert!(refused.stderr.contains(variable), "{variable}: {}", refused.stderr);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_others_set_too_counts_only_where_it_is_meant_for_taskd() {
    let world = World::cut_off();
    // tcsh's, conda's, and others'. The port is taken, so nothing starts.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (name, value) in [
        ("HOST", "laptop"),
        ("HOST", "x86_64-conda-linux-gnu"),
        ("LOG", "verbose"),
        ("AUTH", "hunter2secret"),
    ] {
        let more = [(name, value), ("PORT", port.as_str())];
        let refused = world.run_with(&["serve"], &more).await.exited(1);
        let new = format!("TASKD_{name}");
        assert!(refused.stderr.contains(&new), "{name}={value}: {}", refused.stderr);
        assert!(!refused.output().contains(PASSWORD), "{}", refused.output());
        // The new name is believed, and refused when it is wrong.
        let refused = world.run_with(&["serve"], &[(&new, value)]).await.exited(2);
        assert!(refused.stderr.contains(&new), "{new}={value}: {}", refused.stderr);
    }
    for (name, value) in [("HOST", "0.0.0.0"), ("TASKD_HOST", "0.0.0.0"), ("HOST", "::")] {
        let refused =
            world.run_with(&["serve"], &[(name, value), ("AUTH", "none")]).await.exited(2);
        assert!(refused.stderr.contains("TASKD_AUTH"), "{name}: {}", refused.stderr);
    }
    // A flag goes first, then the new name.
    let more = [
        ("HOST", "0.0.0.0"),
        ("TASKD_HOST", "localhost"),
        ("PORT", port.as_str()),
        ("TASKD_AUTH", "tokens"),
    ];
    let refused = world.run_with(&["serve"], &more).await.exited(1);
    assert!(refused.stderr.contains(&format!("127.0.0.1:{port}")), "{}", refused.stderr);
    // An address that is documentation's, and nobody's.
    let refused = world.run_with(&["serve", "--host", "192.0.2.1"], &more).await.exited(1);
    assert!(refused.stderr.contains("192.0.2.1") && refused.stderr.contains("TASKD_HOST"));
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
        (&["dlq", "list"], "DATABASE_URL"),
    ] {
        // Without RabbitMQ the dead letters would be with a `taskd up`.
        let absent = if role[0] == "dlq" { "RABBITMQ_URL" } else { variable };
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
    let away = [("RABBITMQ_URL", rabbit.as_str())];
    let failed = world.run_with(&["topology", "check"], &away).await.exited(1);
    let listed = world.run_with(&["dlq", "list"], &away).await.succeeded();
    assert!(listed.stderr.contains("moved into the database before"), "{listed:?}");
    for shown in [failed, listed] {
        assert!(!shown.output().contains(PASSWORD), "{shown:?}");
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
async fn a_line_of_dot_env_that_cannot_be_read_is_named_and_not_repeated() {
    let world = World::cut_off();
    for line in
        ["DATABASE_URL=postgres://u:hunter2secret @h/d", "hunter2secret", "A=${hunter2secret}"]
    {
        std::fs::write(world.directory.join(".env"), format!("DLQ=d\n{line}\n")).unwrap();
        let refused = world.run(&["topology", "show"]).await.exited(2);
        assert!(refused.stderr.contains("line 2 "), "{line}: {}", refused.stderr);
        assert!(!refused.output().contains(PASSWORD), "{line}: {}", refused.output());
        // The version has nothing to do with settings.
        for told in ["--version", "--help"] {
            world.run(&[told]).await.succeeded();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_working_directorys_dot_env_is_believed_and_only_ones_own() {
    let world = World::cut_off();
    let below = world.directory.join("below");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(world.directory.join(".env"), "RETRY_DELAYS=7s\n").unwrap();
    let shown = async |directory: &std::path::Path| {
        let mut command = world.command(&["topology", "show"], &[]);
        command.env_remove("RETRY_DELAYS").current_dir(directory);
        taskd_testing::run(command).await
    };
    assert!(shown(&world.directory).await.succeeded().stdout.contains(".7s"));
    assert!(
        !shown(&below).await.succeeded().stdout.contains(".7s"),
        "the directory above is not asked"
    );
    // A directory of this name is Python's.
    std::fs::create_dir(below.join(".env")).unwrap();
    shown(&below).await.succeeded();
    std::fs::remove_dir(below.join(".env")).unwrap();
    std::fs::write(below.join(".env"), "RETRY_DELAYS=7s\n").unwrap();
    // Only root can give a file away.
    if std::os::unix::fs::chown(below.join(".env"), Some(4711), None).is_ok() {
        let refused = shown(&below).await.exited(2);
        assert!(refused.stderr.contains(".env") && refused.stderr.contains("4711"), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dollar_in_dot_env_is_a_dollar() {
    let world = World::cut_off();
    std::fs::write(world.directory.join(".env"), "DLQ=a$b\nQUEUE_NAME=\"c$d\"\n").unwrap();
    let mut command = world.command(&["topology", "show"], &[]);
    command.env_remove("DLQ").env_remove("QUEUE_NAME");
    let shown = taskd_testing::run(command).await.succeeded().stdout;
    assert!(shown.contains("a$b") && shown.contains("c$d"), "{shown}");
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
