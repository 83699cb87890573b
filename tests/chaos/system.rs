//! The system under test: three APIs, three workers and a purge, on services of their own behind proxies.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::others::EXCHANGE;
use super::receivers::Receivers;
use taskd_testing::{Amqp, Db, Private, Proxy, Smtp, World, eventually_within};

/// How long a role may take to be there, on a busy machine.
const STARTED: Duration = Duration::from_secs(60);
/// How long the mail server takes to say that a mail is taken: a kill meets mails in that window.
const MAIL_PAUSE: Duration = Duration::from_millis(30);
/// The steps of a retry. All together are longer than any one outage of the mail server here.
const RETRY_DELAYS: &str = "500ms,1s,2s,4s,8s,16s";
/// How long records of what is done are kept: longer than a message can be under way in a run, and
/// short enough that `purge` has work in it.
const PROCESSED_RETENTION: &str = "120s";

/// How long the system may take to get over a fault, or to come to rest at the end: longer than a
/// lease of a claim, then the longest delay queue.
pub const SETTLED: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Serve,
    Work,
    Purge,
}

/// A process of the system.
struct Member {
    role: Role,
    number: usize,
    port: u16,
    child: Child,
}

pub struct System {
    pub world: World,
    pub private: Private,
    pub postgres: Proxy,
    pub rabbitmq: Proxy,
    pub redis: Proxy,
    pub smtp: Smtp,
    pub receivers: Receivers,
    pub token: String,
    /// Whether the clients are to send nothing for now.
    pub paused: Arc<AtomicBool>,
    /// What the queue of somebody else has got so far, by event.
    pub others: Mutex<HashMap<String, usize>>,
    environment: Vec<(&'static str, String)>,
    members: Mutex<Vec<Member>>,
    /// What ended by itself before it was to be killed.
    fallen: Mutex<Vec<String>>,
}

impl System {
    pub async fn start(defect: Option<&str>) -> System {
        let world = World::alone();
        let private = Private::start();
        let [postgres, rabbitmq, redis] = private.ports();
        let smtp = Smtp::start().await;
        smtp.set_pause(MAIL_PAUSE);
        let mut system = System {
            postgres: Proxy::start(postgres).await,
            rabbitmq: Proxy::start(rabbitmq).await,
            redis: Proxy::start(redis).await,
            token: String::new(),
            paused: Arc::default(),
            others: Mutex::default(),
            environment: Vec::new(),
            members: Mutex::default(),
            fallen: Mutex::default(),
            world,
            private,
            smtp,
            receivers: Receivers::start().await,
        };
        system.environment = system.variables(defect);
        system.command(&["migrate", "--example"]).await;
        system.command(&["topology", "declare"]).await;
        system.bind_others().await;
        system.token =
            system.command(&["token", "create", "--user", "1", "--admin"]).await.trim().to_owned();
        for number in 0..3 {
            system.add(Role::Serve, number, free_port());
            system.add(Role::Work, number, free_port());
        }
        system.add(Role::Purge, 0, free_port());
        system.all_up().await;
        system.receivers.subscribe(&system).await;
        system
    }

    fn variables(&self, defect: Option<&str>) -> Vec<(&'static str, String)> {
        let [postgres, rabbitmq, redis] =
            [&self.postgres, &self.rabbitmq, &self.redis].map(Proxy::port);
        let mut variables = vec![
            ("DATABASE_URL", format!("postgres://postgres@127.0.0.1:{postgres}/postgres")),
            ("RABBITMQ_URL", format!("amqp://guest:guest@127.0.0.1:{rabbitmq}/%2f")),
            ("REDIS_URL", format!("redis://127.0.0.1:{redis}/0")),
            ("SMTP_URL", self.smtp.url()),
            ("EVENTS_EXCHANGE", EXCHANGE.to_owned()),
            ("AUTH", "tokens".to_owned()),
            ("RATE_LIMIT_READS", "off".to_owned()),
            ("RATE_LIMIT_WRITES", "off".to_owned()),
            ("MAIL_LIMIT", "off".to_owned()),
            ("SECRET_KEY", "a-key-for-the-secrets-of-the-faults".to_owned()),
            ("WEBHOOK_ALLOW", "127.0.0.1".to_owned()),
            ("RETRY_DELAYS", RETRY_DELAYS.to_owned()),
            // With a load this small, a breaker opens before a message has used up its attempts.
            ("EFFECT_BREAKER", "5".to_owned()),
            ("PROCESSED_RETENTION", PROCESSED_RETENTION.to_owned()),
            ("PURGE_CRON", "* * * * *".to_owned()),
        ];
        variables.extend(defect.map(|name| ("TASKD_DEFECT", name.to_owned())));
        variables
    }

