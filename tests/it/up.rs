//! `taskd up`: everything in one process, with nothing installed, or with any mixture.

use serde_json::{Value, json};

use taskd_testing::{Api, Process, World, eventually};

async fn activity(api: &Api, task: i64) -> usize {
    let answer = api.get(&format!("/tasks/{task}/activity")).await;
    if answer.status == 200 { answer.json()["data"].as_array().unwrap().len() } else { 0 }
}

fn mails(world: &World) -> usize {
    let files = std::fs::read_dir(world.directory.join(".taskd/mail")).unwrap();
    files
        .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "eml"))
        .count()
}

async fn tasks(api: &Api) -> i64 {
    api.get("/tasks?total=true&limit=1").await.expect(200)["total"].as_i64().unwrap()
}

async fn stopped(process: &Process) {
    process.signal("INT");
    assert!(process.exit().await.success(), "{}", process.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_installed_a_task_has_its_activity_and_its_mail() {
    let world = World::alone();
    let up = world.up(&[], &[]).await;
    let api = up.api();
    api.task("Write Docs", Some(1)).await;
    eventually("the activity is written", || async {
        (activity(&api, 1).await == 1).then_some(())
    })
    .await;
    eventually("the mail is written", || async { (mails(&world) == 1).then_some(()) }).await;
    assert_eq!(api.get("/readyz").await.expect(200)["status"], "ok");
    // Never stale: each read comes after an answered write.
    for round in 0..20 {
        api.patch("/tasks/1", json!({ "title": format!("{round}") })).await.expect(200);
        assert_eq!(api.get("/tasks/1").await.expect(200)["title"], format!("{round}"));
        assert_eq!(api.get("/tasks").await.expect(200)["data"][0]["title"], format!("{round}"));
    }
    assert!(api.metric("taskd_cache_reads_total", "miss").await > 0.0);

    // A second one on the same data is told who has it.
    let refused = world.run(&["up"]).await.exited(1);
    assert!(refused.stderr.contains(&up.pid().to_string()), "{}", refused.stderr);
    stopped(&up).await;

    let again = world.up(&[], &[]).await;
    assert_eq!(tasks(&again.api()).await, 1);
    stopped(&again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_goes_on_where_it_was() {
    let world = World::alone();
    let mut created = Vec::new();
    for _ in 0..2 {
        let up = world.up(&[], &[]).await;
        let api = up.api();
        for number in 0..60 {
            created.push(api.task(&format!("{number}"), Some(1)).await["id"].as_i64().unwrap());
        }
        up.kill_9().await;
    }
    let up = world.up(&[], &[]).await;
    let api = up.api();
    assert_eq!(tasks(&api).await as usize, created.len());
    for task in created.iter().copied() {
        eventually("each task has one entry", || async {
            (activity(&api, task).await == 1).then_some(())
        })
        .await;
    }
    eventually("each task has its mail", || async {
        (mails(&world) == created.len()).then_some(())
    })
    .await;
    eventually("every event is marked as published", || async {
        (api.metric("taskd_events_unpublished", "").await == 0.0).then_some(())
    })
    .await;
    stopped(&up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_replayed_in_the_running_process() {
    let world = World::alone();
    let up = world.up(&["--simulate-failure", "email=1"], &[]).await;
    up.api().task("t", Some(1)).await;
    let dlq = async |arguments: &[&str]| -> Value {
        let arguments = [&["dlq"], arguments, &["--json"]].concat();
        world.run(&arguments).await.succeeded().json()
    };
    let letters = eventually("the mail is given up", || async {
        let letters = dlq(&["list"]).await;
        (letters.as_array().unwrap().len() == 1).then_some(letters)
    })
    .await;
    let attempts: Vec<&Value> = letters[0]["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| &failure["attempt"])
        .collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert_eq!(activity(&up.api(), 1).await, 1);
    let id = letters[0]["id"].as_str().unwrap();
    world.run(&["dlq", "show", "nothing"]).await.exited(1);
    stopped(&up).await;
    // Its database is opened for the command while it doesn't run.
    assert_eq!(dlq(&["list"]).await.as_array().unwrap().len(), 1);

    // It is still there after a restart, and what is done is not done again.
    let up = world.up(&[], &[]).await;
    assert_eq!(dlq(&["replay", id]).await["done"], 1);
    eventually("the mail is written", || async { (mails(&world) == 1).then_some(()) }).await;
    assert_eq!(dlq(&["list"]).await, json!([]));
    assert_eq!(activity(&up.api(), 1).await, 1);
    stopped(&up).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn any_mixture_works() {
    let world = World::new().await;
    for absent in [&["DATABASE_URL", "REDIS_URL"] as &[&str], &["RABBITMQ_URL"], &[]] {
        let data = format!("data_{}", absent.join("_"));
        let up = world.up(&["--data-dir", &data], absent).await;
        let api = up.api();
        let task = api.task("t", None).await["id"].as_i64().unwrap();
        eventually("the activity is written", || async {
            (activity(&api, task).await == 1).then_some(())
        })
        .await;
        stopped(&up).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn without_rabbitmq_many_processes_share_the_tables_of_a_database() {
    const AT_ONCE: usize = 50;
    let world = World::new().await;
    let without = async |arguments: &[&str]| {
        let mut command = world.command(arguments, &[]);
        command.env_remove("RABBITMQ_URL");
        Process::start(command, &arguments.join(" "))
    };
    let mut serve = without(&["serve"]).await;
    serve.wait_for_address("serving").await;
    let mut works =
        [without(&["work", "--name", "a"]).await, without(&["work", "--name", "b"]).await];
    for work in &mut works {
        work.wait_for_address("health and metrics").await;
        work.log("it consumes", |line| line["message"] == "consuming").await;
    }
    let api = serve.api();
    // One worker can be quick enough for a few: go on until each has done something.
    let mut created = 0;
    loop {
        let creating = (0..AT_ONCE).map(|number| {
            let api = api.clone();
            async move { api.task(&format!("{number}"), None).await }
        });
        futures_util::future::join_all(creating).await;
        created += AT_ONCE;
        let done =
            async |work: &Process| work.api().metric("taskd_deliveries_total", "processed").await;
        if done(&works[0]).await > 0.0 && done(&works[1]).await > 0.0 {
            break;
        }
        assert!(created < 10_000, "one worker does it all");
    }
    let db = world.db().await;
    eventually("every task has its entry", || async {
        (db.count("task_activity").await as usize == created).then_some(())
    })
    .await;
    let distinct = db.number("SELECT count(DISTINCT event_id) FROM task_activity").await;
    assert_eq!(distinct as usize, created);
    eventually("the queue is empty", || async {
        (db.count("queued_messages").await == 0).then_some(())
    })
    .await;
    for process in works.iter().chain([&serve]) {
        process.signal("TERM");
        assert!(process.exit().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_listens_for_this_machine_alone() {
    let world = World::alone();
    let refused = world.run(&["up", "--host", "0.0.0.0"]).await.exited(2);
    assert!(refused.stderr.contains("HOST"), "{}", refused.stderr);
}

/// On an address of others the panel would have shown the first token, which is then not made.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_can_not_say_where_it_is_ends() {
    let world = World::embedded();
    for host in ["127.0.0.1", "0.0.0.0"] {
        let more = [("TASKD_HOST", host), ("TASKD_AUTH", "tokens")];
        let mut command = world.command(&["up"], &more);
        command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
        let failed = taskd_testing::run_as_it_is(command).await.exited(1);
        assert!(failed.stderr.contains("standard output can't be written"), "{host}: {failed:?}");
    }
}

/// Every address that somebody else could connect to, of this process.
fn listening(pid: u32) -> Vec<String> {
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let of = |table: &str, is_listening: fn(&[&str]) -> bool, inode: usize, address: usize| {
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| is_listening(row) && sockets.iter().any(|socket| socket == row[inode]))
            .map(|row| row.get(address).copied().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let tcp = |row: &[&str]| row[3] == "0A";
    let unix = |row: &[&str]| row[3] == "00010000";
    [of("tcp", tcp, 9, 1), of("tcp6", tcp, 9, 1), of("unix", unix, 6, 7)].concat()
}

fn mode(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_on_the_machine_reaches_the_database_or_reads_the_data() {
    let world = World::alone();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "umask 000; exec \"$0\" up", env!("CARGO_BIN_EXE_taskd")]);
    let given = world.command(&[], &[("SHELL", "/bin/sh")]);
    command.env_clear().envs(given.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(&world.directory);
    let mut up = Process::start(command, "up");
    up.wait_for_address("up").await;
    let api = up.api();
    api.task("t", Some(1)).await;
    eventually("the mail is written", || async { (mails(&world) == 1).then_some(()) }).await;
    let data = world.directory.join(".taskd");
    let (tcp, unix): (Vec<String>, Vec<String>) =
        listening(up.pid()).into_iter().partition(|address| !address.starts_with('/'));
    assert_eq!(tcp.len(), 1, "the API alone: {tcp:?}");
    assert_eq!(unix.len(), 2, "the database and the operator's: {unix:?}");
    for socket in &unix {
        let parent = std::path::Path::new(socket).parent().unwrap();
        assert!(parent.starts_with(&data) && mode(parent) == 0o700, "{socket}");
    }
    for directory in [&data, &data.join("mail"), &data.join("postgres"), &data.join("cache")] {
        assert_eq!(mode(directory), 0o700, "{}", directory.display());
    }
    let files = std::fs::read_dir(data.join("mail")).unwrap().map(|file| file.unwrap().path());
    for file in files.chain([data.join("lock"), data.join("sockets")]) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    stopped(&up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_path_and_a_mail_directory_that_is_there_are_for_this_user_alone_too() {
    let world = World::alone();
    let data = world.directory.join("x".repeat(120)).join("y".repeat(120));
    let mail = world.directory.join("mail");
    std::fs::create_dir(&mail).unwrap();
    let flags = ["--data-dir", data.to_str().unwrap(), "--mail-dir", mail.to_str().unwrap()];
    let up = world.up(&flags, &[]).await;
    up.api().task("t", Some(1)).await;
    let written = || std::fs::read_dir(&mail).unwrap().next().map(|file| file.unwrap().path());
    let file = eventually("the mail is written", || async {
        written().filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
    })
    .await;
    assert_eq!((mode(&mail), mode(&file), mode(&data)), (0o700, 0o600, 0o700));
    let elsewhere =
        listening(up.pid()).into_iter().find(|address| address.starts_with('/')).unwrap();
    let elsewhere = std::path::Path::new(&elsewhere).parent().unwrap().to_owned();
    assert_eq!(mode(&elsewhere), 0o700);
    world.run(&["dlq", "list", "--data-dir", flags[1]]).await.succeeded();
    stopped(&up).await;
    assert!(!elsewhere.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_an_address_of_others_a_first_token_is_shown_once_and_more_are_made_without_it() {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
    let world = World::alone();
    let panel = async || -> (tokio::process::Child, String) {
        let mut command = world.command(&["up"], &[("HOST", "0.0.0.0")]);
        command
            .env_remove("AUTH")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
        let mut log = child.stderr.take().unwrap();
        // Read to its end, so that it never waits for its log to be read.
        let log = tokio::spawn(async move {
            let mut text = String::new();
            let _ = log.read_to_string(&mut text).await;
            text
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut text = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            text.push_str(&line);
            text.push('\n');
            if line.contains("Ctrl-C") {
                return (child, text);
            }
        }
        panic!("it ends: {}", log.await.unwrap());
    };
    let (mut up, shown) = panel().await;
    let word = |text: &str| {
        let words = text.split(|c: char| c.is_whitespace() || c == '"');
        words.filter(|word| word.starts_with("taskd_")).map(str::to_owned).collect::<Vec<_>>()
    };
    let tokens = word(&shown);
    assert!(tokens.len() == 2 && tokens[0] == tokens[1], "{shown}");
    assert!(shown.contains(&format!("-H \"Authorization: Bearer {}\"", tokens[0])), "{shown}");
    let port = shown.split("http://0.0.0.0:").nth(1).unwrap().split_whitespace().next().unwrap();
    let port = port.split('/').next().unwrap();
    let api = Api::at(&format!("127.0.0.1:{port}"));
    assert_eq!(api.get("/tasks").await.status, 401);
    assert_eq!(api.with_token(&tokens[0]).get("/users").await.status, 200);

    // The running one makes it, without a token of somebody.
    let ada = world.token(&["--user", "ada@example.com"]).await;
    assert_eq!(api.with_token(&ada).get("/tasks").await.status, 200);
    let refused = world.run(&["token", "create", "--user", "999"]).await.exited(2);
    assert!(refused.stderr.contains("--user") && refused.stderr.contains("999"), "{refused:?}");
    // So are all listed and ended by it.
    let listed = world.run(&["token", "list", "--user", "ada@example.com", "--json"]).await;
    let listed = listed.succeeded().json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["kind"]), (1, &json!("api")));
    let id = listed[0]["id"].to_string();
    let revoked = world.run(&["token", "revoke", &id, "999"]).await.exited(1);
    assert_eq!(revoked.stdout, format!("revoked  {id}\n1 revoked\n"), "{revoked:?}");
    assert!(revoked.stderr.contains("there is no token or session 999"), "{revoked:?}");
    for unknown in [
        &["token", "list", "--user", "999"] as &[&str],
        &["token", "revoke", "--all", "--user", "no@example.com"],
    ] {
        let refused = world.run(unknown).await.exited(2);
        assert!(refused.stderr.contains("--user: there is no user"), "{refused:?}");
    }
    world.run(&["dlq", "list"]).await.succeeded();
    let mut full = world.command(&["token", "create", "--user", "1"], &[]);
    full.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let lost = taskd_testing::run_as_it_is(full).await.exited(1);
    assert!(lost.stderr.contains("taken back"), "{lost:?}");

    let pid = up.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert!(up.wait().await.unwrap().success());
    // The stopped one's database is opened for it.
    let eve = world.token(&["--user", "eve@example.com"]).await;
    let listed = world.run(&["token", "list"]).await.succeeded();
    assert!(listed.stdout.contains("eve@example.com, command line"), "{listed:?}");
    let all = ["token", "revoke", "--all", "--user", "ada@example.com"];
    assert_eq!(world.run(&all).await.succeeded().stdout, "0 revoked\n");
    let (_up, shown) = panel().await;
    assert_eq!(word(&shown), [] as [&str; 0], "{shown}");
    let port = shown.split("http://0.0.0.0:").nth(1).unwrap().split('/').next().unwrap();
    let api = Api::at(&format!("127.0.0.1:{}", port.split_whitespace().next().unwrap()));
    assert_eq!(api.with_token(&eve).get("/tasks").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_address_and_a_proxy_are_told_nothing() {
    let world = World::alone();
    let trap = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let address = trap.local_addr().unwrap().to_string();
    let proxy = format!("http://{address}");
    let more = [
        ("http_proxy", proxy.as_str()),
        ("HTTP_PROXY", &proxy),
        ("ALL_PROXY", &proxy),
        ("TASKD_TOKEN", "taskd_x"),
    ];
    let up = world.up(&[], &[]).await;
    world.run_with(&["dlq", "list"], &more).await.succeeded();
    up.kill_9().await;
    std::fs::write(world.directory.join(".taskd/address"), &address).unwrap();
    world.run_with(&["dlq", "list"], &more).await.succeeded();
    assert!(trap.accept().is_err(), "somebody else was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tokens_only_names_of_this_machine_are_served_and_no_foreign_page() {
    let world = World::alone();
    let up = world.up(&["--allowed-hosts", "tasks.example.com"], &[]).await;
    let api = up.api();
    let own = api.base.strip_prefix("http://").unwrap().to_owned();
    let ask = async |method: &str, path: &str, host: &str, origin: Option<&str>| {
        let mut request = api.request(method, path).header("Host", host);
        if let Some(origin) = origin {
            request = request.header("Origin", origin);
        }
        request.json(&json!({ "title": "t" })).send().await.unwrap().status().as_u16()
    };
    for (path, status) in [
        ("/tasks", 403),
        ("/docs/", 403),
        ("/readyz", 403),
        ("/metrics", 403),
        ("/openapi.json", 403),
        ("/nothing", 403),
        ("/healthz", 200),
    ] {
        assert_eq!(ask("GET", path, "evil.example", None).await, status, "{path}");
        assert_eq!(ask("GET", path, &own, Some("http://evil.example")).await, status, "{path}");
    }
    for host in [
        own.as_str(),
        "localhost",
        "localhost:3000",
        "[::1]",
        "tasks.example.com",
        "tasks.example.com:8080",
    ] {
        assert_eq!(ask("GET", "/tasks", host, None).await, 200, "{host}");
        assert_eq!(
            ask("POST", "/tasks", host, Some(&format!("http://{host}"))).await,
            201,
            "{host}"
        );
    }
    for origin in ["null", "http://evil.example", "http://localhost:1"] {
        assert_eq!(ask("POST", "/tasks", &own, Some(origin)).await, 403, "{origin}");
        assert_eq!(ask("OPTIONS", "/tasks", &own, Some(origin)).await, 403, "{origin}");
    }
    stopped(&up).await;
}
