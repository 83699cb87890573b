//! Every page there is, with something on it.

use serde_json::json;
use taskd_testing::{Api, Manner, Process, Receiver, Smtp, Verdict, World, eventually};

use crate::people::Instance;

/// Texts that break pages which don't expect them.
pub fn hostile() -> Vec<String> {
    vec![
        "<script>document.title = 'ran'</script><img src=x onerror=\"document.title='ran'\">"
            .to_owned(),
        "\"><svg onload=document.title='ran'> ' &amp; &#x27;".to_owned(),
        "\u{202e}drawkcab si siht\u{202c} \u{2066}isolated".to_owned(),
        "W".repeat(200),
        "مهمة من اليمين إلى اليسار ١٢٣".to_owned(),
        "👩‍👩‍👧‍👦🏳️‍🌈 z̸̢̛a̴̧̕l̶̨̈́g̵̡̕o̷̧͝ 🧨".to_owned(),
    ]
}

/// What an instance needs to send webhooks to this machine.
pub fn allow_webhooks(world: &mut World) {
    world.set("SECRET_KEY", "0123456789abcdef0123456789abcdef-for-tests");
    world.set("WEBHOOK_ALLOW", "127.0.0.1");
}

/// Makes webhooks, and returns the pages of one that fails: its own, and that of a delivery.
async fn webhooks(api: &Api) -> [String; 2] {
    let receiver = Receiver::start().await;
    receiver.set("/hostile", Manner::Status(500));
    receiver.say("/hostile", &hostile().join("\n"));
    for (number, description) in hostile().into_iter().enumerate() {
        let url = format!("https://example.com/{}?{number}", "path/".repeat(number * 40));
        let filter = json!({ "title": description, "userId": null });
        let given = json!({ "url": url, "description": description, "filter": filter });
        api.post("/webhooks", given).await.expect(201);
    }
    let given = json!({ "url": receiver.url("/hostile"), "description": hostile().join("\n") });
    let hook = api.post("/webhooks", given).await.expect(201);
    api.post("/tasks", json!({ "title": "Told", "userId": 1 })).await.expect(201);
    let page = format!("/webhooks/{}", hook["id"]);
    let delivery = eventually("a delivery has failed", || async {
        let found = api.get(&format!("{page}/deliveries")).await.expect(200);
        let tried = found["data"].as_array()?.iter().find(|one| one["lastStatus"] == 500)?;
        tried["id"].as_i64()
    })
    .await;
    [format!("{page}/deliveries/{delivery}"), page]
}

/// An instance on which each page has something to show.
pub struct Furnished {
    pub instance: Instance,
    /// The pages, below the console's address.
    pub pages: Vec<String>,
    _work: Process,
}

pub async fn furnish(world: &World) -> Furnished {
    let smtp = Smtp::start().await;
    smtp.set(Verdict::RefuseAll);
    let instance = Instance::start(world).await;
    let work = world.work("w", &[("SMTP_URL", &smtp.url())]).await;
    let api = &instance.api;
    for name in ["Garden", "<b>Kitchen</b>", &"K".repeat(100)] {
        api.post("/categories", json!({ "name": name })).await.expect(201);
    }
    let mut task = 0;
    for (number, title) in hostile().into_iter().enumerate() {
        let text = match number {
            0 => title.clone(),
            1 => "D".repeat(10_000),
            _ => format!("{title}\n\n{title}"),
        };
        let status = ["pending", "in-progress", "completed"][number % 3];
        let given = json!({ "title": title, "description": text, "status": status,
            "userId": 1, "categoryId": number % 3 + 1, "dueAt": "2030-01-31T12:00:00Z" });
        task = api.post("/tasks", given).await.expect(201)["id"].as_i64().unwrap();
    }
    let letter = api.letters(hostile().len()).await.remove(0);
    let group = letter["fingerprint"].as_str().unwrap();
    let (id, event) = (letter["id"].as_str().unwrap(), letter["eventId"].as_str().unwrap());
    let order = json!({ "ids": [id] });
    let replay = api.post("/dead-letters/replays", order).await.expect(201);
    let open = eventually("a letter is open", || async {
        let page = api.get("/dead-letters?limit=1").await.expect(200);
        page["data"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    api.post("/effects/email/pause", json!({ "reason": hostile()[0] })).await.expect(200);
    let [delivery, webhook] = webhooks(api).await;
    let pages = [
        "",
        "/tasks",
        "/tasks?search=nothing-is-like-this",
        "/tasks/new",
        &format!("/tasks/{task}"),
        &format!("/tasks/{task}/edit"),
        "/board",
        "/events",
        &format!("/events/{event}"),
        "/dead-letters",
        &format!("/dead-letters/groups/{group}"),
        "/dead-letters/letters",
        &format!("/dead-letters/letters/{open}"),
        &format!("/dead-letters/letters/{open}/edit"),
        "/dead-letters/replays",
        &format!("/dead-letters/replays/{}", replay["replay"]["id"]),
        "/effects",
        "/processes",
        "/webhooks",
        "/webhooks/new",
        &webhook,
        &format!("{webhook}?state=waiting"),
        &format!("{webhook}/edit"),
        &delivery,
        "/audit",
        "/doctor",
        "/configuration",
        "/users",
        "/users/1",
        "/categories",
        "/account",
        "/nothing-is-here",
    ];
    let pages = pages.iter().map(|page| (*page).to_owned()).collect();
    Furnished { instance, pages, _work: work }
}