    /// Past the proxy.
    pub async fn db(&self) -> Db {
        Db::connect(&self.private.environment()[0].1).await
    }

    /// Past the proxy.
    pub async fn amqp(&self) -> Amqp {
        Amqp::connect_to(&self.private.environment()[1].1).await
    }

    /// Runs a command to its end; what it printed.
    pub async fn command(&self, arguments: &[&str]) -> String {
        let environment: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.world.run_with(arguments, &environment).await.succeeded().stdout
    }

    /// Where the APIs are.
    pub fn apis(&self) -> Vec<String> {
        let members = self.members.lock().unwrap();
        let serving = members.iter().filter(|member| member.role == Role::Serve);
        serving.map(|member| format!("http://127.0.0.1:{}", member.port)).collect()
    }

    fn add(&self, role: Role, number: usize, port: u16) {
        let child = self.spawn(role, number, port);
        self.members.lock().unwrap().push(Member { role, number, port, child });
    }

    fn spawn(&self, role: Role, number: usize, port: u16) -> Child {
        let name = format!("{role:?}-{number}").to_lowercase();
        let arguments: &[&str] = match role {
            Role::Serve => &["serve"],
            Role::Work => &["work", "--name", &name],
            Role::Purge => &["purge"],
        };
        let mut command: Command = self.world.command(arguments, &[]);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        match role {
            Role::Serve => command.env("PORT", port.to_string()),
            Role::Work => command.env("METRICS_ADDR", format!("127.0.0.1:{port}")),
            Role::Purge => &mut command,
        };
        let log = File::options().create(true).append(true).open(self.log(role, number)).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    fn log(&self, role: Role, number: usize) -> PathBuf {
        self.world.directory.join(format!("{role:?}-{number}.log").to_lowercase())
    }

    /// The log of every process, with its name.
    pub fn logs(&self) -> Vec<(String, PathBuf)> {
        let members = self.members.lock().unwrap();
        members
            .iter()
            .map(|m| (format!("{:?}-{}", m.role, m.number), self.log(m.role, m.number)))
            .collect()
    }

    /// SIGKILL, and a new one in its place.
    pub fn kill(&self, role: Role, number: usize) {
        self.with(role, number, |system, member| {
            if let Some(status) = member.child.try_wait().unwrap() {
                let what = format!("{role:?}-{number} had ended by itself: {status}");
                system.fallen.lock().unwrap().push(what);
            }
            // One that has ended can't be killed, which is as well.
            let _ = member.child.kill();
            member.child.wait().unwrap();
            member.child = system.spawn(role, number, member.port);
        });
    }

    /// STOP or CONT.
    pub fn signal(&self, role: Role, number: usize, signal: &str) {
        self.with(role, number, |_, member| {
            let pid = member.child.id().to_string();
            let status = Command::new("kill").arg(format!("-{signal}")).arg(pid).status();
            assert!(status.unwrap().success());
        });
    }

    fn with(&self, role: Role, number: usize, act: impl FnOnce(&System, &mut Member)) {
        let mut members = self.members.lock().unwrap();
        let found = members.iter_mut().find(|m| m.role == role && m.number == number);
        act(self, found.unwrap());
    }

    /// Those that have ended by themselves, which none may.
    pub fn fallen(&self) -> Vec<String> {
        let mut members = self.members.lock().unwrap();
        let now = members.iter_mut().filter_map(|member| {
            let status = member.child.try_wait().unwrap()?;
            Some(format!("{:?}-{} ended by itself: {status}", member.role, member.number))
        });
        self.fallen.lock().unwrap().iter().cloned().chain(now).collect()
    }

    /// The processes that have panicked, which none may.
    pub fn panics(&self) -> Vec<String> {
        let logs = self.logs().into_iter();
        let panicked = logs.filter_map(|(name, path)| {
            let log = std::fs::read_to_string(path).unwrap_or_default();
            let line = log.lines().find(|line| line.contains("panicked at"))?;
            Some(format!("{name} has panicked: {line}"))
        });
        panicked.collect()
    }

    pub fn listening(&self) -> Vec<u16> {
        let members = self.members.lock().unwrap();
        let listening = members.iter().filter(|member| member.role != Role::Purge);
        listening.map(|member| member.port).collect()
    }

    /// Waits until every process that listens answers.
    pub async fn all_up(&self) {
        for port in self.listening() {
            let url = format!("http://127.0.0.1:{port}/healthz");
            let client = taskd_testing::http().build().unwrap();
            eventually_within(STARTED, &format!("{url} answers"), || async {
                client
                    .get(&url)
                    .send()
                    .await
                    .is_ok_and(|answer| answer.status() == 200)
                    .then_some(())
            })
            .await;
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        for member in self.members.lock().unwrap().iter_mut() {
            // One that is stopped dies of this too; one that has ended is as well.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
