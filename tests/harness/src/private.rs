//! PostgreSQL, RabbitMQ and Redis for one test alone, so that it can stop and kill them.
//!
//! They are run from the machine's own packages, on free ports and in a directory of their own. Run
//! by root, PostgreSQL and RabbitMQ get the users that their packages made for them.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::Identity;

/// How long a service may take to start or stop. RabbitMQ takes seconds.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often it is looked whether one has.
const POLL: Duration = Duration::from_millis(10);

pub struct Private {
    directory: PathBuf,
    node: String,
    postgres: u16,
    rabbitmq: u16,
    clustering: u16,
    redis: u16,
    encrypted: bool,
    /// The port of RabbitMQ's management API, if that is on.
    management: Option<u16>,
}

impl Private {
    /// Starts all three.
    pub fn start() -> Private {
        Private::start_with(None, false)
    }

    /// Starts all three, RabbitMQ with its management API.
    pub fn start_managed() -> Private {
        Private::start_with(None, true)
    }

    /// Starts all three so that they speak TLS, and nothing else over the network.
    pub fn start_encrypted(identity: &Identity) -> Private {
        Private::start_with(Some(identity), false)
    }

    fn start_with(identity: Option<&Identity>, managed: bool) -> Private {
        let name = format!("taskd{}", &Uuid::new_v4().simple().to_string()[..12]);
        let directory = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&directory).unwrap();
        let private = Private {
            node: format!("{name}@localhost"),
            postgres: free_port(),
            rabbitmq: free_port(),
            clustering: free_port(),
            redis: free_port(),
            encrypted: identity.is_some(),
            management: managed.then(free_port),
            directory,
        };
        // The services' users write into it.
        run(Command::new("chmod").arg("777").arg(&private.directory));
        let data = private.path("postgres");
        run(as_user("postgres", &postgres_program("initdb"))
            .args(["-D", &data, "-A", "trust", "-U", "postgres", "-E", "UTF8"]));
        let rabbitmq = private.path("rabbitmq");
        std::fs::create_dir_all(format!("{rabbitmq}/log")).unwrap();
        std::fs::write(format!("{rabbitmq}/rabbitmq.conf"), private.rabbitmq_conf()).unwrap();
        std::fs::write(
            format!("{rabbitmq}/plugins"),
            if managed { "[rabbitmq_management]." } else { "[]." },
        )
        .unwrap();
        std::fs::write(format!("{rabbitmq}/env.conf"), "").unwrap();
        if let Some(identity) = identity {
            private.hand_out(identity);
        }
        if root() {
            run(Command::new("chown").args(["-R", "rabbitmq:rabbitmq", &rabbitmq]));
        }
        private.start_postgres();
        private.start_rabbitmq();
        private.start_redis();
        private
    }

    /// Gives each service the certificate and the key in its own place.
    fn hand_out(&self, identity: &Identity) {
        for service in ["postgres", "rabbitmq", "."] {
            std::fs::write(self.path(&format!("{service}/tls.crt")), &identity.certificate)
                .unwrap();
            let key = self.path(&format!("{service}/tls.key"));
            std::fs::write(&key, &identity.key).unwrap();
            run(Command::new("chmod").args(["600", &key]));
        }
        // Over the network by TLS alone; the test looks in by the socket.
        let access = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n";
        std::fs::write(self.path("postgres/pg_hba.conf"), access).unwrap();
        if root() {
            run(Command::new("chown").args(["-R", "postgres:postgres", &self.path("postgres")]));
        }
    }

    fn rabbitmq_conf(&self) -> String {
        let (port, directory) = (self.rabbitmq, self.path("rabbitmq"));
        if !self.encrypted {
            let management = self.management.map(|port| {
                format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n")
            });
            let management = management.unwrap_or_default();
            return format!("listeners.tcp.1 = 127.0.0.1:{port}\n{management}");
        }
        format!(
            "listeners.tcp = none\nlisteners.ssl.1 = 127.0.0.1:{port}\n\
             ssl_options.certfile = {directory}/tls.crt\nssl_options.keyfile = {directory}/tls.key\n\
             ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n"
        )
    }

    /// The ports of PostgreSQL, RabbitMQ and Redis.
    pub fn ports(&self) -> [u16; 3] {
        [self.postgres, self.rabbitmq, self.redis]
    }

    /// The address of RabbitMQ's management API.
    pub fn management(&self) -> String {
        let port = self.management.expect("it was started with start_managed");
        format!("http://127.0.0.1:{port}")
    }

    /// PostgreSQL by its socket, for a look past the network.
    pub fn postgres_socket(&self) -> String {
        let (directory, port) = (self.directory.display(), self.postgres);
        format!("host={directory} port={port} user=postgres dbname=postgres")
    }

    /// The variables under which a role finds them.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("DATABASE_URL", format!("postgres://postgres@127.0.0.1:{}/postgres", self.postgres)),
            ("RABBITMQ_URL", format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.rabbitmq)),
            ("REDIS_URL", format!("redis://127.0.0.1:{}/0", self.redis)),
        ]
    }

    pub fn start_postgres(&self) {
        let mut options = format!(
            // Connections that swallow what is sent stay at the server until it notices.
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c max_connections=400",
            self.postgres,
            self.directory.display()
        );
        if self.encrypted {
            options.push_str(" -c ssl=on -c ssl_cert_file=tls.crt -c ssl_key_file=tls.key");
        }
        run(self.pg_ctl().args(["-w", "-l", &self.path("postgres.log"), "-o", &options, "start"]));
    }

    /// `immediate` is what a crash is like: the log is replayed at the next start.
    pub fn stop_postgres(&self, mode: &str) {
        run(self.pg_ctl().args(["-w", "-m", mode, "stop"]));
    }

    fn pg_ctl(&self) -> Command {
        let mut command = as_user("postgres", &postgres_program("pg_ctl"));
        command.args(["-s", "-D", &self.path("postgres")]);
        command
    }

    pub fn start_rabbitmq(&self) {
        run(self.rabbitmq_command("rabbitmq-server").arg("-detached"));
        wait_until("RabbitMQ has started", || self.rabbitmqctl(&["await_startup"]));
    }

    pub fn stop_rabbitmq(&self) {
        assert!(self.rabbitmqctl(&["stop"]), "rabbitmqctl stop");
        wait_until("RabbitMQ has stopped", || !listening(self.rabbitmq));
    }

    pub fn kill_rabbitmq(&self) {
        let pid = std::fs::read_to_string(self.path("rabbitmq/pid")).unwrap();
        run(Command::new("kill").args(["-KILL", pid.trim()]));
        wait_until("RabbitMQ is gone", || !listening(self.rabbitmq));
    }

    /// The alarm of a disk that is nearly full: RabbitMQ blocks whoever publishes
    /// (<https://www.rabbitmq.com/docs/alarms>).
    pub fn set_disk_alarm(&self, on: bool) {
        let limit = if on { "900000GB" } else { "50MB" };
        assert!(self.rabbitmqctl(&["set_disk_free_limit", limit]), "rabbitmqctl");
    }

    /// A policy for queues whose names match (<https://www.rabbitmq.com/docs/policies>).
    pub fn set_policy(&self, name: &str, pattern: &str, definition: &str) {
        let order = ["set_policy", name, pattern, definition, "--apply-to", "queues"];
        assert!(self.rabbitmqctl(&order), "rabbitmqctl");
    }

    /// Takes a policy away.
    pub fn clear_policy(&self, name: &str) {
        assert!(self.rabbitmqctl(&["clear_policy", name]), "rabbitmqctl");
    }

    /// A user of RabbitMQ who may read everything, and neither declare nor publish.
    pub fn add_reader(&self, name: &str, password: &str) {
        let made = self.rabbitmqctl(&["add_user", name, password])
            && self.rabbitmqctl(&["set_permissions", name, "^$", "^$", ".*"]);
        assert!(made, "rabbitmqctl");
    }

    /// How many messages are in these queues, waiting or in a consumer's hand; `None` if the broker
    /// doesn't know all of them.
    pub fn messages(&self, queues: &[String]) -> Option<u64> {
        let mut command = self.rabbitmq_command("rabbitmqctl");
        command.args(["-q", "-n", &self.node, "list_queues", "--no-table-headers"]);
        let output = command.args(["name", "messages"]).output().unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        let rows = listed.lines().filter_map(|line| line.split_once('\t'));
        let counts: Vec<u64> = rows
            .filter(|(name, _)| queues.iter().any(|queue| queue == name))
            .filter_map(|(_, count)| count.trim().parse().ok())
            .collect();
        (output.status.success() && counts.len() == queues.len()).then(|| counts.iter().sum())
    }

    fn rabbitmqctl(&self, arguments: &[&str]) -> bool {
        let mut command = self.rabbitmq_command("rabbitmqctl");
        command.args(["-q", "-n", &self.node]).args(arguments);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        // It may hang where the broker is just being started; the next attempt won't.
        ended(command).is_some_and(|status| status.success())
    }

    fn rabbitmq_command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = |name: &str| self.path(&format!("rabbitmq{name}"));
        command
            .env("RABBITMQ_NODENAME", &self.node)
            .env("RABBITMQ_DIST_PORT", self.clustering.to_string())
            .env("RABBITMQ_MNESIA_BASE", path(""))
            .env("RABBITMQ_LOG_BASE", path("/log"))
            .env("RABBITMQ_PID_FILE", path("/pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("/plugins"))
            .env("RABBITMQ_CONFIG_FILE", path("/rabbitmq"))
            .env("RABBITMQ_CONF_ENV_FILE", path("/env.conf"))
            .stdin(Stdio::null());
        command
    }

    pub fn start_redis(&self) {
        let port = self.redis.to_string();
        let mut command = Command::new("redis-server");
        if self.encrypted {
            let (certificate, key) = (self.path("tls.crt"), self.path("tls.key"));
            command.args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]);
            command.args(["--tls-cert-file", &certificate, "--tls-key-file", &key]);
        } else {
            command.args(["--port", &port]);
        }
        run(command
            .args(["--daemonize", "yes", "--bind", "127.0.0.1", "--save", ""])
            .args(["--pidfile", &self.path("redis.pid"), "--logfile", &self.path("redis.log")])
            .arg("--dir")
            .arg(&self.directory));
        wait_until("Redis has started", || listening(self.redis));
    }

    pub fn stop_redis(&self) {
        self.signal_redis("TERM");
        wait_until("Redis has stopped", || !listening(self.redis));
    }

    /// STOP freezes it with all it has, CONT goes on.
    pub fn signal_redis(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.path("redis.pid")).unwrap();
        run(Command::new("kill").args([&format!("-{signal}"), pid.trim()]));
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // Whatever is not running any more can't be stopped, which is as well.
        let _ = ended(self.pg_ctl().args(["-m", "immediate", "stop"]));
        let _ = self.rabbitmqctl(&["stop"]);
        if let Ok(pid) = std::fs::read_to_string(self.path("redis.pid")) {
            let _ = Command::new("kill").args(["-KILL", pid.trim()]).status();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// PostgreSQL refuses to be run by root.
fn as_user(user: &str, program: &Path) -> Command {
    if root() {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]);
        command.arg(program).stdin(Stdio::null()).current_dir("/");
        command
    } else {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        command
    }
}

/// Debian keeps the server's programs out of the path, a directory for each version.
fn postgres_program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|v| v.path().join("bin").join(name)).filter(|p| p.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn listening(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn run(command: &mut Command) {
    command.stdout(Stdio::null());
    let status = ended(command);
    assert!(status.is_some_and(|status| status.success()), "{command:?}: {status:?}");
}

/// How a command has ended; `None` if it has not within the deadline. It is killed then.
fn ended(command: &mut Command) -> Option<ExitStatus> {
    let spawned = command.spawn();
    let mut child = spawned.unwrap_or_else(|e| panic!("{command:?} must be installed: {e}"));
    let started = Instant::now();
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return Some(status),
            None if started.elapsed() < DEADLINE => std::thread::sleep(POLL),
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                return None;
            }
        }
    }
}

fn wait_until(what: &str, check: impl Fn() -> bool) {
    let started = Instant::now();
    while !check() {
        assert!(started.elapsed() < DEADLINE, "not within {} s: {what}", DEADLINE.as_secs());
        std::thread::sleep(POLL * 5);
    }
}
