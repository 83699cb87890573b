//! Who may do what: tokens, sessions, roles, and the table of rules.

use std::io::{Read, Write};

use serde_json::{Value, json};
use taskd::http::route::{Need, QueryParameters, Route};
use taskd::http::routes;

use taskd_testing::{Answer, Api, Process, World, eventually};

pub const TOKENS: [(&str, &str); 1] = [("AUTH", "tokens")];
pub const PASSWORD: &str = "correct horse";

/// An instance that asks for tokens, an admin's client and a member's, and the member's id.
pub struct House {
    pub world: World,
    pub serve: Process,
    pub admin: Api,
    pub member: Api,
    pub member_id: i64,
}

impl House {
    pub async fn new() -> House {
        House::at(World::new().await).await
    }

    pub async fn embedded() -> House {
        House::at(World::embedded()).await
    }

    /// In this world.
    pub async fn at(world: World) -> House {
        let serve = world.serve_with(&TOKENS).await;
        let api = serve.api();
        let admin = api.with_token(&world.token(&["--user", "1", "--admin"]).await);
        let member_id = admin.user("member@example.com").await;
        let member = api.with_token(&world.token(&["--user", &member_id.to_string()]).await);
        House { world, serve, admin, member, member_id }
    }

    /// Without a token.
    pub fn anonymous(&self) -> Api {
        self.serve.api()
    }
}

