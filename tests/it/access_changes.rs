//! What gives and takes access: new passwords and addresses, tokens that make tokens, the last
//! admin.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::access::{House, PASSWORD, TOKENS, sign_in};
use taskd_testing::{Answer, Api, Db, World, eventually};

const NEW: &str = "another horse";

/// Signs the member in.
async fn session(house: &House) -> Api {
    let session = sign_in(&house.anonymous(), "member@example.com", PASSWORD).await.expect(201);
    house.anonymous().with_token(session["token"].as_str().unwrap())
}

/// Sends a request while a new password is being written, up to its commit, and gives the answer.
async fn while_the_password_changes(house: &House, request: reqwest::RequestBuilder) -> Answer {
    let (db, looking) = (house.world.db().await, house.world.db().await);
    let id = house.member_id;
    db.run(&format!(
        "BEGIN; UPDATE users SET password_hash = 'another' WHERE id = {id};
         DELETE FROM tokens WHERE user_id = {id}"
    ))
    .await;
    let late = tokio::spawn(async move { Answer::of(request.send().await.unwrap()).await });
    wait_for_a_lock(&looking, || late.is_finished()).await;
    db.run("COMMIT").await;
    late.await.unwrap()
}

/// Until a statement of the program waits for a lock, or there is none left to wait for.
async fn wait_for_a_lock(db: &Db, over: impl Fn() -> bool) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("somebody waits for the lock", || async {
        (over() || db.number(waiting).await > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn who_signs_in_by_the_old_password_while_it_changes_is_refused() {
    for key in [None, Some("k")] {
        let house = House::new().await;
        let credentials = json!({ "email": "member@example.com", "password": PASSWORD });
        let mut request = house.anonymous().request("POST", "/sessions").json(&credentials);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let late = while_the_password_changes(&house, request).await;
        assert_eq!(late.code(401), "bad_credentials");
        assert_eq!(house.world.db().await.count("tokens WHERE kind = 'session'").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_token_that_ends_makes_no_other_and_changes_no_user() {
    for (method, path, body) in [
        ("POST", "/tokens".to_owned(), json!({ "name": "late" })),
        ("PATCH", "/users/ITSELF".to_owned(), json!({ "name": "late" })),
        (
            "PATCH",
            "/users/ITSELF".to_owned(),
            json!({ "password": NEW, "currentPassword": PASSWORD }),
        ),
    ] {
        let house = House::new().await;
        let path = path.replace("ITSELF", &house.member_id.to_string());
        // Known here, so that it is let in.
        house.member.get("/tasks").await.expect(200);
        let request = house.member.request(method, &path).json(&body);
        let late = while_the_password_changes(&house, request).await;
        assert_eq!(late.code(401), "invalid_token", "{method} {path}");
        let db = house.world.db().await;
        let id = house.member_id;
        assert_eq!(db.count(&format!("tokens WHERE user_id = {id}")).await, 0, "{path}");
        let left = format!("users WHERE id = {id} AND name IS NULL AND password_hash = 'another'");
        assert_eq!(db.count(&left).await, 1, "{method} {path} {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_admin_who_is_one_no_longer_gives_no_rights_by_an_instance_that_does_not_know_it_yet() {
    let house = House::new().await;
    let itself = format!("/users/{}", house.member_id);
    house.admin.patch(&itself, json!({ "role": "admin" })).await.expect(200);
    house.member.get("/users").await.expect(200);
    let demote = format!("UPDATE users SET role = 'member' WHERE id = {}", house.member_id);
    house.world.db().await.run(&demote).await;
    // It is known as an admin here for some seconds more.
    let late = house.member.patch(&itself, json!({ "role": "admin" })).await;
    assert_eq!(late.code(401), "invalid_token");
    let made = json!({ "email": "eve@example.com", "password": PASSWORD, "role": "admin" });
    assert_ne!(house.member.post("/users", made).await.status, 201);
    assert_eq!(house.world.db().await.count("users WHERE role = 'admin'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn password_and_address_of_ones_own_ask_for_the_password_there_is() {
    let house = House::embedded().await;
    let itself = format!("/users/{}", house.member_id);
    let member = session(&house).await;
    for api in [&member, &house.member] {
        for change in [
            json!({ "password": NEW }),
            json!({ "email": "eve@example.com" }),
            json!({ "email": "MEMBER@example.com" }),
        ] {
            let refused = api.patch(&itself, change.clone()).await.expect(400);
            assert_eq!(refused["errors"][0]["pointer"], "/currentPassword", "{change}");
            let mut wrong = change;
            wrong["currentPassword"] = json!("wrong horse");
            assert_eq!(api.patch(&itself, wrong).await.code(403), "wrong_password");
        }
        // What stays as it is asks for nothing.
        let same = json!({ "email": "member@example.com", "name": "Ada" });
        api.patch(&itself, same).await.expect(200);
    }
    let change = json!({ "email": "ada@example.com", "currentPassword": PASSWORD });
    let changed = house.member.patch(&itself, change).await.expect(200);
    assert_eq!(changed["email"], "ada@example.com");
    // An address ends nothing; a new password ends all but what is to be kept.
    member.get("/tasks").await.expect(200);
    let keeping = json!({ "password": NEW, "currentPassword": PASSWORD, "keepTokens": true });
    house.member.patch(&itself, keeping).await.expect(200);
    assert_eq!(member.get("/tasks").await.code(401), "invalid_token");
    house.member.get("/tasks").await.expect(200);
    let change = json!({ "password": PASSWORD, "currentPassword": NEW });
    house.member.patch(&itself, change).await.expect(200);
    assert_eq!(house.member.get("/tasks").await.code(401), "invalid_token");
    // An admin changes others without it, and not itself. It has no password to begin with.
    house
        .admin
        .patch("/users/1", json!({ "password": PASSWORD, "keepTokens": true }))
        .await
        .expect(200);
    house
        .admin
        .patch(&itself, json!({ "password": NEW, "email": "x@example.com" }))
        .await
        .expect(200);
    let refused = house.admin.patch("/users/1", json!({ "password": NEW })).await.expect(400);
    assert_eq!(refused["errors"][0]["pointer"], "/currentPassword");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_a_password_and_changes_of_an_address_are_limited_whichever_token_asks() {
    let house = House::embedded().await;
    let itself = format!("/users/{}", house.member_id);
    let other = house.world.token(&["--user", &house.member_id.to_string()]).await;
    let other = house.anonymous().with_token(&other);
    let apis = [&house.member, &other];
    let mut limited = 0;
    for (number, api) in apis.iter().cycle().take(8).enumerate() {
        let email = format!("a{number}@example.com");
        let change = json!({ "email": email, "currentPassword": PASSWORD });
        let answer = api.patch(&itself, change).await;
        assert!([200, 429].contains(&answer.status), "{answer:?}");
        if answer.status == 429 {
            limited += 1;
            assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
        }
    }
    assert_eq!(limited, 3);
    // Ten guesses a minute, of which these were eight.
    let guess = json!({ "password": NEW, "currentPassword": "wrong horse" });
    let mut answers = Vec::new();
    for api in apis.iter().cycle().take(6) {
        answers.push(api.patch(&itself, guess.clone()).await.status);
    }
    assert!(answers.ends_with(&[429, 429, 429]), "{answers:?}");
    // An admin is not: it is known.
    for number in 0..8 {
        let email = format!("b{number}@example.com");
        house.admin.patch(&itself, json!({ "email": email })).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_not_told_whose_an_address_is() {
    let house = House::embedded().await;
    let itself = format!("/users/{}", house.member_id);
    let taken = json!({ "email": "USER1@example.com", "currentPassword": PASSWORD });
    let refused = house.member.patch(&itself, taken).await.expect(400);
    assert_eq!(
        (&refused["code"], &refused["errors"][0]["pointer"]),
        (&json!("validation_failed"), &json!("/email"))
    );
    let taken = json!({ "email": "user1@example.com" });
    assert_eq!(house.admin.patch(&itself, taken).await.code(409), "email_taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_not_for_ever_nor_longer_than_the_token_that_asks_for_it() {
    let world = World::embedded();
    let serve = world.serve_with(&[TOKENS[0], ("TOKEN_MAX_LIFETIME", "10d")]).await;
    let endless = serve.api().with_token(&world.token(&["--user", "1"]).await);
    let short = world.token(&["--user", "1", "--expires-in", "1d"]).await;
    let short = serve.api().with_token(&short);
    let at = |text: &Value| {
        let at = chrono::DateTime::parse_from_rfc3339(text.as_str().unwrap()).unwrap();
        (at.to_utc() - chrono::Utc::now()).as_seconds_f64() / 86400.0
    };
    for (api, days) in [(&endless, 10.0), (&short, 1.0)] {
        let made = api.post("/tokens", json!({ "name": "t" })).await.expect(201);
        assert!((days - 0.1..=days).contains(&at(&made["expiresAt"])), "{made}");
        let late = chrono::Utc::now() + chrono::Duration::hours((days * 24.0) as i64 + 1);
        let input = json!({ "name": "t", "expiresAt": late.to_rfc3339() });
        let refused = api.post("/tokens", input).await.expect(400);
        assert_eq!(refused["errors"][0]["pointer"], "/expiresAt");
        let early = chrono::Utc::now() + chrono::Duration::hours(1);
        let input = json!({ "name": "t", "expiresAt": early.to_rfc3339() });
        api.post("/tokens", input).await.expect(201);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_user_has_so_many_tokens_and_sessions_and_no_more() {
    let house = House::new().await;
    let (db, id) = (house.world.db().await, house.member_id);
    let fill = |kind: &str, count: usize| {
        format!(
            "INSERT INTO tokens (user_id, kind, name, hash, created_at, expires_at)
             SELECT {id}, '{kind}', 'n', sha256(('{kind}' || n)::bytea), now(), now() + interval '1 day'
             FROM generate_series(1, {count}) n"
        )
    };
    // With the one that the member has.
    db.run(&fill("api", 98)).await;
    let (one, two) = tokio::join!(
        house.member.post("/tokens", json!({ "name": "t" })),
        house.member.post("/tokens", json!({ "name": "t" })),
    );
    let mut statuses = [one.status, two.status];
    statuses.sort();
    assert_eq!(statuses, [201, 409]);
    let refused = house.member.post("/tokens", json!({ "name": "t" })).await;
    assert_eq!(refused.code(409), "too_many_tokens");
    // What has ended doesn't count.
    db.run(&format!("UPDATE tokens SET expires_at = now() WHERE user_id = {id} AND name = 'n'"))
        .await;
    house.member.post("/tokens", json!({ "name": "t" })).await.expect(201);

    db.run(&fill("session", 100)).await;
    session(&house).await.get("/tasks").await.expect(200);
    let sessions = format!("tokens WHERE user_id = {id} AND kind = 'session'");
    assert_eq!(db.count(&sessions).await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_list_and_end_the_tokens_and_sessions_of_others_and_members_their_own() {
    let house = House::embedded().await;
    let (id, stranger) = (house.member_id, house.admin.user("eve@example.com").await);
    let (mine, theirs) = (format!("/users/{id}"), format!("/users/{stranger}"));
    let (one, two) = (session(&house).await, session(&house).await);
    let made = house.member.post("/tokens", json!({ "name": "t" })).await.expect(201);
    for api in [&house.admin, &house.member] {
        let tokens = api.get(&format!("{mine}/tokens?total=true")).await.expect(200);
        assert_eq!((&tokens["total"], &tokens["data"][1]["id"]), (&json!(2), &made["id"]));
        let sessions = api.get(&format!("{mine}/sessions?total=true")).await.expect(200);
        assert_eq!(
            (&sessions["total"], &sessions["data"][0]["current"]),
            (&json!(2), &json!(false))
        );
    }
    let sessions = two.get("/sessions").await.expect(200);
    assert_eq!(sessions, two.get(&format!("{mine}/sessions")).await.expect(200));
    let current: Vec<&Value> =
        sessions["data"].as_array().unwrap().iter().map(|session| &session["current"]).collect();
    assert_eq!(current, [&json!(false), &json!(true)]);
    // Others' are not there for a member.
    for path in ["tokens", "sessions", "tokens/1", "sessions/1"] {
        let path = format!("{theirs}/{path}");
        if !path.ends_with("/1") {
            assert_eq!(house.member.get(&path).await.code(404), "not_found", "{path}");
        }
        assert_eq!(house.member.delete(&path).await.code(404), "not_found", "{path}");
    }
    for path in ["/users/999/tokens", "/users/999/sessions"] {
        assert_eq!(house.admin.get(path).await.code(404), "not_found", "{path}");
        assert_eq!(house.admin.delete(path).await.code(404), "not_found", "{path}");
    }
    // One of another user is not this user's.
    let foreign = format!("{theirs}/tokens/{}", made["id"]);
    assert_eq!(house.admin.delete(&foreign).await.code(404), "not_found");
    let made_up = house.anonymous().with_token(made["token"].as_str().unwrap());
    made_up.get("/tasks").await.expect(200);
    house.admin.delete(&format!("{mine}/tokens/{}", made["id"])).await.expect(204);
    assert_eq!(made_up.get("/tasks").await.code(401), "invalid_token");

    one.delete(&format!("/sessions/{}", sessions["data"][0]["id"])).await.expect(204);
    assert_eq!(one.get("/tasks").await.code(401), "invalid_token");
    let again = session(&house).await;
    again.delete("/sessions").await.expect(204);
    for ended in [&two, &again] {
        assert_eq!(ended.get("/tasks").await.code(401), "invalid_token");
    }
    let last = session(&house).await;
    house
        .admin
        .delete(&format!(
            "{mine}/sessions/{}",
            house.admin.get(&format!("{mine}/sessions")).await.expect(200)["data"][0]["id"]
        ))
        .await
        .expect(204);
    assert_eq!(last.get("/tasks").await.code(401), "invalid_token");
    let last = session(&house).await;
    house.admin.delete(&format!("{mine}/sessions")).await.expect(204);
    assert_eq!(last.get("/tasks").await.code(401), "invalid_token");
    house.member.delete(&format!("{mine}/tokens")).await.expect(204);
    assert_eq!(house.member.get("/tasks").await.code(401), "invalid_token");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_last_admin_stays_one() {
    let house = House::new().await;
    let member = json!({ "role": "member" });
    assert_eq!(house.admin.patch("/users/1", member.clone()).await.code(409), "last_admin");
    assert_eq!(house.admin.delete("/users/1").await.code(409), "last_admin");
    let other = format!("/users/{}", house.member_id);
    house.admin.patch(&other, json!({ "role": "admin" })).await.expect(200);
    house.member.get("/users").await.expect(200);
    // Each would take the other's rights, at the same moment.
    let (one, two) = tokio::join!(
        house.admin.patch(&other, member.clone()),
        house.member.patch("/users/1", member)
    );
    assert_ne!((one.status, two.status), (200, 200));
    assert_eq!(house.world.db().await.count("users WHERE role = 'admin'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn who_changes_its_password_a_thousand_times_and_hangs_up_keeps_nobody_waiting() {
    let world = World::new().await;
    let limits = [TOKENS[0], ("RATE_LIMIT_SIGN_IN", "off"), ("RATE_LIMIT_WRITES", "off")];
    let serve = world.serve_with(&limits).await;
    let admin = serve.api().with_token(&world.token(&["--user", "1", "--admin"]).await);
    admin.user("member@example.com").await;
    admin.user("eve@example.com").await;
    let token = world.token(&["--user", "eve@example.com"]).await;
    let address = serve.api().base.strip_prefix("http://").unwrap().to_owned();
    let body = json!({ "password": NEW, "currentPassword": PASSWORD }).to_string();
    let mut flood = Vec::new();
    for _ in 0..1_000 {
        let mut stream = TcpStream::connect(&address).unwrap();
        let head = format!(
            "PATCH /users/3 HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        flood.push(stream);
    }
    // While they wait, and after they have gone.
    sign_in(&serve.api(), "member@example.com", PASSWORD).await.expect(201);
    drop(flood);
    sign_in(&serve.api(), "member@example.com", PASSWORD).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn limits_count_users_not_tokens() {
    let house = House::new().await;
    let serve = house.world.serve_with(&[TOKENS[0], ("RATE_LIMIT_READS", "6/1h")]).await;
    let mut answers = Vec::new();
    for _ in 0..8 {
        let token = house.member.post("/tokens", json!({ "name": "t" })).await.expect(201);
        let api = serve.api().with_token(token["token"].as_str().unwrap());
        answers.push(api.get("/tasks").await.status);
    }
    assert_eq!(answers, [200, 200, 200, 200, 200, 200, 429, 429]);
    let admin = Api { base: serve.api().base, ..house.admin.clone() };
    admin.get("/tasks").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_command_line_lists_and_revokes_everybodys() {
    let house = House::new().await;
    let signed_in = session(&house).await;
    let made = house.member.post("/tokens", json!({ "name": "t" })).await.expect(201);
    let of_member = ["token", "list", "--user", "MEMBER@example.com"];
    let shown = house.world.run(&of_member).await.succeeded();
    assert!(shown.stdout.contains("member@example.com, t") && shown.stdout.contains("session"));
    let as_json = [&of_member[..], &["--json"]].concat();
    let listed = house.world.run(&as_json).await.succeeded().json();
    let kinds: Vec<&Value> = listed.as_array().unwrap().iter().map(|row| &row["kind"]).collect();
    assert_eq!(kinds, ["api", "session", "api"]);
    assert_eq!((&listed[2]["id"], &listed[2]["userId"]), (&made["id"], &json!(house.member_id)));
    assert!(!shown.stdout.contains("taskd_") && !listed.to_string().contains("taskd_"));
    let all = house.world.run(&["token", "list", "--json"]).await.succeeded().json();
    assert_eq!(all.as_array().unwrap().len(), 4);

    let token = house.anonymous().with_token(made["token"].as_str().unwrap());
    let id = made["id"].to_string();
    let revoked = house.world.run(&["token", "revoke", &id, "999"]).await.exited(1);
    assert!(revoked.stdout.contains("1 revoked") && revoked.stderr.contains("999"), "{revoked:?}");
    eventually("it is revoked", || async {
        (token.get("/tasks").await.status == 401).then_some(())
    })
    .await;
    let all = ["token", "revoke", "--all", "--user", "member@example.com"];
    assert!(house.world.run(&all).await.succeeded().stdout.contains("2 revoked"));
    for api in [&signed_in, &house.member] {
        eventually("it is revoked", || async {
            (api.get("/tasks").await.status == 401).then_some(())
        })
        .await;
    }
    house.admin.get("/tasks").await.expect(200);
    for wrong in [
        &["token", "list", "--user", "nobody"] as &[&str],
        &["token", "list", "--user", "999"],
        &["token", "revoke"],
        &["token", "revoke", "--all"],
        &["token", "revoke", "x"],
        &["token", "revoke", "--all", "--user", "999"],
    ] {
        assert_ne!(house.world.run(wrong).await.code, Some(0), "{wrong:?}");
    }
}
