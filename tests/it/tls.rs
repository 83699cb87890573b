//! TLS to everything: where a URL asks for it there is nothing else, and whoever can't prove to be
//! who the URL names gets nothing.

use std::path::Path;
use std::time::Duration;

use taskd::cache::{Cache, RedisCache, RedisUrl};
use taskd::domain::processing::failure::{Class, Failure};
use taskd::ground::tls::Tls;
use taskd::mail::{Mail, Mailer, SmtpMailer, SmtpManners, SmtpUrl};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use taskd_testing::{Authority, Db, Private, Smtp, Wire, World, eventually};

/// Part of what goes over the wires; none of them may have it in plain.
const SECRET: &str = "a-title-for-nobody-else";
const PASSWORD: &str = "hunter2secret";

/// Services that speak TLS alone under the name of localhost, each behind a wire.
struct Encrypted {
    authority: Authority,
    private: Private,
    smtp: Smtp,
    /// PostgreSQL, RabbitMQ, Redis, SMTP.
    wires: [Wire; 4],
}

impl Encrypted {
    async fn start(world: &World) -> Encrypted {
        let authority = Authority::new(&world.directory, "authority");
        let identity = authority.issue("localhost");
        let private = Private::start_encrypted(&identity);
        let smtp = Smtp::start_encrypted(&identity).await;
        let [postgres, rabbitmq, redis] = private.ports();
        let wires = [
            Wire::to(postgres).await,
            Wire::to(rabbitmq).await,
            Wire::to(redis).await,
            Wire::to(smtp.port()).await,
        ];
        Encrypted { authority, private, smtp, wires }
    }