/// The status of a GET of exactly this path: a client library would tidy it up.
fn raw_status(api: &Api, path: &str) -> u16 {
    let address = api.base.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

pub async fn sign_in(api: &Api, email: &str, password: &str) -> Answer {
    api.post("/sessions", json!({ "email": email, "password": password })).await
}

pub async fn ask(api: &Api, method: &str, route: &str) -> Answer {
    let path = route.replace("{id}", "999").replace("{tokenId}", "999");
    let path = path.replace("{sessionId}", "999").replace("{file:.*}", "");
    let path = path.replace("{type}", "TASK_CREATED");
    // A stream has no end. Whoever may read it is refused for this; whoever may not, before that.
    let path = path.replace("/changes/stream", "/changes/stream?since=nothing");
    let path = path.replace("{eventId}", "01a20c26-baf3-7396-8c9e-8c32b8533154");
    let request = api.request(method, &path).json(&json!({}));
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn every_route_denies_the_anonymous_and_the_wrong_role() {
    let house = House::new().await;
    let closed = house.world.serve_with(&[TOKENS[0], ("METRICS_PUBLIC", "false")]).await;
    for &Route { method, path: route, need, .. } in routes::all().iter() {
        let what = format!("{method} {route}");
        let anonymous = ask(&closed.api(), method, route).await;
        if need == Need::Nothing {
            assert!(![401, 403].contains(&anonymous.status) || route == "/sessions", "{what}");
            continue;
        }
        assert_eq!(anonymous.header("www-authenticate"), r#"Bearer realm="taskd""#, "{what}");
        assert_eq!(anonymous.code(401), "unauthenticated", "{what}");
        let forged = closed.api().with_token("taskd_made-up");
        assert_eq!(ask(&forged, method, route).await.code(401), "invalid_token", "{what}");
        let member = Api { base: closed.api().base, ..house.member.clone() };
        let answer = ask(&member, method, route).await;
        match need {
            Need::Token => assert!(![401, 403].contains(&answer.status), "{what}: {answer:?}"),
            _ => assert_eq!(answer.code(403), "forbidden", "{what}"),
        }
        let admin = Api { base: closed.api().base, ..house.admin.clone() };
        let answer = ask(&admin, method, route).await;
        assert!(![401, 403].contains(&answer.status), "{what}: {answer:?}");
    }
    assert_eq!(house.anonymous().get("/metrics").await.status, 200, "public unless said otherwise");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_says_of_each_route_what_it_needs() {
    let house = House::embedded().await;
    let document = house.anonymous().get("/openapi.json").await.expect(200);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let route = routes::all().find(&method.to_uppercase(), path);
            let route = route.unwrap_or_else(|| panic!("{method} {path} is no route"));
            assert_eq!(operation["security"] == json!([]), route.need == Need::Nothing, "{path}");
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let reads = parameters.into_iter().any(|parameter| parameter["in"] == "query");
            assert_eq!(reads, route.parameters == QueryParameters::Read, "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_way_to_write_a_path_gets_past_the_table() {
    let house = House::embedded().await;
    let id = house.admin.task("t", None).await["id"].as_i64().unwrap();
    for path in [
        format!("/%74asks/{id}"),
        format!("/tasks/%3{id}"),
        format!("//tasks/{id}"),
        format!("/docs/../tasks/{id}"),
        format!("/./tasks/{id}"),
        format!("/tasks/{id}/"),
        "/%75sers".to_owned(),
        "/dead%2Dletters".to_owned(),
        "/metrics/".to_owned(),
    ] {
        let status = raw_status(&house.anonymous(), &path);
        assert!([401, 404].contains(&status), "{path}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_sees_and_changes_its_own_and_nothing_else() {
    let house = House::embedded().await;
    let (admin, member, own) = (&house.admin, &house.member, house.member_id);
    let others = admin.task("of user 1", Some(1)).await["id"].as_i64().unwrap();
    let nobodys = admin.task("of nobody", None).await["id"].as_i64().unwrap();
    // Cached for the admin, and not for the member.
    admin.get(&format!("/tasks/{others}")).await.expect(200);
    admin.get("/tasks").await.expect(200);

    let mine = member.post("/tasks", json!({ "title": "mine" })).await.expect(201);
    assert_eq!(mine["userId"], own);
    let listed = member.get("/tasks?total=true").await.expect(200);
    assert_eq!((&listed["total"], &listed["data"][0]["id"]), (&json!(1), &mine["id"]));
    let listed = member.get("/tasks?userId=1&total=true").await.expect(200);
    assert_eq!(listed, json!({ "data": [], "nextCursor": null, "total": 0 }));
    assert_eq!(admin.get("/tasks?total=true").await.expect(200)["total"], 3);

    for id in [others, nobodys] {
        let path = format!("/tasks/{id}");
        let input = json!({ "title": "x" });
        for answer in [
            member.get(&path).await,
            member.get(&format!("{path}/activity")).await,
            member.put(&path, input.clone()).await,
            member.patch(&path, input.clone()).await,
            member.delete(&path).await,
        ] {
            assert_eq!(answer.code(404), "not_found");
        }
        admin.get(&path).await.expect(200);
    }
    // What it can't see it can't make, nor turn its own into.
    let path = format!("/tasks/{}", mine["id"]);
    for answer in [
        member.post("/tasks", json!({ "title": "t", "userId": 1 })).await,
        member.put(&path, json!({ "title": "t", "userId": 1 })).await,
        member.patch(&path, json!({ "userId": 1 })).await,
        member.patch(&path, json!({ "userId": null })).await,
    ] {
        assert_eq!(answer.code(403), "forbidden");
    }
    assert_eq!(member.put(&path, json!({ "title": "u" })).await.expect(200)["userId"], own);
    assert_eq!(member.get(&path).await.expect(200)["title"], "u");
    member.get(&format!("{path}/activity")).await.expect(200);
    // What is taken from it is gone for it, also from what was cached for it.
    admin.patch(&path, json!({ "userId": 1 })).await.expect(200);
    assert_eq!(member.get(&path).await.status, 404);
    assert_eq!(member.get("/tasks").await.expect(200)["data"], json!([]));

    let itself = format!("/users/{own}");
    assert_eq!(member.get(&itself).await.expect(200)["role"], "member");
    member.patch(&itself, json!({ "name": "Ada" })).await.expect(200);
    assert_eq!(member.patch(&itself, json!({ "role": "admin" })).await.code(403), "forbidden");
    assert_eq!(member.get("/users/1").await.code(404), "not_found");
    assert_eq!(member.patch("/users/1", json!({ "name": "x" })).await.code(404), "not_found");
    // An admin makes it one, and it is at once on this instance.
    admin.patch(&itself, json!({ "role": "admin" })).await.expect(200);
    member.get("/users/1").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_and_out() {
    let house = House::embedded().await;
    let api = house.anonymous();
    let answer = sign_in(&api, "MEMBER@example.com", PASSWORD).await;
    assert_eq!(answer.header("location"), "/sessions/current");
    let session = answer.expect(201);
    assert_eq!(session["user"]["id"], house.member_id);
    let signed_in = api.with_token(session["token"].as_str().unwrap());
    signed_in.get("/tasks").await.expect(200);
    // Wrong in one way or the other is answered alike, but for the request's id.
    let wrong = async |email: &str, password: &str| -> Value {
        let mut problem = sign_in(&api, email, password).await.expect(401);
        problem["requestId"] = Value::Null;
        problem
    };
    let refused = wrong("member@example.com", "wrong horse").await;
    assert_eq!(refused["code"], "bad_credentials");
    assert_eq!(refused, wrong("nobody@example.com", PASSWORD).await);
    // This one has no password at all.
    assert_eq!(refused, wrong("user1@example.com", PASSWORD).await);
    assert_eq!(sign_in(&api, "", PASSWORD).await.code(400), "validation_failed");

    signed_in.delete("/sessions/current").await.expect(204);
    assert_eq!(signed_in.get("/tasks").await.code(401), "invalid_token");
    // An API token is no session.
    assert_eq!(house.member.delete("/sessions/current").await.code(404), "not_found");

    // A new password ends the sessions and the API tokens there are.
    let session = sign_in(&api, "member@example.com", PASSWORD).await.expect(201);
    let signed_in = api.with_token(session["token"].as_str().unwrap());
    let itself = format!("/users/{}", house.member_id);
    let change = json!({ "password": "another horse", "currentPassword": PASSWORD });
    signed_in.patch(&itself, change).await.expect(200);
    for ended in [&signed_in, &house.member] {
        assert_eq!(ended.get("/tasks").await.code(401), "invalid_token");
    }
    sign_in(&api, "member@example.com", PASSWORD).await.expect(401);
    sign_in(&api, "member@example.com", "another horse").await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_session_ends_by_itself() {
    let house = House::new().await;
    let serve = house.world.serve_with(&[TOKENS[0], ("SESSION_LIFETIME", "1s")]).await;
    let short = serve.api();
    let session = sign_in(&short, "member@example.com", PASSWORD).await.expect(201);
    let signed_in = short.with_token(session["token"].as_str().unwrap());
    eventually("the session ends", || async {
        (signed_in.get("/tasks").await.status == 401).then_some(())
    })
    .await;
    // It is forgotten at the next purge, and the API tokens that never end are not.
    let purged = house.world.run(&["purge", "--once"]).await.succeeded().json();
    assert_eq!(purged["tokens"], 1);
    assert_eq!(house.world.db().await.count("tokens").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn api_tokens_are_made_listed_and_revoked_everywhere_within_5_s() {
    let house = House::new().await;
    let (member, db) = (&house.member, house.world.db().await);
    let made = member.post("/tokens", json!({ "name": "report" })).await;
    let location = made.header("location").to_owned();
    let made = made.expect(201);
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("taskd_"), "{token}");
    let stored = db.rows("SELECT encode(hash, 'hex') AS hash, name FROM tokens").await;
    assert!(!Value::from(stored).to_string().contains(token));

    let second = house.world.serve_with(&TOKENS).await;
    let other = second.api().with_token(token);
    let here = house.anonymous().with_token(token);
    for api in [&other, &here] {
        api.get("/tasks").await.expect(200);
    }
    let listed = member.get("/tokens?total=true").await.expect(200);
    assert_eq!(listed["total"], 2);
    let row = &listed["data"][1];
    assert_eq!((&row["id"], &row["name"]), (&made["id"], &json!("report")));
    assert!(row["lastUsedAt"].is_string() && row.get("token").is_none(), "{row}");
    // Others' are neither seen nor revoked.
    assert_eq!(house.admin.get("/tokens?total=true").await.expect(200)["total"], 1);
    assert_eq!(house.admin.delete(&location).await.code(404), "not_found");

    member.delete(&location).await.expect(204);
    assert_eq!(here.get("/tasks").await.code(401), "invalid_token");
    // The time itself is checked where it is set.
    eventually("it is revoked on the other instance", || async {
        (other.get("/tasks").await.status == 401).then_some(())
    })
    .await;
    assert_eq!(member.delete(&location).await.code(404), "not_found");
    let past = json!({ "name": "t", "expiresAt": "2020-01-01T00:00:00Z" });
    let refused = member.post("/tokens", past).await.expect(400);
    assert_eq!(refused["errors"][0]["pointer"], "/expiresAt");
    // With its user a token is gone.
    house.admin.delete(&format!("/users/{}", house.member_id)).await.expect(204);
    assert_eq!(member.get("/tasks").await.code(401), "invalid_token");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_known_token_and_what_has_not_the_form_of_one_cost_no_query() {
    let house = House::new().await;
    let db = house.world.db().await;
    let mut unasked = false;
    // It is known for three seconds, which a busy machine may need for one request. If each request asked,
    // no round would do.
    for _ in 0..5 {
        let token = house.member.post("/tokens", json!({ "name": "new" })).await.expect(201);
        let api = house.anonymous().with_token(token["token"].as_str().unwrap());
        api.get("/tasks").await.expect(200);
        // Whoever asks for this table now waits until its statement has taken too long.
        db.run("BEGIN; LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE").await;
        let made_up = house.anonymous().with_token("taskd_made-up");
        assert_eq!(made_up.get("/categories").await.code(401), "invalid_token");
        unasked = api.get("/categories").await.status == 200;
        db.run("ROLLBACK").await;
        if unasked {
            break;
        }
    }
    assert!(unasked, "a known token costs a query");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_first_token_is_made_by_the_command_line() {
    let world = World::new().await;
    let api = world.serve_with(&TOKENS).await;
    let made = world.run(&["token", "create", "--user", "ada@example.com", "--admin"]).await;
    let made = made.succeeded();
    assert!(made.stderr.contains("ada@example.com"), "{made:?}");
    let admin = api.api().with_token(made.stdout.trim());
    assert_eq!(admin.get("/users?total=true").await.expect(200)["total"], 2);
    // The same address again is the same user.
    world.token(&["--user", "ADA@example.com", "--expires-in", "1h"]).await;
    assert_eq!(admin.get("/users?total=true").await.expect(200)["total"], 2);
    for (arguments, part) in [
        (&["--user", "999"] as &[&str], "999"),
        (&["--user", "nobody"], "--user"),
        (&["--user", "1", "--name", ""], "--name"),
        (&["--user", "1", "--expires-in", "0s"], "--expires-in"),
        (&[], "--user"),
    ] {
        let refused = world.run(&[&["token", "create"], arguments].concat()).await;
        assert_ne!(refused.code, Some(0), "{arguments:?}");
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_without_a_token_but_from_this_machine() {
    let world = World::cut_off();
    for (arguments, auth) in [(&["serve"] as &[&str], "none"), (&["up"], "none")] {
        let more = [("AUTH", auth), ("HOST", "0.0.0.0")];
        let refused = world.run_with(arguments, &more).await.exited(2);
        assert!(refused.stderr.contains("AUTH") && refused.stderr.contains("HOST"), "{refused:?}");
    }
    let refused = world.run_with(&["serve"], &[("TASKD_AUTH", "maybe")]).await.exited(2);
    assert!(refused.stderr.contains("AUTH"), "{refused:?}");
}
