//! The console's pages of webhooks, without a browser: what forms do, and who sees what.

use reqwest::StatusCode;
use reqwest::header::{LOCATION, SET_COOKIE};
use serde_json::{Value, json};
use taskd_testing::{Manner, Receiver, World};

use crate::access::House;
use crate::console::{Visitor, user};
use crate::webhooks::{allow, deliveries, hook, settled};

/// What a hidden field of a page has in it.
fn hidden(page: &str, name: &str) -> String {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// Sends a form to this address of the console, and returns where it leads.
async fn order(visitor: &mut Visitor, path: &str, fields: &[(&str, &str)]) -> String {
    let form_token = visitor.form_token("/console/webhooks/new").await;
    let fields = [fields, &[("formToken", &*form_token)]].concat();
    let response = visitor.send(&format!("/console{path}"), &fields, &[]).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER, "{path}");
    response.headers()[LOCATION].to_str().unwrap().to_owned()
}

fn embedded() -> World {
    let mut world = World::embedded();
    allow(&mut world);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_form_sent_twice_makes_one_webhook_and_its_secret_is_shown_once() {
    let world = embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let mut visitor = Visitor::new(&api);
    assert!(visitor.page("/console/webhooks").await.contains("Make the first webhook"));
    let page = visitor.page("/console/webhooks/new").await;
    let (form_token, key) = (hidden(&page, "formToken"), hidden(&page, "key"));
    let fields = [
        ("url", "https://example.com/hooks?key=1"),
        ("description", "Billing"),
        ("eventTypes", "TASK_CREATED"),
        ("eventTypes", "TASK_DELETED"),
        ("filterStatus", "completed"),
        ("filterUser", "none"),
        ("ordered", "yes"),
        ("rate", "60/1m"),
        ("retryDelays", "5s, 5m"),
        ("enabled", "yes"),
        ("key", &*key),
        ("formToken", &*form_token),
    ];
    for _ in 0..2 {
        let response = visitor.send("/console/webhooks", &fields, &[]).await;
        assert_eq!(response.headers()[LOCATION], "/console/webhooks/1");
        let cookies = response.headers().get_all(SET_COOKIE).iter();
        let secret = cookies.map(|it| it.to_str().unwrap()).find(|it| it.contains("taskd_secret"));
        for part in ["HttpOnly", "Path=/console/webhooks/1", "Max-Age=60"] {
            assert!(secret.unwrap().contains(part), "{part}: {secret:?}");
        }
    }
    let made = visitor.page("/console/webhooks/1").await;
    assert!(made.contains("data-copy=\"whsec_") && made.contains("not shown again"), "{made}");
    assert!(!visitor.page("/console/webhooks/1").await.contains("whsec_"), "a reload");
    let all = api.get("/webhooks").await.expect(200);
    assert_eq!(all["data"].as_array().unwrap().len(), 1);
    let webhook = &all["data"][0];
    assert_eq!(webhook["eventTypes"], json!(["TASK_CREATED", "TASK_DELETED"]));
    assert_eq!(webhook["filter"], json!({ "status": "completed", "userId": null }));
    assert_eq!(webhook["retryDelays"], json!(["5s", "5m"]));
    assert_eq!((&webhook["rate"], &webhook["ordered"]), (&json!("60/1m"), &json!(true)));
    let list = visitor.page("/console/webhooks").await;
    assert!(list.contains("example.com/hooks") && !list.contains("key=1"), "{list}");

    // A new secret is shown once too, and an old form makes no second one.
    let seen = hidden(&visitor.page("/console/webhooks/1").await, "seen");
    for shown in [true, false] {
        order(&mut visitor, "/webhooks/1/secret", &[("seen", &seen)]).await;
        let page = visitor.page("/console/webhooks/1").await;
        assert_eq!(page.contains("data-copy=\"whsec_"), shown, "{page}");
        assert!(!visitor.page("/console/webhooks/1").await.contains("whsec_"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_webhook_is_said_beside_its_field_and_nothing_that_was_written_is_lost()
 {
    let world = embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let mut visitor = Visitor::new(&api);
    let page = visitor.page("/console/webhooks/new").await;
    let (form_token, key) = (hidden(&page, "formToken"), hidden(&page, "key"));
    let wrong = [
        ("url", "http://10.0.0.1/\"><b>"),
        ("description", "<kept> \"as\" it is"),
        ("eventTypes", "TASK_CREATED"),
        ("filterUser", "x"),
        ("filterTitle", " Title"),
        ("rate", "0"),
        ("retryDelays", "soon, 5m"),
        ("key", &*key),
        ("formToken", &*form_token),
    ];
    let refused = visitor.send("/console/webhooks", &wrong, &[]).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let page = refused.text().await.unwrap();
    for name in ["filter", "rate", "retryDelays"] {
        assert!(page.contains(&format!("<li><code>{name}</code>")), "{name}: {page}");
    }
    assert_eq!(page.matches("<span class=\"wrong\">").count(), 3, "each beside its field: {page}");
    for part in [
        "value=\"http://10.0.0.1/&quot;&gt;&lt;b&gt;\"",
        "&lt;kept&gt; &quot;as&quot; it is",
        "value=\"TASK_CREATED\" checked",
        "value=\"x\" selected",
        "value=\" Title\"",
        "value=\"soon, 5m\"",
        &format!("name=\"key\" value=\"{key}\""),
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("name=\"enabled\" value=\"yes\" checked"), "{page}");
    // The URL is looked at once the rest is right.
    let wrong = [
        ("url", "http://10.0.0.1/"),
        ("enabled", "yes"),
        ("key", &*key),
        ("formToken", &*form_token),
    ];
    let refused = visitor.send("/console/webhooks", &wrong, &[]).await;
    let page = refused.text().await.unwrap();
    let field = "name=\"url\" value=\"http://10.0.0.1/\" aria-invalid=\"true\">";
    assert!(page.contains(field), "{page}");
    assert!(page.contains("name=\"enabled\" value=\"yes\" checked"), "{page}");
    assert_eq!(api.get("/webhooks").await.expect(200)["data"], json!([]));

    // Another webhook under the same key: the next try has a new one.
    for (url, status) in [("https://example.com/a", 303), ("https://example.com/b", 422)] {
        let fields = [("url", url), ("key", &*key), ("formToken", &*form_token)];
        let answer = visitor.send("/console/webhooks", &fields, &[]).await;
        assert_eq!(answer.status().as_u16(), status, "{url}");
        if status == 422 {
            assert_ne!(hidden(&answer.text().await.unwrap(), "key"), key);
        }
    }
    // A change is refused in the same way.
    let fields = [("url", "ftp://example.com"), ("rate", "9"), ("formToken", &*form_token)];
    let refused = visitor.send("/console/webhooks/1", &fields, &[]).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let page = refused.text().await.unwrap();
    let field = "name=\"url\" value=\"ftp://example.com\" aria-invalid=\"true\">";
    assert!(page.contains(field) && page.contains("name=\"rate\" value=\"9\""), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_changes_nothing_and_a_member_sees_no_webhook_of_others() {
    let house = House::at(embedded()).await;
    user(&house.admin, "v@example.com", "viewer").await;
    let given = |url: &str| json!({ "url": url, "description": "<b>mine</b>" });
    house.admin.post("/webhooks", given("https://example.com/admin")).await.expect(201);
    house.member.post("/webhooks", given("https://example.com/member")).await.expect(201);
    let mut member = Visitor::new(&house.anonymous());
    let mut viewer = Visitor::new(&house.anonymous());
    member.sign_in("member@example.com").await;
    viewer.sign_in("v@example.com").await;

    let list = member.page("/console/webhooks").await;
    assert!(list.contains("example.com/member") && !list.contains("example.com/admin"), "{list}");
    assert!(list.contains("aria-current=\"page\">Webhooks</a>"), "{list}");
    assert!(list.contains("&lt;b&gt;mine&lt;/b&gt;"), "{list}");
    assert!(member.page("/console/webhooks/2").await.contains("Rotate the secret"));
    let form_token = member.form_token("/console/webhooks").await;
    for page in ["", "/edit", "/deliveries/1"] {
        let address = format!("/console/webhooks/1{page}");
        assert_eq!(member.get(&address).await.status(), StatusCode::NOT_FOUND, "{page}");
    }
    for form in ["", "/ping", "/enabled", "/secret", "/recover", "/replay", "/delete"] {
        let fields = [("url", "https://example.com/taken"), ("formToken", &*form_token)];
        let answer = member.send(&format!("/console/webhooks/1{form}"), &fields, &[]).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{form}");
    }

    let list = viewer.page("/console/webhooks").await;
    assert!(list.contains("example.com/member") && list.contains("example.com/admin"), "{list}");
    assert!(!list.contains("New webhook"), "{list}");
    let page = viewer.page("/console/webhooks/1").await;
    // Beside the form that ends the session there is none.
    assert_eq!(page.matches("method=\"post\"").count(), 1, "{page}");
    for page in ["/console/webhooks/new", "/console/webhooks/1/edit"] {
        assert_eq!(viewer.get(page).await.status(), StatusCode::FORBIDDEN, "{page}");
    }
    let form_token = viewer.form_token("/console/webhooks").await;
    for form in ["", "/1", "/1/ping", "/1/enabled", "/1/delete"] {
        let fields = [("url", "https://example.com/taken"), ("formToken", &*form_token)];
        let answer = viewer.send(&format!("/console/webhooks{form}"), &fields, &[]).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{form}");
    }
    let all = house.admin.get("/webhooks").await.expect(200);
    let urls: Vec<&Value> = all["data"].as_array().unwrap().iter().map(|it| &it["url"]).collect();
    assert_eq!(urls, ["https://example.com/admin", "https://example.com/member"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn deliveries_show_what_was_answered_and_are_sent_again() {
    let mut world = World::new().await;
    allow(&mut world);
    let house = House::at(world).await;
    let _work = house.world.work("w", &[]).await;
    user(&house.admin, "v@example.com", "viewer").await;
    let receiver = Receiver::start().await;
    receiver.set("/a", Manner::Status(500));
    receiver.say("/a", "<script>document.title = 'ran'</script>");
    let hook = hook(&house.member, &receiver, "/a", json!({ "retryDelays": [] })).await.expect(201);
    let at = format!("/webhooks/{}", hook["id"]);
    let page_of_hook = format!("/console{at}");
    house.member.task("one", None).await;
    let delivery = settled(&house.member, &hook, 1).await.remove(0);
    let page_of_delivery = format!("{page_of_hook}/deliveries/{}", delivery["id"]);
    let (mut member, mut viewer) =
        (Visitor::new(&house.anonymous()), Visitor::new(&house.anonymous()));
    member.sign_in("member@example.com").await;
    viewer.sign_in("v@example.com").await;

    let page = member.page(&page_of_hook).await;
    for part in [&*page_of_delivery, "answered 500", "No delivery has succeeded since"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let event = delivery["eventId"].as_str().unwrap();
    let page = member.page(&page_of_delivery).await;
    for part in ["answered 500", "&lt;script&gt;document.title", " on <bdi>w</bdi>", event] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<script>document") && !page.contains("/console/events/"), "{page}");
    let page = viewer.page(&page_of_delivery).await;
    assert!(page.contains(&format!("/console/events/{event}")), "{page}");
    assert!(page.contains("for its owner and admins") && !page.contains("&lt;script"), "{page}");
    for (state, found) in [("failed", true), ("done", false), ("", true)] {
        let page = member.page(&format!("{page_of_hook}?state={state}")).await;
        assert_eq!(page.contains(&page_of_delivery), found, "{state}: {page}");
    }
    let wrong = member.get(&format!("{page_of_hook}?state=lost")).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);

    let form_token = member.form_token(&page_of_hook).await;
    let fields = [("formToken", &*form_token)];
    let pinged = member.send(&format!("{page_of_hook}/ping"), &fields, &[]).await;
    let pinged = pinged.text().await.unwrap();
    assert!(pinged.contains("answered 500") && pinged.contains("&lt;script&gt;"), "{pinged}");
    // No time is said, and the page says so.
    let refused = member.send(&format!("{page_of_hook}/recover"), &fields, &[]).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(refused.text().await.unwrap().contains("<code>since</code>"));

    receiver.set("/a", Manner::Status(200));
    let sent = order(&mut member, &format!("{at}/deliveries/{}/resend", delivery["id"]), &[]).await;
    assert_eq!(sent, page_of_delivery);
    assert_eq!(settled(&house.member, &hook, 1).await[0]["state"], "done");
    order(&mut member, &format!("{at}/enabled"), &[]).await;
    let page = member.page(&page_of_hook).await;
    assert!(
        page.contains("Somebody has disabled it") && page.contains("Enable it first"),
        "{page}"
    );
    house.member.task("missed", None).await;
    order(&mut member, &format!("{at}/enabled"), &[("enabled", "yes")]).await;
    let since = [("replaySince", "2020-01-01T00:00"), ("type", "TASK_CREATED")];
    order(&mut member, &format!("{at}/replay"), &since).await;
    assert!(member.page(&page_of_hook).await.contains("One delivery is ordered."));
    assert_eq!(settled(&house.member, &hook, 2).await[0]["state"], "done");
    order(&mut member, &format!("{at}/recover"), &[("recoverSince", "2020-01-01T00:00")]).await;
    assert!(member.page(&page_of_hook).await.contains("There is nothing to send."));
    assert_eq!(deliveries(&house.member, &hook).await.len(), 2);
    assert_eq!(order(&mut member, &format!("{at}/delete"), &[]).await, "/console/webhooks");
    assert_eq!(member.get(&page_of_hook).await.status(), StatusCode::NOT_FOUND);
}
