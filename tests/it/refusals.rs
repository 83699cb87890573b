//! Services that are there and refuse us: said in words, with the variable, and fatal at the start.

use taskd_testing::{World, rabbitmq_url, redis_url};

fn with_password(url: &str, user: &str, password: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_username(user).unwrap();
    url.set_password(Some(password)).unwrap();
    url.into()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_wrong_password_and_an_absent_virtual_host_of_the_broker_end_every_role() {
    let world = World::new().await;
    let mut elsewhere = url::Url::parse(&rabbitmq_url()).unwrap();
    elsewhere.set_path("/no-such-vhost");
    let wrong = with_password(&rabbitmq_url(), "guest", "hunter2");
    for (url, words) in [
        (wrong.as_str(), ["refuses the user \"guest\"", "password is wrong"]),
        (elsewhere.as_str(), ["virtual host \"no-such-vhost\"", "does not exist"]),
    ] {
        for role in [
            &["serve"] as &[&str],
            &["work"],
            &["up"],
            &["topology", "declare"],
            &["topology", "check"],
            &["dlq", "list"],
        ] {
            for no_declare in ["false", "true"] {
                let more = [("RABBITMQ_URL", url), ("NO_DECLARE", no_declare)];
                let refused = world.run_with(role, &more).await.exited(1);
                let text = refused.output();
                assert!(text.contains("RABBITMQ_URL"), "{role:?}: {text}");
                assert!(words.iter().all(|word| text.contains(word)), "{role:?}: {text}");
                assert!(!text.contains("hunter2") && !text.contains("CloseChannel"), "{text}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_wrong_password_of_redis_ends_what_would_use_it() {
    let world = World::new().await;
    let mut no_such_database = url::Url::parse(&redis_url()).unwrap();
    no_such_database.set_path("/9999");
    for (url, says) in [
        (with_password(&redis_url(), "nobody", "hunter2"), "password is wrong"),
        (no_such_database.into(), "Redis refuses: DB index is out of range"),
    ] {
        for role in ["serve", "up"] {
            let refused = world.run_with(&[role], &[("REDIS_URL", &url)]).await.exited(1);
            let said = &refused.stderr;
            assert!(said.contains("REDIS_URL: Redis refuses: ") && said.contains(says), "{said}");
            assert!(!refused.output().contains("hunter2"), "{refused:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn whoever_may_not_declare_never_does() {
    let world = World::new().await;
    let no_declare = [("NO_DECLARE", "true")];
    let work = world.start(&["work", "--name", "w"], &no_declare);
    let serve = world.serve_with(&no_declare).await;
    serve.api().task("t", None).await;
    work.log("the queue is missing", |line| {
        line["message"].as_str().is_some_and(|text| text.starts_with("can't consume"))
    })
    .await;
    serve
        .log("the event waits", |line| {
            line["error"].as_str().is_some_and(|text| text.contains("taskd topology declare"))
        })
        .await;
    let amqp = world.amqp().await;
    for queue in [&world.queue, &world.dlq] {
        assert_eq!(amqp.count(queue).await, None, "{queue}");
    }
    // Once somebody has declared them, both go on.
    world.declare().await;
    work.log("it is processed", |line| line["outcome"] == "processed").await;
    assert_eq!(world.db().await.count("task_activity").await, 1);
}
