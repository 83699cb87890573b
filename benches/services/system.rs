//! taskd as users run it: the settings it comes with, and its log into a file.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use taskd_testing::{Api, World};

/// Longer than any start takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running taskd. It is killed when this is dropped.
pub struct Program {
    child: Child,
    log: PathBuf,
    address: String,
}

/// Resident memory in megabytes.
pub struct Memory {
    pub now: f64,
    pub peak: f64,
}

impl Program {
    /// Starts it in this world, and waits until it has logged a line with `says`, from which it takes the
    /// address where one is in it.
    pub async fn start(
        world: &World,
        arguments: &[&str],
        more: &[(&str, &str)],
        says: &str,
    ) -> Program {
        // What a world sets for tests alone: the shipped values are measured.
        let like = world.command(arguments, more);
        let program = std::env::var_os("TASKD_BIN").unwrap_or(like.get_program().to_owned());
        let mut command = Command::new(program);
        command.args(like.get_args()).env_clear().current_dir(&world.directory);
        for (name, value) in like.get_envs() {
            if let Some(value) =
                value.filter(|_| name != "DATABASE_POOL_SIZE" && name != "LOG_FORMAT")
            {
                command.env(name, value);
            }
        }
        let log = world.directory.join(format!("log-{}", uuid::Uuid::new_v4().simple()));
        let file = std::fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().unwrap();
        let mut program = Program { child, log, address: String::new() };
        let line = program.line(says).await;
        if let Some(address) = line.split("address=").nth(1) {
            program.address = address.split_whitespace().next().unwrap().to_owned();
        }
        program
    }

    /// The first line of its log that contains this, once there is one.
    pub async fn line(&mut self, says: &str) -> String {
        let started = Instant::now();
        loop {
            let ended = self.child.try_wait().unwrap();
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            if let Some(line) = log.lines().find(|line| line.contains(says)) {
                return line.to_owned();
            }
            assert!(ended.is_none(), "it has ended: {log}");
            assert!(started.elapsed() < PATIENCE, "it does not say {says:?}: {log}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub fn api(&self) -> Api {
        Api::at(&self.address)
    }

    /// All that it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Sends a signal by its name without SIG.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").arg(format!("-{name}")).arg(pid).status();
        assert!(status.unwrap().success(), "kill -{name}");
    }

    /// SIGINT, and how long it takes to end, which it must do in order.
    pub async fn stop(mut self) -> Duration {
        let began = Instant::now();
        self.signal("INT");
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "it does not stop");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// How long its threads have run on a processor (the first number of
    /// <https://docs.kernel.org/scheduler/sched-stats.html>, in nanoseconds).
    pub fn processor_time(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanoseconds = threads.map(|thread| {
            let stat = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
            stat.split(' ').next().unwrap().parse::<u64>().unwrap()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    pub fn memory(&self) -> Memory {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let megabytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
        };
        Memory { now: megabytes("VmRSS:"), peak: megabytes("VmHWM:") }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended already can't be killed, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
