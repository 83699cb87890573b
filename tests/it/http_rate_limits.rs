//! How many requests a client may send.

use serde_json::json;

use taskd_testing::{Answer, Api, Process, World};

async fn read(api: &Api, path: &str, forwarded: &str) -> Answer {
    let request = api.request("GET", path).header("X-Forwarded-For", forwarded);
    Answer::of(request.send().await.unwrap()).await
}

/// How many of so many reads are let in; the others are told to wait.
async fn let_in(api: &Api, reads: usize) -> usize {
    let mut granted = 0;
    for _ in 0..reads {
        let answer = api.get("/tasks").await;
        granted += usize::from(answer.status == 200);
        assert!([200, 429].contains(&answer.status), "{answer:?}");
    }
    granted
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_limit_holds_over_all_instances_and_says_when_to_come_back() {
    let world = World::new().await;
    let more = [("RATE_LIMIT_WRITES", "4/1h"), ("RATE_LIMIT_READS", "1000/1m")];
    let (one, two) = tokio::join!(world.serve_with(&more), world.serve_with(&more));
    let (one, two) = (one.api(), two.api());
    for (remaining, api) in [(3, &one), (2, &two), (1, &one), (0, &two)] {
        let answer = api.post("/tasks", json!({ "title": "t" })).await;
        assert_eq!(answer.header("ratelimit-policy"), "\"writes\";q=4;w=3600");
        assert_eq!(answer.header("ratelimit-limit"), "4");
        assert_eq!(answer.header("ratelimit-remaining"), remaining.to_string());
        assert!(!answer.header("ratelimit-reset").is_empty());
        let left = answer.header("ratelimit");
        assert!(left.starts_with(&format!("\"writes\";r={remaining};t=")), "{left}");
        answer.expect(201);
    }
    for api in [&one, &two] {
        for (method, path) in [("POST", "/tasks"), ("DELETE", "/tasks/1"), ("PUT", "/nothing")] {
            let request = api.request(method, path).json(&json!({ "title": "t" }));
            let answer = Answer::of(request.send().await.unwrap()).await;
            assert_eq!(answer.header("content-type"), "application/problem+json");
            assert_ne!(answer.header("x-request-id"), "");
            assert_eq!(answer.header("ratelimit-policy"), "\"writes\";q=4;w=3600");
            assert!(answer.header("ratelimit").starts_with("\"writes\";r=0;t="));
            let seconds: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=900).contains(&seconds), "{seconds}");
            assert_eq!(answer.code(429), "rate_limited", "{method} {path}");
        }
        let read = api.get("/tasks?total=true").await;
        assert!(read.header("ratelimit").starts_with("\"reads\";r="));
        assert_eq!(read.expect(200)["total"], 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_answer_tells_the_rate_by_the_headers_of_the_document() {
    let world = World::embedded();
    let more = [("AUTH", "tokens"), ("RATE_LIMIT_READS", "5/1h"), ("RATE_LIMIT_WRITES", "2/1h")];
    let serve = world.serve_with(&more).await;
    let document = serve.api().get("/openapi.json").await.expect(200);
    let described = document["components"]["headers"].as_object().unwrap();
    let admin = serve.api().with_token(&world.token(&["--user", "1", "--admin"]).await);
    for (api, method, path, status) in [
        (&admin, "POST", "/tasks", 201),
        // Whose token it is was not looked at.
        (&admin, "POST", "/tasks/1", 405),
        (&admin, "DELETE", "/tasks/1", 204),
        (&admin, "DELETE", "/tasks/1", 429),
        (&admin, "GET", "/tasks", 200),
        (&admin, "GET", "/tasks?x=1", 400),
        (&admin, "GET", "/tasks/1", 404),
        (&serve.api(), "GET", "/tasks", 401),
        (&serve.api(), "POST", "/sessions", 400),
    ] {
        let request = api.request(method, path).json(&json!({ "title": "t" }));
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(answer.status, status, "{method} {path}");
        for name in described.keys() {
            assert!(!answer.header(name).is_empty(), "{method} {path}: {name}");
        }
        let sent = answer.headers.keys().filter(|name| name.as_str().starts_with("ratelimit"));
        assert_eq!(sent.count(), described.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_watches_the_service_is_not_limited_and_nothing_is_where_nobody_says_who_they_are() {
    let world = World::embedded();
    let limited = world.serve_with(&[("RATE_LIMIT_READS", "1/1h")]).await;
    let api = limited.api();
    assert_eq!(let_in(&api, 3).await, 1);
    // Nor can a limit be got round by writing the path in another way.
    for path in [
        "/%74asks",
        "/tasks?a",
        "/tasks/1/activity",
        "/nothing",
        "/openapi.json",
        "/docs",
        "/docs/index.css",
        "/schemas/TASK_CREATED",
    ] {
        assert_eq!(api.get(path).await.status, 429, "{path}");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        for _ in 0..3 {
            let answer = api.get(path).await;
            assert_eq!((answer.status, answer.header("ratelimit")), (200, ""), "{path}");
        }
    }
    let world = World::embedded();
    let usual = world.serve().await;
    let api = usual.api();
    assert_eq!(let_in(&api, 50).await, 50);
    assert_eq!(api.get("/tasks").await.header("ratelimit"), "");
    assert_eq!(api.post("/tasks", json!({ "title": "t" })).await.header("ratelimit"), "");
    // Where they do, writes are.
    let world = World::embedded();
    let strict = world.serve_with(&[("AUTH", "tokens")]).await;
    let api = strict.api().with_token(&world.token(&["--user", "1"]).await);
    let written = api.post("/tasks", json!({ "title": "t" })).await;
    assert_eq!(written.header("ratelimit-policy"), "\"writes\";q=600;w=60");
    assert_eq!(api.get("/tasks").await.header("ratelimit"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_to_sign_in_are_limited_by_default() {
    let world = World::embedded();
    let serve = world.serve().await;
    for path in ["/sessions", "/%73essions"].into_iter().cycle().take(10) {
        let answer = serve.api().post(path, json!({})).await;
        assert_ne!(answer.status, 429);
        assert_eq!(answer.header("ratelimit-policy"), "\"sign-in\";q=10;w=60");
    }
    assert_eq!(serve.api().post("/%73essions", json!({})).await.code(429), "rate_limited");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn each_user_counts_for_itself_and_who_has_no_token_by_address() {
    let world = World::new().await;
    let more = [("AUTH", "tokens"), ("RATE_LIMIT_READS", "3/1h")];
    let (one, two) = tokio::join!(world.serve_with(&more), world.serve_with(&more));
    let first = world.token(&["--user", "1"]).await;
    let second = world.token(&["--user", "1"]).await;
    let other = world.token(&["--user", "ada@example.com"]).await;
    assert_eq!(let_in(&one.api().with_token(&first), 2).await, 2);
    assert_eq!(let_in(&two.api().with_token(&first), 4).await, 1);
    // Whoever guesses at tokens is one, with whoever sends none from there.
    for (guess, status) in [("a", 401), ("b", 401), ("", 401), ("c", 429), ("", 429)] {
        let api = if guess.is_empty() { two.api() } else { one.api().with_token(guess) };
        assert_eq!(api.get("/tasks").await.status, status, "{guess:?}");
    }
    // Another token of the same user is no other client.
    assert_eq!(let_in(&two.api().with_token(&second), 4).await, 0);
    assert_eq!(let_in(&two.api().with_token(&other), 4).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_believed_from_a_trusted_proxy_alone() {
    let world = World::embedded();
    let limit = ("RATE_LIMIT_READS", "1/1h");
    let direct = world.serve_with(&[limit]).await;
    let other = World::embedded();
    let behind = other.serve_with(&[limit, ("TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.1")]).await;
    // Whatever a client says, it is one.
    assert_eq!(read(&direct.api(), "/tasks", "203.0.113.1").await.status, 200);
    assert_eq!(read(&direct.api(), "/tasks", "203.0.113.2").await.status, 429);
    for (forwarded, status) in [
        ("203.0.113.1", 200),
        ("203.0.113.2", 200),
        ("203.0.113.1", 429),
        ("203.0.113.9, 203.0.113.2, 10.0.0.1", 429),
        ("203.0.113.1, 203.0.113.3", 200),
        ("2001:db8:1:2::1", 200),
        ("2001:db8:1:2:9::9", 429),
        ("2001:db8:1:3::1", 200),
    ] {
        assert_eq!(read(&behind.api(), "/tasks", forwarded).await.status, status, "{forwarded}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn without_redis_each_instance_limits_for_itself() {
    let world = World::new().await;
    // One that takes connections and answers nothing, which is what a frozen one is like.
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let frozen_url = format!("redis://{}", frozen.local_addr().unwrap());
    let limit = ("RATE_LIMIT_READS", "3/1h");
    let away = world.serve_with(&[limit, ("REDIS_URL", "redis://127.0.0.1:1")]).await;
    let silent = world.serve_with(&[limit, ("REDIS_URL", &frozen_url)]).await;
    let mut command = world.command(&["serve"], &[limit]);
    command.env_remove("REDIS_URL");
    let mut without = Process::start(command, "serve without Redis");
    without.wait_for_address("serving").await;
    for serve in [&away, &silent, &without] {
        assert_eq!(let_in(&serve.api(), 10).await, 3);
        let answer = serve.api().post("/tasks", json!({ "title": "t" })).await;
        assert_eq!(answer.status, 201, "writes are not limited");
    }
    for serve in [&away, &silent] {
        let said = |line: &&serde_json::Value| {
            line["message"].as_str().is_some_and(|m| m.starts_with("the shared rate limits are"))
        };
        assert!(serve.logs().iter().filter(said).count() >= 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_limits_in_memory_on_embedded_defaults() {
    let world = World::alone();
    let up = world.up(&["--rate-limit-reads", "5/1h"], &[]).await;
    assert_eq!(let_in(&up.api(), 8).await, 5);
    up.api().task("t", None).await;
}
