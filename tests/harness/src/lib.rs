//! What tests, benches and the fault harness share: the program from outside, in a world with a
//! database, queues and a key prefix of its own.

mod amqp;
mod amqp_by_hand;
mod api;
mod authority;
mod cleanup;
mod db;
mod follower;
mod otlp;
mod private;
mod process;
mod proxy;
mod receiver;
mod signer;
mod smtp;

pub use amqp::{Amqp, Raw};
pub use amqp_by_hand::publish_unreadable;
pub use api::{Answer, Api, http};
pub use authority::{Authority, Identity, Wire};
pub use cleanup::{delete_keys, redis_contents};
pub use db::Db;
pub use follower::Follower;
pub use otlp::{Collector, Link, Seen};
pub use private::Private;
pub use process::{Finished, Process, run, run_as_it_is};
pub use proxy::{Proxy, Weather};
pub use receiver::{Manner, Received, Receiver};
pub use signer::Signer;
pub use smtp::{Smtp, Verdict};

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// Where the shared services are.
fn service(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

pub fn postgres_url() -> String {
    service("TEST_DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres")
}

pub fn rabbitmq_url() -> String {
    service("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
}

pub fn redis_url() -> String {
    service("TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
}

/// How long a condition may take to come true. Far longer than any does on an idle machine.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Waits until `check` has something, which is returned.
pub async fn eventually<T, F>(what: &str, check: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    eventually_within(DEADLINE, what, check).await
}

/// The same with another deadline.
pub async fn eventually_within<T, F>(
    deadline: Duration,
    what: &str,
    mut check: impl FnMut() -> F,
) -> T
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(started.elapsed() < deadline, "not within {} s: {what}", deadline.as_secs());
        tokio::time::sleep(POLL).await;
    }
}

/// The program under test. Cargo says where it is to the tests and benches that it runs.
fn program() -> OsString {
    std::env::var_os("CARGO_BIN_EXE_taskd").expect("CARGO_BIN_EXE_taskd, which cargo sets")
}

/// One test's part of the shared services, or none of them. All of it is gone when this is dropped.
pub struct World {
    pub name: String,
    pub queue: String,
    pub dlq: String,
    pub prefix: String,
    pub directory: PathBuf,
    environment: BTreeMap<String, String>,
    /// Whether it has a database, queues and keys to clean up.
    shares_services: bool,
    /// Whether the API is that of `taskd up`, which has all that it needs inside it.
    embedded: bool,
    queues: Mutex<Vec<String>>,
    children: Mutex<Vec<Arc<Mutex<std::process::Child>>>>,
}

impl World {
    /// With a database that is up to date and has the user of the examples.
    pub async fn new() -> World {
        let world = World::unmigrated().await;
        world.run(&["migrate", "--example"]).await.succeeded();
        world
    }

    /// With an empty database.
    pub async fn unmigrated() -> World {
        let mut world = World::alone();
        world.shares_services = true;
        Db::connect(&postgres_url()).await.run(&format!("CREATE DATABASE {}", world.name)).await;
        let url = postgres_url();
        let (server, _) = url.rsplit_once('/').expect("TEST_DATABASE_URL ends with /database");
        let url = format!("{server}/{}", world.name);
        world.set_urls(&url, &rabbitmq_url(), &redis_url());
        world.expect_queues(&world.environment["RETRY_DELAYS"]);
        world
    }

    /// Without any service, and with no URL set.
    pub fn alone() -> World {
        let name = format!("taskd_test_{}", Uuid::new_v4().simple());
        let directory = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&directory).expect("a directory for the test");
        let queue = format!("{name}.events");
        let dlq = format!("{name}.dlq");
        let environment = [
            ("QUEUE_NAME", queue.clone()),
            ("RETRY_QUEUE", format!("{name}.retry")),
            ("DLQ", dlq.clone()),
            ("CACHE_PREFIX", name.clone()),
            ("RETRY_DELAYS", "100ms,200ms".to_owned()),
            ("DATABASE_POOL_SIZE", "6".to_owned()),
            ("PORT", "0".to_owned()),
            ("AUTH", "none".to_owned()),
            ("MAIL_LIMIT", "off".to_owned()),
            ("METRICS_ADDR", "127.0.0.1:0".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
        ];
        World {
            prefix: name.clone(),
            queue,
            dlq,
            directory,
            environment: environment.map(|(n, v)| (n.to_owned(), v)).into(),
            shares_services: false,
            embedded: false,
            queues: Mutex::default(),
            children: Mutex::default(),
            name,
        }
    }

    /// Without any service, and with URLs at which nobody answers.
    pub fn cut_off() -> World {
        let mut world = World::alone();
        world.set_urls("postgres://127.0.0.1:1/d", "amqp://127.0.0.1:1", "redis://127.0.0.1:1");
        world
    }

    /// On what `taskd up` has inside it, with nothing installed: `serve` starts that. It has the user of
    /// the examples. Its database has no connection to spare, so a test looks at it through the API.
    pub fn embedded() -> World {
        let mut world = World::alone();
        world.embedded = true;
        let data = world.directory.join(".taskd");
        std::fs::create_dir(&data).expect("a data directory");
        // What the database engine unpacks, 99 MB, is the same for every test.
        let unpacked = Path::new(&program()).with_file_name("embedded-cache");
        std::fs::create_dir_all(&unpacked).expect("a directory beside the program");
        std::os::unix::fs::symlink(unpacked, data.join("cache")).expect("a link to it");
        world
    }

    fn set_urls(&mut self, database: &str, rabbitmq: &str, redis: &str) {
        let urls = [("DATABASE_URL", database), ("RABBITMQ_URL", rabbitmq), ("REDIS_URL", redis)];
        self.environment.extend(urls.map(|(name, url)| (name.to_owned(), url.to_owned())));
    }

    /// Sets a variable of every process that is started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// For `taskd up --demo`, which need not unpack what the database engine brings.
    pub fn demo() -> World {
        let world = World::embedded();
        let unpacked = std::fs::read_link(world.directory.join(".taskd/cache")).unwrap();
        let data = world.directory.join(".taskd-demo");
        std::fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink(unpacked, data.join("cache")).unwrap();
        world
    }

    pub fn database_url(&self) -> &str {
        &self.environment["DATABASE_URL"]
    }

    pub fn retry_prefix(&self) -> &str {
        &self.environment["RETRY_QUEUE"]
    }

    pub async fn db(&self) -> Db {
        Db::connect(self.database_url()).await
    }

    /// Lets workers that start from now on take messages that are not signed, for tests of what comes after.
    pub async fn take_unsigned(&self) {
        self.db().await.run("UPDATE installation SET unsigned_until = 'infinity'").await;
    }

    pub async fn amqp(&self) -> Amqp {
        Amqp::connect().await
    }

    /// Notes the queues that a process with these delays may make.
    fn expect_queues(&self, delays: &str) {
        let prefix = self.retry_prefix();
        let waiting = delays.split(',').map(|delay| format!("{prefix}.{}", delay.trim()));
        self.expect_queue([self.queue.clone(), self.dlq.clone()].into_iter().chain(waiting));
    }

    /// Notes queues to be deleted at the end.
    pub fn expect_queue(&self, names: impl IntoIterator<Item = String>) {
        self.queues.lock().unwrap().extend(names);
    }

    /// The program with this world's environment and some more; nothing else of this process's.
    pub fn command(&self, arguments: &[&str], more: &[(&str, &str)]) -> std::process::Command {
        let mut command = std::process::Command::new(program());
        command
            .args(arguments)
            .env_clear()
            .current_dir(&self.directory)
            .stdin(std::process::Stdio::null());
        command.envs(&self.environment).envs(more.iter().copied());
        if let Some((_, delays)) = more.iter().find(|(name, _)| *name == "RETRY_DELAYS") {
            self.expect_queues(delays);
        }
        command
    }

    /// Starts a role that goes on until it is stopped.
    pub fn start(&self, arguments: &[&str], more: &[(&str, &str)]) -> Process {
        let process = Process::start(self.command(arguments, more), &arguments.join(" "));
        self.children.lock().unwrap().push(process.child());
        process
    }

    /// Starts the API and waits until it answers.
    pub async fn serve(&self) -> Process {
        self.serve_with(&[]).await
    }

    pub async fn serve_with(&self, more: &[(&str, &str)]) -> Process {
        let (role, message) = if self.embedded { ("up", "up") } else { ("serve", "serving") };
        let mut process = self.start(&[role], more);
        process.wait_for_address(message).await;
        process
    }

    /// Starts a worker and waits until it consumes. Without SMTP_URL its mail goes to files.
    pub async fn work(&self, name: &str, more: &[(&str, &str)]) -> Process {
        self.work_with(name, &[], more).await
    }

    pub async fn work_with(&self, name: &str, flags: &[&str], more: &[(&str, &str)]) -> Process {
        let arguments = [&["work", "--name", name], flags].concat();
        let mut process = self.start(&arguments, more);
        process.wait_for_address("health and metrics").await;
        process.log("it consumes", |line| line["message"] == "consuming").await;
        process
    }

    /// Starts a worker of a world that is cut off. It never consumes; its health and metrics are there.
    pub async fn work_in_vain(&self) -> Process {
        let mut process = self.start(&["work"], &[]);
        process.wait_for_address("health and metrics").await;
        process
    }

    /// Starts a worker that sends its mail to this sink.
    pub async fn work_mailing(&self, name: &str, smtp: &Smtp) -> Process {
        self.work(name, &[("SMTP_URL", &smtp.url())]).await
    }

    /// Makes a task whose mail is put off until its message is a dead letter. Returns the API, the
    /// worker and the letter.
    pub async fn with_a_dead_letter(&self, smtp: &Smtp) -> (Process, Process, serde_json::Value) {
        smtp.set(Verdict::DeferFirst(usize::MAX));
        let serve = self.serve().await;
        let work = self.work_mailing("w", smtp).await;
        serve.api().task("t", Some(1)).await;
        let letter = self.dead_letters(1).await.remove(0);
        (serve, work, letter)
    }

    /// Makes a task, and kills the worker that is in the middle of its mail, which hangs. Returns the
    /// API.
    pub async fn kill_in_mid_mail(&self, smtp: &Smtp) -> Process {
        smtp.set(Verdict::Hang);
        let serve = self.serve().await;
        let killed = self.work_mailing("killed", smtp).await;
        serve.api().task("t", Some(1)).await;
        smtp.wait_for_hanging().await;
        killed.kill_9().await;
        serve
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with(arguments, &[]).await
    }

    pub async fn run_with(&self, arguments: &[&str], more: &[(&str, &str)]) -> Finished {
        process::run(self.command(arguments, more)).await
    }

    /// Runs a command to its end without these variables.
    pub async fn run_without(&self, arguments: &[&str], absent: &[&str]) -> Finished {
        let mut command = self.command(arguments, &[]);
        for name in absent {
            command.env_remove(name);
        }
        process::run(command).await
    }

    /// Starts `taskd up` without these variables and waits until it serves. Its data is in the
    /// world's directory.
    pub async fn up(&self, flags: &[&str], absent: &[&str]) -> Process {
        let mut command = self.command(&[&["up"], flags].concat(), &[]);
        for name in absent {
            command.env_remove(name);
        }
        let mut process = Process::start(command, "up");
        self.children.lock().unwrap().push(process.child());
        process.wait_for_address("up").await;
        process
    }

    /// An API token of this user, as `taskd token create` prints it.
    pub async fn token(&self, arguments: &[&str]) -> String {
        let made = self.run(&[&["token", "create"], arguments].concat()).await.succeeded();
        made.stdout.trim().to_owned()
    }

    /// Makes the queues, for tests that publish before any role runs.
    pub async fn declare(&self) {
        self.run(&["topology", "declare"]).await.succeeded();
    }

    /// The open dead letters there are now.
    pub async fn open_letters(&self) -> Vec<serde_json::Value> {
        let listed = self.run(&["dlq", "list", "--json", "--all"]).await.succeeded();
        serde_json::from_str(&listed.stdout).unwrap()
    }

    /// The dead letters, once there are so many.
    pub async fn dead_letters(&self, count: usize) -> Vec<serde_json::Value> {
        eventually(&format!("{count} dead letters"), || async {
            let letters = self.open_letters().await;
            (letters.len() == count).then_some(letters)
        })
        .await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.children.lock().unwrap().iter() {
            process::kill(child);
        }
        let queues = std::mem::take(&mut *self.queues.lock().unwrap());
        if self.shares_services {
            cleanup::clean(self.name.clone(), queues, self.prefix.clone());
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
