//! Viewers, who see everything and change nothing, and the route that says who is asking.

use serde_json::{Value, json};
use taskd::http::route::Need;
use taskd::http::routes;

use crate::access::{House, PASSWORD, ask, sign_in};
use crate::roles_migrate::migrator_of;
use taskd_testing::{Api, World, eventually};

/// A viewer with a password, by an API token of its own, and its id.
async fn viewer(house: &House) -> (Api, i64) {
    let new = json!({ "email": "vera@example.com", "password": PASSWORD, "role": "viewer" });
    let made = house.admin.post("/users", new).await.expect(201);
    assert_eq!(made["role"], "viewer");
    let id = made["id"].as_i64().unwrap();
    let token = house.world.token(&["--user", &id.to_string()]).await;
    (house.anonymous().with_token(&token), id)
}

/// What changes the caller's own access alone.
const OWN_ACCESS: [&str; 3] =
    ["DELETE /sessions", "DELETE /sessions/current", "DELETE /sessions/{id}"];

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_may_call_every_get_and_nothing_that_changes_anything() {
    let house = House::embedded().await;
    let (viewer, _) = viewer(&house).await;
    let (mut seen, mut refused) = (0, 0);
    for route in routes::all().iter().filter(|route| route.need != Need::Nothing) {
        let what = format!("{} {}", route.method, route.path);
        let answer = ask(&viewer, route.method, route.path).await;
        let others = ["/users/{id}/tokens", "/users/{id}/sessions"].contains(&route.path);
        if (route.method == "GET" && !others) || OWN_ACCESS.contains(&what.as_str()) {
            assert!(![401, 403].contains(&answer.status), "{what}: {answer:?}");
            seen += 1;
        } else {
            let problem = answer.expect(403);
            assert_eq!(problem["code"], "forbidden", "{what}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(others || detail.contains("viewers look"), "{what}: {detail}");
            refused += 1;
        }
        if route.need == Need::Operation {
            assert_eq!(ask(&house.member, route.method, route.path).await.code(403), "forbidden");
        }
    }
    assert!(seen > 20 && refused > 20, "{seen} {refused}");
    // A HEAD is a GET without a body.
    let head = viewer.request("HEAD", "/tasks").send().await.unwrap();
    assert_eq!(head.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_reads_what_an_admin_reads_but_no_tokens_of_others() {
    let house = House::embedded().await;
    let (viewer, id) = viewer(&house).await;
    house.admin.post("/categories", json!({ "name": "c" })).await.expect(201);
    house.admin.task("of user 1", Some(1)).await;
    house.admin.task("of nobody", None).await;
    for path in [
        "/tasks?total=true",
        "/tasks/1",
        "/tasks/1/activity",
        "/users",
        "/users/1",
        "/categories",
        "/events",
    ] {
        // A worker is at it, so the one may see a moment more than the other.
        eventually(path, || async {
            let (of_admin, of_viewer) = (house.admin.get(path).await, viewer.get(path).await);
            (of_viewer.expect(200) == of_admin.expect(200)).then_some(())
        })
        .await;
    }
    let own = viewer.get(&format!("/users/{id}/tokens")).await.expect(200);
    assert_eq!(own["data"].as_array().unwrap().len(), 1);
    assert_eq!(viewer.get("/users/1/tokens").await.code(403), "forbidden");
    assert_eq!(viewer.get("/users/1/sessions").await.code(403), "forbidden");
    // Making a token is a write too; the refusal says how to get one.
    let refused = viewer.post("/tokens", json!({ "name": "t" })).await.expect(403);
    assert!(refused["detail"].as_str().unwrap().contains("taskd token create"), "{refused}");
    assert_eq!(house.admin.get("/tasks?total=true").await.expect(200)["total"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_signs_in_changes_its_password_and_signs_out() {
    let house = House::embedded().await;
    let (_, id) = viewer(&house).await;
    let itself = format!("/users/{id}");
    let session = sign_in(&house.anonymous(), "vera@example.com", PASSWORD).await.expect(201);
    let signed_in = house.anonymous().with_token(session["token"].as_str().unwrap());
    for more in [json!({ "name": "V" }), json!({ "role": "admin" }), json!({ "email": "v@e.org" })]
    {
        assert_eq!(signed_in.patch(&itself, more.clone()).await.code(403), "forbidden", "{more}");
        let mut both = json!({ "password": "another horse", "currentPassword": PASSWORD });
        both.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(signed_in.patch(&itself, both).await.code(403), "forbidden", "{more}");
    }
    let new = json!({ "password": "another horse", "currentPassword": "wrong horse" });
    assert_eq!(signed_in.patch(&itself, new).await.code(403), "wrong_password");
    let new = json!({ "password": "another horse", "currentPassword": PASSWORD });
    assert_eq!(signed_in.patch("/users/1", new.clone()).await.code(403), "forbidden");
    signed_in.patch(&itself, new).await.expect(200);
    let session = sign_in(&house.anonymous(), "vera@example.com", "another horse").await;
    let signed_in = house.anonymous().with_token(session.expect(201)["token"].as_str().unwrap());
    signed_in.delete("/sessions/current").await.expect(204);
    assert_eq!(signed_in.get("/tasks").await.code(401), "invalid_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_changes_counts_at_once() {
    let house = House::embedded().await;
    let itself = format!("/users/{}", house.member_id);
    let mine = house.member.post("/tasks", json!({ "title": "mine" })).await.expect(201);
    house.admin.patch(&itself, json!({ "role": "viewer" })).await.expect(200);
    let path = format!("/tasks/{}", mine["id"]);
    assert_eq!(house.member.patch(&path, json!({ "title": "x" })).await.code(403), "forbidden");
    house.member.get("/events").await.expect(200);
    house.admin.patch(&itself, json!({ "role": "member" })).await.expect(200);
    assert_eq!(house.member.get("/events").await.code(403), "forbidden");
    house.member.patch(&path, json!({ "title": "x" })).await.expect(200);
    let unknown = house.admin.patch(&itself, json!({ "role": "owner" })).await.expect(400);
    let message = unknown["errors"][0]["message"].as_str().unwrap();
    assert_eq!(message, "must be one of member, viewer, admin, not this text");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_makes_viewers_and_spares_admins() {
    let house = House::embedded().await;
    let token = house.world.token(&["--user", "vic@example.com", "--viewer"]).await;
    let viewer = house.anonymous().with_token(&token);
    assert_eq!(viewer.get("/sessions/current").await.expect(200)["role"], "viewer");
    let refused = house.world.run(&["token", "create", "--user", "1", "--viewer"]).await.exited(2);
    assert!(refused.stderr.contains("user 1 is an admin"), "{refused:?}");
    let both = ["token", "create", "--user", "1", "--viewer", "--admin"];
    house.world.run(&both).await.exited(2);
    assert_eq!(house.admin.get("/sessions/current").await.expect(200)["role"], "admin");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_is_told_who_it_is() {
    let house = House::embedded().await;
    let session = sign_in(&house.anonymous(), "member@example.com", PASSWORD).await.expect(201);
    let signed_in = house.anonymous().with_token(session["token"].as_str().unwrap());
    let current = json!({
        "user": session["user"], "kind": "session", "role": "member", "expiresAt": session["expiresAt"],
    });
    assert_eq!(signed_in.get("/sessions/current").await.expect(200), current);
    let of_token = house.admin.get("/sessions/current").await.expect(200);
    assert_eq!((&of_token["kind"], &of_token["role"]), (&json!("token"), &json!("admin")));
    assert_eq!((&of_token["user"]["id"], &of_token["expiresAt"]), (&json!(1), &Value::Null));
    assert_eq!(house.anonymous().get("/sessions/current").await.code(401), "unauthenticated");
    assert_eq!(house.admin.get("/sessions/current?x=1").await.code(400), "validation_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_token_is_required_nobody_is_an_admin() {
    let serve = World::embedded();
    let serve = serve.serve().await;
    let nobody = json!({ "user": null, "kind": "none", "role": "admin", "expiresAt": null });
    assert_eq!(serve.api().get("/sessions/current").await.expect(200), nobody);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn without_the_role_viewers_are_members() {
    let world = World::new().await;
    let db = world.db().await;
    db.run(
        "INSERT INTO users (email, role, created_at, updated_at)
         VALUES ('v@example.com', 'viewer', now(), now()), ('a@example.com', 'admin', now(), now())",
    )
    .await;
    let names = world.run(&["migrate", "--status"]).await.succeeded().stdout;
    let later = names.lines().skip_while(|line| !line.contains("viewer")).count();
    let mut migrator = migrator_of(&world).await;
    for _ in 0..later {
        migrator.down().unwrap();
    }
    let of = |role| format!("users WHERE role = '{role}'");
    assert_eq!(db.count(&of("viewer")).await, 0);
    assert_eq!((db.count(&of("member")).await, db.count(&of("admin")).await), (2, 1));
    migrator.up().unwrap();
    db.run("UPDATE users SET role = 'viewer' WHERE email = 'v@example.com'").await;
}
