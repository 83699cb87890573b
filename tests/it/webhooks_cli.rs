//! `taskd webhooks`: where the database is given, over the socket of `taskd up`, and while that doesn't run.

use serde_json::{Value, json};

use crate::webhooks::{allow, verified, world};
use taskd_testing::{Finished, Manner, Receiver, World, eventually};

/// Runs `taskd webhooks` with these arguments.
async fn webhooks(world: &World, arguments: &[&str]) -> Finished {
    world.run(&[&["webhooks"], arguments].concat()).await
}

/// The same with --json: what it prints.
async fn json_of(world: &World, arguments: &[&str]) -> Value {
    webhooks(world, &[arguments, &["--json"]].concat()).await.succeeded().json()
}

/// The deliveries to a webhook once that are so many and none is open.
async fn settled(world: &World, id: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} deliveries are settled"), || async {
        let found = json_of(world, &["deliveries", id]).await;
        let found = found.as_array().unwrap().clone();
        let open = found.iter().filter(|one| one["settledAt"].is_null()).count();
        (found.len() == count && open == 0).then_some(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_up_is_asked_over_its_socket_and_a_stopped_one_in_its_database() {
    let mut world = World::embedded();
    world.set("WEBHOOK_ALLOW", "127.0.0.1");
    let (up, receiver) = (world.serve().await, Receiver::start().await);
    let url = receiver.url("/hook");
    let made = json_of(&world, &["create", "--url", &url, "--no-retries"]).await;
    let id = made["id"].to_string();
    up.api().task("For others", Some(1)).await;
    let got = receiver.wait_for("/hook", 1).await;
    assert!(verified(&got[0], &made["secret"]), "{got:?}");
    let delivery = settled(&world, &id, 1).await[0]["id"].to_string();

    // As text.
    let listed = webhooks(&world, &["list"]).await.succeeded().stdout;
    assert!(listed.contains(&url) && listed.contains("enabled"), "{listed}");
    let listed = webhooks(&world, &["deliveries", &id, "--state", "done"]).await.succeeded().stdout;
    assert!(listed.contains(got[0].id()) && listed.contains("TASK_CREATED"), "{listed}");
    let shown = webhooks(&world, &["delivery", &id, &delivery]).await.succeeded().stdout;
    for part in [got[0].id(), "state     done", "  200  ", "    okay"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let whole = json_of(&world, &["delivery", &id, &delivery]).await;
    assert_eq!(whole["history"][0]["answer"], "okay", "{whole}");

    // A ping says by its exit code whether it has succeeded.
    let pinged = json_of(&world, &["ping", &id]).await;
    assert_eq!((&pinged["succeeded"], &pinged["status"]), (&json!(true), &json!(200)));
    assert!(verified(&receiver.received("/hook")[1], &made["secret"]));
    receiver.set("/hook", Manner::Status(500));
    let pinged = webhooks(&world, &["ping", &id]).await.exited(1);
    assert!(pinged.stdout.contains("answered 500"), "{pinged:?}");
    up.api().task("It fails", Some(1)).await;
    assert_eq!(settled(&world, &id, 2).await[0]["state"], "failed");
    receiver.set("/hook", Manner::Status(200));
    assert_eq!(json_of(&world, &["recover", &id, "--since", "1h"]).await["count"], 1);
    let resent = webhooks(&world, &["resend", &id, &delivery]).await.succeeded().stdout;
    assert!(resent.contains("state     pending"), "{resent}");
    let done = settled(&world, &id, 2).await;
    assert!(done.iter().all(|one| one["state"] == "done"), "{done:?}");

    // One that is disabled is told nothing, and says so.
    let disabled = webhooks(&world, &["update", &id, "--disable"]).await.succeeded().stdout;
    assert!(disabled.contains("disabled (by-request)"), "{disabled}");
    let refused = webhooks(&world, &["resend", &id, &delivery]).await.exited(1);
    assert!(refused.stderr.contains("enable it first"), "{refused:?}");
    up.api().task("Missed", Some(1)).await;
    json_of(&world, &["update", &id, "--enable"]).await;
    let history = ["replay-history", &id, "--since", "1h", "--type", "TASK_CREATED,TASK_DELETED"];
    let replayed = webhooks(&world, &history).await.succeeded().stdout;
    assert!(replayed.contains("1 deliveries ordered"), "{replayed}");
    settled(&world, &id, 3).await;

    // While it doesn't run, its database is opened, and its key is that of its directory.
    up.signal("INT");
    assert!(up.exit().await.success());
    let rotated = json_of(&world, &["rotate-secret", &id]).await;
    assert!(rotated["oldSecretUntil"].is_string() && rotated["secret"] != made["secret"]);
    let _up = world.serve().await;
    json_of(&world, &["ping", &id]).await;
    let pinged = receiver.received("/hook").pop().unwrap();
    for secret in [&made["secret"], &rotated["secret"]] {
        assert!(verified(&pinged, secret), "{pinged:?}");
    }
    let refused = webhooks(&world, &["delete", &id]).await.exited(2);
    assert!(refused.stderr.contains("--yes"), "{refused:?}");
    let deleted = webhooks(&world, &["delete", &id, "--yes"]).await.succeeded().stdout;
    assert!(deleted.contains(&url) && deleted.contains("is deleted"), "{deleted}");
    let missing = webhooks(&world, &["show", &id]).await.exited(1);
    assert!(missing.stderr.contains(&format!("there is no webhook {id}")), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_option_is_named_and_what_cannot_be_printed_is_not_done() {
    let mut world = World::embedded();
    world.set("WEBHOOK_ALLOW", "127.0.0.1");
    let (_up, receiver) = (world.serve().await, Receiver::start().await);
    let url = receiver.url("/hook");
    for (option, value, says) in [
        ("--url", "ftp://example.com", "https://"),
        ("--url", "https://10.0.0.1/hook", "WEBHOOK_ALLOW"),
        ("--description", " ", "show something"),
        ("--type", "TASK_LOST", "TASK_CREATED, TASK_UPDATED"),
        ("--filter", "{status: done}", "{\"status\": \"completed\"}"),
        ("--filter", "{\"owner\": 7}", "it may have id, title"),
        ("--rate", "1001", "1000 a second"),
        ("--rate", "often", "60/1m"),
        ("--retry-delay", "soon", "90s or 30d"),
        ("--retry-delay", "8d", "from 1s to 7d"),
        ("--user", "0", "from 1 to"),
        ("--user", "77", "there is no user 77"),
    ] {
        let base: &[&str] = if option == "--url" { &[] } else { &["--url", &url] };
        let refused =
            webhooks(&world, &[&["create"], base, &[option, value]].concat()).await.exited(2);
        let said = &refused.stderr;
        assert!(said.contains(option) && said.contains(says), "{option} {value}: {said}");
    }
    let refused = webhooks(&world, &["update", "1"]).await.exited(2);
    assert!(refused.stderr.contains("say what to change"), "{refused:?}");
    let refused = webhooks(&world, &["deliveries", "1", "--state", "gone"]).await.exited(2);
    assert!(refused.stderr.contains("pending, waiting, done, failed"), "{refused:?}");
    let missing = webhooks(&world, &["delivery", "1", "5"]).await.exited(1);
    assert!(missing.stderr.contains("delivery 5 of webhook 1"), "{missing:?}");

    // A disk that is full: nobody would see the secret, or what was deleted.
    let made = json_of(&world, &["create", "--url", &url]).await;
    let id = made["id"].to_string();
    for arguments in [
        &["create", "--url", &url] as &[&str],
        &["create", "--url", &url, "--json"],
        &["rotate-secret", &id],
        &["rotate-secret", &id, "--json"],
        &["delete", &id, "--yes"],
        &["delete", &id, "--yes", "--json"],
    ] {
        let mut command = world.command(&[&["webhooks"], arguments].concat(), &[]);
        command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
        let failed = taskd_testing::run_as_it_is(command).await.exited(1);
        assert!(failed.stderr.contains("standard output can't be written"), "{failed:?}");
    }
    let all = json_of(&world, &["list"]).await;
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    assert_eq!(all[0]["oldSecretUntil"], Value::Null, "its secret is still the first one");

    // Every setting, and its way back.
    let settings = [
        ("description", vec!["--description", "Billing"], json!("Billing"), "--no-description"),
        ("eventTypes", vec!["--type", "TASK_CREATED"], json!(["TASK_CREATED"]), "--all-types"),
        ("filter", vec!["--filter", "{\"userId\": 1}"], json!({ "userId": 1 }), "--no-filter"),
        ("ordered", vec!["--ordered"], json!(true), "--unordered"),
        ("rate", vec!["--rate", "60/1m"], json!("60/1m"), "--no-rate"),
        ("rate", vec!["--rate", "10"], json!(10), "--no-rate"),
        ("retryDelays", vec!["--retry-delay", "1s,2m"], json!(["1s", "2m"]), "--usual-retries"),
        ("retryDelays", vec!["--no-retries"], json!([]), "--usual-retries"),
        ("enabled", vec!["--disable"], json!(false), "--enable"),
    ];
    for (member, options, value, back) in settings {
        let changed = json_of(&world, &[&["update", &id], &options[..]].concat()).await;
        assert_eq!(changed[member], value, "{options:?}");
        let again = json_of(&world, &["update", &id, back]).await;
        assert_eq!(again[member], made[member], "{back}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn in_a_database_the_key_is_given_and_a_members_webhook_is_told_its_tasks() {
    let mut world = world().await;
    let receiver = Receiver::start().await;
    let (serve, work) = tokio::join!(world.serve(), world.work("w", &[]));
    let ada = json!({ "email": "ada@example.com", "password": "correct horse battery" });
    let user = serve.api().post("/users", ada).await.expect(201)["id"].as_i64().unwrap();
    let member = user.to_string();
    let url = receiver.url("/members");
    let made = webhooks(&world, &["create", "--url", &url, "--user", &member]).await.succeeded();
    assert!(made.stdout.contains("secret       whsec_"), "{made:?}");
    assert!(made.stderr.contains("not shown again"), "{made:?}");
    let of_user = json_of(&world, &["list", "--user", &member]).await;
    assert_eq!((of_user[0]["url"].as_str(), of_user[0].get("secret")), (Some(&*url), None));
    assert_eq!(json_of(&world, &["list", "--user", "1"]).await, json!([]));
    serve.api().task("Another's", Some(1)).await;
    serve.api().task("Ada's", Some(user)).await;
    let got = receiver.wait_for("/members", 1).await;
    assert_eq!(got[0].json()["payload"]["title"], "Ada's");
    let id = of_user[0]["id"].to_string();
    assert_eq!(settled(&world, &id, 1).await[0]["state"], "done");
    let audit = world.run(&["audit", "list", "--json"]).await.succeeded().json();
    assert_eq!(audit[0]["action"], "create webhook", "{audit}");
    assert_eq!(audit[0]["target"], format!("webhook {id} of user {user}"));
    drop((serve, work));

    // Without the key everything can be looked at, and no secret made.
    world.set("SECRET_KEY", "short");
    let refused = webhooks(&world, &["list"]).await.exited(2);
    assert!(refused.stderr.contains("SECRET_KEY: must be a key of 32"), "{refused:?}");
    let without = async |arguments: &[&str]| {
        world.run_without(&[&["webhooks"], arguments].concat(), &["SECRET_KEY"]).await
    };
    without(&["show", &id]).await.succeeded();
    for arguments in
        [&["create", "--url", &url] as &[&str], &["ping", &id], &["rotate-secret", &id]]
    {
        let refused = without(arguments).await.exited(2);
        assert!(refused.stderr.contains("openssl rand -hex 32"), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn rotate_key_seals_every_secret_under_the_first_key() {
    let (first, second) = ("a".repeat(64), "b".repeat(64));
    let mut world = world().await;
    world.set("SECRET_KEY", &first);
    let receiver = Receiver::start().await;
    let made = json_of(&world, &["create", "--url", &receiver.url("/hook")]).await;
    let id = made["id"].to_string();

    // A ring that can't open a secret names its webhook, and leaves it as it is.
    world.set("SECRET_KEY", &second);
    let lost = webhooks(&world, &["rotate-key", "--json"]).await.exited(1);
    assert_eq!(lost.json(), json!({ "sealed": 0, "lost": [made["id"]] }));
    assert!(lost.stderr.contains(&format!("webhook {id}: no key of SECRET_KEY")), "{lost:?}");

    world.set("SECRET_KEY", &format!("{second},{first}"));
    let sealed = webhooks(&world, &["rotate-key"]).await.succeeded().stdout;
    assert!(sealed.contains("1 sealed"), "{sealed}");
    // The first one is needed no more, and opens nothing.
    world.set("SECRET_KEY", &first);
    let refused = webhooks(&world, &["ping", &id]).await.exited(2);
    assert!(refused.stderr.contains("no key of SECRET_KEY opens"), "{refused:?}");
    world.set("SECRET_KEY", &second);
    let (serve, _work) = tokio::join!(world.serve(), world.work("w", &[]));
    serve.api().task("Signed as before", Some(1)).await;
    let got = receiver.wait_for("/hook", 1).await;
    assert!(verified(&got[0], &made["secret"]), "{got:?}");
    let audit = world.run(&["audit", "list", "--json"]).await.succeeded().json();
    assert_eq!(audit[0]["action"], "rotate SECRET_KEY", "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_an_up_is_rotated_while_it_does_not_run() {
    let mut world = World::embedded();
    allow(&mut world);
    let (first, second) = (crate::webhooks::SECRET_KEY, "b".repeat(64));
    let receiver = Receiver::start().await;
    let up = world.serve().await;
    let made = json_of(&world, &["create", "--url", &receiver.url("/hook")]).await;
    up.signal("INT");
    assert!(up.exit().await.success());
    world.set("SECRET_KEY", &format!("{second},{first}"));
    assert_eq!(json_of(&world, &["rotate-key"]).await, json!({ "sealed": 1, "lost": [] }));
    world.set("SECRET_KEY", &second);
    let _up = world.serve().await;
    json_of(&world, &["ping", &made["id"].to_string()]).await;
    assert!(verified(&receiver.received("/hook")[0], &made["secret"]));
}