    /// The URLs of the four under this name of this machine.
    fn urls(&self, host: &str) -> [(&'static str, String); 4] {
        let [postgres, rabbitmq, redis, smtp] = self.wires.each_ref().map(|wire| wire.port);
        let database = format!("{PASSWORD}@{host}:{postgres}/postgres?sslmode=verify-full");
        [
            ("DATABASE_URL", format!("postgres://postgres:{database}")),
            ("RABBITMQ_URL", format!("amqps://guest:guest@{host}:{rabbitmq}/%2f")),
            ("REDIS_URL", format!("rediss://{host}:{redis}/0")),
            ("SMTP_URL", format!("smtps://{host}:{smtp}")),
        ]
    }
}

fn mail() -> Mail {
    Mail {
        message_id: "1.email@taskd".into(),
        to: "ada@example.com".into(),
        to_name: None,
        subject: SECRET.into(),
        text: SECRET.into(),
        html: SECRET.into(),
    }
}

fn mailer(url: &str, tls: &Tls) -> SmtpMailer {
    let url = SmtpUrl::parse(url, tls).unwrap();
    let manners = SmtpManners { patience: Duration::from_secs(300), hello: None };
    SmtpMailer::new(&url, "taskd@localhost".parse().unwrap(), 1, manners).unwrap()
}

fn trusting(authority: &Authority) -> Tls {
    Tls::with_authorities(&authority.file).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_task_is_processed_with_nothing_in_plain() {
    let world = World::new().await;
    let services = Encrypted::start(&world).await;
    let mut environment = services.urls("localhost").to_vec();
    environment.push(("TLS_CA_FILE", services.authority.path().to_owned()));
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    world.run_with(&["migrate", "--example"], &environment).await.succeeded();
    world.run_with(&["topology", "declare"], &environment).await.succeeded();
    let serve = world.serve_with(&environment).await;
    let work = world.work("w", &environment).await;
    let api = serve.api();
    let user = api.user("ada@example.com").await;
    api.task(SECRET, Some(user)).await;
    let mails = services.smtp.wait_for(1).await;
    assert!(mails[0].subject.contains(SECRET), "{:?}", mails[0]);
    let db = Db::connect(&services.private.postgres_socket()).await;
    eventually("the activity is recorded", || async {
        (db.count("task_activity").await == 1).then_some(())
    })
    .await;
    eventually("the cache is in use", || async {
        assert_eq!(api.get("/tasks/1").await.expect(200)["title"], SECRET);
        (api.metric("taskd_cache_reads_total", "outcome=\"hit\"").await == 1.0).then_some(())
    })
    .await;
    assert_eq!(api.get("/readyz").await.expect(200)["status"], "ok");
    for process in [&serve, &work] {
        process.signal("TERM");
        assert!(process.exit().await.success());
    }
    for (wire, (variable, _)) in services.wires.iter().zip(services.urls("localhost")) {
        wire.quiet().await;
        assert!(!wire.is_empty(), "{variable}");
        for word in [SECRET, PASSWORD, "PLAIN", "MAIL FROM", "INSERT", "INFO"] {
            assert!(!wire.has(word), "{variable}: {word}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn who_is_not_trusted_or_not_named_gets_nothing() {
    let world = World::new().await;
    let services = Encrypted::start(&world).await;
    let stranger = Authority::new(&world.directory, "stranger");
    for (authority, host, says) in [
        (&stranger, "localhost", "set TLS_CA_FILE"),
        (&services.authority, "127.0.0.1", "use a name in the URL"),
    ] {
        let urls = services.urls(host);
        let file = ("TLS_CA_FILE", authority.path());
        let text = |variable: &str| urls.iter().find(|url| url.0 == variable).unwrap().1.clone();
        for (role, variable) in
            [(&["migrate"][..], "DATABASE_URL"), (&["topology", "declare"], "RABBITMQ_URL")]
        {
            let refused =
                world.run_with(role, &[file, (variable, &text(variable))]).await.exited(1);
            assert!(refused.stderr.contains(says), "{variable}: {}", refused.stderr);
            assert!(!refused.stderr.contains(PASSWORD), "{variable}: {}", refused.stderr);
        }
        let tls = trusting(authority);
        let url = RedisUrl::parse(&text("REDIS_URL"), &tls).unwrap();
        let error = RedisCache::new(&url, "p").unwrap().ping().await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        let sent = mailer(&text("SMTP_URL"), &tls).send(&mail()).await;
        let Err(Failure { class: Class::Transient, message: error, .. }) = sent else {
            panic!("{sent:?}")
        };
        assert!(error.contains(says), "{error}");
    }
    for (wire, (variable, _)) in services.wires.iter().zip(services.urls("localhost")) {
        wire.quiet().await;
        assert!(!wire.is_empty(), "{variable}");
        for word in [SECRET, PASSWORD, "AMQP", "PLAIN", "postgres", "EHLO", "PING"] {
            assert!(!wire.has(word), "{variable}: {word}");
        }
    }
    assert!(services.smtp.mails().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn starttls_is_required_or_taken_where_it_is_offered() {
    let world = World::new().await;
    let authority = Authority::new(&world.directory, "authority");
    let tls = trusting(&authority);
    let offers = Smtp::start_upgradable(&authority.issue("localhost")).await;
    let plain = Smtp::start().await;
    let wire = Wire::to(offers.port()).await;
    for mode in ["required", "opportunistic"] {
        let url = |port: u16| format!("smtp://localhost:{port}?tls={mode}");
        mailer(&url(wire.port), &tls).send(&mail()).await.unwrap();
        let sent = mailer(&url(plain.port()), &tls).send(&mail()).await;
        assert_eq!(sent.is_ok(), mode == "opportunistic", "{sent:?}");
        // Whoever is not trusted gets nothing, and there is no way back to plain.
        let sent = mailer(&url(wire.port), &Tls::default()).send(&mail()).await;
        assert!(sent.unwrap_err().to_string().contains("TLS_CA_FILE"), "{mode}");
        let url = format!("smtp://127.0.0.1:{}?tls={mode}", wire.port);
        let sent = mailer(&url, &tls).send(&mail()).await;
        assert!(sent.unwrap_err().to_string().contains("use a name"), "{mode}");
    }
    assert_eq!((offers.mails().len(), plain.mails().len()), (2, 1));
    wire.quiet().await;
    assert!(!wire.has(SECRET) && wire.has("STARTTLS"));
}

/// Somebody on the way adds an answer in plain, which must not count as one of the server.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_answer_slipped_in_before_tls_ends_the_connection() {
    let world = World::new().await;
    let authority = Authority::new(&world.directory, "authority");
    let acceptor = authority.issue("localhost").acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        let mut line = String::new();
        stream.write_all(b"220 x\r\n").await.unwrap();
        stream.read_line(&mut line).await.unwrap();
        stream.write_all(b"250-x\r\n250 STARTTLS\r\n").await.unwrap();
        stream.read_line(&mut line).await.unwrap();
        assert!(line.ends_with("STARTTLS\r\n"), "{line}");
        stream.write_all(b"220 go on\r\n250 slipped in\r\n").await.unwrap();
        acceptor.accept(stream).await.is_ok()
    });
    let url = format!("smtp://localhost:{port}?tls=required");
    let sent = mailer(&url, &trusting(&authority)).send(&mail()).await;
    assert!(sent.is_err());
    assert!(!server.await.unwrap(), "the client went on after the answer in plain");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_server_without_tls_is_not_spoken_to_in_plain() {
    let world = World::new().await;
    let wire_to = async |url: &str| {
        let port = url::Url::parse(url).unwrap().port().unwrap();
        Wire::to(port).await
    };
    let rabbitmq = wire_to(&taskd_testing::rabbitmq_url()).await;
    let redis = wire_to(&taskd_testing::redis_url()).await;
    let plain = Smtp::start().await;
    let smtp = Wire::to(plain.port()).await;
    let url = format!("amqps://guest:{PASSWORD}@localhost:{}", rabbitmq.port);
    let refused = world.run_with(&["topology", "check"], &[("RABBITMQ_URL", &url)]).await;
    assert!(!refused.exited(1).output().contains(PASSWORD));
    let url = format!("rediss://:{PASSWORD}@localhost:{}", redis.port);
    let url = RedisUrl::parse(&url, &Tls::default()).unwrap();
    let cache = RedisCache::new(&url, "p").unwrap();
    // Its time limit is short, and may be over before anything is sent.
    eventually("the cache is asked", || async {
        cache.ping().await.unwrap_err();
        (!redis.is_empty()).then_some(())
    })
    .await;
    let url = format!("smtps://u:{PASSWORD}@localhost:{}", smtp.port);
    mailer(&url, &Tls::default()).send(&mail()).await.unwrap_err();
    for (name, wire) in [("RabbitMQ", &rabbitmq), ("Redis", &redis), ("SMTP", &smtp)] {
        wire.quiet().await;
        assert!(!wire.is_empty(), "{name}: nothing was sent");
        for word in [PASSWORD, SECRET, "AMQP", "EHLO", "PING"] {
            assert!(!wire.has(word), "{name}: {word} in {}", wire.shown());
        }
    }
    let (port, sent) = postgres_without_tls().await;
    let url = format!("postgres://u:{PASSWORD}@localhost:{port}/d?sslmode=require");
    let refused = world.run_with(&["migrate"], &[("DATABASE_URL", &url)]).await.exited(1);
    assert!(refused.stderr.contains("does not support TLS"), "{}", refused.stderr);
    assert_eq!(sent.await.unwrap(), 8, "the question for TLS is all that was sent");
    assert!(!refused.output().contains(PASSWORD), "{}", refused.output());
}

/// A server that says no to TLS, and how many bytes its client has sent in all.
async fn postgres_without_tls() -> (u16, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sent = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut question = [0; 8];
        client.read_exact(&mut question).await.unwrap();
        client.write_all(b"N").await.unwrap();
        question.len() + client.read_to_end(&mut Vec::new()).await.unwrap()
    });
    (port, sent)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_file_of_authorities_that_cannot_be_used_is_named() {
    let world = World::new().await;
    let path = |name: &str| world.directory.join(name).display().to_string();
    std::fs::write(path("empty.pem"), "").unwrap();
    std::fs::write(path("key.pem"), Authority::new(&world.directory, "a").issue("x").key).unwrap();
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(path("nonsense.pem"), nonsense).unwrap();
    std::fs::write(path("broken.pem"), "-----BEGIN CERTIFICATE-----\n?\n").unwrap();
    for role in [&["serve"][..], &["work"], &["migrate"], &["topology", "check"], &["dlq", "list"]]
    {
        for file in ["absent.pem", "empty.pem", "key.pem", "nonsense.pem", "broken.pem"] {
            let refused = world.run_with(role, &[("TLS_CA_FILE", &path(file))]).await.exited(2);
            assert!(refused.stderr.contains("TLS_CA_FILE"), "{role:?}: {}", refused.stderr);
            assert!(refused.stderr.contains(file), "{role:?}: {}", refused.stderr);
        }
    }
}

/// Every client takes the provider that is installed or the only one there is: with one provider in
/// the tree these are the same.
#[test]
fn only_one_provider_of_cryptography_is_compiled_in() {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let lock = std::fs::read_to_string(lock).unwrap();
    let has = |name: &str| lock.lines().any(|line| line == format!("name = \"{name}\""));
    assert!(has("ring"));
    for other in ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "boring"] {
        assert!(!has(other), "{other} is a second provider of cryptography");
    }
}
